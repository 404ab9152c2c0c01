/** The district's outlines with its gauges on one canvas: a shape for each state, colour only above a level. */
import type { Ground, Placed } from "../map/shapes";
import { place } from "../map/shapes";
import type { Station } from "../screen/topics";

export interface Spot {
  code: string;
  lon: number | null;
  lat: number | null;
  cell: string | null;
  state: Station["state"] | "rain";
  doubtful: boolean;
}

const COLOURS: Record<Spot["state"], string> = {
  normal: "--text-quiet",
  warning: "--yellow",
  guaranteed: "--orange",
  record: "--red",
  unset: "--text-quiet",
  silent: "--text-quiet",
  rain: "--blue",
};
/** What is worst is drawn last, over the rest. */
const ORDER: readonly Spot["state"][] = ["rain", "unset", "normal", "silent", "warning", "guaranteed", "record"];

export interface Drawn extends Spot {
  x: number;
  y: number;
}

/** Where each spot stands in pixels of the page: its own place, else the middle of its cell; else nowhere. */
export function placedSpots(spots: readonly Spot[], placed: Placed): Drawn[] {
  return spots
    .flatMap((spot) => {
      const middle = spot.cell === null ? undefined : placed.cells.get(spot.cell)?.middle;
      const at = spot.lon !== null && spot.lat !== null ? ([placed.x(spot.lon), placed.y(spot.lat)] as const) : middle;
      return at ? [{ ...spot, x: at[0], y: at[1] }] : [];
    })
    .sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
}

export function drawMap(canvas: HTMLCanvasElement, ground: Ground, spots: readonly Spot[], chosen: string | null): Drawn[] {
  const context = canvas.getContext("2d");
  if (!context) return [];
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  [canvas.width, canvas.height] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const placed = place(ground, width, height, 10);
  context.lineWidth = 0.5;
  [context.fillStyle, context.strokeStyle] = [colour("--panel-raised"), colour("--line")];
  for (const { path } of placed.cells.values()) {
    context.fill(path, "evenodd");
    context.stroke(path);
  }
  [context.strokeStyle, context.lineWidth] = [colour("--neutral"), 1.5];
  for (const { shape } of placed.streets) context.stroke(shape.path);
  const drawn = placedSpots(spots, placed);
  for (const spot of drawn) paint(context, spot, colour, spot.code === chosen);
  return drawn;
}

function paint(context: CanvasRenderingContext2D, spot: Drawn, colour: (name: string) => string, chosen: boolean): void {
  const { x, y, state } = spot;
  const r = state === "rain" ? 3.5 : 6;
  context.beginPath();
  if (state === "warning" || state === "guaranteed") {
    context.moveTo(x, y - r * 1.2);
    context.lineTo(x + r * 1.2, y + r);
    context.lineTo(x - r * 1.2, y + r);
    context.closePath();
  } else if (state === "record") {
    context.moveTo(x, y - r * 1.4);
    context.lineTo(x + r * 1.4, y);
    context.lineTo(x, y + r * 1.4);
    context.lineTo(x - r * 1.4, y);
    context.closePath();
  } else if (state === "silent" || spot.doubtful) {
    context.moveTo(x - r, y - r);
    context.lineTo(x + r, y + r);
    context.moveTo(x + r, y - r);
    context.lineTo(x - r, y + r);
  } else if (state === "rain") {
    context.rect(x - r, y - r, r * 2, r * 2);
  } else {
    context.arc(x, y, r * 0.8, 0, Math.PI * 2);
  }
  context.fillStyle = context.strokeStyle = colour(COLOURS[state]);
  context.lineWidth = 2;
  if (state === "warning" || state === "guaranteed" || state === "record") context.fill();
  context.stroke();
  if (!chosen) return;
  context.beginPath();
  context.arc(x, y, r * 2.2, 0, Math.PI * 2);
  context.strokeStyle = colour("--focus");
  context.stroke();
}
