/** What the flood desk asks of the centre over HTTP. */
import type { Shapes } from "../api/shapes";
import { call, freshKey, seg } from "../http";
import type { Station } from "../screen/topics";

export type Gauge = Shapes["Gauge"];
export type LevelName = "warning" | "guaranteed" | "highest" | "bank" | "design";
export type ResponseLevel = "I" | "II" | "III" | "IV";
export type Colour = "blue" | "yellow" | "orange" | "red";

export interface Reach {
  /** From the forecast's issue; null when only the band's upper edge reaches the level. */
  seconds: number | null;
  at: string | null;
  earliest_at: string | null;
}

export interface Skill {
  judged: number;
  rmse_m: number;
  rmse_persistence_m: number;
  skill: number | null;
  coverage: number;
}

/** A row of /api/stations: the live state and what only that answer knows. */
export interface StationRow extends Station {
  station_kind_name?: string | null;
  station_kind_name_en?: string | null;
  bank_m?: number | null;
  design_m?: number | null;
  time_to_level: Partial<Record<LevelName, Reach | null>>;
  forecast_peak_m?: number | null;
  forecast_peak_at?: string | null;
  refused?: string | null;
  refused_en?: string | null;
  skill?: Record<string, Skill>;
  /** Of a landslide spot, which has no water level. */
  reading?: { metric: string; unit: string | null; value: number | null };
}

export interface Upstream {
  code: string;
  name: string;
  travel_min: number | null;
  observed: [string, number][];
}

export interface Mark {
  from: string;
  to: string;
  kind: string;
  text: string;
  text_en: string;
}

export interface HydrographBody {
  station?: StationRow;
  from?: string;
  to?: string;
  observed?: [string, number | null][];
  levels?: Partial<Record<`${LevelName}_m` | "zero_m", number | null>>;
  rain?: [string, number][];
  upstream?: Upstream[];
  forecast?: [string, number, number, number][];
  forecast_info?: {
    refused?: string | null;
    refused_en?: string | null;
    issued_at?: string;
    level_m?: number | null;
    basis?: string;
    basis_en?: string;
    degraded?: string[];
    skill_30d?: Record<string, Skill>;
  };
  time_to_level?: Partial<Record<LevelName, Reach | null>>;
  marks?: Mark[];
}

export interface PastEvent {
  onset: string;
  peak: string;
  end: string;
  peak_m: number;
  rise_m: number | null;
}

export interface Fired {
  id: string;
  level: ResponseLevel;
  words: string;
  words_en: string;
  definition: { name: string; name_en: string; source: string };
  seen: { text: string; text_en: string }[];
}

export interface Proposal {
  id: number;
  at: string;
  level: ResponseLevel | null;
  words: string;
  words_en: string;
  fired: Fired[];
  open: boolean;
  answered_at: string | null;
  answered_by: string | null;
}

export interface ResponseState {
  level: ResponseLevel | null;
  since: string | null;
  by: string | null;
  reason: string;
  version: number;
  proposal: Proposal | null;
  history: {
    id: number;
    at: string;
    level: ResponseLevel | null;
    previous: ResponseLevel | null;
    action: string;
    actor: string;
    reason: string;
  }[];
}

export interface WarningContent {
  hazard?: string;
  headline?: string;
  headline_en?: string;
  description?: string;
  description_en?: string;
  instruction?: string;
  instruction_en?: string;
  areas?: string[];
  stations?: string[];
  onset?: string | null;
  expires?: string;
  certainty?: string | null;
}

export interface SentMessage {
  identifier: string;
  message_type: string;
  sent: string;
  colour: Colour;
  headline: string;
  headline_en: string;
  reason: string;
  actor: string;
  href: string;
  sha256: string;
}

export interface Hindrance {
  field: string;
  value: string;
  remedy: string;
  remedy_zh: string;
}

export interface FloodWarning {
  id: number;
  state: "draft" | "issued" | "cancelled" | "expired";
  colour: Colour;
  exercise: boolean;
  content: WarningContent;
  expires_at: string;
  created_at: string;
  created_by: string;
  ended_at: string | null;
  version: number;
  messages: SentMessage[];
  preview?: { xml: string; headline: string; headline_en: string; problems: Hindrance[] };
}

export interface Task {
  id: number;
  kind: "evacuate" | "inspect";
  incident: number;
  number: string;
  state: string;
  due_at: string | null;
  deadline: string;
  reason: string;
  note: string;
  exercise: boolean;
  opened_at: string;
  opened_by: string;
  done_at: string | null;
  version: number;
  cell: string;
  cell_name: string;
  street: string | null;
  street_name: string;
  unit: string | null;
  unit_name: string | null;
  unit_name_en: string | null;
  to_move: number;
  moved: number;
  absent: number;
  refused: number;
  remaining: number;
  reported_at: string | null;
  report_note: string;
}

