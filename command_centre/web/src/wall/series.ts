/** A station's series from the centre: pairs of epoch seconds and metres, oldest first. */

export type Pair = readonly [seconds: number, level_m: number];
export interface Series {
  observed: Pair[];
  forecast: Pair[];
}

type Wire = [string, number | null][];

export async function loadSeries(code: string, signal: AbortSignal): Promise<Series> {
  const answer = await fetch(`/api/stations/${encodeURIComponent(code)}/hydrograph`, { signal });
  if (!answer.ok) throw new Error(`hydrograph answered ${answer.status}`);
  const body = (await answer.json()) as { observed?: Wire; forecast?: Wire };
  return { observed: pairs(body.observed), forecast: pairs(body.forecast) };
}

function pairs(wire: Wire | undefined): Pair[] {
  return (wire ?? [])
    .filter((pair): pair is [string, number] => pair[1] !== null)
    .map(([at, level]): Pair => [Date.parse(at) / 1000, level]);
}

/** One time axis for both curves, as uPlot wants it; null where a curve has no point. */
export function aligned({ observed, forecast }: Series): [number[], (number | null)[], (number | null)[]] {
  const seen = new Map(observed);
  const expected = new Map(forecast);
  const times = [...new Set([...seen.keys(), ...expected.keys()])].sort((a, b) => a - b);
  return [times, times.map((at) => seen.get(at) ?? null), times.map((at) => expected.get(at) ?? null)];
}
