import { describe, expect, it } from "vitest";
import { duration } from "../src/i18n/format";
import { AlarmRate, FLOOD_WINDOW_MS } from "../src/incidents/flood";
import { sorted, sounding, timeLeft, untilWarning, worstStations } from "../src/incidents/order";
import { MUTE_MS, muteLeft } from "../src/sound/siren.svelte";
import type { Incident, Station } from "../src/screen/topics";

const incident = (id: number, changed: Partial<Incident>): Incident => ({
  id,
  number: `N${id}`,
  state: "dispatched",
  class: "B",
  category: "fire.smoke",
  category_name: "烟感报警",
  category_name_en: "Smoke",
  cell: "C1",
  cell_name: "",
  street_name: "",
  lon: null,
  lat: null,
  unit: "U",
  unit_name: "",
  unit_name_en: "",
  reason: "",
  opened_at: "2026-11-21T10:00:00Z",
  due_at: "2026-11-21T11:00:00Z",
  acknowledged_at: null,
  last_alarm_at: null,
  alarms: 1,
  devices: [],
  exercise: false,
  ...changed,
});

describe("the order of incidents", () => {
  const rows = [
    incident(1, { class: "C", due_at: "2026-11-21T10:01:00Z", opened_at: "2026-11-21T09:59:00Z" }),
    incident(2, { class: "A", acknowledged_at: "2026-11-21T10:02:00Z", due_at: "2026-11-21T10:02:00Z" }),
    incident(3, { class: "A", due_at: "2026-11-21T12:00:00Z", opened_at: "2026-11-21T10:05:00Z" }),
    incident(4, { class: "B", due_at: null, opened_at: "2026-11-21T08:00:00Z" }),
  ];
  const ids = (sort: "class" | "deadline" | "age") => sorted(rows, sort).map((one) => one.id);

  it("by class puts what nobody has acknowledged first", () => {
    expect(ids("class")).toEqual([3, 2, 4, 1]);
  });
  it("by deadline puts what has none last", () => {
    expect(ids("deadline")).toEqual([1, 2, 3, 4]);
  });
  it("by age puts the oldest first", () => {
    expect(ids("age")).toEqual([4, 1, 2, 3]);
  });
  it("sounds for first-class incidents that nobody has acknowledged", () => {
    expect(sounding(rows).map((one) => one.id)).toEqual([3]);
  });
});

describe("a countdown", () => {
  const now = Date.parse("2026-11-21T10:00:00Z");
  it("is negative when over and nothing without a deadline or a clock", () => {
    expect(timeLeft("2026-11-21T10:01:00Z", now)).toBe(60_000);
    expect(timeLeft("2026-11-21T17:59:00+08:00", now)).toBe(-60_000);
    expect(timeLeft(null, now)).toBeNull();
    expect(timeLeft("2026-11-21T10:01:00Z", null)).toBeNull();
  });
  it.each([
    [0, "0:00", "0:00"],
    [59_999, "0:59", "0:59"],
    [-65_000, "1:05", "1:05"],
    [3_600_000, "1:00:00", "1:00:00"],
    [90_000_000, "1天1时", "1 d 1 h"],
  ])("of %d ms reads %s and %s", (ms, zh, en) => {
    expect(duration(ms, "zh")).toBe(zh);
    expect(duration(ms, "en")).toBe(en);
  });
});

describe("the worst stations", () => {
  const station = (
    code: string,
    margin_m: number | null,
    state: Station["state"] = "normal",
    changed: Partial<Station> = {},
  ) => ({ code, margin_m, state, ...changed }) as Station;
  it("are ranked by margin; a silent or unset one cannot be ranked", () => {
    const all = [
      station("far", 2, "normal"),
      station("mute", -5, "silent"),
      station("above", -0.2, "warning"),
      station("bare", null, "unset"),
      station("near", 0.1, "normal"),
    ];
    expect(worstStations(all, 2).map((one) => one.code)).toEqual(["above", "near"]);
  });
  it("keep a flood in sight whose gauge has stopped", () => {
    const stopped = station("stopped", null, "guaranteed", { level_m: 4.4, warning_m: 3, suspect: "flat" });
    const all = [station("near", 0.2), stopped];
    expect(worstStations(all, 2).map((one) => one.code)).toEqual(["stopped", "near"]);
  });
  it("say how long until the warning level, counted from the forecast's issue", () => {
    const soon = { forecast_at: "2026-11-21T10:00:00Z", time_to_warning_s: 3600 };
    const now = Date.parse("2026-11-21T10:10:00Z");
    expect(untilWarning(station("a", 0.5, "normal", soon), now)).toBe(50 * 60_000);
    expect(untilWarning(station("a", -0.5, "warning", soon), now)).toBeNull();
    expect(untilWarning(station("a", 0.5, "normal", { ...soon, time_to_warning_s: null }), now)).toBeNull();
    expect(untilWarning(station("a", 0.5), now)).toBeNull();
    expect(untilWarning(station("a", 0.5, "normal", soon), null)).toBeNull();
  });
});

describe("a mute", () => {
  it("runs out after ten minutes", () => {
    expect(muteLeft(null, 5)).toBe(0);
    expect(muteLeft(1000, 1000)).toBe(MUTE_MS);
    expect(muteLeft(1000, 1000 + MUTE_MS - 1)).toBe(1);
    expect(muteLeft(1000, 1000 + MUTE_MS)).toBe(0);
  });
});

describe("an alarm flood", () => {
  it("is more than ten in ten minutes, and passes", () => {
    const rate = new AlarmRate();
    for (let n = 0; n < 10; n++) rate.raised(n);
    expect(rate.flood(10)).toBe(0);
    rate.raised(10);
    expect(rate.flood(10)).toBe(11);
    expect(rate.flood(FLOOD_WINDOW_MS)).toBe(0);
  });
});
