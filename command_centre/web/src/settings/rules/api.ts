/** What the rule editor asks of the centre. */
import { call, seg, tagged } from "../../http";
import type { Shapes } from "../../api/shapes";
import type { Definition } from "./definition";

export type Kinds = Shapes["RuleKinds"];
export type Fired = Shapes["RuleFired"];

export interface RuleRow {
  id: string;
  version: number;
  definition: Definition;
  state: "draft" | "active" | "retired";
  source: string;
  /** Name of who wrote it; of one version only. */
  by?: string;
  reason: string;
  created_at: string;
  type: string;
  name: string;
  name_en: string;
  kinds: string[];
  scope: Record<string, string[]>;
  category: string | null;
  class: string | null;
  level: string | null;
  open_alarms: number;
  drafts?: number;
}
export interface Move {
  at: string;
  by: string;
  action: string;
  reason: string;
  from_version: number | null;
  to_version: number | null;
}
export interface RuleProblem {
  rule: string;
  key: string;
  severity: "error" | "warning";
  text: string;
  text_zh: string;
  remedy: string;
  remedy_zh: string;
}
export interface Tried {
  ok: boolean;
  problems: RuleProblem[];
  definition: Definition;
  toml: string;
  devices: number;
}
export interface Changed {
  change: string;
  version: number | null;
  problems: RuleProblem[];
}
export interface Diff {
  keys: { key: string; before: unknown; after: unknown }[];
  toml: string;
}
export interface Episode {
  device: string;
  raised_at: string;
  cleared_at: string | null;
  seconds: number;
  level: string;
  peak: number | null;
}
export interface Report {
  days: number;
  readings: number;
  detections: number;
  totals: { episodes: number; per_day: number; in_alarm_s: number };
  episodes: Episode[];
  episodes_left_out: number;
  difference: {
    kept: number;
    gained: number;
    lost: number;
    gained_episodes: Episode[];
    lost_episodes: Episode[];
  } | null;
  notes: { zh: string; en: string }[];
}
interface Job {
  id: string;
  state: "running" | "done" | "cancelled" | "failed";
  progress: { done: number; expected: number | null };
  report: Report | null;
}
export interface Reading {
  at: string;
  min: number;
  mean: number;
  max: number;
}
interface Items<T> {
  items: T[];
}

const POLL_MS = 500;

export const api = {
  kinds: () => call<Kinds>("GET", "/api/rule-kinds"),
  fired: () => call<Items<Fired>>("GET", "/api/rule-alarms"),
  list: () => call<Items<RuleRow>>("GET", "/api/rules?state=all&limit=1000"),
  rule: (id: string) => tagged<RuleRow & { history: Move[] }>(`/api/rules/${seg(id)}`),
  versions: (id: string) => call<Items<RuleRow>>("GET", `/api/rules/${seg(id)}/versions`),
  diff: (id: string, from: number, to: number) =>
    call<Diff>("GET", `/api/rules/${seg(id)}/diff?from=${from}&to=${to}`),
  tryOut: (id: string, given: { definition: Definition } | { toml: string }) =>
    call<Tried>("POST", `/api/rules/${seg(id)}/validate`, given),
  draft: (id: string, definition: Definition, reason: string, tag: string | undefined) =>
    call<Changed>("PUT", `/api/rules/${seg(id)}`, { definition, reason }, { tag }),
  move: (id: string, action: "activate" | "rollback", version: number, reason: string, accept_warnings: boolean) =>
    call<Changed>("POST", `/api/rules/${seg(id)}/${action}`, { version, reason, accept_warnings }),
  retire: (id: string, reason: string) => call<Changed>("POST", `/api/rules/${seg(id)}/retire`, { reason }),
  categories: () => call<Items<{ code: string; name: string; name_en: string }>>("GET", "/api/categories?active=true"),
  devices: (query: string) => call<Items<{ code: string; name: string; kind: string }>>("GET", `/api/devices?limit=200&${query}`),
  readings: (device: string, from: string, to: string, metric: string | undefined) =>
    call<Items<Reading>>(
      "GET",
      `/api/devices/${seg(device)}/readings?from=${seg(from)}&to=${seg(to)}${metric ? `&metric=${seg(metric)}` : ""}`,
    ),
};

/** Asks until the report is there; aborting cancels it at the centre too. */
export async function backtest(
  question: Record<string, unknown>,
  signal: AbortSignal,
  progress: (share: number) => void,
): Promise<Report | null> {
  let job = await call<Job>("POST", "/api/rules/backtest", question);
  while (job.state === "running") {
    if (signal.aborted) {
      await call("DELETE", `/api/rules/backtest/${seg(job.id)}`);
      return null;
    }
    if (job.progress.expected) progress(Math.min(1, job.progress.done / job.progress.expected));
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    job = await call<Job>("GET", `/api/rules/backtest/${seg(job.id)}`);
  }
  return job.report;
}
