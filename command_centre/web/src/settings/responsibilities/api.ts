/** What the page of the responsibility list asks of the centre. */
import { call, seg, sendText } from "../../http";

export interface Entry {
  id: number;
  category: string;
  category_name: string | null;
  category_name_en: string | null;
  area: string | null;
  area_layer: string | null;
  area_name: string | null;
  area_name_en: string | null;
  unit: string;
  unit_name: string;
  unit_name_en: string;
  co_units: string[];
  class: "A" | "B" | "C" | null;
  limits: Record<string, string>;
  automatic: "all" | "alarms" | "none" | null;
  valid_from: string | null;
  valid_to: string | null;
  version: number;
  state: "in_force" | "planned" | "ended" | "withdrawn";
}
export interface Change {
  id: number;
  at: string;
  by: string;
  reason: string;
  category: string;
  before: Said | null;
  after: Said | null;
}
interface Said {
  unit: string;
  co_units: string[];
  class: string | null;
  limits: Record<string, string>;
  valid_from: string | null;
  valid_to: string | null;
}
interface Named {
  code: string;
  name: string;
  name_en: string;
}
export interface Simulated {
  unit: Named | null;
  co_units: Named[];
  automatic: boolean;
  class: string | null;
  reason: string;
  reason_en: string;
  entry: number | null;
  limits: { stage: string; limit: string; due_at: string; provisional: boolean }[];
  considered: {
    id: number;
    category: string;
    area: string | null;
    unit: string | null;
    unit_name: string | null;
    unit_name_en: string | null;
    verdict: string;
    reason: string;
    reason_en: string;
  }[];
  elsewhere: number;
  alternatives: { code: string; name: string; name_en: string; reason: string; reason_en: string }[];
}
export interface Gaps {
  leaves: number;
  cells: number;
  pairs: number;
  uncovered: number;
  gaps: number;
  items: {
    category: string | null;
    category_name: string | null;
    category_name_en: string | null;
    leaves: number;
    place: { layer: string; code: string; name: string; name_en: string } | null;
    cells: number;
  }[];
}
export interface Overlap {
  kind: string;
  entries: { id: number; category: string; area: string | null; unit: string | null }[];
  units: string[];
  reason: string;
  reason_en: string;
}
export interface Sheet {
  dry_run: boolean;
  lines: number;
  begun: number;
  ended: number;
  begin: SheetLine[];
  end: SheetLine[];
}
export interface SheetLine {
  category: string;
  area: string | null;
  unit: string;
}
interface Page<T> {
  items: T[];
  next: string | null;
}

const query = (given: Record<string, string>) =>
  Object.entries(given)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `&${key}=${seg(value)}`)
    .join("");

const BASE = "/api/responsibilities";

export const api = {
  page: (filter: Record<string, string>, cursor: string | null) =>
    call<Page<Entry>>("GET", `${BASE}?limit=100${query({ ...filter, cursor: cursor ?? "" })}`),
  history: (id: number | null) => call<Page<Change>>("GET", `${BASE}${id === null ? "" : `/${id}`}/history?limit=100`),
  begin: (body: Record<string, unknown>, key: string) => call<Entry>("POST", BASE, body, { key }),
  change: (entry: Entry, body: Record<string, unknown>) =>
    call<Entry>("PATCH", `${BASE}/${entry.id}`, body, { version: entry.version }),
  end: (entry: Entry, reason: string) =>
    call<Entry>("DELETE", `${BASE}/${entry.id}?reason=${seg(reason)}`, undefined, { version: entry.version }),
  simulate: (given: Record<string, string>) => call<Simulated>("GET", `${BASE}/simulate?${query(given).slice(1)}`),
  gaps: () => call<Gaps>("GET", `${BASE}/gaps`),
  overlaps: () => call<Page<Overlap>>("GET", `${BASE}/overlaps`),
  units: () => call<Page<Named>>("GET", "/api/units"),
  categories: () => call<Page<Named>>("GET", "/api/categories?active=true"),
  areas: (layer: string) => call<Page<Named>>("GET", `/api/cells?level=${layer}&limit=1000`),
  takeIn: (csv: string, reason: string, dryRun: boolean) =>
    sendText<Sheet>("POST", `${BASE}/import?reason=${seg(reason)}&dry_run=${dryRun}`, csv, "text/csv"),
};
