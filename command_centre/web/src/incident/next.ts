/** What is usually done next, and by which key each action is reached. */
import type { Clock } from "../desk/api";
import type { Case } from "./api";

const NEXT: Record<string, readonly string[]> = {
  registered: ["accept", "dispatch"],
  filed: ["dispatch", "archive"],
  returned: ["dispatch", "archive"],
  dispatched: ["take", "acknowledge", "arrive"],
  acknowledged: ["take", "arrive", "handle"],
  arrived: ["take", "handle"],
  rework: ["take", "acknowledge", "arrive", "handle"],
  suspended: ["resume"],
  handled: ["verify", "feedback", "archive"],
  verified: ["feedback", "archive"],
  fed_back: ["archive"],
  archived: ["reopen"],
  merged: ["split"],
};
const UNMERGED = new Set(["merged", "suspended", "archived", "voided"]);

/** The step that the loop waits for, among what this person may do; null when it is somebody else's. */
export function nextStep(incident: Case): string | null {
  const allowed = incident.allowed ?? [];
  // Five steps have no verification, and nobody waits for an answer where nobody reported.
  const skipped = (one: string) =>
    (one === "verify" && incident.steps === 5) || (one === "feedback" && incident.reported === false);
  return (NEXT[incident.state] ?? []).find((one) => allowed.includes(one) && !skipped(one)) ?? null;
}

/** The actions offered, the next step first; to take a part out is possible only where several lie together. */
export function offered(incident: Case, parts: number, dispatcher: boolean): string[] {
  const allowed = incident.allowed ?? [];
  const next = nextStep(incident);
  const rest = allowed.filter((one) => one !== next);
  const apart = dispatcher && parts > 1 && !UNMERGED.has(incident.state) && !allowed.includes("split");
  return [...(next ? [next] : []), ...rest, ...(apart ? ["split"] : [])];
}

const DONE = new Set(["handled", "verified", "fed_back"]);

/**
 * The deadline that everybody asks for: while a unit is at work that of handling, afterwards that of the step which
 * is waited for. Null when nothing runs.
 */
export function pressing(incident: Case, clocks: readonly Clock[]): { at: string; stage: string | null } | null {
  if (["archived", "voided", "merged", "suspended"].includes(incident.state)) return null;
  if (!DONE.has(incident.state)) return incident.due_at === null ? null : { at: incident.due_at, stage: null };
  const [next] = clocks
    .filter((one) => one.ended_at === null && !one.paused)
    .sort((a, b) => Date.parse(a.due_at) - Date.parse(b.due_at));
  return next ? { at: next.due_at, stage: next.stage } : null;
}

/** Where a list has the same letter for the same thing, it leads here; its other letters (j, k, h, t, u, x) stay its own. */
export const ACTION_KEYS: Record<string, string> = {
  accept: "i",
  acknowledge: "a",
  dispatch: "d",
  arrive: "r",
  handle: "c",
  verify: "v",
  rework: "w",
  feedback: "f",
  archive: "z",
  reopen: "o",
  escalate: "e",
  supervise: "y",
  return: "b",
  transfer: "T",
  extend: "+",
  suspend: "p",
  dispute: "q",
  take: "g",
  approve: "1",
  refuse: "2",
  withdraw: "3",
  rule: "4",
  resume: "p",
  merge: "m",
  split: "s",
  link: "l",
  unlink: "5",
  void: "0",
  comment: "n",
};
