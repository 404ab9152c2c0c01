/** What lies on top of the map: signs of incidents, marks of stations and devices, names. Sizes are in canvas pixels. */
import { CLASSES, SIGNS } from "../incidents/order";
import type { Incident, IncidentClass } from "../screen/topics";
import { touches, type Placed, type Rect, type Shape } from "./shapes";

const HALO = "#0a0d11";
const NAME = "#c3ccd5";
const NAME_QUIET = "#8a96a2";
const CLOSE_UP = 1.8; // of a sign, where there are few of them
const MARK = { normal: "#a3aeb9", near: "#f7f097", far: "#ec7f13" } as const;

export interface Symbol {
  class: IncidentClass;
  count: number;
  x: number;
  y: number;
  exercise: boolean;
}

/** A station or device: a ring when all is well, filled and larger when not. */
export interface Mark {
  cell: string;
  lon: number | null;
  lat: number | null;
  state: keyof typeof MARK;
  name: string;
}

/** One symbol a cell, of the worst class in it; the least urgent first so that the worst lies on top. */
export function gather(incidents: readonly Incident[], placed: Placed): Symbol[] {
  const byCell = new Map<string, Symbol>();
  for (const incident of incidents) {
    const known = byCell.get(incident.cell);
    const worse = !known || CLASSES.indexOf(incident.class) < CLASSES.indexOf(known.class);
    const at = position(incident, placed);
    if (!at) continue;
    const [x, y] = at;
    const symbol = worse ? { class: incident.class, x, y, exercise: incident.exercise, count: 0 } : known;
    byCell.set(incident.cell, { ...symbol, count: (known?.count ?? 0) + 1 });
  }
  return [...byCell.values()].sort((a, b) => CLASSES.indexOf(b.class) - CLASSES.indexOf(a.class));
}

/** Where it is, else the middle of its cell; nothing when neither is known: a cell that nobody drew. */
export function position(
  of: { cell: string; lon: number | null; lat: number | null },
  placed: Placed,
): readonly [number, number] | undefined {
  if (of.lon !== null && of.lat !== null) return [placed.x(of.lon), placed.y(of.lat)];
  const shape = placed.cells.get(of.cell);
  return shape && drawn(shape) ? shape.middle : undefined;
}

/** A cell or street without a polygon has no place. */
export function drawn(shape: Shape): boolean {
  return Number.isFinite(shape.rect.left);
}

export class Pen {
  private readonly family = getComputedStyle(document.body).fontFamily;

  constructor(
    private readonly context: CanvasRenderingContext2D,
    private readonly rem: number,
  ) {
    context.textBaseline = "middle";
    context.lineJoin = "round";
  }

  /** `near`: a close-up, with larger signs, in which those beyond the edge are left out; else all are kept inside. */
  symbol({ class: of, count, exercise, ...at }: Symbol, near: boolean): void {
    const { context } = this;
    const rem = this.rem * (near ? CLOSE_UP : 1);
    const sign = SIGNS[of];
    const radius = rem * 0.95;
    const inside = (value: number, most: number) => Math.min(Math.max(value, radius), most - radius);
    const [x, y] = [inside(at.x, context.canvas.width), inside(at.y, context.canvas.height)];
    if (near && (x !== at.x || y !== at.y)) return;
    context.beginPath();
    sign.shape.forEach(([dx, dy], i) => {
      if (i === 0) context.moveTo(x + dx * radius, y + dy * radius);
      else context.lineTo(x + dx * radius, y + dy * radius);
    });
    context.closePath();
    context.setLineDash(exercise ? [rem / 4, rem / 5] : []);
    context.fillStyle = sign.colour;
    context.fill();
    context.lineWidth = rem / 7;
    context.strokeStyle = "#fff";
    context.stroke();
    context.setLineDash([]);
    context.font = `700 ${rem * 1.15}px ${this.family}`;
    context.textAlign = "center";
    context.fillStyle = HALO;
    context.fillText(sign.digit, x, y + (of === "B" ? radius * 0.25 : radius * 0.06));
    if (count < 2) return;
    const [words, aside] = [`×${count}`, radius * 1.25];
    const left = x + aside + context.measureText(words).width > context.canvas.width;
    context.textAlign = left ? "right" : "left";
    this.haloed(words, left ? x - aside : x + aside, y, "#fff");
  }

