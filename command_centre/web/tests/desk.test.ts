import { describe, expect, it } from "vitest";
import { problemOf } from "../src/http";
import { pairs } from "../src/incident/detail";

const time = (ms: number) => `@${ms}`;

describe("a refusal", () => {
  const answer = (body: string) => new Response(body, { status: 409 });
  it("keeps the words of both languages", async () => {
    const body = { title: "Conflict", title_zh: "冲突", detail: "archived", detail_zh: "已归档" };
    const problem = await problemOf(answer(JSON.stringify(body)));
    expect([problem.status, problem.zh, problem.en]).toEqual([409, "冲突: 已归档", "Conflict: archived"]);
  });
  it("falls back to the one language there is", async () => {
    expect((await problemOf(answer('{"title":"Conflict","detail":[1]}'))).zh).toBe("Conflict");
  });
  it("has no words when a proxy answered with a page", async () => {
    const problem = await problemOf(answer("<html>"));
    expect([problem.zh, problem.en, problem.message]).toEqual(["", "", "HTTP 409"]);
  });
});

describe("details", () => {
  it("leave out bookkeeping and what says nothing, and word instants", () => {
    const detail = {
      value: 81.3,
      cell_id: 371,
      late: false,
      unit: null,
      raised_at: "1970-01-01T00:00:01+00:00",
      members: ["a", "b"],
      in_time: true,
      cleared: { value: 56.1, rule_version: 1 },
    };
    expect(pairs(detail, time)).toEqual([
      ["value", "81.3"],
      ["raised_at", "@1000"],
      ["members", "a, b"],
      ["in_time", ""],
      ["cleared", "56.1"],
    ]);
  });
  it("show one language of what is there in both, and no empty list", () => {
    const detail = { why: "同一网格", why_en: "same cell", area: 3, co_units: [], photos: 0 };
    expect(pairs(detail, time)).toEqual([["why", "同一网格"]]);
    expect(pairs(detail, time, true)).toEqual([["why", "same cell"]]);
  });
  it.each([null, undefined, "text", 3])("that are no object give nothing: %s", (detail) => {
    expect(pairs(detail, time)).toEqual([]);
  });
});
