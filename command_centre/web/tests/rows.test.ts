import { describe, expect, it } from "vitest";
import { between, drawn, revealing, steadied } from "../src/ui/rows";

const pane = { scroll: 0, view: 100, height: 10, total: 10_000 };
const places = (keys: readonly string[]) => new Map(keys.map((key, index) => [key, index]));
const named = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `r${from + n}`);

describe("a long list", () => {
  it("draws what is in sight and a little more", () => {
    expect(drawn(pane)).toEqual([0, 16]);
    expect(drawn({ ...pane, scroll: 50_000 })).toEqual([4994, 5016]);
    expect(drawn({ ...pane, scroll: 99_900 })).toEqual([9984, 10_000]);
  });
  it.each([
    { ...pane, total: 0 },
    { ...pane, height: 0 },
    { ...pane, total: 3, scroll: 5000 },
  ])("draws nothing impossible: %o", (odd) => {
    const [from, to] = drawn(odd);
    expect(from).toBeGreaterThanOrEqual(0);
    expect(to).toBeLessThanOrEqual(odd.total);
  });
  it("scrolls no more than it takes to show a row", () => {
    expect(revealing(3, { ...pane, scroll: 50 })).toBe(30);
    expect(revealing(20, { ...pane, scroll: 50 })).toBe(110);
    expect(revealing(7, { ...pane, scroll: 50 })).toBe(50);
  });
});

describe("rows that come and go", () => {
  const before = named(0, 100);
  const scrolled = { ...pane, scroll: 200, total: 100 };
  it("above leave what is seen where it is", () => {
    expect(steadied(before, places(["n1", "n2", ...before]), null, scrolled)).toBe(220);
    expect(steadied(before, places(before.slice(5)), null, scrolled)).toBe(150);
  });
  it("between the top of the view and the chosen row leave the chosen one where it is", () => {
    const after = [...before.slice(0, 22), "new", ...before.slice(22)];
    expect(steadied(before, places(after), "r24", scrolled)).toBe(210);
    expect(steadied(before, places(after), "r90", scrolled)).toBe(200); // out of sight: the view counts
  });
  it("at the very top show themselves while nothing is chosen", () => {
    const top = { ...scrolled, scroll: 0 };
    expect(steadied(before, places(["new", ...before]), null, top)).toBe(0);
    expect(steadied(before, places(["new", ...before]), "r1", top)).toBe(10);
  });
  it("give their place to the next one when they go", () => {
    expect(steadied(before, places(before.filter((one) => one !== "r20")), null, scrolled)).toBe(200);
  });
  it("never leave the list scrolled past its end", () => {
    expect(steadied(before, places(named(0, 12)), null, scrolled)).toBe(20);
    expect(steadied(before, places([]), "r3", scrolled)).toBe(0);
    expect(steadied([], places(before), null, { ...pane, total: 0 })).toBe(0);
  });
});

describe("a range", () => {
  it("includes both ends, in either direction", () => {
    const keys = named(0, 9);
    expect(between(keys, 2, 4)).toEqual(["r2", "r3", "r4"]);
    expect(between(keys, 4, 2)).toEqual(["r2", "r3", "r4"]);
    expect(between(keys, -1, 4)).toEqual(["r4"]);
  });
});
