import { describe, expect, it } from "vitest";
import { centroid, fit } from "../src/map/projection";
import { framed, labelPositions, levelRange } from "../src/wall/hydrograph";
import { aligned, seriesOf } from "../src/wall/series";

describe("the projection", () => {
  it("keeps the district inside its margin, north up, true to proportion", () => {
    const projection = fit([114, 22, 114.2, 22.1], 800, 600, 20);
    expect(projection.x(114)).toBeCloseTo(20);
    expect(projection.x(114.2)).toBeCloseTo(780);
    expect(projection.y(22.1)).toBeLessThan(projection.y(22));
    const wide = (projection.x(114.2) - projection.x(114)) / (0.2 * Math.cos((22.05 * Math.PI) / 180));
    const high = (projection.y(22) - projection.y(22.1)) / 0.1;
    expect(wide).toBeCloseTo(high);
  });
  it("stays finite for a district of one point", () => {
    const projection = fit([114, 22, 114, 22], 800, 600, 20);
    expect(Number.isFinite(projection.x(114))).toBe(true);
    expect(Number.isFinite(projection.y(22))).toBe(true);
  });
});

describe("the centre of a ring", () => {
  it("is the centre of mass, and the mean of a ring without area", () => {
    expect(centroid([[0, 0], [4, 0], [4, 2], [0, 2]])).toEqual([2, 1]);
    expect(centroid([[0, 0], [2, 2]])).toEqual([1, 1]);
  });
});

describe("a hydrograph", () => {
  it("has one time axis and holes where a curve has no point", () => {
    const [times, seen, expected, low, high] = aligned({
      observed: [[1, 3.1], [2, 3.2]],
      forecast: [[2, 3.2], [3, 3.4]],
      low: [[2, 3.2], [3, 3.3]],
      high: [[2, 3.2], [3, 3.6]],
    });
    expect(times).toEqual([1, 2, 3]);
    expect(seen).toEqual([3.1, 3.2, null]);
    expect(expected).toEqual([null, 3.2, 3.4]);
    expect([low?.[2], high?.[2]]).toEqual([3.3, 3.6]);
  });
  it("begins the forecast at the level it was issued from", () => {
    const series = seriesOf({
      observed: [["1970-01-01T00:00:01Z", 3], ["1970-01-01T00:00:02Z", null]],
      forecast: [["1970-01-01T01:00:00Z", 3.1, 3.2, 3.5]],
      forecast_info: { issued_at: "1970-01-01T00:00:03Z", level_m: 3 },
    });
    expect(series.observed).toEqual([[1, 3]]);
    expect(series.forecast).toEqual([[3, 3], [3600, 3.2]]);
    expect(series.low).toEqual([[3, 3], [3600, 3.1]]);
    expect(series.high).toEqual([[3, 3], [3600, 3.5]]);
    expect(seriesOf({ forecast: [] }).forecast).toEqual([]);
  });
  it("covers what there is, an hour at least", () => {
    const at = (times: number[]) => {
      const none = times.map(() => null);
      return framed([times, times.map(() => 1), none, none, none], 5000);
    };
    const none = [null, null];
    expect(at([1000, 90_000])).toEqual([[1000, 90_000], [1, 1], none, none, none]);
    expect(at([89_990, 90_000])[0]).toEqual([86_400, 89_990, 90_000]);
    expect(at([90_000])).toEqual([[86_400, 90_000], [null, 1], none, none, none]);
    expect(at([])).toEqual([[1400, 5000], none, none, none, none]);
  });
  it("reaches the warning level, but a far guaranteed level does not flatten the curve", () => {
    const [low, high] = levelRange(1, 2, { warning: 3, guaranteed: 30 });
    expect(low).toBeLessThan(1);
    expect(high).toBeGreaterThan(3);
    expect(high).toBeLessThan(4);
    expect(levelRange(1, 2, { warning: 3, guaranteed: 4 })[1]).toBeGreaterThan(4);
  });
  it("keeps a passed warning level in sight unless it is far below", () => {
    expect(levelRange(6.4, 7, { warning: 6, guaranteed: null })[0]).toBeLessThan(6);
    expect(levelRange(60, 61, { warning: 6, guaranteed: null })[0]).toBeGreaterThan(59);
  });
  it("has labels beside their lines, inside, and none on another", () => {
    expect(labelPositions([20, 80], 10, 0, 100)).toEqual([20, 80]);
    expect(labelPositions([20, 22], 10, 0, 100)).toEqual([20, 30]);
    expect(labelPositions([-50, 2], 10, 0, 100)).toEqual([5, 15]);
    expect(labelPositions([99, 300], 10, 0, 100)).toEqual([85, 95]);
  });
});
