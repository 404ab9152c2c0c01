/** Which station reaches which of its levels when, and in which order the desk looks at them. No clock is read. */
import { aboveWarning } from "../incidents/order";
import type { Station } from "../screen/topics";
import type { LevelName, Reach, StationRow } from "./api";

export const NAMED_LEVELS = ["warning", "guaranteed", "highest"] as const satisfies readonly LevelName[];
export type NamedLevel = (typeof NAMED_LEVELS)[number];
export type Order = "margin" | "time";

/** When a level is reached. Times are epoch milliseconds; `earliest` is the band's upper edge, a chance of one in ten. */
export type Arrival =
  | { is: "unset" }
  | { is: "over"; by: number }
  | { is: "unknown" }
  | { is: "old"; issued: number }
  | { is: "not" }
  | { is: "at"; at: number; earliest: number | null }
  | { is: "chance"; earliest: number };

/** A forecast older than this is shown by nobody (docs/stations.md). */
export const FORECAST_HOLDS_MS = 30 * 60 * 1000;

export function limitOf(station: StationRow, level: NamedLevel): number | null {
  return station[`${level}_m`] ?? null;
}

/** Metres left to a level, negative above it; null where either is not known or the reading is not believed. */
export function marginTo(station: StationRow, level: NamedLevel): number | null {
  const limit = limitOf(station, level);
  if (limit === null || station.level_m === null || station.state === "silent") return null;
  if (station.suspect && !aboveWarning(station)) return null;
  return limit - station.level_m;
}

export function arrival(station: StationRow, level: NamedLevel, now: number | null): Arrival {
  if (limitOf(station, level) === null) return { is: "unset" };
  const margin = marginTo(station, level);
  if (margin !== null && margin <= 0) return { is: "over", by: -margin };
  if (margin === null || !station.forecast_at || station.suspect || now === null) return { is: "unknown" };
  const issued = Date.parse(station.forecast_at);
  if (now - issued > FORECAST_HOLDS_MS) return { is: "old", issued };
  return reached(station.time_to_level[level] ?? null);
}

function reached(reach: Reach | null): Arrival {
  const earliest = reach?.earliest_at ? Date.parse(reach.earliest_at) : null;
  if (reach?.at) return { is: "at", at: Date.parse(reach.at), earliest };
  return earliest === null ? { is: "not" } : { is: "chance", earliest };
}

/** What the answer of /api/stations says, with the newest state of the screen protocol over it. */
export function merged(known: ReadonlyMap<string, StationRow>, live: Iterable<Station>): StationRow[] {
  return [...live].map((station) => ({ time_to_level: {}, ...known.get(station.code), ...station }));
}

const difference = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

/** Nearest to its warning level first, or soonest at it; what cannot be ranked comes last, and is there. */
export function ordered(stations: readonly StationRow[], order: Order, now: number | null): StationRow[] {
  const far = (station: StationRow) => marginTo(station, "warning") ?? Infinity;
  const soon = (station: StationRow): readonly [number, number] => {
    const when = arrival(station, "warning", now);
    if (when.is === "over") return [0, 0];
    if (when.is === "at") return [1, when.at];
    return when.is === "chance" ? [2, when.earliest] : [3, 0];
  };
  return [...stations].sort((a, b) => {
    if (order === "time") {
      const [one, other] = [soon(a), soon(b)];
      const first = difference(one[0], other[0]) || difference(one[1], other[1]);
      if (first !== 0) return first;
    }
    return difference(far(a), far(b)) || difference(quiet(a), quiet(b)) || a.code.localeCompare(b.code);
  });
}

/** Of those without a margin the silent gauge first: it is the one that somebody must look after. */
function quiet(station: StationRow): number {
  return station.suspect || station.state === "silent" ? 0 : 1;
}

export interface Coming {
  station: StationRow;
  level: NamedLevel;
  arrival: Extract<Arrival, { is: "at" | "chance" }>;
}

/** Every level that some station is expected to reach, the soonest first; by chance alone after those expected. */
export function coming(stations: readonly StationRow[], now: number | null): Coming[] {
  const found: Coming[] = [];
  for (const station of stations) {
    for (const level of NAMED_LEVELS) {
      const when = arrival(station, level, now);
      if (when.is === "at" || when.is === "chance") found.push({ station, level, arrival: when });
    }
  }
  const key = ({ arrival: when }: Coming) => (when.is === "at" ? when.at : when.earliest);
  return found.sort(
    (a, b) =>
      difference(a.arrival.is === "at" ? 0 : 1, b.arrival.is === "at" ? 0 : 1) ||
      difference(key(a), key(b)) ||
      a.station.code.localeCompare(b.station.code),
  );
}

/** Stations with a warning level of which nobody knows when they reach it: no forecast, an old one, no belief. */
export function unforeseen(stations: readonly StationRow[], now: number | null): number {
  return stations.filter((station) => ["unknown", "old"].includes(arrival(station, "warning", now).is)).length;
}

export interface Sums {
  all: number;
  above: number;
  silent: number;
  suspect: number;
  unset: number;
}

export function sums(stations: readonly StationRow[]): Sums {
  const water = stations.filter((station) => station.station_kind !== "landslide");
  return {
    all: water.length,
    above: water.filter(aboveWarning).length,
    silent: water.filter((station) => station.state === "silent").length,
    suspect: water.filter((station) => station.suspect).length,
    unset: water.filter((station) => station.state === "unset").length,
  };
}

/** A sign for each state; the word always stands beside it. */
export const SIGN: Record<Station["state"], string> = {
  normal: "○",
  warning: "▲",
  guaranteed: "▲▲",
  record: "◆",
  unset: "–",
  silent: "×",
};
