/** A hydrograph's answer as columns for charts, and what stands at one moment. Epoch seconds and metres. */
import { aligned, seriesOf, type Column, type Pair } from "../wall/series";
import type { HydrographBody } from "./api";

export interface Above {
  code: string;
  name: string;
  travelS: number | null;
  observed: Pair[];
}

export interface Curves {
  /** One time axis: seen, median, lower and upper edge of the band. */
  main: [times: number[], observed: Column, median: Column, low: Column, high: Column];
  rain: Pair[];
  upstream: Above[];
  /** All charts show this span. */
  from: number;
  to: number;
  /** Times that can be read out, oldest first. */
  moments: number[];
}

const seconds = (at: string): number => Date.parse(at) / 1000;
const points = (pairs: readonly (readonly [string, number | null])[]): Pair[] =>
  pairs.filter((pair): pair is [string, number] => pair[1] !== null).map(([at, value]): Pair => [seconds(at), value]);

export function curvesOf(body: HydrographBody, now: number): Curves {
  const main = aligned(seriesOf(body as Parameters<typeof seriesOf>[0]));
  const [times] = main;
  const to = body.to ? seconds(body.to) : now;
  const from = body.from ? seconds(body.from) : (times[0] ?? to - 86_400);
  const upstream = (body.upstream ?? []).map((above) => ({
    code: above.code,
    name: above.name,
    travelS: above.travel_min === null ? null : above.travel_min * 60,
    observed: points(above.observed),
  }));
  const rain = points(body.rain ?? []);
  const others = [...rain, ...upstream.flatMap((above) => above.observed)].map(([at]) => at);
  const moments = times.length > 0 ? times : [...new Set(others)].sort((a, b) => a - b);
  return { main, rain, upstream, from, to: Math.max(to, times.at(-1) ?? to), moments };
}

/** A level that the screen protocol brought after the series was loaded. */
export function extended(body: HydrographBody, at: string | null, level: number | null): HydrographBody {
  const last = body.observed?.at(-1);
  if (at === null || level === null || (last && Date.parse(last[0]) >= Date.parse(at))) return body;
  const to = body.to && Date.parse(body.to) >= Date.parse(at) ? body.to : at;
  return { ...body, to, observed: [...(body.observed ?? []), [at, level]] };
}

export interface Moment {
  at: number;
  observed: number | null;
  expected: { low: number; median: number; high: number } | null;
  /** Millimetres in the step that holds this moment; null without a gauge. */
  rain: number | null;
  upstream: { name: string; level: number | null }[];
}

const NEAR_S = 30 * 60;

export function momentAt(curves: Curves, at: number, shifted: boolean): Moment {
  const [times, observed, median, low, high] = curves.main;
  const place = times.indexOf(at);
  const value = (column: Column) => (place < 0 ? null : (column[place] ?? null));
  const [m, l, h] = [value(median), value(low), value(high)];
  return {
    at,
    observed: value(observed),
    expected: m === null || l === null || h === null ? null : { low: l, median: m, high: h },
    rain: rainAt(curves.rain, at),
    upstream: curves.upstream.map((above) => ({
      name: above.name,
      level: nearest(above.observed, at - (shifted ? (above.travelS ?? 0) : 0)),
    })),
  };
}

/** Steps are named by their beginning. */
function rainAt(rain: readonly Pair[], at: number): number | null {
  const step = stepOf(rain);
  const found = rain.find(([begins]) => begins <= at && at < begins + step);
  return found ? found[1] : null;
}

/** Seconds between two neighbours, ten minutes where there are none. */
export function stepOf(pairs: readonly Pair[]): number {
  let least = Infinity;
  for (let i = 1; i < pairs.length; i++) least = Math.min(least, (pairs[i]?.[0] ?? 0) - (pairs[i - 1]?.[0] ?? 0));
  return Number.isFinite(least) && least > 0 ? least : 600;
}

function nearest(pairs: readonly Pair[], at: number): number | null {
  let best: Pair | null = null;
  for (const pair of pairs) if (best === null || Math.abs(pair[0] - at) < Math.abs(best[0] - at)) best = pair;
  return best !== null && Math.abs(best[0] - at) <= NEAR_S ? best[1] : null;
}

/** At most about `most` moments in even steps for a table; the newest seen and every expected one are kept. */
export function thinned(curves: Curves, most: number): number[] {
  const [times, observed, median] = curves.main;
  const seen = times.filter((_, at) => observed[at] !== null && observed[at] !== undefined);
  const ahead = times.filter((_, at) => median[at] !== null && median[at] !== undefined);
  const every = Math.max(1, Math.ceil(seen.length / Math.max(1, most - ahead.length)));
  const kept = seen.filter((_, at) => (seen.length - 1 - at) % every === 0);
  return [...new Set([...kept, ...ahead])].sort((a, b) => a - b);
}

/** A scale that holds the curve and each level near it; one far away would flatten the curve. */
export function scaleOf(low: number, high: number, levels: readonly (number | null | undefined)[]): [number, number] {
  const reach = Math.max(high - low, 0.5) * 2;
  let [bottom, top] = [low, high];
  for (const level of levels) {
    if (typeof level !== "number" || level > high + reach || level < low - reach) continue;
    [bottom, top] = [Math.min(bottom, level), Math.max(top, level)];
  }
  const pad = Math.max((top - bottom) * 0.08, 0.05);
  return [bottom - pad, top + pad];
}
