/** What the incident's page asks of the centre, beyond what the desk's lists ask. */
import { api, type Alarm, type IncidentDetail, type ReportRow } from "../desk/api";
import { call, seg, upload, freshKey } from "../http";
import type { IncidentClass } from "../screen/topics";

export interface Case extends IncidentDetail {
  title?: string;
  /** Somebody waits for an answer. */
  reported?: boolean;
  standing_alarms?: number;
}

/** What goes with an action; which needs what: see fields.ts. */
export type ActBody = Record<string, string | number | boolean | string[] | number[]>;

export interface LimitSaid {
  key: string;
  name: string;
  name_en: string;
  value: number | string;
  unit: string;
  source: string;
  source_text: string;
  source_text_en: string;
}

export interface Why {
  sentence: string;
  sentence_en: string;
  limits: LimitSaid[];
  evidence: Record<string, unknown>;
  window: { from: string; to: string };
  notes: { text: string; text_en: string }[];
}

export interface Reading {
  at: string;
  min: number;
  mean: number;
  max: number;
}

/** A picture or clip that an alarm's sender named; `refused` says why the centre does not fetch it. */
export interface MediaItem {
  n: number;
  host: string;
  file: string;
  refused: string | null;
  refused_en: string | null;
}

export interface Neighbour {
  code: string;
  kind: string;
  name: string;
  lon: number | null;
  lat: number | null;
  online: boolean;
}

export interface LinkRow {
  id: number;
  number: string;
  state: string;
  class: IncidentClass;
  category: string;
  title: string;
  opened_at: string;
  relation: "merged" | "root" | "parent" | "child";
}

export interface Message {
  id: number;
  unit_name: string | null;
  purpose: string;
  channel: string;
  label: string;
  to_lead: boolean;
  state: string;
  created_at: string;
  attempted_at: string | null;
  last_error: string | null;
}

interface Items<T> {
  items: T[];
  next: string | null;
}

const MOST_PAGES = 10;

export const pages = {
  /** Every alarm of an incident, up to a thousand: a storm raises hundreds. */
  async alarms(id: string | number): Promise<Alarm[]> {
    const first = await api.alarmsOf(id);
    const found = [...first.items];
    let cursor = first.next;
    for (let n = 1; cursor !== null && n < MOST_PAGES; n++) {
      const page: Items<Alarm> = await call(
        "GET",
        `/api/alarms?state=all&incident=${seg(id)}&cursor=${seg(cursor)}`,
      );
      found.push(...page.items);
      cursor = page.next;
    }
    return found;
  },
  why: (alarm: Alarm["id"]) => call<Why>("GET", `/api/alarms/${seg(alarm)}/why`),
  media: (alarm: Alarm["id"]) => call<Items<MediaItem>>("GET", `/api/alarms/${seg(alarm)}/media`),
  readings: (device: string, from: number, to: number, metric: string | null) =>
    call<Items<Reading>>(
      "GET",
      `/api/devices/${seg(device)}/readings?from=${seg(new Date(from).toISOString())}` +
        `&to=${seg(new Date(to).toISOString())}${metric ? `&metric=${seg(metric)}` : ""}`,
    ),
  around: (cell: string) => call<Items<Neighbour>>("GET", `/api/devices?cell=${seg(cell)}&limit=200`),
  reports: (id: string | number) => call<Items<ReportRow>>("GET", `/api/incidents/${seg(id)}/reports`),
  links: (id: string | number) =>
    call<Items<LinkRow> & { goes_on_in: number }>("GET", `/api/incidents/${seg(id)}/links`),
  messages: (id: string | number) => call<Items<Message>>("GET", `/api/notifications?incident=${seg(id)}`),
  /** With the same `key` again it is done once. */
  act: (id: string | number, action: string, body: ActBody, version: number | undefined, key: string) =>
    call<Case>("POST", `/api/incidents/${seg(id)}/${seg(action)}`, body, { version, key }),
  /** Sends photos before the action that names them; answers their digests. */
  photos(files: readonly File[]): Promise<{ photos: string[] }> {
    const form = new FormData();
    for (const file of files) form.append("photos", file, file.name);
    return upload("/api/photos", form, freshKey(), () => undefined);
  },
};

export const mediaAddress = (alarm: Alarm["id"], n: number) => `/api/alarms/${seg(alarm)}/media/${n}`;
