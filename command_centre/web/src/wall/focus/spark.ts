/** A short curve without axes, for how a figure moved rather than what it was. */

export type Reading = readonly [ms: number, value: number];

/** An SVG path through the readings, oldest first, that fills `width` x `height`; a level line when nothing moved. */
export function path(readings: readonly Reading[], width: number, height: number): string {
  const values = readings.map(([, value]) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [readings[0]?.[0] ?? 0, readings.at(-1)?.[0] ?? 0];
  const x = (ms: number) => (last > first ? ((ms - first) / (last - first)) * width : width / 2);
  const y = (value: number) => (high > low ? height * (0.95 - 0.9 * ((value - low) / (high - low))) : height / 2);
  return readings.map(([ms, value], at) => `${at === 0 ? "M" : "L"}${x(ms).toFixed(1)} ${y(value).toFixed(1)}`).join("");
}
