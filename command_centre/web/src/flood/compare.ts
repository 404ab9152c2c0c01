/** Past floods of one station laid over each other. Hours from the moment they are aligned by, and metres. */
import type { HydrographBody, PastEvent } from "./api";

export type AlignBy = "peak" | "crossing";
export interface Overlay {
  key: string;
  /** Epoch milliseconds of hour 0; null where the event has no such moment. */
  zero: number | null;
  points: [hours: number, level: number][];
}

export const BEFORE_H = 24;
export const AFTER_H = 48;
const HOUR_MS = 3_600_000;

export const zeroOf = (event: PastEvent, by: AlignBy): number => Date.parse(by === "peak" ? event.peak : event.onset);

/** What must be asked for to draw an event aligned either way. */
export function windowOf(event: PastEvent): { from: string; to: string } {
  const from = Date.parse(event.onset) - BEFORE_H * HOUR_MS;
  const to = Math.max(Date.parse(event.peak), Date.parse(event.onset)) + AFTER_H * HOUR_MS;
  return { from: new Date(from).toISOString(), to: new Date(Math.min(to, from + 31 * 24 * HOUR_MS)).toISOString() };
}

export function overlay(key: string, body: HydrographBody, zero: number | null): Overlay {
  if (zero === null) return { key, zero, points: [] };
  const points: [number, number][] = [];
  for (const [at, level] of body.observed ?? []) {
    const hours = (Date.parse(at) - zero) / HOUR_MS;
    if (level !== null && hours >= -BEFORE_H && hours <= AFTER_H) points.push([hours, level]);
  }
  return { key, zero, points };
}

/** The present with the forecast's median behind it, and the moment to align it by: seen already, or expected. */
export function present(body: HydrographBody, limit: number | null, by: AlignBy): Overlay {
  const seen = (body.observed ?? []).filter((pair): pair is [string, number] => pair[1] !== null);
  const ahead = (body.forecast ?? []).map(([at, , median]): [string, number] => [at, median]);
  const all = [...seen, ...ahead];
  const zero = by === "peak" ? highestAt(all) : crossedAt(all, limit);
  return overlay("now", { observed: all }, zero);
}

function highestAt(pairs: readonly (readonly [string, number])[]): number | null {
  let best: readonly [string, number] | null = null;
  for (const pair of pairs) if (best === null || pair[1] > best[1]) best = pair;
  return best === null ? null : Date.parse(best[0]);
}

/** The last time that the water came up through the level, between two readings on a straight line. */
function crossedAt(pairs: readonly (readonly [string, number])[], limit: number | null): number | null {
  if (limit === null) return null;
  for (let i = pairs.length - 1; i > 0; i--) {
    const [before, after] = [pairs[i - 1], pairs[i]];
    if (!before || !after || !(before[1] < limit && after[1] >= limit)) continue;
    const [from, to] = [Date.parse(before[0]), Date.parse(after[0])];
    return from + ((limit - before[1]) / (after[1] - before[1])) * (to - from);
  }
  return null;
}

/** One axis of hours for all curves, null where a curve has no point: as uPlot wants it. */
export function alignedHours(overlays: readonly Overlay[]): [number[], ...(number | null)[][]] {
  const hours = [...new Set(overlays.flatMap(({ points }) => points.map(([at]) => at)))].sort((a, b) => a - b);
  const columns = overlays.map(({ points }) => {
    const known = new Map(points);
    return hours.map((at) => known.get(at) ?? null);
  });
  return [hours, ...columns];
}
