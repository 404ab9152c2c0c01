/** The surroundings of an incident on one canvas: cells, its own cell, the devices there, and its place. */
import { SIGNS } from "../incidents/order";
import type { Box, Point } from "../map/projection";
import { place, type Ground } from "../map/shapes";
import type { IncidentClass } from "../screen/topics";

export interface Spot {
  lon: number;
  lat: number;
  /** It alarmed in this incident. */
  alarmed: boolean;
  online: boolean;
}

export interface Close {
  ground: Ground;
  box: Box;
  cell: string | null;
  spots: readonly Spot[];
  at: Point | null;
  class: IncidentClass;
  named: (zh: string, en: string) => string;
}

const LEAST_DEGREES = 0.0015; // some 150 m

/** What to show: the cell with its neighbours about it, or the place itself where the cell has no outline. */
export function boxAround(ground: Ground, cell: string | null, at: Point | null, spots: readonly Spot[]): Box | null {
  const ring = ground.cells.find((one) => one.code === cell)?.rings.flat() ?? [];
  const points: Point[] = [...ring, ...(at ? [at] : []), ...spots.filter((one) => one.alarmed).map(point)];
  if (points.length === 0) return null;
  const [lons, lats] = [points.map(([lon]) => lon), points.map(([, lat]) => lat)];
  const [west, east] = [Math.min(...lons), Math.max(...lons)];
  const [south, north] = [Math.min(...lats), Math.max(...lats)];
  const [padX, padY] = [Math.max((east - west) * 0.35, LEAST_DEGREES), Math.max((north - south) * 0.35, LEAST_DEGREES)];
  return [west - padX, south - padY, east + padX, north + padY];
}

const point = ({ lon, lat }: Spot): Point => [lon, lat];

export function drawClose(canvas: HTMLCanvasElement, close: Close): void {
  const context = canvas.getContext("2d");
  if (!context) return;
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  [canvas.width, canvas.height] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  const style = getComputedStyle(canvas);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const placed = place({ ...close.ground, bbox: close.box }, canvas.width, canvas.height, 2 * ratio);

  context.lineWidth = ratio;
  context.strokeStyle = colour("--ground");
  for (const [code, { path }] of placed.cells) {
    context.fillStyle = colour(code === close.cell ? "--line" : "--panel-raised");
    context.fill(path, "evenodd");
    context.stroke(path);
  }
  context.strokeStyle = colour("--neutral");
  context.lineWidth = 1.5 * ratio;
  for (const { shape } of placed.streets) context.stroke(shape.path);
  const own = close.cell === null ? undefined : placed.cells.get(close.cell);
  if (own) {
    context.strokeStyle = colour("--text");
    context.lineWidth = 2 * ratio;
    context.stroke(own.path);
  }
  for (const spot of [...close.spots].sort((a, b) => Number(a.alarmed) - Number(b.alarmed))) {
    device(context, placed.x(spot.lon), placed.y(spot.lat), spot, ratio, colour);
  }
  if (close.at) sign(context, placed.x(close.at[0]), placed.y(close.at[1]), close.class, ratio, style.fontFamily);
}

/** A ring around what alarmed, a hollow dot for what is silent: no meaning hangs on colour alone. */
function device(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  { alarmed, online }: Spot,
  ratio: number,
  colour: (name: string) => string,
): void {
  context.beginPath();
  context.arc(x, y, (alarmed ? 5 : 3) * ratio, 0, Math.PI * 2);
  context.lineWidth = 1.5 * ratio;
  context.strokeStyle = colour("--text");
  context.fillStyle = alarmed ? colour("--orange") : online ? colour("--text-quiet") : colour("--ground");
  context.fill();
  context.stroke();
  if (!alarmed) return;
  context.beginPath();
  context.arc(x, y, 9 * ratio, 0, Math.PI * 2);
  context.stroke();
}

function sign(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  of: IncidentClass,
  ratio: number,
  family: string,
): void {
  const { shape, colour, digit } = SIGNS[of];
  const radius = 13 * ratio;
  const above = y - radius * 1.9; // beside the device that it would hide
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x, above);
  context.strokeStyle = "#fff";
  context.lineWidth = 2 * ratio;
  context.stroke();
  context.beginPath();
  shape.forEach(([dx, dy], i) => {
    if (i === 0) context.moveTo(x + dx * radius, above + dy * radius);
    else context.lineTo(x + dx * radius, above + dy * radius);
  });
  context.closePath();
  context.fillStyle = colour;
  context.fill();
  context.stroke();
  context.font = `700 ${14 * ratio}px ${family}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = "#0a0d11";
  context.fillText(digit, x, above + (of === "B" ? radius * 0.25 : radius * 0.06));
}
