/** The order of the dispatch board and its sums. */
import type { Shapes } from "../api/shapes";

export type Unit = Shapes["BoardUnit"];

/** Who is late first, then who is fullest, then who has most; alike by code, so that rows do not jump about. */
export function ordered(units: readonly Unit[]): Unit[] {
  const load = (unit: Unit) => unit.load ?? 0;
  return [...units].sort(
    (a, b) =>
      b.overdue - a.overdue ||
      b.unacknowledged - a.unacknowledged ||
      load(b) - load(a) ||
      b.open - a.open ||
      (a.code < b.code ? -1 : 1),
  );
}

export function sums(units: readonly Unit[]): { open: number; unacknowledged: number; overdue: number } {
  const total = { open: 0, unacknowledged: 0, overdue: 0 };
  for (const unit of units) {
    total.open += unit.open;
    total.unacknowledged += unit.unacknowledged;
    total.overdue += unit.overdue;
  }
  return total;
}
