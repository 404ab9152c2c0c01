/** Which incident comes first, how long it has, and the sign its class carries. No clock is read here. */
import type { Incident, IncidentClass, Station } from "../screen/topics";

export const CLASSES: readonly IncidentClass[] = ["A", "B", "C"];
export type Sort = "class" | "deadline" | "age";

export interface Sign {
  digit: string;
  colour: string;
  /** Corners in a box from -1 to 1. */
  shape: readonly (readonly [number, number])[];
}

/** Colour never stands alone: a diamond 1, a triangle 2, a square 3. The blue circle 4 is reserved. */
export const SIGNS: Record<IncidentClass, Sign> = {
  A: { digit: "1", colour: "#e82c45", shape: [[0, -1.15], [1.15, 0], [0, 1.15], [-1.15, 0]] },
  B: { digit: "2", colour: "#ec7f13", shape: [[0, -1.1], [1.15, 0.9], [-1.15, 0.9]] },
  C: { digit: "3", colour: "#f7f097", shape: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]] },
};

/** Milliseconds left until `due_at`; negative when over; null without a deadline. */
export function timeLeft(due_at: string | null, now: number | null): number | null {
  return due_at === null || now === null ? null : Date.parse(due_at) - now;
}

/** The deadline that runs: while an incident is suspended its clocks stand still, and nothing is overdue. */
export function deadline(incident: { state: string; due_at: string | null }): string | null {
  return incident.state === "suspended" ? null : incident.due_at;
}

interface Times {
  due: number;
  opened: number;
}

// A row is replaced when it changes, so its dates are parsed once and not for every comparison of a long list.
const parsed = new WeakMap<Incident, Times>();

function times(incident: Incident): Times {
  let found = parsed.get(incident);
  if (!found) {
    const at = deadline(incident);
    found = { due: at === null ? Number.POSITIVE_INFINITY : Date.parse(at), opened: Date.parse(incident.opened_at) };
    parsed.set(incident, found);
  }
  return found;
}

function rank(incident: Incident): number {
  return CLASSES.indexOf(incident.class);
}

type Order = (a: Incident, b: Incident) => number;
const difference = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);
const byDeadline: Order = (a, b) => difference(times(a).due, times(b).due);
const byAge: Order = (a, b) => difference(times(a).opened, times(b).opened);
const byAcknowledged: Order = (a, b) =>
  Number(a.acknowledged_at !== null) - Number(b.acknowledged_at !== null);
const byClass: Order = (a, b) => rank(a) - rank(b);
const byNumber: Order = (a, b) => (a.number === b.number ? 0 : a.number < b.number ? -1 : 1);

const ORDERS: Record<Sort, readonly Order[]> = {
  class: [byClass, byAcknowledged, byDeadline, byAge, byNumber],
  deadline: [byDeadline, byClass, byAge, byNumber],
  age: [byAge, byClass, byNumber],
};

export function sorted(incidents: Iterable<Incident>, sort: Sort): Incident[] {
  const orders = ORDERS[sort];
  return [...incidents].sort((a, b) => {
    for (const order of orders) {
      const result = order(a, b);
      if (result !== 0) return result;
    }
    return 0;
  });
}

/** Incidents that must be heard: first class and nobody has acknowledged them. */
export function sounding(incidents: Iterable<Incident>): Incident[] {
  return [...incidents].filter((incident) => incident.class === "A" && incident.acknowledged_at === null);
}

const ABOVE: readonly Station["state"][] = ["warning", "guaranteed", "record"];

export function aboveWarning(station: Station): boolean {
  return ABOVE.includes(station.state);
}

/** What is left to the warning level. A gauge that stopped above it has no margin, but its flood is not over. */
function margin(station: Station): number | null {
  if (station.margin_m !== null || !aboveWarning(station)) return station.margin_m;
  return station.warning_m === null || station.level_m === null ? null : station.warning_m - station.level_m;
}

/** Stations nearest to, or furthest above, their warning level; without a margin they cannot be ranked. */
export function worstStations(stations: Iterable<Station>, most: number): Station[] {
  return [...stations]
    .filter((station) => margin(station) !== null && station.state !== "silent")
    .sort((a, b) => difference(margin(a) ?? 0, margin(b) ?? 0) || a.code.localeCompare(b.code))
    .slice(0, most);
}

/** Milliseconds until the warning level is reached by the forecast's median; null when it is not, or already is. */
export function untilWarning(station: Station, now: number | null): number | null {
  const { forecast_at, time_to_warning_s } = station;
  if (now === null || !forecast_at || !time_to_warning_s || aboveWarning(station)) return null;
  return Date.parse(forecast_at) + time_to_warning_s * 1000 - now;
}
