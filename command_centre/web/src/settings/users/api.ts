/** What the page of users asks of the centre. */
import { call, seg, tagged } from "../../http";
import type { Role, Unit } from "../../desk/api";

export interface Account {
  name: string;
  display_name: string;
  role: Role;
  unit: string | null;
  must_change: boolean;
  disabled: boolean;
  locked_until: string | null;
  created_at: string;
}
/** The secret opens one log-in, and is told this once. */
export interface Made {
  user: Account;
  one_time_secret: string;
}
export interface Contact {
  id?: number;
  channel: "webhook" | "smtp" | "apprise";
  address: string;
  label: string;
  language: "zh" | "en";
  active: boolean;
  purposes: string[];
  quiet: string;
  digest: boolean;
}
export interface Shift {
  name: string;
  days: string;
  from: string;
  to: string;
}
export interface Person {
  person: string;
  phone: string;
  user: string | null;
  from: string;
  to: string;
}
export interface Roster {
  unit: string;
  version: number;
  shifts: Shift[];
  people: Person[];
  gaps: { from: string; to: string }[];
}
export interface OnDuty {
  unit: string;
  name: string;
  name_en: string;
  phone: string;
  on_duty: boolean;
  keeps_roster: boolean;
  again_at: string | null;
  people: { person: string; phone: string; to: string }[];
}
interface Items<T> {
  items: T[];
}

export const ROLES: readonly Role[] = [
  "viewer",
  "handler",
  "grid_worker",
  "hotline",
  "dispatcher",
  "flood_officer",
  "supervisor",
  "administrator",
  "integrator",
];

export const api = {
  accounts: () => call<Items<Account>>("GET", "/api/users"),
  create: (given: { name: string; display_name: string; role: Role; unit?: string }) =>
    call<Made>("POST", "/api/users", given),
  change: (name: string, given: Partial<Pick<Account, "role" | "disabled" | "display_name">> & { unit?: string }) =>
    call<{ user: Account }>("PATCH", `/api/users/${seg(name)}`, given),
  reset: (name: string) => call<Made>("POST", `/api/users/${seg(name)}/reset`),
  units: () => call<Items<Unit>>("GET", "/api/units"),
  contacts: () => tagged<Items<Contact>>("/api/me/contacts"),
  putContacts: (items: readonly Contact[], tag: string) =>
    call<Items<Contact>>("PUT", "/api/me/contacts", { items }, { tag }),
  testContacts: () => call<{ sent_to: number }>("POST", "/api/me/contacts/test"),
  duty: () => call<Items<OnDuty> & { gaps: { unit: string; from: string; to: string }[] }>("GET", "/api/duty"),
  roster: (unit: string) => tagged<Roster>(`/api/units/${seg(unit)}/roster`),
  putRoster: (unit: string, roster: Pick<Roster, "shifts" | "people">, tag: string) =>
    call<Roster>("PUT", `/api/units/${seg(unit)}/roster`, roster, { tag }),
};
