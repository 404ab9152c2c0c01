/**
 * The district on three canvases: ground (painted once a size), state (repainted only where a cell changed)
 * and symbols (street outlines and names, incidents). Plain Canvas 2D: measured against map libraries in software
 * rendering it alone holds 60 frames a second at a fraction of the processor.
 */
import { SIGNS } from "../incidents/order";
import type { Cell, Incident } from "../screen/topics";
import type { Box } from "./projection";
import { place, touches, type Ground, type Placed, type Rect, type Shape } from "./shapes";
import { around, gather, Pen, type Mark } from "./symbols";

const GROUND = "#222a33";
const GROUND_LINE = "#141a20";
const STREET_LINE = "#5b6874";
const UNSET = "#0e1216";
const HATCH = "#8a96a2";
const ALL_AT_ONCE = 0.3; // share of changed cells above which one full repaint is cheaper

/** Where to look closely: the cell that matters, and the box around what is to be seen of it. */
export interface CloseUp {
  cell: string;
  box: Box;
}
type Named = { name: string; name_en?: string };

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
  private named: (of: Named) => string = (of) => of.name;
  private marks: readonly Mark[] = [];
  private closeUp: CloseUp | null = null;
  private box: Box | null = null;

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
    this.placed = place(this.ground, width * ratio, height * ratio, this.rem, this.closeUp?.box ?? this.box);
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

  setIncidents(incidents: readonly Incident[], named: (of: Named) => string): void {
    this.incidents = incidents;
    this.named = named;
    this.symbolsDirty = true;
    this.schedule();
  }

  setMarks(marks: readonly Mark[]): void {
    this.marks = marks;
    this.symbolsDirty = true;
    this.schedule();
  }

  /** Shows only `box` of the district (null: all of it), or closer still what `closeUp` names. */
  look(box: Box | null, closeUp: CloseUp | null): void {
    if (this.box?.join() === box?.join() && this.closeUp?.cell === closeUp?.cell) {
      if (this.closeUp?.box.join() === closeUp?.box.join()) return;
    }
    this.box = box;
    this.closeUp = closeUp;
    if (this.placed) this.resize();
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
    const focus = this.closeUp ? placed.cells.get(this.closeUp.cell) : undefined;
    if (focus) {
      context.strokeStyle = "#fff";
      context.lineWidth = this.rem / 5;
      context.stroke(focus.path);
    }
    const pen = new Pen(context, this.rem);
    for (const mark of this.marks) pen.mark(mark, placed);
    const symbols = gather(this.incidents, placed);
    const taken = symbols.map(({ x, y }) => around(x, y, this.rem * 2.6, this.rem * 2.4));
    const streets = placed.streets.map(({ ground, shape }) => ({ name: this.named(ground), shape, quiet: false }));
    pen.names([...streets, ...this.cellNames(placed)], taken);
    for (const symbol of symbols) pen.symbol(symbol, this.closeUp !== null);
  }

  /** From near, cells are large enough to carry their names, the one that matters first. */
  private cellNames(placed: Placed): { name: string; shape: Shape; quiet: boolean }[] {
    if (!this.closeUp) return [];
    const wanted = this.closeUp.cell;
    const cells = [...this.ground.cells].sort((a, b) => Number(b.code === wanted) - Number(a.code === wanted));
    return cells.flatMap((cell) => {
      const shape = placed.cells.get(cell.code);
      const roomy = shape && shape.rect.right - shape.rect.left > this.rem * 7;
      return roomy ? [{ name: this.named(cell), shape, quiet: cell.code !== wanted }] : [];
    });
  }
}
