import { describe, expect, it } from "vitest";
import type { Alarm, Clock, TimelineItem } from "../src/desk/api";
import type { Case, LimitSaid, Why } from "../src/incident/api";
import { boxAround } from "../src/incident/closeup";
import { draftOf, drop, keep } from "../src/incident/drafts";
import { bodyOf, emptyValues, formOf, missingOf } from "../src/incident/fields";
import { photosOf, threadOf } from "../src/incident/kinds";
import { ACTION_KEYS, nextStep, offered, pressing } from "../src/incident/next";
import { byDevice } from "../src/incident/parts";
import { alarmsAbove, columns, episodes, limitsOf, metricOf, scale, span } from "../src/incident/readings";
import type { Ground } from "../src/map/shapes";

const NOON = Date.parse("2026-11-22T04:00:00Z");
const MINUTE = 60_000;
const at = (minutes: number) => new Date(NOON + minutes * MINUTE).toISOString();
const alarm = (id: number, device: string | null, raised: number, cleared: number | null = null): Alarm => ({
  id,
  rule: "smoke-high",
  device,
  metric: "smoke",
  raised_at: at(raised),
  cleared_at: cleared === null ? null : at(cleared),
});
const limit = (key: string, value: number | string, unit = "%"): LimitSaid => ({
  key, value, unit, name: "", name_en: "", source: "constant", source_text: "", source_text_en: "",
});
const why = (limits: LimitSaid[], evidence: Record<string, unknown> = {}): Why => ({
  sentence: "", sentence_en: "", limits, evidence, window: { from: at(0), to: at(0) }, notes: [],
});

describe("the time that is shown around alarms", () => {
  it("begins before the first and ends after the last, never after now", () => {
    const [from, to] = span(episodes([alarm(1, "D1", -30, -20), alarm(2, "D1", -60, -50)]), NOON);
    expect((from - NOON) / MINUTE).toBe(-80);
    expect((to - NOON) / MINUTE).toBe(-5);
    expect(span(episodes([alarm(1, "D1", -10)]), NOON)[1]).toBe(NOON);
  });

  it("is a week at most", () => {
    const [from, to] = span(episodes([alarm(1, "D1", -40 * 1440)]), NOON);
    expect(to - from).toBe(7 * 1440 * MINUTE);
  });

  it("holds the alarm of a device whose clock is ahead of ours", () => {
    const [from, to] = span(episodes([alarm(1, "D1", 5)]), NOON);
    expect(from).toBeLessThan(NOON + 5 * MINUTE);
    expect(to).toBe(NOON + 5 * MINUTE);
  });
});

describe("limits over readings", () => {
  it("are those on the readings' own scale: a rate of change is none", () => {
    const found = limitsOf(why([limit("raise_at", 70), limit("clear_at", 2, "m/h"), limit("on_delay_s", 60, "s")]));
    expect(found.map((one) => one.key)).toEqual(["raise_at"]);
    expect(limitsOf(null)).toEqual([]);
  });

  it("say on which side it alarms", () => {
    expect(alarmsAbove(why([limit("raise_at", 70), limit("clear_at", 60)]))).toBe(true);
    expect(alarmsAbove(why([limit("raise_at", 10), limit("clear_at", 12)]))).toBe(false);
    expect(alarmsAbove(why([], { direction: "below" }))).toBe(false);
    expect(alarmsAbove(null)).toBe(true);
  });

  it("are in sight when near, and do not flatten the curve when far away", () => {
    const [bottom, top] = scale(30, 35, [60]);
    expect(bottom).toBeLessThan(30);
    expect(top).toBeGreaterThan(60);
    expect(scale(30, 35, [5000])[1]).toBeLessThan(40);
    expect(scale(5, 5, [])[1]).toBeGreaterThan(5);
  });
});

describe("a curve", () => {
  it("breaks where the device was silent for long", () => {
    const readings = [0, 1, 2, 3, 30, 31].map((minute) => ({ at: at(minute), min: 1, mean: 2, max: 3 }));
    const [times, mean] = columns(readings);
    expect(mean.filter((one) => one === null)).toHaveLength(1);
    expect(mean.indexOf(null)).toBe(4);
    expect([...times].sort((a, b) => a - b)).toEqual(times);
  });

  it("of nothing is empty", () => {
    expect(columns([])).toEqual([[], [], [], []]);
    expect(metricOf([])).toBeNull();
  });
});

describe("alarms by device", () => {
  it("show first what alarmed first, then what stands", () => {
    const groups = byDevice([
      alarm(1, "over", -50, -40),
      alarm(2, "stands", -20),
      { ...alarm(3, "first", -60, -55), first_out: true },
      alarm(4, null, -10, -5),
      alarm(5, "over", -70, -65),
    ]);
    expect(groups.map((one) => one.device)).toEqual(["first", "stands", "over", ""]);
    expect(groups[2]?.alarms.map((one) => one.id)).toEqual([5, 1]);
  });
});

const incident = (state: string, allowed: string[], more: Partial<Case> = {}): Case => ({
  id: 1, number: "1", state, class: "A", category: "fire", cell: null, unit: null, reason: null, opened_at: at(0),
  due_at: at(30), devices: [], allowed, ...more,
});
const clock = (stage: string, due: number, more: Partial<Clock> = {}): Clock => ({
  id: 1, stage, unit: null, limit: "30m", started_at: at(0), due_at: at(due), left_minutes: 1, overdue: false,
  paused: false, ended_at: null, outcome: null, provisional: false, next: null, ...more,
});

