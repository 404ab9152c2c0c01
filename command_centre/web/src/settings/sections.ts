/** The sections of the settings, in the order they are shown, and which role is led to each of them. */
import type { Needs } from "../staff/roles";

export const SECTIONS = [
  "devices",
  "facilities",
  "devices-health",
  "areas",
  "units",
  "import",
  "screens",
  "rules",
  "responsibilities",
  "calendar",
  "users",
  "quarantine",
  "audit",
  "health",
] as const;
export type Section = (typeof SECTIONS)[number];

/** The centre's own table decides what may be done; here only what would be of no use to a role is left out. */
const NEEDS: Record<Section, Needs> = {
  devices: "dispatcher",
  facilities: "dispatcher",
  "devices-health": "dispatcher",
  areas: "dispatcher",
  units: "dispatcher",
  import: "administrator",
  screens: "administrator",
  rules: "dispatcher",
  responsibilities: "dispatcher",
  calendar: "dispatcher",
  users: "dispatcher",
  quarantine: "dispatcher",
  audit: "supervisor",
  health: "dispatcher",
};

export function sectionsFor(may: (needs: Needs) => boolean): readonly Section[] {
  return SECTIONS.filter((one) => may(NEEDS[one]));
}

/** A section that is there, and for another role than the one that asks: said, and not passed over. */
export function isAnothers(named: string | undefined, shown: readonly Section[]): Section | null {
  return SECTIONS.find((one) => one === named && !shown.includes(one)) ?? null;
}
export const needsOf = (section: Section): Needs => NEEDS[section];

/** The section that an address names; the first of those shown when it names none of them. */
export function sectionAt(named: string | undefined, shown: readonly Section[]): Section | null {
  return shown.find((one) => one === named) ?? shown[0] ?? null;
}
