import { describe, expect, it, vi } from "vitest";
import { extent } from "../src/map/projection";
import type { CellGround } from "../src/map/shapes";
import { unplaced } from "../src/map/unplaced";
import type { Cell, Incident } from "../src/screen/topics";
import { calibrated, leastText, readPlace, SCALES } from "../src/wall/calibration";
import { boxes } from "../src/wall/fit";
import { runningFirst } from "../src/wall/focus/clocks";
import { path } from "../src/wall/focus/spark";
import { addressOf, readOptions, within } from "../src/wall/options";
import { chosen, turned, type Standing } from "../src/wall/rotation";
import { keepAwake } from "../src/wall/wakelock";

describe("the address of a wall", () => {
  it("says view, kiosk, rotation, night hours, scope and incident", () => {
    expect(readOptions(["incident"], "kiosk&rotate=overview,flood,night&every=30&night=22-6&scope=S1&id=17")).toEqual({
      view: "incident",
      kiosk: true,
      rotate: ["overview", "flood", "night"],
      everyS: 30,
      night: { from: 22, to: 6 },
      scope: "S1",
      incident: "17",
    });
  });
  it("takes nonsense for nothing", () => {
    const plain = readOptions([], "");
    expect(plain).toMatchObject({ view: "overview", kiosk: false, rotate: [], everyS: 60, night: null, scope: null });
    expect(readOptions(["nowhere"], "kiosk=0&rotate=calibrate,x&every=abc&night=25-99&scope=")).toEqual(plain);
    expect(readOptions([], "every=0").everyS).toBe(5);
    expect(readOptions([], "night=6-6").night).toBeNull();
  });
  it("keeps what else was asked when a person changes the view, but ends the rotation", () => {
    expect(addressOf("flood", "kiosk=&scope=S1&rotate=overview,night&id=3")).toBe("/wall/flood?kiosk&scope=S1");
    expect(addressOf("overview", "")).toBe("/wall");
  });
  it("knows night hours on both sides of midnight", () => {
    const asked = { from: 22, to: 6 };
    expect([21, 22, 23, 0, 5, 6, 12].map((hour) => within(asked, hour))).toEqual(
      [false, true, true, true, true, false, false],
    );
    expect([8, 9, 16, 17].map((hour) => within({ from: 9, to: 17 }, hour))).toEqual([false, true, true, false]);
  });
});

describe("a wall that changes by itself", () => {
  const standing = (changed: Partial<Standing>): Standing => ({
    asked: "overview",
    rotate: ["overview", "flood"],
    turn: { index: 1, since: 0 },
    urgent: false,
    night: false,
    nightly: false,
    ...changed,
  });
  it("turns after its time, one step however long it slept", () => {
    expect(turned({ index: 0, since: 0 }, 59_999, 60, 3, false)).toEqual({ index: 0, since: 0 });
    expect(turned({ index: 0, since: 0 }, 60_000, 60, 3, false)).toEqual({ index: 1, since: 60_000 });
    expect(turned({ index: 2, since: 0 }, 9_000_000, 60, 3, false)).toEqual({ index: 0, since: 9_000_000 });
  });
  it("stands while something urgent waits, and then shows its view for the whole time again", () => {
    const held = turned({ index: 1, since: 0 }, 300_000, 60, 3, true);
    expect(held).toEqual({ index: 1, since: 300_000 });
    expect(turned(held, 301_000, 60, 3, false).index).toBe(1);
    expect(turned(held, 360_000, 60, 3, false).index).toBe(2);
  });
  it("goes to the urgent incident and comes back", () => {
    expect(chosen(standing({}))).toBe("flood");
    expect(chosen(standing({ urgent: true }))).toBe("incident");
    expect(chosen(standing({ night: true, nightly: true }))).toBe("night");
    expect(chosen(standing({ night: true, nightly: true, urgent: true }))).toBe("incident");
  });
  it("stays where a person set it", () => {
    expect(chosen(standing({ rotate: [], urgent: true }))).toBe("overview");
    expect(chosen(standing({ rotate: [], asked: "night", urgent: true }))).toBe("night");
    expect(chosen(standing({ asked: "calibrate", urgent: true }))).toBe("calibrate");
  });
});

describe("calibration", () => {
  const hd = { width: 1920, height: 1080 };
  it("asks for 23 mm at 5 m", () => {
    expect(leastText(5)).toBeCloseTo(23.27, 1);
  });
  it("leaves a picture of 1.4 m at 5 m as it is, and gives a large one more room", () => {
    expect(calibrated({ distance_m: 5, picture_m: 1.4 }, hd)).toMatchObject({ scale: 1, tooSmall: false });
    const large = calibrated({ distance_m: 5, picture_m: 2.7 }, { width: 6720, height: 2160 });
    expect(large.scale).toBeCloseTo(0.52, 2);
    expect(large.tooSmall).toBe(false);
  });
  it("gives text of the least size at the distance, on any picture", () => {
    for (const picture of [hd, { width: 3840, height: 1080 }, { width: 6720, height: 2160 }, { width: 1280, height: 1024 }]) {
      const place = { distance_m: 4, picture_m: 1.5 };
      const { scale, least_mm } = calibrated(place, picture);
      const px = 18 * Math.min(picture.width / 1920, picture.height / 1080) * scale;
      expect((px / picture.height) * place.picture_m * 1000).toBeGreaterThanOrEqual(least_mm - 0.01);
    }
  });
  it("says when the picture is too small, and what would do", () => {
    const small = calibrated({ distance_m: 8, picture_m: 0.7 }, hd);
    expect(small).toMatchObject({ tooSmall: true, scale: SCALES.most });
    expect(calibrated({ distance_m: 8, picture_m: small.needs_m + 0.01 }, hd).tooSmall).toBe(false);
    expect(calibrated({ distance_m: small.reads_m - 0.01, picture_m: 0.7 }, hd).tooSmall).toBe(false);
  });
  it("refuses what nobody could have meant", () => {
    expect(readPlace("5", "1.4")).toEqual({ distance_m: 5, picture_m: 1.4 });
    for (const [distance, picture] of [["", "1"], ["5", "0"], ["x", "1"], ["500", "1"], [null, 1]]) {
      expect(readPlace(distance, picture)).toBeNull();
    }
  });
});

