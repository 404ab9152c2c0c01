/** What the desk asks of the centre over HTTP. */
import type { Shapes } from "../api/shapes";
import { call, freshKey, seg } from "../http";
import type { IncidentClass } from "../screen/topics";
import type { DeskAlarm } from "./listing";

export type Role =
  | "viewer"
  | "handler"
  | "grid_worker"
  | "hotline"
  | "dispatcher"
  | "flood_officer"
  | "supervisor"
  | "administrator"
  | "integrator";

export interface User {
  name: string;
  display_name: string;
  role: Role;
  /** Code of the unit they act for. */
  unit?: string | null;
  /** The password was set by somebody else: nothing but changing it is let through. */
  must_change?: boolean;
  /** The role acts only with a second factor, and this log-in has shown none. */
  must_enrol?: boolean;
  /** The area they see and act in; null the whole district. */
  scope?: string | null;
  /** They see the districts of a city from here. */
  city?: boolean;
  /** The identity provider vouches for them, not a password of the centre's. */
  by_provider?: boolean;
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
  nature?: string;
  event_level?: number;
  steps?: 5 | 6;
  /** Codes of units that handle beside the lead. */
  co_units?: string[];
  /** Kinds of requests that wait for an answer. */
  asked?: string[];
  extensions?: number;
  reworks?: number;
  supervised_at?: string | null;
  merged_into?: number | null;
  parent?: number | null;
}

export interface Clock {
  id: number;
  stage: string;
  unit: string | null;
  /** 30m, 4wh, 3wd. */
  limit: string;
  started_at: string;
  due_at: string;
  left_minutes: number | null;
  overdue: boolean;
  paused: boolean;
  ended_at: string | null;
  outcome: "met" | "late" | "cancelled" | null;
  provisional: boolean;
  next: { at: string; words: string; words_en: string } | null;
}

export interface Wish {
  id: number;
  incident: number;
  number: string;
  incident_state: string;
  class: IncidentClass;
  category: string;
  ask: string;
  unit: string | null;
  unit_name: string | null;
  unit_name_en: string | null;
  to_unit: string | null;
  to_unit_name: string | null;
  to_unit_name_en: string | null;
  limit: string;
  state: string;
  asked_by: string;
  asked_at: string;
  answer_due_at: string | null;
}

export interface SuggestedUnit {
  code: string;
  name: string;
  name_en: string;
  phone: string;
  full: boolean;
  capacity: number | null;
}

export interface NearbyWork {
  id: number;
  number: string;
  state: string;
  class: IncidentClass;
  title: string;
  category: string;
  unit_name: string | null;
  unit_name_en: string | null;
  same_unit: boolean;
  metres: number | null;
}

export interface Suggestion {
  unit: SuggestedUnit | null;
  co_units: (SuggestedUnit | null)[];
  reason: string;
  reason_en: string;
  alternatives: { unit: SuggestedUnit | null; reason: string; reason_en: string }[];
  nearby: NearbyWork[];
}

export interface Candidate {
  id: number;
  number: string;
  score: number;
  certain: boolean;
  reasons: string[];
  reasons_en: string[];
  class?: IncidentClass | null;
  state?: string | null;
  category_name?: string | null;
  category_name_en?: string | null;
  cell_name?: string | null;
  opened_at?: string | null;
}

export interface ReportRow {
  id: number;
  tracking: string;
  channel: string;
  received_at: string;
  category: string | null;
  nature: string;
  text: string;
  address: string;
  cell_name: string;
  actor: string;
  joined: boolean;
  fixed_on_spot: boolean;
  erased_at: string | null;
  incident: number | null;
  number: string | null;
  state: string | null;
  has_contact: boolean;
  call_back: boolean;
  photos: string[];
}

export interface CallDue {
  id: number;
  tracking: string;
  received_at: string;
  category: string | null;
  number: string;
  state: string;
  incident: number;
  answered_at: string | null;
  tried: number;
  last_at: string | null;
}

export interface Contact {
  name: string;
  phone: string;
  email: string;
}

/** What goes with an action; which needs what: see fields.ts. */
export type ActBody = Record<string, string | number | boolean | string[]>;

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

