/** A station's series from the centre: pairs of epoch seconds and metres, oldest first. */

export type Pair = readonly [seconds: number, level_m: number];
export interface Series {
  observed: Pair[];
  /** The median of what is expected, from the level it started at. */
  forecast: Pair[];
  /** Edges of the 10-90 % band, at the times of `forecast`. */
  low: Pair[];
  high: Pair[];
}
export const NOTHING: Readonly<Series> = { observed: [], forecast: [], low: [], high: [] };

type Observed = [string, number | null][];
type Expected = [at: string, q10: number, q50: number, q90: number][];
interface Hydrograph {
  observed?: Observed;
  forecast?: Expected;
  forecast_info?: { issued_at?: string; level_m?: number | null };
}

export async function loadSeries(code: string, signal: AbortSignal): Promise<Series> {
  const answer = await fetch(`/api/stations/${encodeURIComponent(code)}/hydrograph`, { signal });
  if (!answer.ok) throw new Error(`hydrograph answered ${answer.status}`);
  return seriesOf((await answer.json()) as Hydrograph);
}

/** The forecast begins where it was issued: its band opens from the level that was known then. */
export function seriesOf(body: Hydrograph): Series {
  const expected = (body.forecast ?? []).map(([at, ...levels]) => [seconds(at), ...levels] as const);
  const { issued_at, level_m } = body.forecast_info ?? {};
  if (expected.length > 0 && issued_at !== undefined && typeof level_m === "number") {
    expected.unshift([seconds(issued_at), level_m, level_m, level_m]);
  }
  return {
    observed: (body.observed ?? [])
      .filter((pair): pair is [string, number] => pair[1] !== null)
      .map(([at, level]): Pair => [seconds(at), level]),
    low: expected.map(([at, low]): Pair => [at, low]),
    forecast: expected.map(([at, , median]): Pair => [at, median]),
    high: expected.map(([at, , , high]): Pair => [at, high]),
  };
}

const seconds = (at: string): number => Date.parse(at) / 1000;

export type Column = (number | null)[];
export type Columns = [times: number[], observed: Column, forecast: Column, low: Column, high: Column];

/** One time axis for all curves, as uPlot wants it; null where a curve has no point. */
export function aligned({ observed, forecast, low, high }: Series): Columns {
  const curves = [observed, forecast, low, high].map((curve) => new Map(curve));
  const times = [...new Set(curves.flatMap((curve) => [...curve.keys()]))].sort((a, b) => a - b);
  const column = (of: number): Column => times.map((at) => curves[of]?.get(at) ?? null);
  return [times, column(0), column(1), column(2), column(3)];
}
