/** What each action asks of a person before it is sent, and the body that becomes of it. */
import type { Photo } from "../reporting/photos";
import type { ActBody } from "./api";

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
  | "parts"
  | "photos"
  | "reason"
  | "comment";

/** Photos are never needed: where there is no camera, words must do. */
type Needed = Exclude<Field, "photos">;

interface Form {
  fields: readonly Field[];
  /** Those the centre refuses to do without. */
  needed: readonly Needed[];
}

const words = (field: "reason" | "comment", needed: boolean): Form => ({
  fields: [field],
  needed: needed ? [field] : [],
});

/** What was seen there, with photos of it. */
const seen = (field: "reason" | "comment", needed: boolean): Form => ({
  fields: [field, "photos"],
  needed: needed ? [field] : [],
});

// What is done or seen is a comment, what is decided has a reason.
const FORMS: Record<string, Form> = {
  dispatch: { fields: ["unit", "co_units", "reason"], needed: ["unit"] },
  arrive: seen("comment", false),
  handle: seen("comment", true),
  feedback: words("comment", true),
  comment: seen("comment", true),
  verify: seen("comment", false),
  rework: seen("reason", true),
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

const PARTS: Form = { fields: ["parts", "reason"], needed: ["parts", "reason"] };

/** `state` tells the two kinds of split: what was merged comes out whole, of anything else some parts. */
export function formOf(action: string, state = "merged"): Form {
  if (action === "split" && state !== "merged") return PARTS;
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
  /** Ids of those that leave. */
  alarms: number[];
  reports: number[];
  photos: Photo[];
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
    alarms: [],
    reports: [],
    photos: [],
    reason: "",
    comment: "",
  };
}

function given(field: Exclude<Field, "photos" | "parts">, values: Values): ActBody[string] | undefined {
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

/** What is sent: only what this action asks for, and of that only what was given. `digests` name its photos. */
export function bodyOf(action: string, values: Values, state = "merged", digests: readonly string[] = []): ActBody {
  const body: ActBody = {};
  for (const field of formOf(action, state).fields) {
    if (field === "photos") {
      if (digests.length > 0) body["photos"] = [...digests];
      continue;
    }
    if (field === "parts") {
      if (values.alarms.length > 0) body["alarms"] = values.alarms;
      if (values.reports.length > 0) body["reports"] = values.reports;
      continue;
    }
    const value = given(field, values);
    if (value !== undefined) body[field] = value;
  }
  return body;
}

export function missingOf(action: string, values: Values, state = "merged"): Needed | null {
  const lacks = (field: Needed) =>
    field === "parts" ? values.alarms.length + values.reports.length === 0 : given(field, values) === undefined;
  return formOf(action, state).needed.find(lacks) ?? null;
}

/** The two halves of 30m, 4wh, 3wd. */
export function limitParts(limit: string): { n: number; unit: LimitUnit } | null {
  const found = /^(\d+)(m|h|d|wm|wh|wd)$/.exec(limit);
  return found ? { n: Number(found[1]), unit: found[2] as LimitUnit } : null;
}
