import { describe, expect, it } from "vitest";
import { FLOOD_FROM, grouped, recent } from "../src/desk/grouping";
import {
  alarmListing,
  ANYTHING,
  incidentListing,
  isOurs,
  readWanted,
  sortedAlarms,
  writtenWanted,
  type DeskAlarm,
} from "../src/desk/listing";
import type { Incident } from "../src/screen/topics";

const NOW = Date.parse("2026-11-22T08:00:00Z");
const before = (minutes: number) => new Date(NOW - minutes * 60_000).toISOString();

function alarm(id: number, changed: Partial<DeskAlarm> = {}): DeskAlarm {
  return {
    id,
    rule: "fire-smoke",
    device: `D${id}`,
    cell: `C${id}`,
    category: "fire.smoke",
    level: "red",
    class: "A",
    raised_at: before(id),
    cleared_at: null,
    acknowledged_at: null,
    state: "UNACK",
    shelf: null,
    suppressed: null,
    repeats: 0,
    incident: null,
    exercise: false,
    unclaimed: false,
    first_out: false,
    ...changed,
  };
}

function incident(id: number, changed: Partial<Incident> = {}): Incident {
  return {
    id,
    number: `20261122-${String(id).padStart(4, "0")}`,
    state: "dispatched",
    class: "A",
    category: "fire.smoke",
    category_name: "烟感报警",
    category_name_en: "Smoke alarm",
    cell: "C1",
    cell_name: "第一网格",
    street_name: "东街",
    lon: null,
    lat: null,
    unit: "U1",
    unit_name: "一队",
    unit_name_en: "Crew 1",
    reason: "按职责清单",
    opened_at: before(5),
    due_at: null,
    acknowledged_at: null,
    last_alarm_at: null,
    alarms: 1,
    devices: ["D1"],
    exercise: false,
    ...changed,
  };
}

describe("what a list is asked for", () => {
  it("stands in the address and comes back from it", () => {
    const wanted = { ...ANYTHING, class: "A", text: "东街 D1", sort: "deadline" };
    const query = writtenWanted(wanted, "in=unassigned");
    expect(query).toBe("?in=unassigned&class=A&text=%E4%B8%9C%E8%A1%97+D1&sort=deadline");
    expect(readWanted(query.slice(1))).toEqual(wanted);
  });
  it("leaves no mark when nothing is asked for", () => {
    expect(writtenWanted(ANYTHING, "class=A")).toBe("");
    expect(readWanted("colour=red")).toEqual(ANYTHING);
  });
});

describe("incidents", () => {
  const rows = [
    incident(1),
    incident(2, { unit: "U2", unit_name: "二队", co_units: ["U1"], street_name: "西街", state: "arrived" }),
    incident(3, { unit: null, class: "C", category: "device.silent", devices: ["cam-77"] }),
  ];
  const ids = (wanted: Partial<typeof ANYTHING>) =>
    incidentListing()
      .filtered(rows, { ...ANYTHING, ...wanted })
      .map((row) => row.id);
  it.each([
    [{}, [1, 2, 3]],
    [{ class: "C" }, [3]],
    [{ unit: "U1" }, [1, 2]],
    [{ street: "西街", state: "arrived" }, [2]],
    [{ category: "device.silent" }, [3]],
    [{ text: "CAM-77" }, [3]],
    [{ text: "crew 东街" }, [1, 3]],
    [{ text: "0002" }, [2]],
    [{ text: "nobody" }, []],
    [{ state: "gone" }, []],
  ])("asked for %o are %o", (wanted, found) => {
    expect(ids(wanted)).toEqual(found);
  });
  it("count what may be asked for, the most frequent first", () => {
    expect(incidentListing().values(rows, "unit")).toEqual([
      ["U1", 2],
      ["U2", 1],
    ]);
  });
  it("are a unit's own also where it only helps", () => {
    expect(rows.map((row) => isOurs(row, "U1"))).toEqual([true, true, false]);
  });
});

