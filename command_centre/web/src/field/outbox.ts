/** What is done with what waits: which goes next, what an answer means, what belongs together. No clock, no storage. */
import type { Believed, Draft, Entry, Trouble } from "./types";

export interface Reply {
  /** 0: no answer at all. */
  status: number;
  body: unknown;
}

export type Verdict = "done" | "already" | "later" | "login" | "stale" | "conflict";

/** Steps of the workflow: done twice, or to an order that has changed, they would do harm. */
const GUARDED: readonly string[] = ["acknowledge", "arrive", "handle", "return", "transfer", "verify", "rework"];
const ONCE: readonly string[] = [...GUARDED, "decline"];
const AGAIN_LATER: readonly number[] = [0, 408, 411, 425, 429];

export function guarded(entry: Pick<Draft, "kind" | "action">): boolean {
  return entry.kind === "incident" && GUARDED.includes(entry.action);
}

/** Whether the same step waits already: a second tap is not a second step. */
export function repeated(waiting: readonly Entry[], draft: Pick<Draft, "kind" | "target" | "action">): boolean {
  return (
    (draft.kind === "incident" || draft.kind === "call") &&
    ONCE.includes(draft.action) &&
    waiting.some((one) => one.target === draft.target && one.action === draft.action)
  );
}

/** What may go now, in the order it was done. Behind a trouble nothing of the same order moves. */
export function sendable(waiting: readonly Entry[]): Entry[] {
  const stuck = new Set(waiting.filter((one) => one.trouble !== undefined).map((one) => one.target));
  return waiting.filter((one) => !stuck.has(one.target)).sort((a, b) => a.seq - b.seq);
}

/** All that waits for an order in which something is in trouble, by order. */
export function conflicts(waiting: readonly Entry[]): { target: string; trouble: Trouble; entries: Entry[] }[] {
  return waiting
    .filter((one) => one.trouble !== undefined)
    .map((one) => ({
      target: one.target,
      trouble: one.trouble as Trouble,
      entries: waiting.filter((other) => other.target === one.target).sort((a, b) => a.seq - b.seq),
    }))
    .filter((group, n, all) => all.findIndex((other) => other.target === group.target) === n);
}

function field(body: unknown, name: string): unknown {
  return body !== null && typeof body === "object" ? (body as Record<string, unknown>)[name] : undefined;
}

/** What the centre's answer means for what was sent. */
export function verdict(entry: Pick<Draft, "kind" | "action">, { status, body }: Reply): Verdict {
  if (status >= 200 && status < 300) return "done";
  if (AGAIN_LATER.includes(status) || status >= 500) return "later";
  if (status === 401 || (status === 403 && field(body, "must_change") === true)) return "login";
  if (status === 412) return "stale";
  if (status === 409 && entry.action === "acknowledge") {
    const state = field(body, "state");
    if (entry.kind === "call" || state === "acknowledged" || state === "arrived") return "already";
  }
  return "conflict";
}

/** How an incident differs from what the telephone believed; null when the step still means the same. */
export function changed(believed: Believed | undefined, incident: unknown): Trouble["why"] | null {
  if (believed === undefined) return null;
  if (field(incident, "unit") !== believed.unit) return "moved";
  if (field(incident, "reworks") !== believed.reworks) return "rework";
  return field(incident, "dispatched_at") === believed.dispatched_at ? null : "again";
}

export function text(body: unknown, ...names: string[]): string {
  return names
    .map((name) => field(body, name))
    .filter((one): one is string => typeof one === "string" && one !== "")
    .join("：");
}

/** Steps that wait as far as the order on the screen is concerned: what it will be once they are sent. */
const LEADS_TO: Record<string, string> = {
  acknowledge: "acknowledged",
  arrive: "arrived",
  handle: "handled",
  verify: "verified",
  rework: "rework",
};

export function foreseen(state: string, waiting: readonly Pick<Entry, "action">[]): string {
  return waiting.reduce((now, one) => LEADS_TO[one.action] ?? now, state);
}

const STEPS: Record<string, readonly string[]> = {
  dispatched: ["acknowledge", "arrive", "handle"],
  rework: ["acknowledge", "arrive", "handle"],
  acknowledged: ["arrive", "handle"],
  arrived: ["handle"],
  handled: ["verify"],
};

/** The step to take next by the main button; null when nobody waits for one from this person. */
export function nextStep(state: string, foreseenState: string, allowed: readonly string[]): string | null {
  const steps = STEPS[foreseenState] ?? [];
  // What the centre allowed for the state it knew; further on, those who may arrive may also handle.
  const may = (step: string) =>
    allowed.includes(step) || (state !== foreseenState && step !== "verify" && allowed.includes("handle"));
  return steps.find(may) ?? null;
}
