import { describe, expect, it } from "vitest";
import { Problem, problemIn } from "../src/http";
import { fit, type Box } from "../src/map/projection";
import type { Ground } from "../src/map/shapes";
import { complete, written } from "../src/public/tracking";
import { below, found, options, tops, type Choice } from "../src/reporting/choices";
import { emptyDraft, fieldsOf, OneKey } from "../src/reporting/draft";
import { faultOf, LARGEST, MOST_PHOTOS } from "../src/reporting/photos";
import { cellAt, inside, within, zoomed } from "../src/reporting/place";

const choice = (code: string, name: string, name_en: string): Choice => ({
  code,
  level: code.split(".").length,
  name,
  name_en,
  nature: null,
});
const ALL = [
  choice("facility", "市政设施", "Municipal facilities"),
  choice("facility.streetlight", "路灯故障", "Street light out"),
  choice("facility.streetlight.out", "单灯不亮", "Single lamp out"),
  choice("facility.road", "路面破损", "Road damage"),
  choice("environment", "环境", "Environment"),
];
const english = (zh: string, en: string) => en || zh;

describe("categories", () => {
  it("have tops and what lies below one, by whole parts of the code", () => {
    expect(tops(ALL).map((one) => one.code)).toEqual(["facility", "environment"]);
    expect(below([...ALL, choice("facility2.x", "x", "x")], "facility").map((one) => one.code)).toEqual([
      "facility.streetlight",
      "facility.streetlight.out",
      "facility.road",
    ]);
  });
  it("say where they belong", () => {
    expect(options(ALL, english)[2]).toEqual({
      value: "facility.streetlight.out",
      words: "Single lamp out",
      hint: "Municipal facilities › Street light out",
    });
  });
  it("are found by every word, in names, ways and codes; what begins so comes first", () => {
    const codes = (typed: string, most = 9) => found(options(ALL, english), typed, most).map((one) => one.value);
    expect(codes("out")).toEqual(["facility.streetlight.out", "facility.streetlight"]);
    expect(codes("road")[0]).toBe("facility.road");
    expect(codes("municipal LAMP")).toEqual(["facility.streetlight.out"]);
    expect(codes("nothing")).toEqual([]);
    expect(codes("", 2)).toHaveLength(2);
  });
});

describe("a draft", () => {
  it("is sent without what is empty, the position to a tenth of a metre", () => {
    const draft = { ...emptyDraft(), text: " 坑 ", longitude: 114.12345678, latitude: 22.5, phone: "138", call_back: true };
    expect(fieldsOf(draft, "zh")).toEqual([
      ["text", "坑"],
      ["longitude", "114.123457"],
      ["latitude", "22.500000"],
      ["contact.phone", "138"],
      ["contact.call_back", "true"],
      ["language", "zh"],
    ]);
  });
  it("does not say how to tell somebody who cannot be told", () => {
    expect(fieldsOf({ ...emptyDraft(), text: "x", told_by: "sms" }, "en")).not.toContainEqual(["contact.told_by", "sms"]);
  });
  it("has one key as long as it says the same", () => {
    const key = new OneKey();
    const first = key.for("a");
    expect(first).toMatch(/^[0-9a-f]{32}$/);
    expect(key.for("a")).toBe(first);
    expect(key.for("b")).not.toBe(first);
  });
});

describe("photos", () => {
  it.each([
    [{ type: "image/jpeg", size: 1 }, 0, null],
    [{ type: "image/webp", size: LARGEST }, MOST_PHOTOS - 1, null],
    [{ type: "application/pdf", size: 1 }, 0, "kind"],
    [{ type: "image/png", size: LARGEST + 1 }, 0, "size"],
    [{ type: "image/png", size: 1 }, MOST_PHOTOS, "many"],
  ])("%o beside %i: %s", (file, beside, fault) => {
    expect(faultOf(file, beside)).toBe(fault);
  });
});

describe("a place", () => {
  const square = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]] as const;
  const hole = [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]] as const;
  const box: Box = [0, 0, 4, 4];
  it("is inside its rings, not in their holes", () => {
    expect(inside([square], [3, 3])).toBe(true);
    expect(inside([square], [5, 3])).toBe(false);
    expect(inside([square, hole], [1.5, 1.5])).toBe(false);
  });
  it("is told by the cell around it", () => {
    const cell = { code: "C1", name: "一", street: "S", community: "M", rings: [[...square]] };
    const ground: Ground = { bbox: box, streets: [], cells: [cell] };
    expect(cellAt(ground, [1, 1])?.code).toBe("C1");
    expect(cellAt(ground, [9, 9])).toBeNull();
    expect([within(box, [4, 4]), within(box, [4.1, 4])]).toEqual([true, false]);
  });
  it("is shown larger without leaving the ground", () => {
    expect(zoomed(box, [2, 2], 4)).toEqual([1.5, 1.5, 2.5, 2.5]);
    expect(zoomed(box, [0, 9], 4)).toEqual([0, 3, 1, 4]);
    expect(zoomed(box, [1, 1], 1)).toEqual(box);
  });
  it("comes back from pixels", () => {
    const there = fit([114, 22, 114.4, 22.3], 800, 500, 10);
    expect(there.lon(there.x(114.123))).toBeCloseTo(114.123, 9);
    expect(there.lat(there.y(22.222))).toBeCloseTo(22.222, 9);
  });
});

describe("a tracking number", () => {
  it.each([
    ["7k3qm9xa42tbc", "7K3Q-M9XA-42TBC"],
    [" 7K3Q M9XA 42TBC ", "7K3Q-M9XA-42TBC"],
    ["7k3qm9xa42tbc0de9", "7K3Q-M9XA-42TB-C0DE9"],
    ["oil", "011"],
    ["", ""],
  ])("%s is written %s", (typed, shown) => {
    expect(written(typed)).toBe(shown);
  });
  it("is complete with seventeen characters, or thirteen from an earlier release", () => {
    const typed = ["7k3qm9xa42tbc0de9", "7k3qm9xa42tbc", "7k3qm9xa42tbc0de", "7k3qm9xa42tb", ""];
    expect(typed.map(complete)).toEqual([true, true, false, false, false]);
  });
});

describe("a refusal of one field", () => {
  const refused = (errors: unknown, detail_zh: string) =>
    problemIn(422, { title_zh: "内容不可用", detail_zh, title: "Unprocessable", detail: "x", errors });
  it("is worded at the field, without its name", () => {
    const one = refused([{ field: "contact.phone", remedy: "write a number" }], "contact.phone：请填写电话号码");
    expect(one.at("contact.phone")).toEqual({ zh: "请填写电话号码", en: "write a number" });
    expect(one.at("text")).toBeNull();
    const shown = refused([{ field: "channel", remedy: "use web" }], "channel = fax：可用：web");
    expect(shown.at("channel")?.zh).toBe("可用：web");
  });
  it("of several has the remedy of each", () => {
    const two = refused([{ field: "text", remedy: "too short" }, { field: "nature", remedy: "use one of" }], "字段 text");
    expect(two.at("nature")).toEqual({ zh: "use one of", en: "use one of" });
  });
  it("keeps what is possible instead", () => {
    expect(problemIn(409, { allowed: ["comment"] }).allowed).toEqual(["comment"]);
    expect(new Problem(500, "", "").allowed).toEqual([]);
  });
});
