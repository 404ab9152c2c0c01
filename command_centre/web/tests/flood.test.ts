import { describe, expect, it } from "vitest";
import "./words";
import type { FloodWarning, HydrographBody, StationRow, Task } from "../src/flood/api";
import { stepsOf } from "../src/flood/asked";
import { alignedHours, overlay, present, windowOf, zeroOf } from "../src/flood/compare";
import { curvesOf, extended, momentAt, scaleOf, stepOf, thinned } from "../src/flood/curves";
import { arrival, coming, marginTo, merged, ordered, sums, unforeseen } from "../src/flood/danger";
import { bodyOf, draftOf, emptyDraft, prefilled } from "../src/flood/warningform";

const NOW = Date.parse("2026-11-22T08:00:00Z");
const at = (minutes: number): string => new Date(NOW + minutes * 60_000).toISOString();

function station(code: string, changed: Partial<StationRow> = {}): StationRow {
  return {
    code,
    name: code,
    name_en: code,
    station_kind: "river",
    cell: `C-${code}`,
    level_m: 2,
    observed_at: at(-1),
    warning_m: 3,
    guaranteed_m: 4,
    highest_m: 5,
    margin_m: 1,
    state: "normal",
    suspect: null,
    forecast_at: at(-5),
    time_to_level: {},
    ...changed,
  };
}
const reach = (minutes: number | null, earliest: number | null) => ({
  seconds: minutes === null ? null : minutes * 60,
  at: minutes === null ? null : at(minutes),
  earliest_at: earliest === null ? null : at(earliest),
});

describe("when a level is reached", () => {
  it("is by the median, with the chance that it is earlier", () => {
    const rising = station("A", { time_to_level: { warning: reach(70, 40), guaranteed: reach(null, 150) } });
    expect(arrival(rising, "warning", NOW)).toEqual({ is: "at", at: NOW + 70 * 60_000, earliest: NOW + 40 * 60_000 });
    expect(arrival(rising, "guaranteed", NOW)).toEqual({ is: "chance", earliest: NOW + 150 * 60_000 });
    expect(arrival(rising, "highest", NOW)).toEqual({ is: "not" });
  });

  it("is unknown without a forecast, with an old one, and of a gauge nobody believes", () => {
    const known = { time_to_level: { warning: reach(70, 40) } };
    expect(arrival(station("A", { ...known, forecast_at: null }), "warning", NOW).is).toBe("unknown");
    const old = arrival(station("A", { ...known, forecast_at: at(-31) }), "warning", NOW);
    expect(old).toEqual({ is: "old", issued: NOW - 31 * 60_000 });
    expect(arrival(station("A", { ...known, suspect: "step" }), "warning", NOW).is).toBe("unknown");
    expect(arrival(station("A", { ...known, state: "silent" }), "warning", NOW).is).toBe("unknown");
  });

  it("is over above the level and unset without one; a stopped gauge above it stays over", () => {
    expect(arrival(station("A", { level_m: 3.5, state: "warning" }), "warning", NOW)).toEqual({ is: "over", by: 0.5 });
    expect(arrival(station("A", { warning_m: null }), "warning", NOW)).toEqual({ is: "unset" });
    expect(marginTo(station("A", { level_m: 3.5, state: "warning", suspect: "flat" }), "warning")).toBe(-0.5);
  });
});

