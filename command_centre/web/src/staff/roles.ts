/** Which role meets what a screen needs; the centre's own table (api/access.py) decides, this one only hides. */
import type { Role } from "../desk/api";

export type Needs = "worker" | "hotline" | "dispatcher" | "flood" | "supervisor" | "administrator";
export type Tab =
  | "mine"
  | "open"
  | "unassigned"
  | "alarms"
  | "requests"
  | "intake"
  | "devices"
  | "quarantine"
  | "board"
  | "handover"
  | "performance"
  | "city";

const MEETS: Record<Needs, readonly Role[]> = {
  worker: ["handler", "grid_worker", "hotline", "dispatcher", "flood_officer", "supervisor", "administrator"],
  hotline: ["grid_worker", "hotline", "dispatcher", "flood_officer", "supervisor", "administrator"],
  dispatcher: ["dispatcher", "flood_officer", "supervisor", "administrator"],
  flood: ["flood_officer", "supervisor", "administrator"],
  supervisor: ["supervisor", "administrator"],
  administrator: ["administrator"],
};

export function meets(role: Role, needs: Needs): boolean {
  return MEETS[needs].includes(role);
}

const CENTRE: readonly Tab[] = [
  "open",
  "unassigned",
  "alarms",
  "board",
  "requests",
  "intake",
  "handover",
  "performance",
  "devices",
  "quarantine",
];
const TABS: Record<Role, readonly Tab[]> = {
  viewer: ["open", "unassigned", "alarms", "devices"],
  handler: ["mine", "requests", "open"],
  grid_worker: ["intake", "open", "unassigned"],
  hotline: ["intake", "open", "unassigned"],
  dispatcher: CENTRE,
  flood_officer: CENTRE,
  supervisor: CENTRE,
  administrator: CENTRE,
  integrator: ["open"],
};

/** In the order they are shown; the first one is where the day begins. `city`: they see its districts from here. */
export function tabsOf(role: Role, city = false): readonly Tab[] {
  return city ? [...TABS[role], "city"] : TABS[role];
}

export type View = "wall" | "desk" | "flood" | "field" | "settings";

const VIEWS: Record<Role, readonly View[]> = {
  viewer: ["wall", "desk", "flood"],
  handler: ["wall", "desk", "field"],
  grid_worker: ["wall", "desk", "field"],
  hotline: ["wall", "desk", "flood"],
  dispatcher: ["wall", "desk", "flood", "settings"],
  flood_officer: ["flood", "wall", "desk", "settings"],
  supervisor: ["wall", "desk", "flood", "settings"],
  administrator: ["wall", "desk", "flood", "settings"],
  integrator: ["wall"],
};

/** The views a role is led to; each of them decides itself what it lets that role do. */
export function viewsOf(role: Role): readonly View[] {
  return VIEWS[role];
}