  mark(mark: Mark, placed: Placed): void {
    const at = position(mark, placed);
    if (!at) return;
    const { context, rem } = this;
    const [x, y] = at;
    const well = mark.state === "normal";
    const radius = rem * (well ? 0.35 : 0.7);
    context.beginPath();
    if (well) context.arc(x, y, radius, 0, 2 * Math.PI);
    else for (const [dx, dy] of [[0, 1], [1, -0.8], [-1, -0.8]] as const) context.lineTo(x + dx * radius, y + dy * radius);
    context.closePath();
    context.fillStyle = well ? HALO : MARK[mark.state];
    context.fill();
    context.lineWidth = rem / 9;
    context.strokeStyle = well ? MARK.normal : "#fff";
    context.stroke();
  }

  /** Writes each name where it covers no other and no sign, and leaves out those without such a place. */
  names(places: readonly { name: string; shape: Shape; quiet: boolean }[], taken: Rect[]): void {
    const { context, rem } = this;
    const { width, height } = context.canvas;
    const bounds: Rect = { left: 0, top: 0, right: width, bottom: height };
    for (const { name, shape, quiet } of places) {
      if (!drawn(shape) || name === "") continue;
      const size = rem * (quiet ? 1.125 : 1.25);
      context.font = `500 ${size}px ${this.family}`;
      const rect = freePlace(shape, context.measureText(name).width + rem / 2, size * 1.2, taken, bounds);
      if (!rect) continue;
      taken.push(rect);
      context.textAlign = "center";
      this.haloed(name, (rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2, quiet ? NAME_QUIET : NAME);
    }
  }

  private haloed(words: string, x: number, y: number, colour: string): void {
    const { context } = this;
    context.lineWidth = this.rem / 4;
    context.strokeStyle = HALO;
    context.strokeText(words, x, y);
    context.fillStyle = colour;
    context.fillText(words, x, y);
  }
}

export function around(x: number, y: number, width: number, height: number): Rect {
  return { left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 };
}

/** A place for a name near the middle of what is seen of its area: inside, on no sign and no other name. */
export function freePlace(
  shape: Shape,
  width: number,
  height: number,
  taken: readonly Rect[],
  bounds: Rect,
): Rect | null {
  const seen: Rect = {
    left: Math.max(shape.rect.left, bounds.left),
    right: Math.min(shape.rect.right, bounds.right),
    top: Math.max(shape.rect.top, bounds.top),
    bottom: Math.min(shape.rect.bottom, bounds.bottom),
  };
  if (seen.right <= seen.left || seen.bottom <= seen.top) return null;
  const whole = seen.left === shape.rect.left && seen.right === shape.rect.right && seen.top === shape.rect.top;
  const [x, y] =
    whole && seen.bottom === shape.rect.bottom
      ? shape.middle
      : [(seen.left + seen.right) / 2, (seen.top + seen.bottom) / 2];
  const [reachX, reachY] = [(seen.right - seen.left - width) / 2.5, (seen.bottom - seen.top - height) / 2.5];
  for (const share of [0, 0.35, 0.7, 1]) {
    for (const [dx, dy] of [[0, -1], [0, 1], [-1, 0], [1, 0], [-1, -1], [1, 1]] as const) {
      const rect = around(x + dx * share * reachX, y + dy * share * reachY, width, height);
      const inside =
        rect.left >= bounds.left && rect.right <= bounds.right && rect.top >= bounds.top && rect.bottom <= bounds.bottom;
      if (inside && !taken.some((other) => touches(rect, other))) return rect;
    }
  }
  return null;
}
