/** Which district comes first, what its map shows, and how outlines become paths. No clock is read here. */
import type { Shapes } from "../../api/shapes";
import { CLASSES, SIGNS } from "../../incidents/order";
import { centroid, extent, fit, size, type Point, type Ring } from "../../map/projection";
import type { IncidentClass } from "../../screen/topics";

export type District = Shapes["DistrictStanding"];
export type Outline = Shapes["DistrictOutline"];

/** What is open of a class; null of a district that does not answer: that is not zero. */
export function open(one: District, of: IncidentClass): number | null {
  return one.figures === null ? null : (one.figures.classes[of]?.open ?? 0);
}

/** The gravest class with an open incident; null where none is, or nothing is known. */
export function gravest(one: District): IncidentClass | null {
  return CLASSES.find((of) => (open(one, of) ?? 0) > 0) ?? null;
}

/** Silent ones first, then by open incidents, the gravest class first; else as they are listed. */
export function worstFirst(districts: readonly District[]): District[] {
  return [...districts].sort((a, b) => {
    if (a.state !== b.state) return a.state === "silent" ? -1 : 1;
    for (const of of CLASSES) {
      const difference = (open(b, of) ?? 0) - (open(a, of) ?? 0);
      if (difference !== 0) return difference;
    }
    return 0;
  });
}

export function overdue(one: District): number | null {
  if (one.figures === null) return null;
  return Object.values(one.figures.classes).reduce((sum, of) => sum + of.overdue, 0);
}

export interface Drawn {
  code: string;
  path: string;
  /** Where its name stands: the middle of its largest ring. */
  at: Point;
}

/** Outlines as SVG paths within `width` x `height`; empty without any. */
export function drawn(outlines: readonly Outline[], width: number, height: number): Drawn[] {
  const box = extent(outlines.flatMap((one) => one.rings as Ring[]), 0.03);
  if (box === null) return [];
  const to = fit(box, width, height, 0);
  const place = ([lon, lat]: Point): Point => [to.x(lon), to.y(lat)];
  return outlines.map(({ code, rings }) => {
    const placed = (rings as Ring[]).map((ring) => ring.map(place));
    const largest = [...placed].sort((a, b) => size(b) - size(a))[0] ?? [];
    const path = placed
      .map((ring) => `M${ring.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}Z`)
      .join("");
    return { code, path, at: centroid(largest) };
  });
}

/** The fill of a district on the map: its gravest class, nothing special when calm, hatched when silent. */
export function fill(one: District | undefined): string {
  if (one === undefined || one.state === "silent") return "url(#silent)";
  const of = gravest(one);
  return of === null ? "var(--panel-raised)" : SIGNS[of].colour;
}

export function share(online: number, devices: number): string {
  return devices > 0 ? `${(Math.floor((online / devices) * 1000) / 10).toFixed(1)}%` : "–";
}
