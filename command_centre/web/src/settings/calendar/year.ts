/** A year of days as a calendar shows it. Dates are "2026-02-16" throughout, so that no time zone can move them. Pure. */

export interface Entered {
  day: string;
  working: boolean;
  note: string;
}
export interface Year {
  year: number;
  version: number;
  provisional: boolean;
  complete: boolean;
  /** What people entered here. */
  days: Entered[];
  /** All that differs from Monday to Friday, what was entered included. */
  exceptions: { day: string; working: boolean }[];
  statutory: string[];
  working_days: number;
  waiting: number;
  hours: [string, string][];
}
/** work: a usual working day; rest: a usual weekend; moved: a weekend that is worked (调休); holiday: a weekday off. */
export type Kind = "work" | "rest" | "moved" | "holiday";

const DAY_MS = 86_400_000;

/** 0 = Monday. */
export function weekday(day: string): number {
  return (new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7;
}

export function shifted(day: string, by: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + by * DAY_MS).toISOString().slice(0, 10);
}

/** Twelve months, each its days in order. */
export function months(year: number): string[][] {
  const found: string[][] = Array.from({ length: 12 }, () => []);
  for (let day = `${year}-01-01`; day.startsWith(String(year)); day = shifted(day, 1)) {
    found[Number(day.slice(5, 7)) - 1]?.push(day);
  }
  return found;
}

/** Whether people work on each day that is no plain weekday or weekend: what is known, with `edits` for what was entered. */
export function decided(year: Year | null, edits: ReadonlyMap<string, Entered>, complete: boolean): Map<string, boolean> {
  const found = new Map<string, boolean>();
  if (year && !complete) {
    const before = new Set(year.days.map((one) => one.day));
    for (const one of year.exceptions) if (!before.has(one.day)) found.set(one.day, one.working);
    for (const day of year.statutory) if (!found.has(day)) found.set(day, false);
  }
  for (const one of edits.values()) found.set(one.day, one.working);
  return found;
}

export function kindOf(day: string, known: ReadonlyMap<string, boolean>): Kind {
  const weekend = weekday(day) >= 5;
  const working = known.get(day) ?? !weekend;
  if (working) return weekend ? "moved" : "work";
  return weekend && !known.has(day) ? "rest" : "holiday";
}

/** A press on a day: it becomes the other thing, and a second press takes that back. */
export function pressed(
  edits: ReadonlyMap<string, Entered>,
  day: string,
  known: ReadonlyMap<string, boolean>,
): Map<string, Entered> {
  const next = new Map(edits);
  if (next.has(day)) next.delete(day);
  else next.set(day, { day, working: !(known.get(day) ?? weekday(day) < 5), note: "" });
  return next;
}

export function noted(edits: ReadonlyMap<string, Entered>, day: string, note: string): Map<string, Entered> {
  const known = edits.get(day);
  return known ? new Map(edits).set(day, { ...known, note }) : new Map(edits);
}

export function byDay(days: readonly Entered[]): Map<string, Entered> {
  return new Map(days.map((one) => [one.day, one]));
}

export function inOrder(edits: ReadonlyMap<string, Entered>): Entered[] {
  return [...edits.values()].sort((one, other) => (one.day < other.day ? -1 : 1));
}