describe("alarms", () => {
  const rows = [
    alarm(1, { state: "ACKED" }),
    alarm(2, { state: "RTNUN", class: "C" }),
    alarm(3, { state: "SHLVD" }),
    alarm(4, { class: null }),
    alarm(5, { class: "B" }),
    alarm(6, { class: "B" }),
  ];
  it("that wait for a person come first, the newest of them at the top", () => {
    expect(sortedAlarms(rows, "state").map((row) => row.id)).toEqual([5, 6, 4, 2, 1, 3]);
    expect(sortedAlarms(rows, "class").map((row) => row.id)).toEqual([1, 3, 5, 6, 2, 4]);
    expect(sortedAlarms(rows, "age").map((row) => row.id)).toEqual([1, 2, 3, 4, 5, 6]);
  });
  it("are found by device and by state", () => {
    const find = (wanted: Partial<typeof ANYTHING>) =>
      alarmListing()
        .filtered(rows, { ...ANYTHING, ...wanted })
        .map((row) => row.id);
    expect(find({ text: "d5" })).toEqual([5]);
    expect(find({ state: "UNACK", class: "B" })).toEqual([5, 6]);
  });
});

describe("an alarm flood", () => {
  it("counts ten minutes, and no drill", () => {
    const rows = [alarm(1), alarm(9), alarm(10), alarm(60), alarm(2, { exercise: true })];
    expect(recent(rows, NOW).map((row) => row.id)).toEqual([1, 9]);
    expect(FLOOD_FROM).toBe(10);
  });
  it("falls into groups by the strongest tie, every alarm in exactly one", () => {
    const rows = [
      alarm(1, { incident: 17 }),
      alarm(2, { incident: 17, rule: "other" }),
      alarm(3, { incident: 18, cell: "C9" }),
      alarm(4, { category: "fire.call", rule: "call", cell: "C9" }),
      alarm(5, { category: "device.silent", rule: "silent-smoke" }),
      alarm(6, { category: "device.silent", rule: "silent-camera" }),
      alarm(7, { category: "flood.level", rule: "level" }),
      alarm(8, { category: "flood.level", rule: "level" }),
      alarm(9, { category: "public.person", rule: "person" }),
    ];
    const groups = grouped(rows);
    expect(groups.map((one) => [one.cause, one.of, one.alarms.map((row) => row.id)])).toEqual([
      ["incident", "17", [2, 1]],
      ["silence", "device.silent", [6, 5]],
      ["place", "C9 fire", [4, 3]],
      ["rule", "level", [8, 7]],
      ["single", "", [9]],
    ]);
    expect(groups.flatMap((one) => one.alarms)).toHaveLength(rows.length);
  });
  it("puts first what most waits for a person, and in each group what alarmed first", () => {
    const rows = [
      alarm(1, { rule: "known", state: "ACKED" }),
      alarm(2, { rule: "known", state: "ACKED" }),
      alarm(3, { rule: "known", state: "ACKED" }),
      alarm(4, { rule: "new", category: "x", cell: null }),
      alarm(5, { rule: "new", category: "x", cell: null }),
    ];
    const groups = grouped(rows);
    expect(groups.map((one) => [one.of, one.waiting])).toEqual([
      ["new", 2],
      ["known", 0],
    ]);
    expect(groups[0]?.alarms[0]?.id).toBe(5);
  });
  it("of one alarm is a single one, of none nothing", () => {
    expect(grouped([alarm(1, { incident: 3 })])[0]?.cause).toBe("single");
    expect(grouped([])).toEqual([]);
  });
  it("of twenty thousand alarms is grouped by work that grows with their number", () => {
    let asked = 0;
    const rows = Array.from({ length: 20_000 }, (_, n) => {
      const row = alarm(n + 1, { raised_at: before(1), cell: `C${n % 400}` });
      return new Proxy(row, { get: (of, name: keyof DeskAlarm) => ((asked += name === "cell" ? 1 : 0), of[name]) });
    });
    expect(grouped(rows)).toHaveLength(400);
    expect(asked).toBeLessThanOrEqual(3 * rows.length);
  });
});
