/** What the register's pages ask of the centre. */
import type { Shapes } from "../../api/shapes";
import { call, freshKey, seg, sendForm } from "../../http";
import type { Reading } from "../../incident/api";

export type Entry = Shapes["DeviceDetail"];
export type Proposal = Shapes["DeviceProposal"];
export type Change = Shapes["RegisterChange"];
export type Choices = Shapes["DeviceChoices"];
export type UnitEntry = Shapes["UnitDetail"];
export type AreaEntry = Shapes["AreaDetail"];
export type AreaVersion = Shapes["AreaVersion"];
export type GroundPreview = Shapes["GroundPreview"];
export type Finding = Shapes["OutlineFinding"];
export type ImportPreview = Shapes["ImportPreview"];
export type ImportRow = Shapes["ImportRow"];
export type NewValues = Record<string, unknown>;

/** A device as lists show it, with its live state. */
export interface Device {
  code: string;
  kind: string;
  name: string;
  cell: string | null;
  cell_name: string | null;
  owner_unit: string;
  maintainer_unit: string;
  registration: "registered" | "unclaimed" | "retired";
  service_state: string;
  service_until: string | null;
  service_reason: string;
  last_heard_at: string | null;
  open_alarms: number;
  online: boolean;
  lon: number | null;
  lat: number | null;
  version: number;
}
export interface RuleOf {
  rule: string;
  version: number;
  name: string;
  name_en: string;
  level: string;
  in_force: boolean;
  why: string;
  why_en: string;
}
export interface AlarmOf {
  id: string;
  raised_at: string;
  cleared_at: string | null;
  rule_name?: string;
  rule_name_en?: string;
  rule: string;
  level: string;
  incident: string | null;
}
interface Page<Row> {
  items: Row[];
  next: string | null;
}

const PAGE = 1000;

export const register = {
  choices: () => call<Choices>("GET", "/api/devices/choices"),
  devices: (query: URLSearchParams, cursor: string | null) => {
    const asked = new URLSearchParams(query);
    asked.set("limit", String(PAGE));
    if (cursor !== null) asked.set("cursor", cursor);
    return call<Page<Device>>("GET", `/api/devices?${asked}`);
  },
  device: (code: string) => call<Device>("GET", `/api/devices/${seg(code)}`),
  entry: (code: string) => call<Entry>("GET", `/api/devices/${seg(code)}/entry`),
  proposals: (code: string) => call<Page<Proposal>>("GET", `/api/devices/${seg(code)}/proposal`),
  rules: (code: string) => call<Page<RuleOf>>("GET", `/api/devices/${seg(code)}/rules`),
  alarms: (code: string) => call<Page<AlarmOf>>("GET", `/api/alarms?device=${seg(code)}&limit=20`),
  readings: (code: string, from: number, to: number) =>
    call<Page<Reading>>(
      "GET",
      `/api/devices/${seg(code)}/readings?from=${seg(new Date(from).toISOString())}&to=${seg(new Date(to).toISOString())}`,
    ),
  change: (code: string, values: NewValues, version: number) =>
    call<Entry>("PATCH", `/api/devices/${seg(code)}`, values, { version }),
  create: (values: NewValues) => call<Entry>("POST", "/api/devices", values, { key: freshKey() }),

  units: () => call<Page<UnitEntry>>("GET", "/api/register/units"),
  changeUnit: (code: string, values: NewValues, version: number) =>
    call<UnitEntry>("PATCH", `/api/units/${seg(code)}`, values, { version }),
  createUnit: (values: NewValues) => call<UnitEntry>("POST", "/api/units", values, { key: freshKey() }),

  areas: () => call<Page<AreaEntry>>("GET", "/api/areas"),
  areaHistory: (layer: string, code: string) =>
    call<Shapes["AreaHistory"]>("GET", `/api/areas/${seg(layer)}/${seg(code)}/history`),
  tryGround: (body: NewValues) => call<GroundPreview>("POST", "/api/areas/changes?dry_run=true", body),
  saveGround: (body: NewValues, token: string) =>
    call<GroundPreview>("POST", "/api/areas/changes", body, { tag: `"${token}"` }),

  import: (files: readonly File[], reason: string, token: string | null) => {
    const form = new FormData();
    for (const file of files) form.append("files", file, file.name);
    const query = new URLSearchParams({ reason, dry_run: String(token === null) });
    const extra = token === null ? {} : { tag: `"${token}"` };
    return sendForm<ImportPreview>(`/api/register/import?${query}`, form, extra);
  },

  changes: (path: string, cursor: string | null) =>
    call<Page<Change>>("GET", `${path}${cursor === null ? "" : `?cursor=${seg(cursor)}`}`),
};
