/** Where on the district's ground a point lies. Degrees, WGS 84. */
import type { Box, Point, Ring } from "../map/projection";
import type { CellGround, Ground } from "../map/shapes";

/** Even-odd over all rings, so that a hole is outside. */
export function inside(rings: readonly Ring[], [x, y]: Point): boolean {
  let odd = false;
  for (const ring of rings) {
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [[x1, y1], [x2, y2]] = [ring[i] as Point, ring[j] as Point];
      if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) odd = !odd;
    }
  }
  return odd;
}

export function cellAt(ground: Ground, point: Point): CellGround | null {
  return ground.cells.find((cell) => inside(cell.rings, point)) ?? null;
}

export function within([west, south, east, north]: Box, [lon, lat]: Point): boolean {
  return lon >= west && lon <= east && lat >= south && lat <= north;
}

/** The part of `box` around a point that is shown `factor` times larger; it never leaves `box`. */
export function zoomed([west, south, east, north]: Box, [lon, lat]: Point, factor: number): Box {
  const [width, height] = [(east - west) / factor, (north - south) / factor];
  const left = Math.min(Math.max(lon - width / 2, west), east - width);
  const low = Math.min(Math.max(lat - height / 2, south), north - height);
  return [left, low, left + width, low + height];
}
