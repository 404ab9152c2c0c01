/**
 * An alarm flood by its likely causes, so that forty alarms are four decisions.
 *
 * The strongest tie comes first. One incident: triage has found out already what belongs together, also what fell
 * silent behind one gateway. Then silence, for many devices that fall silent at once have one network. Then one place
 * and one kind of event. Then one rule: a storm, or a rule that was written badly. What is left stands alone.
 */
import type { DeskAlarm } from "./listing";
import { raisedAt } from "./listing";

export const WINDOW_MS = 10 * 60 * 1000;
/** ISA-18.2: ten alarms in ten minutes are more than one operator can follow. */
export const FLOOD_FROM = 10;

export type Cause = "incident" | "silence" | "place" | "rule" | "single";

export interface Group {
  cause: Cause;
  /** What is the same of all: number of the incident, cell, rule. */
  of: string;
  /** The first one is the first-out alarm of the group: where to look first. */
  alarms: readonly DeskAlarm[];
  waiting: number;
}

const family = (row: DeskAlarm) => row.category.split(".")[0] ?? "";

const TIES: readonly [Cause, (row: DeskAlarm) => string | null][] = [
  ["incident", (row) => (row.incident === null ? null : String(row.incident))],
  ["silence", (row) => (row.category === "device.silent" ? row.category : null)],
  ["place", (row) => (row.cell === null ? null : `${row.cell} ${family(row)}`)],
  ["rule", (row) => row.rule],
];

/** Alarms raised in the ten minutes before `now` (epoch ms); a drill is no flood. */
export function recent(rows: Iterable<DeskAlarm>, now: number): DeskAlarm[] {
  return [...rows].filter((row) => !row.exercise && raisedAt(row) > now - WINDOW_MS && raisedAt(row) <= now + WINDOW_MS);
}

const firstOut = (a: DeskAlarm, b: DeskAlarm) => raisedAt(a) - raisedAt(b) || a.id - b.id;

function group(cause: Cause, of: string, alarms: readonly DeskAlarm[]): Group {
  return {
    cause,
    of,
    alarms: [...alarms].sort(firstOut),
    waiting: alarms.filter((row) => row.state === "UNACK" || row.state === "RTNUN").length,
  };
}

/** Every alarm in exactly one group; the group with most to acknowledge first, single ones together at the end. */
export function grouped(rows: readonly DeskAlarm[]): Group[] {
  const groups: Group[] = [];
  let left = rows;
  for (const [cause, tie] of TIES) {
    const found = new Map<string, DeskAlarm[]>();
    for (const row of left) {
      const of = tie(row);
      if (of === null) continue;
      const same = found.get(of);
      if (same) same.push(row);
      else found.set(of, [row]);
    }
    const taken = [...found].filter(([, alarms]) => alarms.length > 1);
    groups.push(...taken.map(([of, alarms]) => group(cause, of, alarms)));
    const gone = new Set(taken.flatMap(([, alarms]) => alarms));
    left = left.filter((row) => !gone.has(row));
  }
  groups.sort((a, b) => b.waiting - a.waiting || b.alarms.length - a.alarms.length);
  return left.length > 0 ? [...groups, group("single", "", left)] : groups;
}
