/**
 * The district on three canvases: ground (painted once a size), state (repainted only where a cell changed)
 * and symbols (street outlines and names, incidents). Plain Canvas 2D: measured against map libraries in software
 * rendering it alone holds 60 frames a second at a fraction of the processor.
 */
import { CLASSES, SIGNS } from "../incidents/order";
import type { Cell, Incident, IncidentClass } from "../screen/topics";
import { place, touches, type Ground, type Placed, type Rect, type Shape } from "./shapes";

const GROUND = "#222a33";
const GROUND_LINE = "#141a20";
const STREET_LINE = "#5b6874";
const UNSET = "#0e1216";
const HATCH = "#8a96a2";
const ALL_AT_ONCE = 0.3; // share of changed cells above which one full repaint is cheaper

export interface Symbol {
  class: IncidentClass;
  count: number;
  x: number;
  y: number;
  exercise: boolean;
}

interface OddCell {
  shape: Shape;
  /** Undefined when the hub does not know the cell: shown like one without devices. */
  cell: Cell | undefined;
}

export class GridMap {
  private readonly layers: CanvasRenderingContext2D[];
  private placed: Placed | null = null;
  private cells: ReadonlyMap<string, Cell> = new Map();
  private incidents: readonly Incident[] = [];
  private dirty: Set<string> | "all" = "all";
  private symbolsDirty = true;
  private frame = 0;
  private hatch: CanvasPattern | null = null;
  /** Canvas pixels per rem: text and symbols keep their size in rem at any resolution. */
  private rem = 16;
  private streetName: (zh: string, en: string) => string = (zh) => zh;

  constructor(
    private readonly host: HTMLElement,
    private readonly ground: Ground,
  ) {
    this.layers = [0, 1, 2].map(() => {
      const canvas = host.appendChild(document.createElement("canvas"));
      const context = canvas.getContext("2d");
      if (!context) throw new Error("this browser gives no 2D canvas");
      return context;
    });
  }

  /** Takes the host's present size; call it whenever that changes. */
  resize(): void {
    const ratio = window.devicePixelRatio || 1;
    const { width, height } = this.host.getBoundingClientRect();
    for (const { canvas } of this.layers) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.rem = parseFloat(getComputedStyle(document.documentElement).fontSize) * ratio;
    this.placed = place(this.ground, width * ratio, height * ratio, this.rem);
    this.hatch = this.makeHatch();
    this.paintGround(this.placed);
    this.dirty = "all";
    this.symbolsDirty = true;
    this.schedule();
  }

  setCells(cells: ReadonlyMap<string, Cell>, changed: ReadonlySet<string> | null): void {
    this.cells = cells;
    if (changed === null || this.dirty === "all") this.dirty = "all";
    else for (const code of changed) this.dirty.add(code);
    this.schedule();
  }

  setIncidents(incidents: readonly Incident[], streetName: (zh: string, en: string) => string): void {
    this.incidents = incidents;
    this.streetName = streetName;
    this.symbolsDirty = true;
    this.schedule();
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    for (const { canvas } of this.layers) canvas.remove();
  }

