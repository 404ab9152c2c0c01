/** What each action asks of a person before it is sent, and the body that becomes of it. */
import type { ActBody } from "../desk/api";

export type Field =
  | "request"
  | "unit"
  | "co_units"
  | "class"
  | "limit"
  | "into"
  | "parent"
  | "co_unit"
  | "amend"
  | "reason"
  | "comment";

interface Form {
  fields: readonly Field[];
  /** Those the centre refuses to do without. */
  needed: readonly Field[];
}

const words = (field: "reason" | "comment", needed: boolean): Form => ({
  fields: [field],
  needed: needed ? [field] : [],
});

// What is done or seen is a comment, what is decided has a reason.
const FORMS: Record<string, Form> = {
  dispatch: { fields: ["unit", "co_units", "reason"], needed: ["unit"] },
  handle: words("comment", true),
  feedback: words("comment", true),
  comment: words("comment", true),
  verify: words("comment", false),
  rework: words("reason", true),
  reopen: words("reason", true),
  supervise: words("reason", true),
  void: words("reason", true),
  split: words("reason", true),
  return: words("reason", true),
  dispute: words("reason", true),
  escalate: { fields: ["class", "reason"], needed: ["reason"] },
  transfer: { fields: ["unit", "reason"], needed: ["reason"] },
  extend: { fields: ["limit", "reason"], needed: ["limit"] },
  suspend: { fields: ["limit", "reason"], needed: ["limit"] },
  rule: { fields: ["unit", "amend", "reason"], needed: ["unit"] },
  approve: { fields: ["request", "unit", "reason"], needed: [] },
  refuse: { fields: ["request", "reason"], needed: ["reason"] },
  withdraw: { fields: ["request", "reason"], needed: [] },
  take: words("comment", false),
  merge: { fields: ["into", "co_unit", "reason"], needed: ["into", "reason"] },
  link: { fields: ["parent", "reason"], needed: ["parent"] },
};

export function formOf(action: string): Form {
  return FORMS[action] ?? words("reason", false);
}

/** Decisions rest on what was on the screen; a comment is welcome whatever has happened since. */
export function onWhatWasSeen(action: string): boolean {
  return action !== "comment" && action !== "acknowledge";
}

export type LimitUnit = "m" | "h" | "d" | "wm" | "wh" | "wd";
export const LIMIT_UNITS: readonly LimitUnit[] = ["wd", "wh", "d", "h", "m"];

export interface Values {
  request: string;
  unit: string;
  co_units: string[];
  class: string;
  amount: number | null;
  limit_unit: LimitUnit;
  /** Ids of other incidents. */
  into: number | null;
  parent: number | null;
  co_unit: boolean;
  amend: boolean;
  reason: string;
  comment: string;
}

export function emptyValues(): Values {
  return {
    request: "",
    unit: "",
    co_units: [],
    class: "",
    amount: null,
    limit_unit: "wd",
    into: null,
    parent: null,
    co_unit: false,
    amend: false,
    reason: "",
    comment: "",
  };
}

function given(field: Field, values: Values): ActBody[string] | undefined {
  switch (field) {
    case "limit":
      return values.amount === null || values.amount < 1 ? undefined : `${values.amount}${values.limit_unit}`;
    case "request":
      return values.request === "" ? undefined : Number(values.request);
    case "into":
    case "parent":
      return values[field] ?? undefined;
    case "co_units":
      return values.co_units.length === 0 ? undefined : values.co_units.filter((one) => one !== values.unit);
    case "co_unit":
    case "amend":
      return values[field] || undefined;
    default:
      return values[field].trim() === "" ? undefined : values[field].trim();
  }
}

/** What is sent: only what this action asks for, and of that only what was given. */
export function bodyOf(action: string, values: Values): ActBody {
  const body: ActBody = {};
  for (const field of formOf(action).fields) {
    const value = given(field, values);
    if (value !== undefined) body[field] = value;
  }
  return body;
}

export function missingOf(action: string, values: Values): Field | null {
  return formOf(action).needed.find((field) => given(field, values) === undefined) ?? null;
}

/** The two halves of 30m, 4wh, 3wd. */
export function limitParts(limit: string): { n: number; unit: LimitUnit } | null {
  const found = /^(\d+)(m|h|d|wm|wh|wd)$/.exec(limit);
  return found ? { n: Number(found[1]), unit: found[2] as LimitUnit } : null;
}