const after = (cursor: string | null) => (cursor ? `&cursor=${seg(cursor)}` : "");

export const api = {
  session: () => call<{ user: User }>("GET", "/api/session"),
  logIn: (name: string, password: string, code: string) =>
    call<{ user: User }>("POST", "/api/session", { name, password, ...(code === "" ? {} : { code }) }),
  changePassword: (current: string, fresh: string) =>
    call<unknown>("POST", "/api/session/password", { current, new: fresh }),
  logOut: () => call<{ continue_at: string } | null>("DELETE", "/api/session"),

  incident: (id: string | number) => call<IncidentDetail>("GET", `/api/incidents/${seg(id)}`),
  timeline: (id: string | number) => call<Page<TimelineItem>>("GET", `/api/incidents/${seg(id)}/timeline`),
  alarmsOf: (id: string | number) => call<Page<Alarm>>("GET", `/api/alarms?state=all&incident=${seg(id)}`),
  /** With `version` it is refused when the incident has changed since it was read. */
  act: (id: string | number, action: string, body: ActBody, version?: number) =>
    call<IncidentDetail>("POST", `/api/incidents/${seg(id)}/${seg(action)}`, body, { version, key: freshKey() }),
  clocks: (id: string | number) => call<Page<Clock>>("GET", `/api/incidents/${seg(id)}/clocks`),
  suggestion: (id: string | number) => call<Suggestion>("GET", `/api/incidents/${seg(id)}/suggestion`),
  candidates: (id: string | number) => call<Page<Candidate>>("GET", `/api/incidents/${seg(id)}/candidates`),
  requests: (cursor: string | null) =>
    call<Page<Wish>>("GET", `/api/requests?state=open&limit=100${after(cursor)}`),

  /** Open incidents that what is being typed may be about. */
  draftCandidates: (draft: Record<string, string | number>) =>
    call<Page<Candidate>>("POST", "/api/candidates", draft),
  reports: (query: string, state: string, cursor: string | null) =>
    call<Page<ReportRow>>(
      "GET",
      `/api/reports?limit=30${query ? `&q=${seg(query)}` : ""}${state ? `&state=${state}` : ""}${after(cursor)}`,
    ),
  contact: (tracking: string) =>
    call<{ contact: Contact | null }>("GET", `/api/reports/${seg(tracking)}/contact`),
  callsDue: (cursor: string | null) => call<Page<CallDue>>("GET", `/api/callbacks?limit=30${after(cursor)}`),
  calledBack: (tracking: string, body: Record<string, unknown>) =>
    call<unknown>("POST", `/api/reports/${seg(tracking)}/callback`, body),

  /** One action on many rows; each has an outcome of its own. */
  bulk: (noun: "alarms" | "incidents", body: Record<string, unknown>, key: string) =>
    call<Shapes["BulkAnswer"]>("POST", `/api/${noun}/bulk`, body, { key }),
  links: (id: string | number) =>
    call<Page<{ id: number; number: string; relation: "merged" | "root" | "parent" | "child" }>>(
      "GET",
      `/api/incidents/${seg(id)}/links`,
    ),
  silenced: (cursor: string | null) =>
    call<Page<DeskAlarm>>("GET", `/api/alarms?state=SHLVD,DSUPR,OOSRV&limit=500${after(cursor)}`),
  alarm: (id: string | number) => call<DeskAlarm>("GET", `/api/alarms/${seg(id)}`),

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
      `/api/devices?limit=50${query ? `&q=${seg(query)}` : ""}${after(cursor)}`,
    ),
  service: (code: string, body: { state: string; until?: string; reason: string }) =>
    call<unknown>("POST", `/api/devices/${seg(code)}/service`, body),
  claim: (code: string) => call<unknown>("POST", `/api/devices/${seg(code)}/claim`, {}),

  quarantine: (cursor: string | null) =>
    call<Page<Quarantined>>("GET", `/api/quarantine?limit=50${after(cursor)}`),
  replay: (ids: number[]) => call<unknown>("POST", "/api/quarantine/replay", { ids }),
};