describe("the wake lock", () => {
  function stage() {
    const listeners = new Set<() => void>();
    const page = {
      visibilityState: "visible",
      addEventListener: (_: string, listener: () => void) => void listeners.add(listener),
      removeEventListener: (_: string, listener: () => void) => void listeners.delete(listener),
    };
    const locks: { released: boolean; release(): Promise<void> }[] = [];
    const request = vi.fn(() => {
      const lock = {
        released: false,
        release() {
          lock.released = true;
          return Promise.resolve();
        },
      };
      locks.push(lock);
      return Promise.resolve(lock);
    });
    const seen = () => {
      for (const listener of listeners) listener();
    };
    return { page, locks, request, seen, listeners };
  }
  const settled = () => new Promise((done) => setTimeout(done));

  it("is taken again when the page is seen again, and let go at the end", async () => {
    const { page, locks, request, seen, listeners } = stage();
    const stop = keepAwake({ wakeLock: { request } }, page);
    await settled();
    seen();
    await settled();
    expect(request).toHaveBeenCalledTimes(1); // it is still held
    if (locks[0]) locks[0].released = true; // the browser let go
    page.visibilityState = "hidden";
    seen();
    await settled();
    expect(request).toHaveBeenCalledTimes(1);
    page.visibilityState = "visible";
    seen();
    await settled();
    expect(request).toHaveBeenCalledTimes(2);
    stop();
    expect(locks[1]?.released).toBe(true);
    expect(listeners.size).toBe(0);
  });
  it("does without when the browser has or gives none", async () => {
    const { page } = stage();
    keepAwake({}, page)();
    const quiet = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    keepAwake({ wakeLock: { request: () => Promise.reject(new Error("no")) } }, page);
    await settled();
    expect(quiet).toHaveBeenCalledOnce();
    quiet.mockRestore();
  });
});

describe("what the map cannot show", () => {
  const outlined = { code: "C1", name: "一", street: "S", community: "M", rings: [[[0, 0], [1, 0], [1, 1]]] };
  const bare = (code: string) => ({ ...outlined, code, name: code, rings: [] });
  const cells = [outlined, bare("C2"), bare("C3")] as unknown as CellGround[];
  const state = (of: Cell["state"]): Cell => ({ state: of, class: null, open: 0, devices: 1, online: 1 });
  const incident = (changed: Partial<Incident>) =>
    ({ cell: "C2", cell_name: "二", class: "C", lon: null, lat: null, ...changed }) as Incident;
  const states = new Map([["C1", state("blind")], ["C2", state("normal")], ["C3", state("blind")]]);

  it("is told with the worst first; a position of its own puts an incident on the map", () => {
    const many = [incident({}), incident({ class: "A" }), incident({ lon: 1, lat: 1 }), incident({ cell: "C1" })];
    expect(unplaced(cells, states, many, () => true)).toEqual([
      { code: "C2", name: "二", class: "A", open: 2, state: "normal" },
      { code: "C3", name: "C3", class: null, open: 0, state: "blind" },
    ]);
    expect(unplaced(cells, states, [], (cell) => cell === "C2")).toEqual([]);
  });
  it("counts an incident that has no cell at all", () => {
    const nowhere = incident({ cell: null as unknown as string, cell_name: "" });
    expect(unplaced([], new Map(), [nowhere], () => true)).toMatchObject([{ code: "", open: 1, class: "C" }]);
  });
});

describe("small things that are drawn", () => {
  it("finds the box around rings", () => {
    expect(extent([[[1, 2], [3, 4]]], 0.5)).toEqual([0, 1, 4, 5]);
    expect(extent([], 0.5)).toBeNull();
  });
  it("fills the room with boxes, one at least", () => {
    expect(boxes({ width: 84, height: 124 }, { width: 34, height: 13.5 }, 8)).toEqual({ columns: 2, rows: 4 });
    expect(boxes({ width: 31, height: 46 }, { width: 34, height: 13.5 }, 8)).toEqual({ columns: 1, rows: 3 });
    expect(boxes({ width: 0, height: 0 }, { width: 34, height: 13.5 }, 8)).toEqual({ columns: 1, rows: 1 });
  });
  it("draws a curve inside its box, level when nothing moved", () => {
    expect(path([[0, 1], [10, 3]], 100, 40)).toBe("M0.0 38.0L100.0 2.0");
    expect(path([[0, 5], [10, 5]], 100, 40)).toBe("M0.0 20.0L100.0 20.0");
  });
  it("puts clocks that run before those that stand and those that are over", () => {
    const clock = (due: string, ended: string | null, paused: string | null = null) => ({
      due_at: `2026-01-01T0${due}:00:00Z`,
      ended_at: ended && `2026-01-01T0${ended}:00:00Z`,
      paused_at: paused,
    });
    const [over, later, soon, still, newest] = [
      clock("1", "1"), clock("5", null), clock("3", null), clock("2", null, "x"), clock("1", "4"),
    ];
    expect(runningFirst([over, later, soon, still, newest].flatMap((one) => one ?? []))).toEqual(
      [soon, later, still, newest, over],
    );
  });
});
