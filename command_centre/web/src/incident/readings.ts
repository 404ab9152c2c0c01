/** What a device read around its alarms: which time to show, and the rule's limits over it. No clock is read here. */
import type { Alarm } from "../desk/api";
import type { LimitSaid, Reading, Why } from "./api";

const MINUTE = 60_000;
const LEAST_BEFORE = 15 * MINUTE;
const MOST_BEFORE = 6 * 60 * MINUTE;
const MOST_AFTER = 60 * MINUTE;
const LONGEST = 7 * 24 * 60 * MINUTE;

/** Epoch milliseconds; `to` null: it still stands. */
export interface Episode {
  from: number;
  to: number | null;
}

export function episodes(alarms: readonly Alarm[]): Episode[] {
  return alarms
    .map((alarm) => ({
      from: Date.parse(alarm.raised_at),
      to: alarm.cleared_at === null ? null : Date.parse(alarm.cleared_at),
    }))
    .sort((a, b) => a.from - b.from);
}

/** From before the first episode, so that one sees it coming, to after the last; a week at most. */
export function span(found: readonly Episode[], now: number): [from: number, to: number] {
  const first = found.length > 0 ? Math.min(...found.map((one) => one.from)) : now;
  const last = Math.max(first, ...found.map((one) => one.to ?? Math.max(now, one.from)));
  const length = last - first;
  const from = first - Math.min(Math.max(length / 2, LEAST_BEFORE), MOST_BEFORE);
  const to = Math.min(last + Math.min(Math.max(length / 4, LEAST_BEFORE), MOST_AFTER), Math.max(now, last));
  return [Math.max(from, to - LONGEST), to];
}

export interface Limit {
  key: "raise_at" | "clear_at";
  value: number;
  unit: string;
}

/** The limits that lie on the readings' own scale; that of a rate of change does not. */
export function limitsOf(why: Why | null): Limit[] {
  return (why?.limits ?? []).filter(
    (one): one is LimitSaid & Limit =>
      (one.key === "raise_at" || one.key === "clear_at") && typeof one.value === "number" && !one.unit.includes("/"),
  );
}

/** Whether it alarms above its limit (or below); as the rule says, else by where it clears. */
export function alarmsAbove(why: Why | null): boolean {
  const said = why?.evidence["direction"];
  if (said === "below" || said === "above") return said === "above";
  const [raise, clear] = (["raise_at", "clear_at"] as const).map(
    (key) => limitsOf(why).find((one) => one.key === key)?.value,
  );
  return raise === undefined || clear === undefined || raise >= clear;
}

/** Which metric the chart shows: that of the alarm, else the device's main one. */
export function metricOf(alarms: readonly Alarm[]): string | null {
  return alarms.find((one) => one.metric)?.metric ?? null;
}

export type Columns = [number[], (number | null)[], (number | null)[], (number | null)[]];

const GAP = 4; // times the usual step: longer than that nothing was said, and no line pretends it was

/** Seconds, mean, least and greatest of each step; a null where the device was silent for long. */
export function columns(readings: readonly Reading[]): Columns {
  const times = readings.map((one) => Date.parse(one.at) / 1000);
  const steps = times.slice(1).map((at, i) => at - (times[i] ?? at)).sort((a, b) => a - b);
  const usual = steps[Math.floor(steps.length / 2)] ?? 0;
  const found: Columns = [[], [], [], []];
  readings.forEach((one, i) => {
    const [at, before] = [times[i] ?? 0, times[i - 1]];
    if (before !== undefined && usual > 0 && at - before > usual * GAP) {
      found[0].push((at + before) / 2);
      for (const column of found.slice(1)) column.push(null as never);
    }
    found[0].push(at);
    found[1].push(one.mean);
    found[2].push(one.min);
    found[3].push(one.max);
  });
  return found;
}

/** The scale holds the curve and the limits; a limit far away would flatten the curve and stays out. */
export function scale(low: number, high: number, limits: readonly number[]): [number, number] {
  const far = Math.max(high - low, Math.abs(high) * 0.05, 1e-6) * 6;
  let [bottom, top] = [low, high];
  for (const value of limits) {
    if (value > top && value - high <= far) top = value;
    if (value < bottom && low - value <= far) bottom = value;
  }
  const pad = Math.max((top - bottom) * 0.1, Math.abs(top) * 0.01, 1e-6);
  return [bottom - pad, top + pad];
}
