/** What the screen hub says, by topic. Times are RFC 3339 UTC, levels metres above the station's datum. */

export type IncidentClass = "A" | "B" | "C";

export interface District {
  code: string;
  name: string;
  name_en: string;
  timezone: string;
  response_level: "I" | "II" | "III" | "IV" | null;
}

export interface Cell {
  state: "normal" | "blind" | "unset";
  class: IncidentClass | null;
  open: number;
  /** Open incidents of drills: in neither `class` nor `open`. */
  exercise?: number;
  devices: number;
  online: number;
}

export interface Incident {
  id: string | number;
  number: string;
  state: string;
  class: IncidentClass;
  category: string;
  category_name: string;
  category_name_en: string;
  cell: string;
  cell_name: string;
  street_name: string;
  lon: number | null;
  lat: number | null;
  unit: string | null;
  unit_name: string | null;
  unit_name_en: string | null;
  /** Codes of the units that handle beside it. */
  co_units?: string[];
  /** For If-Match: what a person decides rests on what was on the screen. */
  version?: number;
  reason: string;
  reason_en?: string;
  opened_at: string;
  due_at: string | null;
  acknowledged_at: string | null;
  last_alarm_at: string | null;
  alarms: number;
  devices: string[];
  exercise: boolean;
}

export interface Counts {
  A: number;
  B: number;
  C: number;
  unassigned: number;
  unacknowledged: number;
  total: number;
  /** Open incidents of drills, which count in none of the above. */
  exercise?: number;
  /** Under the key `silent`: standing alarms nobody is sent to, by their ISA-18.2 state. */
  SHLVD?: number;
  DSUPR?: number;
  OOSRV?: number;
  /** Under the key `alarms`, when the topic `alarm` is asked for: how many there are, and how many of them it has. */
  shown?: number;
}

/** An alarm that stands, or has returned unacknowledged: as GET /api/alarms gives it, without the evidence. */
export interface StandingAlarm {
  id: number;
  rule: string;
  rule_version: number;
  device: string | null;
  device_name: string;
  cell: string | null;
  cell_name: string;
  metric: string | null;
  category: string;
  category_name: string;
  category_name_en: string;
  level: "blue" | "yellow" | "orange" | "red";
  level_since: string | null;
  class: IncidentClass | null;
  raised_at: string;
  cleared_at: string | null;
  late: boolean;
  repeats: number;
  acknowledged_at: string | null;
  acknowledged_by: string | null;
  triage: string;
  state: "UNACK" | "ACKED" | "RTNUN";
  suppressed: string | null;
  incident: number | null;
  exercise: boolean;
  drill: number | null;
  unclaimed: boolean;
  shelf: null;
  first_out: boolean;
}

export interface Drill {
  id: number;
  name: string;
  scenario: string;
  opened_at: string;
  until: string;
  devices: number;
}

export interface Station {
  code: string;
  name: string;
  name_en: string;
  station_kind: "river" | "culvert" | "underpass" | "road" | "reservoir" | "tide" | "landslide" | null;
  cell: string;
  level_m: number | null;
  observed_at: string | null;
  warning_m: number | null;
  guaranteed_m: number | null;
  highest_m: number | null;
  margin_m: number | null;
  /** Why the level is not believed though it is shown: the gauge stands still, or its zero seems to have moved. */
  suspect?: "flat" | "step" | null;
  rise_m_h?: number | null;
  forecast_m_3h?: number | null;
  /** When the forecast was issued; `time_to_warning_s` counts from there. */
  forecast_at?: string | null;
  time_to_warning_s?: number | null;
  state: "normal" | "warning" | "guaranteed" | "record" | "unset" | "silent";
}

export interface KindOnline {
  kind: string;
  name: string;
  name_en: string;
  total: number;
  online: number;
  offline: number;
  never: number;
}

export interface Health {
  ingest: "ok" | "lagging" | "down";
  broker: "ok" | "down";
  database: "ok" | "down";
  lag_s: number | null;
  ingest_seen_at: string | null;
  quarantined_1h: number;
  unclaimed: number;
  broker_dropped: number;
  /** Room for the database, as ingest judges it. */
  disk: "ok" | "little" | "none";
  /** The line to the city; none where this district reports to nobody. */
  uplink?: "none" | "up" | "behind" | "cut" | "stopped";
  uplink_since?: string | null;
  uplink_waiting?: number;
}

export interface Topics {
  district: District;
  cell: Cell;
  incident: Incident;
  counts: Counts;
  drill: Drill;
  station: Station;
  online: KindOnline;
  health: Health;
  alarm: StandingAlarm;
}

export type TopicName = keyof Topics;

/** What every connection gets; `alarm` only when it is asked for. */
export const USUAL: readonly TopicName[] = [
  "district",
  "cell",
  "incident",
  "counts",
  "drill",
  "station",
  "online",
  "health",
];

export interface ScreenEvent {
  kind: string;
  id: string | number;
  at?: string;
  /** Its number in the centre's list of changes. */
  change?: number;
  class?: IncidentClass | null;
  exercise?: boolean;
}
