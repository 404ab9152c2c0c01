import { describe, expect, it } from "vitest";
import { filled } from "../src/board/spans";
import { ordered, sums, type Unit } from "../src/board/units";

const unit = (code: string, more: Partial<Unit> = {}): Unit => ({
  code, name: code, name_en: "", tier: "district", phone: "", lead_phone: "", capacity: null, fallback: null,
  open: 0, a: 0, b: 0, c: 0, unacknowledged: 0, working: 0, suspended: 0, handled: 0, overdue: 0, due_at: null,
  co_handling: 0, requests: 0, duty: "unknown", load: null, people: [], ...more,
});

describe("the dispatch board", () => {
  it("shows who is late before who is full, and keeps equals in place", () => {
    const units = [
      unit("D"),
      unit("C", { open: 9 }),
      unit("B", { load: 0.9, open: 2 }),
      unit("A", { overdue: 1, open: 1 }),
      unit("E"),
    ];
    expect(ordered(units).map((one) => one.code)).toEqual(["A", "B", "C", "D", "E"]);
    expect(ordered([...units].reverse()).map((one) => one.code)).toEqual(["A", "B", "C", "D", "E"]);
  });

  it("adds up what all of them have", () => {
    expect(sums([unit("A", { open: 2, overdue: 1 }), unit("B", { open: 3, unacknowledged: 2 })])).toEqual({
      open: 5,
      overdue: 1,
      unacknowledged: 2,
    });
  });
});

describe("alarms by ten minutes", () => {
  it("has a zero where none came, so that a quiet night is not left out", () => {
    const [xs, ys] = filled([["2026-07-01T00:10:00Z", 3]], Date.UTC(2026, 6, 1) / 1000, Date.UTC(2026, 6, 1, 0, 40) / 1000, 10);
    expect(ys).toEqual([0, 3, 0, 0]);
    expect(xs.map((at) => at - (xs[0] ?? 0))).toEqual([0, 600, 1200, 1800]);
  });
});
