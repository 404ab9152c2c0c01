/**
 * An outline that is being drawn: polygons of rings of corners, without the last one that repeats the first.
 * Positions are degrees (WGS 84). Nothing here changes what it is given.
 */
export type Point = readonly [lon: number, lat: number];
export type Ring = readonly Point[];
export type Outline = readonly (readonly Ring[])[];
/** Polygon, ring and corner. */
export type Place = readonly [polygon: number, ring: number, corner: number];

export const FEWEST = 3;
const DIGITS = 7; // a centimetre
const SAME = 1e-7;
const METRES_PER_DEGREE = 111_320;

const rounded = (value: number) => Number(value.toFixed(DIGITS));

export function outlineOf(geometry: Record<string, unknown> | null | undefined): Outline {
  if (!geometry) return [];
  const coordinates = geometry["coordinates"] as number[][][] | number[][][][];
  const polygons = (geometry["type"] === "Polygon" ? [coordinates] : coordinates) as number[][][][];
  return polygons.map((rings) => rings.map((ring) => ring.slice(0, -1).map(([lon, lat]): Point => [lon ?? 0, lat ?? 0])));
}

/** GeoJSON again, rings closed; null for nothing. */
export function geometryOf(outline: Outline): Record<string, unknown> | null {
  if (outline.length === 0) return null;
  const closed = outline.map((rings) => rings.map((ring) => [...ring, ring[0] ?? [0, 0]]));
  return closed.length === 1
    ? { type: "Polygon", coordinates: closed[0] }
    : { type: "MultiPolygon", coordinates: closed };
}

export function cornerAt(outline: Outline, [polygon, ring, corner]: Place): Point | undefined {
  return outline[polygon]?.[ring]?.[corner];
}

function withRing(outline: Outline, [polygon, ring]: Place, change: (ring: Ring) => Ring): Outline {
  return outline.map((rings, p) => (p === polygon ? rings.map((one, r) => (r === ring ? change(one) : one)) : rings));
}

export function moved(outline: Outline, place: Place, [lon, lat]: Point): Outline {
  const to: Point = [rounded(lon), rounded(lat)];
  return withRing(outline, place, (ring) => ring.map((one, n) => (n === place[2] ? to : one)));
}

/** A new corner in the middle of the edge that begins at `place`. */
export function split(outline: Outline, place: Place): Outline {
  return withRing(outline, place, (ring) => {
    const [one, next] = [ring[place[2]], ring[(place[2] + 1) % ring.length]];
    if (!one || !next) return ring;
    const middle: Point = [rounded((one[0] + next[0]) / 2), rounded((one[1] + next[1]) / 2)];
    return [...ring.slice(0, place[2] + 1), middle, ...ring.slice(place[2] + 1)];
  });
}

/** Without that corner; a ring that has only three keeps them. */
export function without(outline: Outline, place: Place): Outline {
  return withRing(outline, place, (ring) =>
    ring.length <= FEWEST ? ring : ring.filter((_, n) => n !== place[2]),
  );
}

export const sameSpot = (a: Point, b: Point) => Math.abs(a[0] - b[0]) < SAME && Math.abs(a[1] - b[1]) < SAME;

/** Every corner that lies on `spot`. */
export function cornersOn(outline: Outline, spot: Point): Place[] {
  const found: Place[] = [];
  outline.forEach((rings, p) => {
    rings.forEach((ring, r) => {
      ring.forEach((corner, n) => {
        if (sameSpot(corner, spot)) found.push([p, r, n]);
      });
    });
  });
  return found;
}

export function corners(outline: Outline): Point[] {
  return outline.flat(2);
}

/** The nearest of `candidates` within `reach` by `distance`; null when none is. */
export function snapped(
  to: Point,
  candidates: Iterable<Point>,
  reach: number,
  distance: (a: Point, b: Point) => number,
): Point | null {
  let [best, least]: [Point | null, number] = [null, reach];
  for (const one of candidates) {
    const far = distance(to, one);
    if (far <= least) [best, least] = [one, far];
  }
  return best;
}

/** Square metres, holes taken off; exact enough for a cell. */
export function squareMetres(outline: Outline): number {
  const latitudes = corners(outline).map(([, lat]) => lat);
  if (latitudes.length === 0) return 0;
  const shrink = Math.cos((((Math.min(...latitudes) + Math.max(...latitudes)) / 2) * Math.PI) / 180);
  const size = (ring: Ring) => {
    let sum = 0;
    ring.forEach(([x1, y1], n) => {
      const [x2, y2] = ring[(n + 1) % ring.length] as Point;
      sum += x1 * y2 - x2 * y1;
    });
    return (Math.abs(sum) / 2) * shrink * METRES_PER_DEGREE ** 2;
  };
  return outline.reduce(
    (total, rings) => total + rings.reduce((sum, ring, n) => (n === 0 ? sum + size(ring) : sum - size(ring)), 0),
    0,
  );
}

/** Where two edges of one ring cross that have no corner in common; null when none do. */
export function crossing(outline: Outline): Point | null {
  for (const ring of outline.flat()) {
    for (let i = 0; i < ring.length; i++) {
      for (let j = i + 2; j < ring.length; j++) {
        if (i === 0 && j === ring.length - 1) continue;
        const met = meeting(ring, i, j);
        if (met) return met;
      }
    }
  }
  return null;
}

function meeting(ring: Ring, i: number, j: number): Point | null {
  const [a, b] = [ring[i] as Point, ring[(i + 1) % ring.length] as Point];
  const [c, d] = [ring[j] as Point, ring[(j + 1) % ring.length] as Point];
  const [rx, ry, sx, sy] = [b[0] - a[0], b[1] - a[1], d[0] - c[0], d[1] - c[1]];
  const cross = rx * sy - ry * sx;
  if (cross === 0) return null;
  const t = ((c[0] - a[0]) * sy - (c[1] - a[1]) * sx) / cross;
  const u = ((c[0] - a[0]) * ry - (c[1] - a[1]) * rx) / cross;
  return t >= 0 && t <= 1 && u >= 0 && u <= 1 ? [a[0] + t * rx, a[1] + t * ry] : null;
}

/** A square about `middle`, `half` degrees of latitude to each side: where a new area begins. */
export function square([lon, lat]: Point, half: number): Outline {
  const wide = half / Math.cos((lat * Math.PI) / 180);
  const corner = (x: number, y: number): Point => [rounded(lon + x * wide), rounded(lat + y * half)];
  return [[[corner(-1, -1), corner(1, -1), corner(1, 1), corner(-1, 1)]]];
}
