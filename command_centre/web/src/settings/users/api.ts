/** What the page of users asks of the centre. */
import { call, seg, tagged } from "../../http";
import type { Shapes } from "../../api/shapes";
import type { Role, Unit } from "../../desk/api";

export type Account = Shapes["Account"] & { role: Role };
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
/** One reporter, by telephone or by tracking number. */
interface Wanted {
  phone?: string;
  tracking?: string;
  reason: string;
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
  create: (given: { name: string; display_name: string; role: Role; unit?: string; scope?: string }) =>
    call<Made>("POST", "/api/users", given),
  change: (name: string, given: Partial<Pick<Account, "role" | "disabled" | "display_name">> & { unit?: string; scope?: string }) =>
    call<{ user: Account }>("PATCH", `/api/users/${seg(name)}`, given),
  reset: (name: string) => call<Made>("POST", `/api/users/${seg(name)}/reset`),
  resetFactor: (name: string) => call<{ user: Account }>("POST", `/api/users/${seg(name)}/second-factor/reset`),
  logOut: (name: string) => call<unknown>("POST", `/api/users/${seg(name)}/sessions/end`),
  tokens: () => call<Items<Shapes["TokenRow"]>>("GET", "/api/tokens"),
  makeToken: (given: { name: string; role: Role; only_reads: boolean; days: number; scope?: string; unit?: string }) =>
    call<Shapes["TokenMade"]>("POST", "/api/tokens", given),
  revokeToken: (id: number) => call<Shapes["TokenRow"]>("POST", `/api/tokens/${id}/revoke`),
  exportReporter: (given: Wanted) => call<Shapes["Person"]>("POST", "/api/persons/export", given),
  eraseReporter: (given: Wanted) => call<Shapes["Erased"]>("POST", "/api/persons/erase", given),
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
