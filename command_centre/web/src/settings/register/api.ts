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
export type LifeStep = Shapes["LifeStep"];
export type Papers = Shapes["Papers"];
export type Credential = Shapes["DeviceCredential"];
export type Credentials = Shapes["DeviceCredentials"];
export type IssuedCredential = Shapes["IssuedCredential"];
export type NewCredential = Shapes["NewCredential"];
export type Facility = Shapes["FacilityDetail"];
export type Building = Shapes["BuildingDetail"];
export type Sort = "components" | "buildings";
export type Thing = "device" | "component" | "building";
export type Crs = "wgs84" | "gcj02" | "bd09";
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
/** A facility or a building as lists show it. */
export interface Place {
  code: string;
  kind: string;
  name: string;
  cell: string | null;
  address: string;
  state: "in_use" | "under_repair" | "out_of_use" | "removed";
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

  life: (code: string) => call<Page<LifeStep>>("GET", `/api/devices/${seg(code)}/life`),
  claimAs: (code: string, device: string, reason: string) =>
    call<Entry>("POST", `/api/devices/${seg(code)}/claim-as`, { device, reason }),

  credentials: (code: string) => call<Credentials>("GET", `/api/devices/${seg(code)}/credentials`),
  issueCredential: (code: string, wanted: NewCredential) =>
    call<IssuedCredential>("POST", `/api/devices/${seg(code)}/credentials`, wanted),
  revokeCredential: (code: string, account: string, reason: string) =>
    call<Credentials>("POST", `/api/devices/${seg(code)}/credentials/${seg(account)}/revoke`, { reason }),

  places: (sort: Sort, query: URLSearchParams, cursor: string | null) => {
    const asked = new URLSearchParams(query);
    asked.delete("new");
    if (cursor !== null) asked.set("cursor", cursor);
    return call<Page<Place>>("GET", `/api/${sort}?${asked}`);
  },
  place: (sort: Sort, code: string) =>
    call<Facility | Building>("GET", sort === "buildings" ? `/api/buildings/${seg(code)}` : `/api/components/${seg(code)}/entry`),
  changePlace: (sort: Sort, code: string, values: NewValues, version: number) =>
    call<Facility | Building>("PATCH", `/api/${sort}/${seg(code)}`, values, { version }),
  createPlace: (sort: Sort, values: NewValues) =>
    call<Facility | Building>("POST", `/api/${sort}`, values, { key: freshKey() }),

  papers: (thing: Thing, code: string) => call<Papers>("GET", `/api/register/${thing}/${seg(code)}/papers`),
  addPapers: (thing: Thing, code: string, files: readonly File[], reason: string) => {
    const form = new FormData();
    for (const file of files) form.append("files", file, file.name);
    return sendForm<Papers>(`/api/register/${thing}/${seg(code)}/papers?reason=${seg(reason)}`, form);
  },
  removePaper: (thing: Thing, code: string, what: { photo?: string; document?: number }, reason: string) =>
    call<Papers>("POST", `/api/register/${thing}/${seg(code)}/papers/remove`, { ...what, reason }),

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

  import: (files: readonly File[], reason: string, crs: Crs, token: string | null) => {
    const form = new FormData();
    for (const file of files) form.append("files", file, file.name);
    const query = new URLSearchParams({ reason, crs, dry_run: String(token === null) });
    const extra = token === null ? {} : { tag: `"${token}"` };
    return sendForm<ImportPreview>(`/api/register/import?${query}`, form, extra);
  },

  changes: (path: string, cursor: string | null) =>
    call<Page<Change>>("GET", `${path}${cursor === null ? "" : `?cursor=${seg(cursor)}`}`),
};
