/** A rule's definition as a form sees it: values by dotted path, and the lines that belong on a chart. Pure. */
import type { Shapes } from "../../api/shapes";

export type RuleKey = Shapes["RuleKey"];
export type Definition = Readonly<Record<string, unknown>>;

export interface Groups {
  /** What it is and how grave; for whom; what it measures by; when it holds. */
  what: RuleKey[];
  whom: RuleKey[];
  measure: RuleKey[];
  when: RuleKey[];
}

const WHAT = ["name", "name_en", "category", "class", "level", "family", "unit"];
const WHOM = ["kind", "kinds", "metric", "direction"];

/** The keys of a kind in the order of the form; those of a table of many rows are found by `below`. */
export function grouped(keys: readonly RuleKey[]): Groups {
  const groups: Groups = { what: [], whom: [], measure: [], when: [] };
  const rows = keys.filter((key) => key.form === "tables").map((key) => `${key.path}.`);
  for (const key of keys) {
    if (key.form === "table" || rows.some((prefix) => key.path.startsWith(prefix))) continue;
    if (WHAT.includes(key.path)) groups.what.push(key);
    else if (WHOM.includes(key.path) || key.path.startsWith("scope.")) groups.whom.push(key);
    else if (key.path.startsWith("schedule.")) groups.when.push(key);
    else groups.measure.push(key);
  }
  const order = (list: readonly string[]) => (one: RuleKey, other: RuleKey) =>
    place(list, one.path) - place(list, other.path);
  groups.what.sort(order(WHAT));
  groups.whom.sort(order(WHOM));
  return groups;
}

function place(list: readonly string[], path: string): number {
  const at = list.indexOf(path);
  return at < 0 ? list.length : at;
}

/** The keys of each row of a table, with their paths inside the row. */
export function below(keys: readonly RuleKey[], table: string): RuleKey[] {
  return keys
    .filter((key) => key.path.startsWith(`${table}.`))
    .map((key) => ({ ...key, path: key.path.slice(table.length + 1) }));
}

export function valueAt(definition: Definition, path: string): unknown {
  let value: unknown = definition;
  for (const part of path.split(".")) {
    if (value === null || typeof value !== "object") return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** The definition with another value at `path`; undefined, an empty text or list takes the key out, empty tables go. */
export function withValue(definition: Definition, path: string, value: unknown): Definition {
  const [head = "", ...rest] = path.split(".");
  const next: Record<string, unknown> = { ...definition };
  if (rest.length > 0) {
    const inner = withValue((definition[head] as Definition | undefined) ?? {}, rest.join("."), value);
    if (Object.keys(inner).length === 0) Reflect.deleteProperty(next, head);
    else next[head] = inner;
  } else if (value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) {
    Reflect.deleteProperty(next, head);
  } else next[head] = value;
  return next;
}

/** "a, b" or "a，b" or one a line: a list of texts. */
export function listed(typed: string): string[] {
  return typed
    .split(/[,，、\n]/)
    .map((one) => one.trim())
    .filter((one) => one !== "");
}

/** A list of numbers; what is none stays as it was typed, for the centre to refuse in its own words. */
export function numbersIn(typed: string): (number | string)[] {
  return listed(typed).map((one) => (Number.isFinite(Number(one)) ? Number(one) : one));
}

export interface Line {
  /** In the metric's unit. */
  at: number;
  /** The key it stands in. */
  key: string;
  level: string | null;
}
export type StationLevels = Readonly<Record<string, number | null | undefined>>;

/** The limits of a rule that readings can be held against; `levels` are the station's own, by station.warning and so on. */
export function linesOf(definition: Definition, levels: StationLevels = {}): Line[] {
  const own = typeof definition["level"] === "string" ? definition["level"] : null;
  const lines: Line[] = [];
  const add = (value: unknown, key: string, level: string | null, offset: unknown = 0) => {
    const at = typeof value === "string" ? levels[value] : value;
    if (typeof at === "number") lines.push({ at: at + (typeof offset === "number" ? offset : 0), key, level });
  };
  if (definition["type"] === "threshold") {
    add(definition["raise_at"], "raise_at", own);
    add(definition["clear_at"] ?? deadbandEnd(definition, levels), "clear_at", null);
  }
  if (definition["type"] === "projection") add(definition["to"], "to", own);
  if (definition["type"] === "quality") for (const key of ["least", "most"]) add(definition[key], key, null);
  for (const step of (definition["step"] ?? []) as Definition[]) {
    add(step["at"], "step.at", typeof step["level"] === "string" ? step["level"] : null, step["offset"]);
  }
  return lines;
}

function deadbandEnd(definition: Definition, levels: StationLevels): number | undefined {
  const raise = definition["raise_at"];
  const at = typeof raise === "string" ? levels[raise] : raise;
  const deadband = definition["deadband"];
  if (typeof at !== "number" || typeof deadband !== "number" || deadband === 0) return undefined;
  return definition["direction"] === "below" ? at + deadband : at - deadband;
}

/** The same definition whatever the order of its keys: two that say the same are no change. */
export function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(ordered(one)) === JSON.stringify(ordered(other));
}

function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([key, inner]) => [key, ordered(inner)]),
  );
}
