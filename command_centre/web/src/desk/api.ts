/** What the desk asks of the centre over HTTP. Refusals arrive as problem+json and leave as `Problem`. */
import type { IncidentClass } from "../screen/topics";

export interface User {
  name: string;
  display_name: string;
  role: "viewer" | "dispatcher" | "administrator";
  /** The password was set by somebody else: nothing but changing it is let through. */
  must_change?: boolean;
}

export interface IncidentDetail {
  id: string | number;
  number: string;
  state: string;
  class: IncidentClass;
  category: string;
  category_name?: string;
  category_name_en?: string;
  cell: string | null;
  cell_name?: string | null;
  street_name?: string | null;
  lon?: number | null;
  lat?: number | null;
  unit: string | null;
  unit_name?: string | null;
  unit_name_en?: string | null;
  unit_phone?: string | null;
  unit_lead_phone?: string | null;
  reason: string | null;
  reason_en?: string | null;
  opened_at: string;
  due_at: string | null;
  acknowledged_at?: string | null;
  devices: string[];
  exercise?: boolean;
  version?: number;
  allowed?: string[];
}

export interface TimelineItem {
  seq: number;
  at: string;
  kind: string;
  actor: string | null;
  reason: string | null;
  detail: unknown;
  /** A typed text that was taken out since it named persons. */
  erased?: boolean;
}

export interface Alarm {
  id: string | number;
  rule: string;
  device: string | null;
  cell?: string | null;
  metric?: string | null;
  evidence?: unknown;
  raised_at: string;
  cleared_at: string | null;
  acknowledged_at?: string | null;
  /** By its ISA-18.2 name. */
  state?: "UNACK" | "ACKED" | "RTNUN" | "NORM" | "SHLVD" | "DSUPR" | "OOSRV";
  shelf?: { until: string; reason: string; by: string } | null;
  suppressed?: string | null;
  first_out?: boolean;
}

export interface Unit {
  code: string;
  name: string;
  name_en?: string | null;
  kind?: string;
  phone?: string | null;
  open_incidents?: number;
}

export interface Device {
  code: string;
  kind: string;
  name: string;
  cell: string | null;
  registration: "registered" | "unclaimed" | "retired";
  service_state: "in_service" | "under_test" | "shelved" | "out_of_service";
  service_until: string | null;
  service_reason: string;
  last_heard_at: string | null;
  online: boolean;
}

export interface Quarantined {
  id: number;
  topic: string;
  reason: string;
  received_at: string;
  /** A readable beginning of the bytes. */
  text: string;
  replay_requested_at: string | null;
  replayed_at: string | null;
  outcome: string | null;
}

interface Page<T> {
  items: T[];
  next: string | null;
}

/** A refusal that a person can read: the centre's own words, in both languages, when it gave any. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly zh: string,
    readonly en: string,
  ) {
    super(en || `HTTP ${status}`);
  }
}

/** Reads a refusal; a body that is no problem+json (a proxy's page) counts as without words. */
export async function problemOf(answer: Response): Promise<Problem> {
  let body: Record<string, unknown> = {};
  try {
    body = (await answer.json()) as typeof body;
  } catch {
    // No JSON: the status alone must do.
  }
  const words = (...fields: string[]) =>
    fields
      .map((field) => body[field])
      .filter((part): part is string => typeof part === "string" && part !== "")
      .join(": ");
  const en = words("title", "detail");
  return new Problem(answer.status, words("title_zh", "detail_zh") || en, en);
}

async function call<T>(method: string, path: string, body?: unknown, version?: number): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: {
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(version === undefined ? {} : { "If-Match": `"${version}"` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new Problem(0, "", ""); // no answer at all
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer.status === 204 ? (null as T) : ((await answer.json()) as T);
}

const seg = (part: string | number) => encodeURIComponent(String(part));

export const api = {
  session: () => call<{ user: User }>("GET", "/api/session"),
  logIn: (name: string, password: string) => call<{ user: User }>("POST", "/api/session", { name, password }),
  changePassword: (current: string, fresh: string) =>
    call<unknown>("POST", "/api/session/password", { current, new: fresh }),
  logOut: () => call<unknown>("DELETE", "/api/session"),

  incident: (id: string | number) => call<IncidentDetail>("GET", `/api/incidents/${seg(id)}`),
  timeline: (id: string | number) => call<Page<TimelineItem>>("GET", `/api/incidents/${seg(id)}/timeline`),
  alarmsOf: (id: string | number) => call<Page<Alarm>>("GET", `/api/alarms?state=all&incident=${seg(id)}`),
  /** With `version` it is refused when the incident has changed since it was read. */
  act: (id: string | number, action: string, body: Record<string, string>, version?: number) =>
    call<IncidentDetail>("POST", `/api/incidents/${seg(id)}/${seg(action)}`, body, version),

  units: () => call<Page<Unit>>("GET", "/api/units"),
  acknowledgeAlarm: (id: string | number) => call<unknown>("POST", `/api/alarms/${seg(id)}/acknowledge`, {}),
  shelve: (id: string | number, body: { until: string; reason: string }) =>
    call<unknown>("POST", `/api/alarms/${seg(id)}/shelve`, body),
  unshelve: (id: string | number) => call<unknown>("POST", `/api/alarms/${seg(id)}/unshelve`, {}),
  why: (id: string | number) =>
    call<{ sentence: string; sentence_en: string; notes: { text: string; text_en: string }[] }>(
      "GET",
      `/api/alarms/${seg(id)}/why`,
    ),

  devices: (query: string, cursor: string | null) =>
    call<Page<Device>>(
      "GET",
      `/api/devices?limit=50${query ? `&q=${seg(query)}` : ""}${cursor ? `&cursor=${seg(cursor)}` : ""}`,
    ),
  service: (code: string, body: { state: string; until?: string; reason: string }) =>
    call<unknown>("POST", `/api/devices/${seg(code)}/service`, body),
  claim: (code: string) => call<unknown>("POST", `/api/devices/${seg(code)}/claim`, {}),

  quarantine: (cursor: string | null) =>
    call<Page<Quarantined>>("GET", `/api/quarantine?limit=50${cursor ? `&cursor=${seg(cursor)}` : ""}`),
  replay: (ids: number[]) => call<unknown>("POST", "/api/quarantine/replay", { ids }),
};
