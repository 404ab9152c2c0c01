/** The district's ground as the map endpoint gives it, and the same in canvas pixels. */
import { centroid, fit, size, type Box, type Point, type Ring } from "./projection";

export interface StreetGround {
  code: string;
  name: string;
  name_en: string;
  rings: Ring[];
}
export interface CellGround {
  code: string;
  name: string;
  name_en?: string;
  street: string;
  community: string;
  rings: Ring[];
}
export interface Ground {
  district?: { code: string; name: string; name_en: string };
  bbox: Box;
  communities?: { code: string; name: string; name_en: string }[];
  streets: StreetGround[];
  cells: CellGround[];
}

/** Whole pixels, so that a repainted rectangle leaves no seam. */
export interface Rect {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface Shape {
  path: Path2D;
  rect: Rect;
  middle: Point;
}

export interface Placed {
  x(lon: number): number;
  y(lat: number): number;
  lon(x: number): number;
  lat(y: number): number;
  cells: Map<string, Shape>;
  streets: { ground: StreetGround; shape: Shape }[];
}

/** `box` instead of the whole ground, when only a part is to be seen. */
export function place(ground: Ground, width: number, height: number, margin: number, box: Box | null = null): Placed {
  const projection = fit(box ?? ground.bbox, width, height, margin);
  const shape = (rings: Ring[]) =>
    outline(rings.map((ring) => ring.map(([lon, lat]): Point => [projection.x(lon), projection.y(lat)])));
  return {
    ...projection,
    cells: new Map(ground.cells.map((cell) => [cell.code, shape(cell.rings)])),
    streets: ground.streets.map((street) => ({ ground: street, shape: shape(street.rings) })),
  };
}

function outline(rings: Ring[]): Shape {
  const path = new Path2D();
  const rect = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const ring of rings) {
    ring.forEach(([x, y], i) => {
      if (i === 0) path.moveTo(x, y);
      else path.lineTo(x, y);
      rect.left = Math.min(rect.left, Math.floor(x) - 1);
      rect.top = Math.min(rect.top, Math.floor(y) - 1);
      rect.right = Math.max(rect.right, Math.ceil(x) + 1);
      rect.bottom = Math.max(rect.bottom, Math.ceil(y) + 1);
    });
    path.closePath();
  }
  const largest = rings.reduce<Ring>((best, ring) => (size(ring) > size(best) ? ring : best), rings[0] ?? []);
  return { path, rect, middle: centroid(largest) };
}

export function touches(a: Rect, b: Rect): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
