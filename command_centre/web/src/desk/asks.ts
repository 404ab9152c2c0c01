/** What can be done to many rows at once: by which key, told what, and whether somebody is paged by it. */
import type { Key } from "../i18n/language.svelte";
import type { Needs } from "../staff/roles";
import type { Noun } from "./bulk.svelte";

export type AskField = "unit" | "class" | "into" | "until" | "reason";

export interface Ask {
  /** As the centre names it. */
  action: string;
  key: string;
  /** On the button. */
  word: Key;
  /** In the list of keys. */
  says: Key;
  fields: readonly AskField[];
  reasonNeeded: boolean;
  /** People are told at once, so it is confirmed even for one row. */
  pages: boolean;
  needs: Needs;
  /** What takes it back, where that harms nobody. */
  undo?: string;
}

const ask = (action: string, key: string, word: Key, says: Key, more: Partial<Ask> = {}): Ask => ({
  action,
  key,
  word,
  says,
  fields: [],
  reasonNeeded: false,
  pages: false,
  needs: "dispatcher",
  ...more,
});

export const ASKS: Record<Noun, readonly Ask[]> = {
  incidents: [
    ask("acknowledge", "a", "action.acknowledge", "key.acknowledge", { needs: "worker" }),
    ask("dispatch", "d", "action.dispatch", "key.dispatch", { fields: ["reason"], pages: true }),
    ask("assign", "u", "bulk.assign", "key.assign", { fields: ["unit", "reason"], pages: true }),
    ask("merge", "m", "action.merge", "key.merge", { fields: ["into", "reason"], reasonNeeded: true, undo: "split" }),
    ask("split", "s", "action.split", "key.split", { fields: ["reason"], reasonNeeded: true, pages: true }),
    ask("escalate", "e", "action.escalate", "key.escalate", {
      fields: ["class", "reason"],
      reasonNeeded: true,
      pages: true,
    }),
  ],
  alarms: [
    ask("acknowledge", "a", "alarm.acknowledge", "key.acknowledge"),
    ask("shelve", "h", "alarm.shelve", "key.shelve", {
      fields: ["until", "reason"],
      reasonNeeded: true,
      undo: "unshelve",
    }),
    ask("unshelve", "H", "alarm.unshelve", "key.unshelve"),
  ],
};

/** More than this many are confirmed: one Ctrl+A too many must not acknowledge a whole district. */
export const MANY = 20;

export function isAsked(of: Ask, count: number): boolean {
  return of.fields.length > 0 || of.pages || count > MANY;
}

/** The centre's own action: giving to a unit of one's choice is a dispatch that names it. */
export const sentAs = (action: string) => (action === "assign" ? "dispatch" : action);