describe("what is done next", () => {
  it("is the step the loop waits for, if it is this person's", () => {
    expect(nextStep(incident("dispatched", ["dispatch", "acknowledge", "handle"]))).toBe("acknowledge");
    expect(nextStep(incident("handled", ["verify", "rework"], { steps: 6 }))).toBe("verify");
    expect(nextStep(incident("handled", ["verify", "archive"], { steps: 5, reported: false }))).toBe("archive");
    expect(nextStep(incident("handled", ["comment"]))).toBeNull();
  });

  it("stands first, and a part can leave only where several lie together", () => {
    expect(offered(incident("dispatched", ["dispatch", "acknowledge"]), 2, true)).toEqual([
      "acknowledge", "dispatch", "split",
    ]);
    expect(offered(incident("dispatched", ["dispatch"]), 1, true)).not.toContain("split");
    expect(offered(incident("dispatched", ["comment"]), 9, false)).toEqual(["comment"]);
    expect(offered(incident("suspended", ["resume"]), 9, true)).toEqual(["resume"]);
  });

  it("has a key of its own for whatever stands together", () => {
    const { resume, ...others } = ACTION_KEYS;
    expect(resume).toBeDefined(); // a suspended incident is not suspended again: one key serves both
    expect(new Set(Object.values(others)).size).toBe(Object.keys(others).length);
    expect(Object.values(ACTION_KEYS).filter((key) => ["j", "k", "h", "t", "u", "x", "?"].includes(key))).toEqual([]);
  });

  it("is due by the clock that runs", () => {
    expect(pressing(incident("arrived", []), [clock("handle", 30)])).toEqual({ at: at(30), stage: null });
    const clocks = [clock("handle", 30, { ended_at: at(20) }), clock("archive", 90), clock("verify", 60)];
    expect(pressing(incident("handled", []), clocks)).toEqual({ at: at(60), stage: "verify" });
    expect(pressing(incident("archived", []), clocks)).toBeNull();
    expect(pressing(incident("suspended", []), clocks)).toBeNull();
  });
});

describe("the form of a split", () => {
  it("asks for parts, except of what was merged", () => {
    expect(formOf("split", "arrived").fields).toContain("parts");
    expect(formOf("split", "merged").fields).toEqual(["reason"]);
    const values = { ...emptyValues(), reason: "another matter" };
    expect(missingOf("split", values, "arrived")).toBe("parts");
    expect(bodyOf("split", { ...values, reports: [7] }, "arrived")).toEqual({ reason: "another matter", reports: [7] });
  });

  it("names photos by their digests where an action proves something", () => {
    const values = { ...emptyValues(), comment: "put out" };
    expect(bodyOf("handle", values, "arrived", ["ab"])).toEqual({ comment: "put out", photos: ["ab"] });
    expect(bodyOf("feedback", values, "handled", ["ab"])).toEqual({ comment: "put out" });
  });
});

describe("words that were typed and not sent", () => {
  it("are there again for the same incident until they are sent", () => {
    keep("fen 8", { ...emptyValues(), comment: "three people inside" });
    expect(draftOf("fen 8").comment).toBe("three people inside");
    expect(draftOf("chu 8").comment).toBe("");
    drop("fen 8");
    expect(draftOf("fen 8").comment).toBe("");
  });

  it("are kept of fifty incidents at most, the oldest go", () => {
    for (let id = 100; id < 160; id++) keep(String(id), { ...emptyValues(), reason: `r${id}` });
    expect(draftOf("100").reason).toBe("");
    expect(draftOf("159").reason).toBe("r159");
  });
});

describe("a timeline", () => {
  const item = (kind: string, detail: unknown = {}): TimelineItem => ({
    seq: 1, at: at(0), kind, actor: null, reason: null, detail,
  });

  it("has threads", () => {
    expect(["joined", "told", "urged", "handled"].map((kind) => threadOf(item(kind)))).toEqual([
      "alarms", "told", "clocks", "acts",
    ]);
  });

  it("shows photos by digest, and nothing that only looks like one", () => {
    expect(photosOf(item("handled", { photos: ["a".repeat(64), "../secret", 7] }))).toEqual(["a".repeat(64)]);
    expect(photosOf(item("reported", { photos: 2 }))).toEqual([]);
    expect(photosOf(item("told", null))).toEqual([]);
  });
});

describe("the close-up of a place", () => {
  const ground: Ground = {
    bbox: [0, 0, 1, 1],
    streets: [],
    cells: [{ code: "C1", name: "", street: "", community: "", rings: [[[0.4, 0.4], [0.5, 0.4], [0.5, 0.5], [0.4, 0.4]]] }],
  };

  it("holds the cell, and what alarmed outside of it", () => {
    const [west, , east] = boxAround(ground, "C1", null, [{ lon: 0.7, lat: 0.4, alarmed: true, online: true }]) ?? [0, 0, 0];
    expect(west).toBeLessThan(0.4);
    expect(east).toBeGreaterThan(0.7);
  });

  it("is that of the position where the cell has no outline, and none where nothing is known", () => {
    expect(boxAround(ground, "C9", [0.2, 0.2], [])?.[0]).toBeCloseTo(0.1985);
    expect(boxAround(ground, null, null, [])).toBeNull();
  });
});