describe("the order of danger", () => {
  const far = station("far", { level_m: 1 });
  const close = station("close", { level_m: 2.9 });
  const soon = station("soon", { level_m: 1.5, time_to_level: { warning: reach(60, 30) } });
  const maybe = station("maybe", { level_m: 1.2, time_to_level: { warning: reach(null, 90) } });
  const over = station("over", { level_m: 3.1, state: "warning" });
  const silent = station("silent", { state: "silent", margin_m: null });
  const unset = station("unset", { warning_m: null, state: "unset" });
  const all = [unset, far, silent, maybe, close, over, soon];

  it("is by margin, or by time to the warning level; nobody is left out", () => {
    expect(ordered(all, "margin", NOW).map(({ code }) => code)).toEqual([
      "over", "close", "soon", "maybe", "far", "silent", "unset",
    ]);
    expect(ordered(all, "time", NOW).map(({ code }) => code)).toEqual([
      "over", "soon", "maybe", "close", "far", "silent", "unset",
    ]);
  });

  it("lists what is coming, expected before possible", () => {
    expect(coming(all, NOW).map(({ station: one, level }) => `${one.code} ${level}`)).toEqual([
      "soon warning", "maybe warning",
    ]);
  });

  it("counts those of which nobody can say when, so that silence is not taken for safety", () => {
    expect(unforeseen(all, NOW)).toBe(1);
    expect(unforeseen(all.map((one) => ({ ...one, forecast_at: null })), NOW)).toBe(5);
  });

  it("counts without slopes, which have no water", () => {
    expect(sums([...all, station("slope", { station_kind: "landslide", state: "unset" })])).toEqual({
      all: 7, above: 1, silent: 1, suspect: 0, unset: 1,
    });
  });

  it("takes the newest state over what was asked earlier", () => {
    const known = new Map([["A", station("A", { level_m: 1, time_to_level: { warning: reach(10, 5) } })]]);
    const [row] = merged(known, [station("A", { level_m: 2 })].map((one) => ({ ...one, time_to_level: undefined }) as never));
    expect(row?.level_m).toBe(2);
  });
});

describe("a hydrograph", () => {
  const body: HydrographBody = {
    from: at(-60),
    to: at(0),
    observed: [[at(-60), 1], [at(-30), null], [at(-20), 1.5], [at(0), 2]],
    forecast: [[at(60), 2.1, 2.5, 3]],
    forecast_info: { refused: null, issued_at: at(0), level_m: 2 },
    rain: [[at(-60), 1], [at(-50), 2], [at(-40), 3]],
    upstream: [{ code: "U", name: "上游", travel_min: 20, observed: [[at(-40), 4], [at(-20), 4.4]] }],
  };
  const curves = curvesOf(body, NOW / 1000);

  it("spans what was seen and what is ahead, without readings that are none", () => {
    expect([curves.from, curves.to]).toEqual([(NOW - 3_600_000) / 1000, (NOW + 3_600_000) / 1000]);
    expect(curves.moments).toHaveLength(4);
  });

  it("reads out one moment: level, band, rain of its step, the water upstream when it left there", () => {
    const before = momentAt(curves, (NOW - 20 * 60_000) / 1000, true);
    expect(before).toMatchObject({ observed: 1.5, expected: null, upstream: [{ name: "上游", level: 4 }] });
    expect(momentAt(curves, (NOW - 20 * 60_000) / 1000, false).upstream[0]?.level).toBe(4.4);
    expect(momentAt(curves, (NOW - 60 * 60_000) / 1000, false).rain).toBe(1);
    expect(momentAt(curves, (NOW + 60 * 60_000) / 1000, false).expected).toEqual({ low: 2.1, median: 2.5, high: 3 });
  });

  it("grows by what comes live, and by nothing older", () => {
    expect(extended(body, at(1), 2.2).observed?.at(-1)).toEqual([at(1), 2.2]);
    expect(extended(body, at(1), 2.2).to).toBe(at(1));
    expect(extended(body, at(-5), 9)).toBe(body);
    expect(extended(body, null, null)).toBe(body);
  });

  it("is thinned for a table without losing the newest and the expected", () => {
    const long = { ...body, observed: Array.from({ length: 500 }, (_, n): [string, number] => [at(n - 500), n]) };
    const kept = thinned(curvesOf(long, NOW / 1000), 60);
    expect(kept.length).toBeLessThanOrEqual(61);
    expect(kept).toContain((NOW - 60_000) / 1000);
    expect(kept.at(-1)).toBe((NOW + 3_600_000) / 1000);
  });

  it("without readings is empty and not broken", () => {
    const none = curvesOf({ from: at(-60), to: at(0) }, NOW / 1000);
    expect([none.moments, none.main[0]]).toEqual([[], []]);
    expect(stepOf([])).toBe(600);
  });

  it("shows each level that is near, and leaves one far away to an arrow", () => {
    const [bottom, top] = scaleOf(2, 2.5, [3, 50, null]);
    expect(bottom).toBeLessThan(2);
    expect(top).toBeGreaterThan(3);
    expect(top).toBeLessThan(4);
  });
});