export interface TaskDetail extends Task {
  reports: {
    at: string;
    actor: string;
    to_move: number;
    moved: number;
    absent: number;
    refused: number;
    remaining: number;
    done: boolean;
    note: string;
    reason: string;
  }[];
  suggestion: { action: string; reason: string; reason_en: string } | null;
}

export interface Totals {
  tasks: number;
  done: number;
  to_move: number;
  moved: number;
  absent: number;
  refused: number;
  remaining: number;
}

export interface TaskList {
  items: Task[];
  totals: { district: Totals; streets: (Totals & { code: string; name: string })[] };
}

export interface Headcount {
  cell: string;
  cell_name: string;
  to_move: number;
  note: string;
}

export interface Entry {
  id: number;
  at: string;
  shift: string;
  kind: string;
  text: string;
  text_en: string;
  actor: string;
  object: string;
  exercise: boolean;
  refers_to: number | null;
}

export interface Area {
  code: string;
  name: string;
  name_en?: string | null;
  parent: string | null;
  level: string;
}

export interface Page<Row> {
  items: Row[];
  next: string | null;
}

const station = (code: string) => `/api/stations/${seg(code)}`;

function asked(query: Record<string, string | number | null | undefined>): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text === "" ? "" : `?${text}`;
}

export interface Window {
  hours?: number;
  from?: string;
  to?: string;
}

export const api = {
  stations: () => call<Page<StationRow>>("GET", "/api/stations"),
  gauges: () => call<Page<Gauge>>("GET", "/api/flood/gauges"),
  hydrograph: (code: string, window: Window) =>
    call<HydrographBody>("GET", `${station(code)}/hydrograph${asked({ ...window })}`),
  events: (code: string, level: number | null) =>
    call<{ level_m: number; items: PastEvent[] }>("GET", `${station(code)}/events${asked({ level })}`),

  response: () => call<ResponseState>("GET", "/api/flood/response"),
  confirm: (proposal: number, reason: string, version: number) =>
    call<ResponseState>("POST", "/api/flood/response/confirm", { proposal, reason }, { version, key: freshKey() }),
  setLevel: (level: ResponseLevel, reason: string, version: number) =>
    call<ResponseState>("POST", "/api/flood/response/set", { level, reason }, { version, key: freshKey() }),
  end: (reason: string, version: number) =>
    call<ResponseState>("POST", "/api/flood/response/end", { reason }, { version, key: freshKey() }),

  warnings: (state: string, cursor: string | null = null) =>
    call<Page<FloodWarning>>("GET", `/api/flood/warnings${asked({ state, cursor })}`),
  warning: (id: number) => call<FloodWarning>("GET", `/api/flood/warnings/${id}`),
  draft: (body: object, key: string) => call<FloodWarning>("POST", "/api/flood/warnings", body, { key }),
  act: (id: number, action: "issue" | "update" | "cancel", body: object, version: number) =>
    call<FloodWarning>("POST", `/api/flood/warnings/${id}/${action}`, body, { version, key: freshKey() }),

  tasks: (query: { kind?: string; state?: string; exercise?: string }) =>
    call<TaskList>("GET", `/api/flood/tasks${asked(query)}`),
  task: (id: number) => call<TaskDetail>("GET", `/api/flood/tasks/${id}`),
  order: (body: object, key: string) =>
    call<{ items: Task[]; skipped: { cell: string; reason: string; reason_en: string }[] }>(
      "POST",
      "/api/flood/tasks",
      body,
      { key },
    ),
  progress: (id: number, body: object, version: number) =>
    call<TaskDetail>("POST", `/api/flood/tasks/${id}/progress`, body, { version, key: freshKey() }),
  headcounts: () => call<Page<Headcount>>("GET", "/api/flood/headcounts"),

  log: (query: { from?: string; to?: string; cursor?: string | null; limit?: number }) =>
    call<Page<Entry>>("GET", `/api/flood/duty-log${asked(query)}`),
  write: (text: string, refers_to: number | null, key: string) =>
    call<Entry>("POST", "/api/flood/duty-log", refers_to === null ? { text } : { text, refers_to }, { key }),

  areas: (level: string, cursor: string | null = null) =>
    call<Page<Area>>("GET", `/api/cells${asked({ level, cursor, limit: 1000 })}`),
};

/** Follows `next` until the end; `most` bounds what a page can hold. */
export async function every<Row>(ask: (cursor: string | null) => Promise<Page<Row>>, most = 20_000): Promise<Row[]> {
  const rows: Row[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<Row> = await ask(cursor);
    rows.push(...page.items);
    cursor = page.next;
  } while (cursor !== null && rows.length < most);
  return rows;
}
