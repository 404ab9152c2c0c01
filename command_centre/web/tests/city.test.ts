import { describe, expect, it } from "vitest";
import { drawn, fill, gravest, open, overdue, share, worstFirst, type District } from "../src/wall/city/city";
import { inForce } from "../src/wall/city/response.svelte";

function district(code: string, classes: Record<string, number> | null): District {
  return {
    code,
    name: code,
    name_en: code,
    url: "",
    state: classes === null ? "silent" : "answers",
    silent_since: null,
    why: "",
    why_zh: "",
    response_level: null,
    figures:
      classes === null
        ? null
        : {
            devices: 10,
            online: 9,
            alarms: 0,
            stations: 0,
            above_warning: 0,
            classes: Object.fromEntries(
              Object.entries(classes).map(([of, n]) => [of, { open: n, unacknowledged: 0, overdue: n }]),
            ),
          },
  };
}

describe("districts of a city", () => {
  it("puts silent ones first, then the gravest", () => {
    const all = [district("calm", {}), district("c", { C: 9 }), district("a", { A: 1 }), district("gone", null)];
    expect(worstFirst(all).map((one) => one.code)).toEqual(["gone", "a", "c", "calm"]);
  });
  it("knows nothing of a silent one, which is not zero", () => {
    const gone = district("gone", null);
    expect([open(gone, "A"), overdue(gone), gravest(gone), fill(gone)]).toEqual([null, null, null, "url(#silent)"]);
    expect(fill(undefined)).toBe("url(#silent)");
  });
  it("colours by the gravest class", () => {
    expect(gravest(district("x", { C: 2, B: 1 }))).toBe("B");
    expect(fill(district("x", {}))).toBe("var(--panel-raised)");
    expect(overdue(district("x", { C: 2, B: 1 }))).toBe(3);
  });
  it("rounds a share down, so that 100 % are all", () => {
    expect([share(999_999, 1_000_000), share(5, 5), share(0, 0)]).toEqual(["99.9%", "100.0%", "–"]);
  });
  it("fits outlines into the room there is", () => {
    const ring: [number, number][] = [[121, 31], [121.1, 31], [121.1, 31.1], [121, 31]];
    const [one] = drawn([{ code: "x", rings: [ring] }], 100, 50);
    expect(one?.path).toMatch(/^M[\d.]+,[\d.]+L.*Z$/);
    expect(one?.at[1]).toBeLessThan(50);
    expect(drawn([], 100, 50)).toEqual([]);
  });
});

describe("the response level at the head of the city's wall", () => {
  const own = { name: "全市", name_en: "City", response_level: "IV" };
  const items = [district("a", {}), district("b", {}), district("gone", null)];
  it("names the districts that have it", () => {
    const response = { level: "II", centre: false, districts: ["b"], unknown: 1 };
    expect(inForce({ response, items }, own)).toEqual({ level: "II", whose: [items[1]], unknown: 1 });
  });
  it("names this centre first where it has it too", () => {
    const response = { level: "IV", centre: true, districts: ["a"], unknown: 0 };
    expect(inForce({ response, items }, own).whose).toEqual([own, items[0]]);
  });
  it("says its own alone while the districts are not read, and none as none", () => {
    expect(inForce(null, own)).toEqual({ level: "IV", whose: [own], unknown: 0 });
    expect(inForce(null, { ...own, response_level: null })).toEqual({ level: null, whose: [], unknown: 0 });
  });
});
