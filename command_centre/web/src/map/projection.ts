/** Degrees to canvas pixels: equirectangular about the middle latitude, which is exact enough for a district. */

export type Point = readonly [number, number];
export type Ring = readonly Point[];
/** West, south, east, north in degrees (WGS 84). */
export type Box = readonly [number, number, number, number];

export interface Projection {
  x(lon: number): number;
  y(lat: number): number;
  /** Back from pixels. */
  lon(x: number): number;
  lat(y: number): number;
}

/** Fits `box` into `width` x `height` pixels with `margin` pixels around, keeping its proportions. */
export function fit(box: Box, width: number, height: number, margin: number): Projection {
  const [west, south, east, north] = box;
  const shrink = Math.cos((((south + north) / 2) * Math.PI) / 180);
  const spanX = Math.max((east - west) * shrink, 1e-9);
  const spanY = Math.max(north - south, 1e-9);
  const scale = Math.max(Math.min((width - 2 * margin) / spanX, (height - 2 * margin) / spanY), 0);
  const left = (width - spanX * scale) / 2;
  const top = (height - spanY * scale) / 2;
  return {
    x: (lon) => left + (lon - west) * shrink * scale,
    y: (lat) => top + (north - lat) * scale,
    lon: (x) => west + (x - left) / (shrink * scale),
    lat: (y) => north - (y - top) / scale,
  };
}

/** Centre of mass of a ring in its own units; the mean of its corners when it has no area. */
export function centroid(ring: Ring): Point {
  let [area, cx, cy] = [0, 0, 0];
  for (let i = 0; i < ring.length; i++) {
    const [x1, y1] = ring[i] as Point;
    const [x2, y2] = ring[(i + 1) % ring.length] as Point;
    const cross = x1 * y2 - x2 * y1;
    area += cross;
    cx += (x1 + x2) * cross;
    cy += (y1 + y2) * cross;
  }
  if (Math.abs(area) < 1e-9) {
    const sum = ring.reduce<[number, number]>(([x, y], p) => [x + p[0], y + p[1]], [0, 0]);
    return [sum[0] / (ring.length || 1), sum[1] / (ring.length || 1)];
  }
  return [cx / (3 * area), cy / (3 * area)];
}

/** Twice the signed area is enough to compare rings. */
export function size(ring: Ring): number {
  let area = 0;
  for (let i = 0; i < ring.length; i++) {
    const [x1, y1] = ring[i] as Point;
    const [x2, y2] = ring[(i + 1) % ring.length] as Point;
    area += x1 * y2 - x2 * y1;
  }
  return Math.abs(area);
}

/** The box around `rings`, wider by `margin` of its longer side all round; null without a point. */
export function extent(rings: readonly Ring[], margin: number): Box | null {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [lon, lat] of rings.flat()) {
    [west, east] = [Math.min(west, lon), Math.max(east, lon)];
    [south, north] = [Math.min(south, lat), Math.max(north, lat)];
  }
  if (west > east) return null;
  const pad = Math.max(east - west, north - south) * margin;
  return [west - pad, south - pad, east + pad, north + pad];
}
