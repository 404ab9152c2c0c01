import { describe, expect, it } from "vitest";
import { grown, holding } from "../src/settings/register/basemap";
import { changed, changedFields, draftOf, type Kind } from "../src/settings/register/entries";
import { ordered } from "../src/settings/register/fates";
import { filtered, put, without as dropped } from "../src/settings/register/maps";
import {
  cornersOn,
  crossing,
  geometryOf,
  moved,
  outlineOf,
  snapped,
  split,
  square,
  squareMetres,
  without,
  type Outline,
} from "../src/settings/register/outline";
import { sectionAt, sectionsFor } from "../src/settings/sections";
import { meets, type Needs } from "../src/staff/roles";

const box = (west: number, east: number): Outline => [[[[west, 22], [east, 22], [east, 22.001], [west, 22.001]]]];
const row = (fate: "new" | "changed" | "same" | "gone" | "refused", key: string) =>
  ({ file: "devices.csv", row: 1, key, name: "", fate, changes: [], faults: [] });

describe("an outline that is drawn", () => {
  it("comes back from GeoJSON and goes out again, closed", () => {
    const polygon = { type: "Polygon", coordinates: [[[1, 2], [3, 2], [3, 4], [1, 2]]] };
    const two = { type: "MultiPolygon", coordinates: [polygon.coordinates, polygon.coordinates] };
    expect(geometryOf(outlineOf(polygon))).toEqual(polygon);
    expect(geometryOf(outlineOf(two))).toEqual(two);
    expect(outlineOf(null)).toEqual([]);
    expect(geometryOf([])).toBeNull();
  });

  it("gains, loses and moves corners without changing what it was", () => {
    const before = box(114, 114.001);
    expect(split(before, [0, 0, 3])[0]?.[0]).toHaveLength(5);
    expect(split(before, [0, 0, 3])[0]?.[0]?.[4]).toEqual([114, 22.0005]);
    expect(moved(before, [0, 0, 1], [114.00050001, 22])[0]?.[0]?.[1]).toEqual([114.0005, 22]);
    const three = without(before, [0, 0, 0]);
    expect(three[0]?.[0]).toHaveLength(3);
    expect(without(three, [0, 0, 0])).toEqual(three);
    expect(before).toEqual(box(114, 114.001));
  });

  it("knows its size, its crossing and its corners", () => {
    expect(squareMetres(box(114, 114.001))).toBeCloseTo(11490, -1);
    expect(crossing(box(114, 114.001))).toBeNull();
    const bow: Outline = [[[[0, 0], [2, 2], [2, 0], [0, 2]]]];
    expect(crossing(bow)).toEqual([1, 1]);
    expect(cornersOn(box(114, 114.001), [114.001, 22])).toEqual([[0, 0, 1]]);
    expect(cornersOn(box(114, 114.001), [114.0005, 22])).toEqual([]);
    expect(squareMetres(square([114, 22], 0.0005))).toBeCloseTo(12392, -1);
  });

  it("snaps to the nearest corner within reach and to none beyond", () => {
    const far = (a: readonly [number, number], b: readonly [number, number]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    expect(snapped([0, 0], [[3, 0], [2, 0]], 5, far)).toEqual([2, 0]);
    expect(snapped([0, 0], [[6, 0]], 5, far)).toBeNull();
  });

  it("is found under the pointer, and what is only for orientation is not", () => {
    const drawn = [
      { key: "street", outline: box(113, 115), faint: true, changed: false },
      { key: "C1", outline: box(114, 114.001), faint: false, changed: false },
    ];
    expect(holding(drawn, 114.0005, 22.0005)).toBe("C1");
    expect(holding(drawn, 114.0015, 22.0005)).toBeNull();
    expect(grown([0, 0, 2, 2], 2)).toEqual([-1, -1, 3, 3]);
  });
});

describe("an entry in a form", () => {
  const FIELDS: Record<string, Kind> = { name: "text", lon: "number", cell: "code", tags: "list" };

  it("sends only what a person changed", () => {
    const before = draftOf({ name: "甲", lon: 114, cell: "C1", tags: ["a", "b"] }, FIELDS);
    expect(before).toEqual({ name: "甲", lon: "114", cell: "C1", tags: "a b" });
    expect(changed({ ...before, name: " 甲 " }, before, FIELDS)).toEqual({});
    expect(changed({ name: "", lon: "", cell: "", tags: "" }, before, FIELDS)).toEqual({
      name: "",
      lon: null,
      cell: null,
      tags: [],
    });
    expect(changed({ ...before, lon: "114.5", tags: "a，c" }, before, FIELDS)).toEqual({ lon: 114.5, tags: ["a", "c"] });
  });

  it("says of a change what was before and what is now", () => {
    expect(changedFields({ before: { a: 1, b: 2 }, after: { a: 1, b: null } })).toEqual([
      { name: "b", before: 2, after: null },
    ]);
    expect(changedFields({ after: { name: "x" } })).toEqual([{ name: "name", before: undefined, after: "x" }]);
    expect(changedFields({ before: "in_service", after: "shelved" })[0]?.name).toBe("state");
  });
});

describe("lists", () => {
  it("show the rows of an import that need a person first and the unchanged ones on demand", () => {
    const rows = [row("same", "a"), row("new", "b"), row("refused", "c"), row("gone", "d")];
    expect(ordered(rows, "").map((one) => one.key)).toEqual(["c", "d", "b"]);
    expect(ordered(rows, "same").map((one) => one.key)).toEqual(["a"]);
  });

  it("keep their filter in the address", () => {
    expect(filtered("q=a", "kind", "smoke")).toBe("?q=a&kind=smoke");
    expect(filtered("kind=smoke", "kind", "")).toBe("");
  });

  it("are replaced and not changed", () => {
    const before = put(dropped(new Map([["a", 1]]), "a"), "b", 2);
    expect([...put(before, "c", 3)]).toEqual([["b", 2], ["c", 3]]);
    expect([...before]).toEqual([["b", 2]]);
  });
});

describe("sections of the settings", () => {
  const shown = (role: "handler" | "dispatcher" | "administrator") => sectionsFor((needs: Needs) => meets(role, needs));

  it("are those that the role can use", () => {
    expect(shown("administrator")).toContain("import");
    expect(shown("dispatcher")).not.toContain("import");
    expect(shown("handler")).toEqual([]);
  });

  it("are found by address, else the first", () => {
    expect(sectionAt("units", shown("dispatcher"))).toBe("units");
    expect(sectionAt("screens", shown("dispatcher"))).toBe("devices");
    expect(sectionAt(undefined, [])).toBeNull();
  });
});