describe("floods laid over each other", () => {
  const event = { onset: at(-1440), peak: at(-1200), end: at(-1100), peak_m: 4, rise_m: null };

  it("are asked for with a day before and two days after", () => {
    expect(windowOf(event)).toEqual({ from: at(-2880), to: at(-1200 + 48 * 60) });
  });

  it("are aligned by peak or by crossing, in hours", () => {
    const body = { observed: [[at(-1440), 3], [at(-1200), 4]] as [string, number][] };
    expect(overlay("x", body, zeroOf(event, "peak")).points).toEqual([[-4, 3], [0, 4]]);
    expect(overlay("x", body, zeroOf(event, "crossing")).points).toEqual([[0, 3], [4, 4]]);
  });

  it("have the present with them, seen or forecast, where it comes to the level at all", () => {
    const rising: HydrographBody = { observed: [[at(-60), 2], [at(0), 2.5]], forecast: [[at(60), 2.5, 3.5, 4]] };
    expect(present(rising, 3, "crossing").zero).toBe(NOW + 30 * 60_000);
    expect(present(rising, 9, "crossing").zero).toBeNull();
    expect(present(rising, 3, "peak").zero).toBe(NOW + 60 * 60_000);
    expect(present({}, 3, "peak").points).toEqual([]);
  });

  it("share one axis", () => {
    const one = { key: "a", zero: 0, points: [[0, 1], [1, 2]] as [number, number][] };
    const two = { key: "b", zero: 0, points: [[1, 5]] as [number, number][] };
    expect(alignedHours([one, two])).toEqual([[0, 1], [1, 2], [null, 5]]);
  });
});

describe("what a level asks for", () => {
  const wet = station("W", { level_m: 3.2, state: "warning", cell: "C1" });
  const listed = [{ cell: "C1", cell_name: "", to_move: 12, note: "" }, { cell: "C2", cell_name: "", to_move: 0, note: "" }];
  const nothing = { stations: [wet], warnings: [], tasks: [], headcounts: listed };
  const issued = (colour: string, exercise = false) => ({ state: "issued", colour, exercise }) as FloodWarning;
  const task = (kind: string, exercise = false) => ({ kind, cell: "C1", exercise }) as Task;

  it("is a warning and rounds at level IV, and people from III on", () => {
    expect(stepsOf("IV", nothing)).toEqual([
      { what: "warn", done: false, colour: "blue" },
      { what: "inspect", done: false, cells: ["C1"] },
    ]);
    expect(stepsOf("III", nothing)[2]).toEqual({ what: "evacuate", done: false, cells: ["C1"], people: 12 });
  });

  it("is done by what is in force, a drill aside", () => {
    const done = { ...nothing, warnings: [issued("orange")], tasks: [task("inspect"), task("evacuate")] };
    expect(stepsOf("III", done).map((step) => step.done)).toEqual([true, true, true]);
    const drill = { ...nothing, warnings: [issued("red", true)], tasks: [task("inspect", true)] };
    expect(stepsOf("III", drill).map((step) => step.done)).toEqual([false, false, false]);
    expect(stepsOf("I", { ...nothing, warnings: [issued("blue")] })[0]?.done).toBe(false);
  });
});

describe("a warning's form", () => {
  it("starts from a station with its cell, and ignores a colour that is none", () => {
    const query = new URLSearchParams("station=W&colour=purple");
    expect(prefilled(query, [station("W", { cell: "C9" })])).toMatchObject({ stations: ["W"], areas: ["C9"], colour: "blue" });
  });

  it("says when the warning ends, and of an update not whether it is an exercise", () => {
    const body = bodyOf({ ...emptyDraft(), hours: 6 }, NOW, false);
    expect(body).toMatchObject({ expires: at(360), certainty: null, exercise: false });
    expect(bodyOf(emptyDraft(), NOW, true)).not.toHaveProperty("exercise");
  });

  it("is filled from a warning, with the hours it still has", () => {
    const warning = {
      colour: "red",
      exercise: true,
      expires_at: at(90),
      content: { headline: "x", areas: ["S1"], onset: null, expires: at(90) },
    } as unknown as FloodWarning;
    expect(draftOf(warning, NOW)).toMatchObject({ colour: "red", hours: 2, headline: "x", areas: ["S1"], exercise: true });
    expect(draftOf({ ...warning, expires_at: at(-5) }, NOW).hours).toBe(1);
  });
});
