import { describe, expect, it } from "vitest";
import type { Shapes } from "../src/api/shapes";
import { decided, inOrder, kindOf, months, noted, pressed, shifted, byDay, type Year } from "../src/settings/calendar/year";
import { reordered } from "../src/settings/calendar/ladder";
import { instantOf, wallClock } from "../src/settings/forms/zone";
import { hexLines } from "../src/settings/quarantine/payload";
import { given, partsOf } from "../src/settings/responsibilities/limits";
import { below, grouped, linesOf, listed, numbersIn, same, valueAt, withValue, type RuleKey } from "../src/settings/rules/definition";
import { devicesOf, fates } from "../src/settings/rules/fates";
import type { Episode, Report } from "../src/settings/rules/api";
import { nouns } from "../src/settings/users/permissions";

const key = (path: string, form = "number"): RuleKey => ({
  path, form, needed: false, default: null, least: null, most: null, choices: [], unit: "",
});

describe("a rule's definition", () => {
  it("is read and changed by dotted paths, and empty tables go", () => {
    const rule = { type: "threshold", scope: { cells: ["C1"] } };
    expect(valueAt(rule, "scope.cells")).toEqual(["C1"]);
    expect(valueAt(rule, "schedule.hours")).toBeUndefined();
    expect(withValue(rule, "scope.streets", ["S1"])).toEqual({ type: "threshold", scope: { cells: ["C1"], streets: ["S1"] } });
    expect(withValue(rule, "scope.cells", [])).toEqual({ type: "threshold" });
    expect(withValue(rule, "raise_at", 0)).toEqual({ ...rule, raise_at: 0 });
    expect(rule).toEqual({ type: "threshold", scope: { cells: ["C1"] } });
  });

  it("takes lists as people type them and leaves what is no number to the centre", () => {
    expect(listed("C1， C2、C3\nC4,")).toEqual(["C1", "C2", "C3", "C4"]);
    expect(numbersIn("-990, x")).toEqual([-990, "x"]);
  });

  it("has its keys in groups, rows of a table apart", () => {
    const keys = [key("raise_at"), key("step", "tables"), key("step.at"), key("scope", "table"), key("scope.cells"), key("name_en"), key("name"), key("schedule.days")];
    const groups = grouped(keys);
    expect(groups.what.map((one) => one.path)).toEqual(["name", "name_en"]);
    expect(groups.whom.map((one) => one.path)).toEqual(["scope.cells"]);
    expect(groups.measure.map((one) => one.path)).toEqual(["raise_at", "step"]);
    expect(groups.when.map((one) => one.path)).toEqual(["schedule.days"]);
    expect(below(keys, "step").map((one) => one.path)).toEqual(["at"]);
  });

  it("gives the lines of a chart, a station's own levels included", () => {
    expect(linesOf({ type: "threshold", raise_at: 70, deadband: 10, level: "red" })).toEqual([
      { at: 70, key: "raise_at", level: "red" },
      { at: 60, key: "clear_at", level: null },
    ]);
    expect(linesOf({ type: "threshold", raise_at: 2, deadband: 1, direction: "below" }).at(1)?.at).toBe(3);
    const ladder = { type: "ladder", step: [{ at: "station.warning", offset: -0.5, level: "blue" }, { at: "station.highest", level: "red" }] };
    expect(linesOf(ladder, { "station.warning": 3, "station.highest": null })).toEqual([{ at: 2.5, key: "step.at", level: "blue" }]);
  });

  it("is the same whatever the order of its keys", () => {
    expect(same({ a: 1, b: { c: [1], d: 2 } }, { b: { d: 2, c: [1] }, a: 1 })).toBe(true);
    expect(same({ a: [1, 2] }, { a: [2, 1] })).toBe(false);
  });
});

const episode = (device: string, raised_at: string): Episode => ({
  device, raised_at, cleared_at: null, seconds: 60, level: "red", peak: 1,
});
const report = (episodes: Episode[], difference: Report["difference"]): Report => ({
  days: 1, readings: 1, detections: 0, totals: { episodes: episodes.length, per_day: 1, in_alarm_s: 1 }, episodes,
  episodes_left_out: 0, difference, notes: [],
});

