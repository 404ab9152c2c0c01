import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { bodyOf, emptyValues, formOf, limitParts, missingOf } from "../src/incident/fields";
import { meets, tabsOf } from "../src/staff/roles";
import { isKey } from "../src/i18n/catalogue";
import "./words";
import { deadline, sorted } from "../src/incidents/order";
import type { Incident } from "../src/screen/topics";

const CENTRE = join(import.meta.dirname, "../../..");
const python = (path: string) => readFileSync(join(CENTRE, path), "utf8");
const literal = (source: string, name: string) =>
  [...(new RegExp(`${name} = Literal\\[([^\\]]*)\\]`).exec(source)?.[1] ?? "").matchAll(/"([a-z_]+)"/g)].map(
    (match) => match[1] ?? "",
  );

describe("every word of the centre has words for people", () => {
  const lacking = (prefix: string, words: Iterable<string>) =>
    [...new Set(words)].filter((word) => !isKey(`${prefix}.${word}`));
  const incidents = python("city/incidents.py");

  it("states, natures, stages, actions", () => {
    const states = literal(incidents, "State");
    expect(states).toHaveLength(14);
    expect(lacking("state", states)).toEqual([]);
    expect(lacking("nature", literal(incidents, "Nature"))).toEqual([]);
    expect(lacking("stage", literal(python("city/clocks.py"), "Stage"))).toEqual([]);
    const actions = literal(python("command_centre/workflow.py"), "Action");
    expect(actions.length).toBeGreaterThan(25);
    expect(lacking("action", actions)).toEqual([]);
  });

  it("what happens on a timeline", () => {
    const folder = join(CENTRE, "command_centre");
    const sources = readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".py") && !name.includes("node_modules"))
      .map((name) => readFileSync(join(folder, name), "utf8"));
    const kinds = sources.flatMap((source) =>
      [...source.matchAll(/Happening\(\s*kind="([a-z_]+)"|change\(\s*\w+,\s*act,\s*"([a-z_]+)"/g)].map(
        (match) => match[1] ?? match[2] ?? "",
      ),
    );
    expect(kinds.length).toBeGreaterThan(30);
    const asks = literal(incidents, "Ask").flatMap((ask) =>
      ["asked", "refused", "withdrawn"].map((what) => `${ask}_${what}`),
    );
    expect(lacking("event", [...kinds, ...asks])).toEqual([]);
  });

  it("roles", () => {
    expect(lacking("role", literal(python("command_centre/accounts.py"), "Role"))).toEqual([]);
  });
});

describe("the form of an action", () => {
  const values = emptyValues();
  it("sends what it asks for, and nothing that was typed for another", () => {
    const typed = { ...values, unit: "U1", co_units: ["U1", "U2"], reason: " 火势扩大 ", comment: "for another" };
    expect(bodyOf("dispatch", typed)).toEqual({ unit: "U1", co_units: ["U2"], reason: "火势扩大" });
    expect(bodyOf("acknowledge", values)).toEqual({});
  });
  it("writes limits, numbers and yes as the centre reads them", () => {
    expect(bodyOf("extend", { ...values, amount: 3, limit_unit: "wd" })).toEqual({ limit: "3wd" });
    expect(bodyOf("approve", { ...values, request: "7" })).toEqual({ request: 7 });
    expect(bodyOf("rule", { ...values, unit: "U1", amend: true })).toEqual({ unit: "U1", amend: true });
    expect(bodyOf("merge", { ...values, into: 5, reason: "x" })).toEqual({ into: 5, reason: "x" });
  });
  it.each([
    ["dispatch", "unit"],
    ["handle", "comment"],
    ["return", "reason"],
    ["suspend", "limit"],
    ["merge", "into"],
    ["link", "parent"],
    ["acknowledge", null],
    ["archive", null],
  ])("%s lacks %s", (action, field) => {
    expect(missingOf(action, values)).toBe(field);
  });
  it("of an action that is not known takes a reason", () => {
    expect(formOf("something_new").fields).toEqual(["reason"]);
  });
  it("reads limits apart", () => {
    expect([limitParts("4wh"), limitParts("soon")]).toEqual([{ n: 4, unit: "wh" }, null]);
  });
});

describe("who sees what", () => {
  it("a handler begins with the own unit's work, the hotline with intake", () => {
    expect([tabsOf("handler")[0], tabsOf("hotline")[0], tabsOf("dispatcher")[0]]).toEqual(["mine", "intake", "open"]);
    expect([tabsOf("viewer").includes("city"), tabsOf("viewer", true).at(-1)]).toEqual([false, "city"]);
  });
  it("roles meet needs as the centre's table says", () => {
    expect(meets("supervisor", "dispatcher")).toBe(true);
    expect(meets("dispatcher", "supervisor")).toBe(false);
    expect([meets("handler", "worker"), meets("viewer", "worker")]).toEqual([true, false]);
  });
});

describe("a suspended incident", () => {
  const one = (id: number, state: string, due_at: string) =>
    ({ id, number: String(id), state, due_at, class: "B", opened_at: due_at, acknowledged_at: null }) as Incident;
  it("has no deadline that runs, and comes after those that have", () => {
    const held = one(1, "suspended", "2026-01-01T00:00:00Z");
    const due = one(2, "dispatched", "2026-01-02T00:00:00Z");
    expect([deadline(held), deadline(due)]).toEqual([null, due.due_at]);
    expect(sorted([held, due], "deadline")).toEqual([due, held]);
  });
});