  private schedule(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  private paint(): void {
    if (!this.placed) return;
    if (this.dirty === "all" || this.dirty.size > 0) {
      const odd = this.oddCells(this.placed);
      for (const rect of this.dirtyRects(this.placed)) this.paintState(this.placed, odd, rect);
    }
    this.dirty = new Set();
    if (this.symbolsDirty) this.paintSymbols(this.placed);
    this.symbolsDirty = false;
  }

  private layer(index: 0 | 1 | 2): CanvasRenderingContext2D {
    return this.layers[index] as CanvasRenderingContext2D;
  }

  private paintGround(placed: Placed): void {
    const context = this.layer(0);
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    context.lineWidth = Math.max(1, this.rem / 16);
    context.strokeStyle = GROUND_LINE;
    context.fillStyle = GROUND;
    for (const { path } of placed.cells.values()) {
      context.fill(path, "evenodd");
      context.stroke(path);
    }
  }

  private dirtyRects(placed: Placed): Rect[] {
    if (this.dirty === "all" || this.dirty.size > placed.cells.size * ALL_AT_ONCE) {
      const { width, height } = this.layer(1).canvas;
      return [{ left: 0, top: 0, right: width, bottom: height }];
    }
    return [...this.dirty].flatMap((code) => placed.cells.get(code)?.rect ?? []);
  }

  /** The cells that do not look like the ground beneath them: usually few. */
  private oddCells(placed: Placed): OddCell[] {
    const odd: OddCell[] = [];
    for (const [code, shape] of placed.cells) {
      const cell = this.cells.get(code);
      if (cell?.state !== "normal" || cell.class) odd.push({ shape, cell });
    }
    return odd;
  }

  private paintState(placed: Placed, odd: readonly OddCell[], rect: Rect): void {
    const context = this.layer(1);
    const { left, top, right, bottom } = rect;
    context.save();
    context.beginPath();
    context.rect(left, top, right - left, bottom - top);
    context.clip();
    context.clearRect(left, top, right - left, bottom - top);
    for (const cell of odd) if (touches(rect, cell.shape.rect)) this.paintCell(context, cell);
    context.restore();
  }

  private paintCell(context: CanvasRenderingContext2D, { shape, cell }: OddCell): void {
    if (!cell || cell.state === "unset") {
      context.fillStyle = UNSET;
      context.fill(shape.path, "evenodd");
    } else if (cell.state === "blind" && this.hatch) {
      context.fillStyle = UNSET;
      context.fill(shape.path, "evenodd");
      context.fillStyle = this.hatch;
      context.fill(shape.path, "evenodd");
    }
    if (cell?.class) {
      context.globalAlpha = 0.5;
      context.fillStyle = SIGNS[cell.class].colour;
      context.fill(shape.path, "evenodd");
      context.globalAlpha = 1;
    }
  }

  private makeHatch(): CanvasPattern | null {
    const step = Math.max(6, Math.round(this.rem / 2));
    const tile = document.createElement("canvas");
    tile.width = tile.height = step;
    const context = tile.getContext("2d");
    if (!context) return null;
    context.strokeStyle = HATCH;
    context.lineWidth = Math.max(1, step / 7);
    context.beginPath();
    for (const shift of [-step, 0, step]) {
      context.moveTo(shift - 1, step + 1);
      context.lineTo(shift + step + 1, -1);
    }
    context.stroke();
    return this.layer(1).createPattern(tile, "repeat");
  }

  private paintSymbols(placed: Placed): void {
    const context = this.layer(2);
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    // Outlines lie here and not under the cells: long paths, stroked anew for every changed cell, would be
    // the dearest part of a repaint.
    context.strokeStyle = STREET_LINE;
    context.lineWidth = Math.max(1, this.rem / 10);
    for (const { shape } of placed.streets) context.stroke(shape.path);
    const symbols = gather(this.incidents, placed);
    this.paintNames(context, placed, symbols);
    for (const symbol of symbols) this.paintSymbol(context, symbol);
  }

  private paintNames(context: CanvasRenderingContext2D, placed: Placed, symbols: readonly Symbol[]): void {
    const height = this.rem * 1.25;
    context.font = `500 ${height}px ${getComputedStyle(document.body).fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    const taken: Rect[] = symbols.map(({ x, y }) => around(x, y, this.rem * 2.6, this.rem * 2.4));
    for (const { ground, shape } of placed.streets) {
      const name = this.streetName(ground.name, ground.name_en);
      const rect = freePlace(shape, context.measureText(name).width + this.rem / 2, height * 1.2, taken);
      if (!rect) continue;
      taken.push(rect);
      const [x, y] = [(rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2];
      context.strokeStyle = "#0a0d11";
      context.lineWidth = this.rem / 4;
      context.strokeText(name, x, y);
      context.fillStyle = "#c3ccd5";
      context.fillText(name, x, y);
    }
  }

  private paintSymbol(context: CanvasRenderingContext2D, { class: of, count, x, y, exercise }: Symbol): void {
    const sign = SIGNS[of];
    const radius = this.rem * 0.95;
    context.beginPath();
    sign.shape.forEach(([dx, dy], i) => {
      if (i === 0) context.moveTo(x + dx * radius, y + dy * radius);
      else context.lineTo(x + dx * radius, y + dy * radius);
    });
    context.closePath();
    context.setLineDash(exercise ? [this.rem / 4, this.rem / 5] : []);
    context.fillStyle = sign.colour;
    context.fill();
    context.lineWidth = this.rem / 7;
    context.strokeStyle = "#fff";
    context.stroke();
    context.setLineDash([]);
    context.font = `700 ${this.rem * 1.15}px ${getComputedStyle(document.body).fontFamily}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "#0a0d11";
    context.fillText(sign.digit, x, y + (of === "B" ? radius * 0.25 : radius * 0.06));
    if (count < 2) return;
    context.textAlign = "left";
    context.strokeStyle = "#0a0d11";
    context.strokeText(`×${count}`, x + radius * 1.25, y);
    context.fillStyle = "#fff";
    context.fillText(`×${count}`, x + radius * 1.25, y);
  }
}

/** One symbol a cell, of the worst class in it; the least urgent first so that the worst lies on top. */
export function gather(incidents: readonly Incident[], placed: Placed): Symbol[] {
  const byCell = new Map<string, Symbol>();
  for (const incident of incidents) {
    const known = byCell.get(incident.cell);
    const worse = !known || CLASSES.indexOf(incident.class) < CLASSES.indexOf(known.class);
    const [x, y] = position(incident, placed) ?? [NaN, NaN];
    if (Number.isNaN(x)) continue;
    const symbol = worse ? { class: incident.class, x, y, exercise: incident.exercise, count: 0 } : known;
    byCell.set(incident.cell, { ...symbol, count: (known?.count ?? 0) + 1 });
  }
  return [...byCell.values()].sort((a, b) => CLASSES.indexOf(b.class) - CLASSES.indexOf(a.class));
}

function position(incident: Incident, placed: Placed): readonly [number, number] | undefined {
  if (incident.lon !== null && incident.lat !== null) return [placed.x(incident.lon), placed.y(incident.lat)];
  return placed.cells.get(incident.cell)?.middle;
}

function around(x: number, y: number, width: number, height: number): Rect {
  return { left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 };
}

/** A place for a name near the street's middle that covers no symbol and no other name, if there is one. */
function freePlace(shape: Shape, width: number, height: number, taken: readonly Rect[]): Rect | null {
  const [x, y] = shape.middle;
  const [reachX, reachY] = [
    (shape.rect.right - shape.rect.left - width) / 2.5,
    (shape.rect.bottom - shape.rect.top - height) / 2.5,
  ];
  for (const share of [0, 0.35, 0.7, 1]) {
    for (const [dx, dy] of [[0, -1], [0, 1], [-1, 0], [1, 0], [-1, -1], [1, 1]] as const) {
      const rect = around(x + dx * share * reachX, y + dy * share * reachY, width, height);
      if (!taken.some((other) => touches(rect, other))) return rect;
    }
  }
  return null;
}