describe("a preview beside what is in force", () => {
  it("says of each alarm whether it is new, gone or as now, what changes first", () => {
    const [one, two, gone] = [episode("D1", "2026-01-01"), episode("D2", "2026-01-02"), episode("D3", "2026-01-03")];
    const found = report([one, two], { kept: 1, gained: 1, lost: 1, gained_episodes: [two], lost_episodes: [gone] });
    expect(fates(found).map(({ episode: { device }, fate }) => [device, fate])).toEqual([["D2", "gained"], ["D3", "lost"], ["D1", "kept"]]);
    expect(devicesOf(found)).toEqual(["D2", "D3", "D1"]);
  });

  it("compares nothing when nothing is in force", () => {
    expect(fates(report([episode("D1", "2026-01-01")], null)).map(({ fate }) => fate)).toEqual(["alone"]);
  });
});

const YEAR: Year = {
  year: 2026, version: 3, provisional: false, complete: false, days: [{ day: "2026-12-16", working: false, note: "x" }],
  exceptions: [{ day: "2026-02-14", working: true }, { day: "2026-02-16", working: false }, { day: "2026-12-16", working: false }],
  statutory: ["2026-10-01"], working_days: 247, waiting: 0, hours: [],
};

describe("a year of days", () => {
  it("has 365 of them in twelve months, wherever the machine is", () => {
    expect(months(2026).map((days) => days.length)).toEqual([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]);
    expect(months(2028)[1]?.at(-1)).toBe("2028-02-29");
    expect(shifted("2026-12-31", 1)).toBe("2027-01-01");
  });

  it("tells a weekend that is worked from a weekday off, and takes an entry back", () => {
    const known = decided(YEAR, byDay(YEAR.days), false);
    const kinds = ["2026-02-14", "2026-02-16", "2026-10-01", "2026-12-16", "2026-12-17", "2026-12-19"].map((day) => kindOf(day, known));
    expect(kinds).toEqual(["moved", "holiday", "holiday", "holiday", "work", "rest"]);
    const without = pressed(byDay(YEAR.days), "2026-12-16", known);
    expect(kindOf("2026-12-16", decided(YEAR, without, false))).toBe("work");
    expect(inOrder(pressed(without, "2026-12-19", known))).toEqual([{ day: "2026-12-19", working: true, note: "" }]);
    expect(noted(byDay(YEAR.days), "2026-12-16", "y").get("2026-12-16")?.note).toBe("y");
  });

  it("is only what was entered once it is said to be complete", () => {
    expect(kindOf("2026-02-16", decided(YEAR, byDay([]), true))).toBe("work");
  });
});

describe("small readings", () => {
  it("counts the steps of urging from one in each set", () => {
    const step = (stage: string) => ({ event_level: 0, class: "", stage, step: 99, at: " 0 ", purpose: "urge", tell: [] });
    expect(reordered([step("handle"), step("arrive"), step("handle")]).map((one) => [one.stage, one.step, one.at])).toEqual([
      ["handle", 1, "0"], ["arrive", 1, "0"], ["handle", 2, "0"],
    ]);
  });

  it("takes a local time of the district's zone, also when its clock is changed", () => {
    expect(new Date(instantOf("2026-11-22T08:00", "Asia/Shanghai")).toISOString()).toBe("2026-11-22T00:00:00.000Z");
    expect(wallClock(Date.parse("2026-11-22T00:00:00Z"), "Asia/Shanghai")).toBe("2026-11-22T08:00");
    for (const local of ["2026-03-29T01:59", "2026-03-29T03:30", "2026-10-25T12:00"]) {
      expect(wallClock(instantOf(local, "Europe/Berlin"), "Europe/Berlin")).toBe(local);
    }
  });

  it("shows bytes without harm", () => {
    expect(hexLines(btoa("{\x01<"))).toEqual([`0000  7b 01 3c${" ".repeat(39)}  {.<`]);
    expect(hexLines("")).toEqual([]);
  });

  it("reads limits and leaves out what was not given", () => {
    expect(partsOf("3wd")).toEqual({ n: 3, unit: "wd" });
    expect(partsOf("soon")).toBeNull();
    expect(given({ handle: " 20m ", arrive: "" })).toEqual({ handle: "20m" });
  });
});

describe("what roles may do", () => {
  const route = (tag: string, changes: boolean, roles: string[], needs = "viewer"): Shapes["RoutePermission"] => ({
    tag, changes, roles, needs, reach: "district", method: changes ? "PUT" : "GET", path: "/api/x", summary: "",
  });

  it("is folded by noun: all, some or none to look at and to change", () => {
    const [rules] = nouns([route("rules", false, ["a", "b"]), route("rules", true, ["a"]), route("rules", true, [], "public")], ["a", "b"]);
    expect(rules?.cells).toEqual({ a: { look: "all", change: "all" }, b: { look: "all", change: "some" } });
    expect(nouns([route("users", true, ["a"])], ["b"])[0]?.cells).toEqual({ b: { look: "none", change: "none" } });
  });
});
