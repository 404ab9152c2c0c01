/**
 * What a list at the desk shows, in which order, and how both stand in the address, so that a link or a reload finds
 * the same rows. Pure: rows in, rows out. Whatever is read from a row more than once is kept beside it, for rows are
 * replaced when they change and ten thousand dates are not parsed again for every key pressed.
 */
import { CLASSES } from "../incidents/order";
import type { Incident, IncidentClass } from "../screen/topics";

/** "" = any. */
export interface Wanted {
  class: string;
  state: string;
  unit: string;
  street: string;
  category: string;
  /** Words that all must occur, in any field a person sees. */
  text: string;
  sort: string;
}
export type Facet = Exclude<keyof Wanted, "text" | "sort">;

export const ANYTHING: Wanted = { class: "", state: "", unit: "", street: "", category: "", text: "", sort: "" };
const NAMES = Object.keys(ANYTHING) as (keyof Wanted)[];

export function readWanted(query: string): Wanted {
  const given = new URLSearchParams(query);
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? ""])) as unknown as Wanted;
}

/** The query of an address, "" when nothing is asked for; what else stood in `before` stays. */
export function writtenWanted(wanted: Wanted, before = ""): string {
  const query = new URLSearchParams(before);
  for (const name of NAMES) {
    if (wanted[name] === "") query.delete(name);
    else query.set(name, wanted[name]);
  }
  const written = query.toString();
  return written === "" ? "" : `?${written}`;
}

/** How one kind of row is looked at; each function is asked once for each version of a row. */
export interface Kind<Row extends object> {
  facets: (row: Row) => Partial<Record<Facet, readonly string[]>>;
  /** Everything on it that a person may look for. */
  words: (row: Row) => string;
}

interface Seen {
  facets: Partial<Record<Facet, readonly string[]>>;
  words: string;
}

export class Listing<Row extends object> {
  private readonly kept = new WeakMap<Row, Seen>();

  constructor(private readonly kind: Kind<Row>) {}

  private seen(row: Row): Seen {
    let found = this.kept.get(row);
    if (!found) {
      found = { facets: this.kind.facets(row), words: this.kind.words(row).toLowerCase() };
      this.kept.set(row, found);
    }
    return found;
  }

  filtered(rows: readonly Row[], wanted: Wanted): Row[] {
    const words = wanted.text.toLowerCase().split(/\s+/).filter((word) => word !== "");
    const asked = NAMES.filter((name): name is Facet => name !== "text" && name !== "sort" && wanted[name] !== "");
    return rows.filter((row) => {
      const seen = this.seen(row);
      return (
        asked.every((name) => seen.facets[name]?.includes(wanted[name])) &&
        words.every((word) => seen.words.includes(word))
      );
    });
  }

  /** How many rows each value of a facet has, the most frequent first. */
  values(rows: readonly Row[], facet: Facet): [value: string, rows: number][] {
    const counted = new Map<string, number>();
    for (const row of rows) {
      for (const value of this.seen(row).facets[facet] ?? []) counted.set(value, (counted.get(value) ?? 0) + 1);
    }
    return [...counted].filter(([value]) => value !== "").sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  }
}


export const incidentListing = () =>
  new Listing<Incident>({
    facets: (row) => ({
      class: [row.class],
      state: [row.state],
      unit: [row.unit ?? "", ...(row.co_units ?? [])],
      street: [row.street_name],
      category: [row.category],
    }),
    words: (row) =>
      [
        row.number, row.category, row.category_name, row.category_name_en, row.cell, row.cell_name, row.street_name,
        row.unit, row.unit_name, row.unit_name_en, row.reason, row.reason_en, ...row.devices,
      ].join(" "),
  });

/** Whose it is: the unit's own, or one it handles beside the lead. */
export function isOurs(row: Incident, unit: string): boolean {
  return row.unit === unit || (row.co_units?.includes(unit) ?? false);
}

export interface DeskAlarm {
  id: number;
  rule: string;
  device: string | null;
  device_name?: string;
  cell: string | null;
  cell_name?: string;
  category: string;
  category_name?: string;
  category_name_en?: string;
  level: string;
  class: IncidentClass | null;
  raised_at: string;
  cleared_at: string | null;
  acknowledged_at: string | null;
  state: string;
  shelf: { until: string; reason: string; by: string } | null;
  suppressed: string | null;
  repeats: number;
  late?: boolean;
  incident: number | null;
  exercise: boolean;
  unclaimed: boolean;
  first_out: boolean;
}

export const alarmListing = () =>
  new Listing<DeskAlarm>({
    facets: (row) => ({ class: [row.class ?? ""], state: [row.state], category: [row.category] }),
    words: (row) =>
      [
        row.id, row.rule, row.device, row.device_name, row.cell, row.cell_name, row.category, row.category_name,
        row.category_name_en, row.level,
      ].join(" "),
  });

export const ALARM_SORTS = ["state", "class", "age"] as const;
export type AlarmSort = (typeof ALARM_SORTS)[number];

// What waits for a person first: it stands and nobody has seen it; it came and went unseen; it stands and is known.
const STATE_ORDER = ["UNACK", "RTNUN", "ACKED", "SHLVD", "OOSRV", "DSUPR", "NORM"];
const raised = new WeakMap<DeskAlarm, number>();

export function raisedAt(row: DeskAlarm): number {
  let at = raised.get(row);
  if (at === undefined) raised.set(row, (at = Date.parse(row.raised_at)));
  return at;
}

const byState = (a: DeskAlarm, b: DeskAlarm) => STATE_ORDER.indexOf(a.state) - STATE_ORDER.indexOf(b.state);
const rank = (row: DeskAlarm) => (row.class === null ? CLASSES.length : CLASSES.indexOf(row.class));
const byClass = (a: DeskAlarm, b: DeskAlarm) => rank(a) - rank(b);
const newest = (a: DeskAlarm, b: DeskAlarm) => raisedAt(b) - raisedAt(a) || b.id - a.id;

export function sortedAlarms(rows: readonly DeskAlarm[], sort: AlarmSort): DeskAlarm[] {
  const orders = { state: [byState, byClass, newest], class: [byClass, byState, newest], age: [newest] }[sort];
  return [...rows].sort((a, b) => {
    for (const order of orders) {
      const result = order(a, b);
      if (result !== 0) return result;
    }
    return 0;
  });
}
