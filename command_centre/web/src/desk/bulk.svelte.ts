/**
 * One action sent for many rows, some at a time: the page can say how far it is, and a log-in that ends or a centre
 * that goes away in the middle leaves the rest ticked and ready to be sent again. A part is sent again with the key it
 * had, so that what was done already is not done twice.
 */
import type { Shapes } from "../api/shapes";
import { freshKey, Problem } from "../http";
import { session } from "../staff/session.svelte";
import { api } from "./api";

export type Noun = "alarms" | "incidents";
export type Row = Shapes["BulkRow"];

export interface Wish {
  action: string;
  ids: readonly number[];
  fields: Record<string, unknown>;
  /** Id -> version that was on the screen. */
  versions?: Record<number, number>;
}

const PART = 50; // about half a second of the centre's work

interface Sending {
  wish: Wish;
  key: string;
  /** How many have been answered. */
  sent: number;
}

export class Bulk {
  running = $state.raw<{ action: string; sent: number; total: number } | null>(null);
  /** What was answered for rows that were not done. */
  notDone = $state.raw<readonly Row[]>([]);
  done = $state.raw<readonly number[]>([]);
  action = $state("");
  problem = $state("");
  private sending = $state.raw<Sending | null>(null);

  constructor(private readonly noun: Noun) {}

  /** How many were never answered since the centre or the log-in went away. */
  get cut(): number {
    return this.running || !this.sending ? 0 : this.sending.wish.ids.length - this.sending.sent;
  }

  get told(): boolean {
    return this.running !== null || this.done.length > 0 || this.notDone.length > 0 || this.problem !== "";
  }

  forget(): void {
    if (this.running) return;
    [this.notDone, this.done, this.problem, this.sending] = [[], [], "", null];
  }

  /** Resolves with the ids that are still to be done: refused, changed meanwhile, or never sent. */
  async run(wish: Wish): Promise<number[]> {
    if (this.running) return [...wish.ids];
    this.forget();
    this.action = wish.action;
    this.sending = { wish, key: freshKey(), sent: 0 };
    return this.goOn();
  }

  async goOn(): Promise<number[]> {
    const sending = this.sending;
    if (!sending || this.running) return [];
    const { ids, action } = sending.wish;
    this.problem = "";
    try {
      while (sending.sent < ids.length) {
        this.running = { action, sent: sending.sent, total: ids.length };
        const part = ids.slice(sending.sent, sending.sent + PART);
        this.note((await this.send(sending, part)).items);
        sending.sent += part.length;
      }
      this.sending = null;
    } catch (error) {
      this.problem = session.explain(error);
      // What the centre calls nonsense stays nonsense; only what did not reach it is worth sending again.
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 401) {
        this.sending = null;
      }
    } finally {
      this.running = null;
    }
    return [...this.notDone.map((row) => row.id), ...ids.slice(sending.sent)];
  }

  private send({ wish, key, sent }: Sending, part: readonly number[]): Promise<Shapes["BulkAnswer"]> {
    const versions = Object.entries(wish.versions ?? {}).filter(([id]) => part.includes(Number(id)));
    const body = {
      action: wish.action,
      ids: part,
      fields: wish.fields,
      ...(versions.length > 0 ? { versions: Object.fromEntries(versions) } : {}),
    };
    return api.bulk(this.noun, body, `${key}-${sent}`);
  }

  private note(rows: readonly Row[]): void {
    this.done = [...this.done, ...rows.filter((row) => row.outcome === "done").map((row) => row.id)];
    this.notDone = [...this.notDone, ...rows.filter((row) => row.outcome !== "done")];
  }
}
