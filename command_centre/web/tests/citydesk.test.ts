import { describe, expect, it } from "vitest";
import { actsAt, joined, pageWords, readAsked, writtenAsked, type CityPage, type CityRow } from "../src/desk/citylist";

const row = (district: string, id: number) => ({ district, id }) as CityRow;
const page = (rows: CityRow[], missing: string[], next: string | null): CityPage => ({
  items: rows,
  districts: [{ code: "east", name: "东区", name_en: "East", url: "https://east" }],
  missing: missing.map((code) => ({ code, silent_since: null, why: "", why_zh: "" })),
  next,
});

describe("incidents of all districts", () => {
  it("are one list of several pages, and name who lacks in any", () => {
    const found = joined([
      page([row("east", 2), row("west", 9)], [], "more"),
      page([row("west", 9), row("west", 2)], ["west"], null),
    ]);
    expect(found.items.map((one) => `${one.district}/${one.id}`)).toEqual(["east/2", "west/9", "west/2"]);
    expect([found.missing.map((one) => one.code), found.next]).toEqual([["west"], null]);
  });
  it("are asked for in the address as the centre's route takes it", () => {
    const asked = { q: " 水 位 ", class: "A", closed: true };
    expect(writtenAsked(readAsked(writtenAsked(asked).slice(1)))).toBe(writtenAsked({ ...asked, q: "水 位" }));
    expect(writtenAsked({ q: " ", class: "", closed: false })).toBe("");
    expect(pageWords("?class=A", 100, "x=")).toBe("?class=A&limit=100&cursor=x%3D");
    expect(readAsked("")).toEqual({ q: "", class: "", closed: false });
  });
  it("lead to their own district's desk, where its address is known", () => {
    const of = { code: "east", name: "东区", name_en: "East", url: "https://east" };
    expect(actsAt(row("east", 7), of)).toBe("https://east/desk/incidents/7");
    expect([actsAt(row("east", 7), { ...of, url: "" }), actsAt(row("gone", 7), undefined)]).toEqual(["", ""]);
  });
});
