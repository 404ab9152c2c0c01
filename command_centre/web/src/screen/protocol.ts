/**
 * The screen protocol without its socket: frames in, state out. Nothing here reads a clock.
 *
 * A delta is taken only when it starts exactly where the state stands, so that no event is shown twice and
 * none is skipped; everything else is either old news or a gap, and a gap is closed by connecting again
 * with the last `seq` that was applied.
 */
import type { ScreenEvent, TopicName, Topics } from "./topics";

type Values = Record<string, Record<string, unknown>>;

export interface PairedScreen {
  name: string;
  expires_at: string;
  scope: string | null;
}
export interface HelloFrame {
  t: "hello";
  epoch: string;
  seq: number;
  now: string;
  /** Of a paired screen: which one it is and until when it may look. */
  screen?: PairedScreen;
}
export interface SnapFrame {
  t: "snap";
  epoch: string;
  seq: number;
  now: string;
  change?: number;
  set: Values;
  /** What happened since the change that was named when connecting: another centre answers now. */
  ev?: ScreenEvent[];
  /** The change that was named is of another database: what was seen before says nothing about what comes. */
  reset?: boolean;
}
export interface DeltaFrame {
  t: "d";
  from: number;
  seq: number;
  now: string;
  /** Every change up to this one is in the state. */
  change?: number;
  set?: Values;
  ev?: ScreenEvent[];
}
export type Frame = HelloFrame | SnapFrame | DeltaFrame;

/** Keys that changed, by topic; `null` stands for "everything may have changed" (a snapshot). */
export type Changes = ReadonlyMap<string, ReadonlySet<string>> | null;

export type Outcome =
  | { kind: "hello" }
  | { kind: "applied"; changes: Changes; events: readonly ScreenEvent[] }
  | { kind: "duplicate" }
  | { kind: "gap"; expected: number; from: number };

/** Parses one text frame; throws with what was wrong, so that the caller can reconnect and say so. */
export function parseFrame(text: string): Frame {
  const frame = JSON.parse(text) as Partial<Frame>;
  if (frame.t !== "hello" && frame.t !== "snap" && frame.t !== "d") {
    throw new Error(`screen frame of unknown type ${String(frame.t)}`);
  }
  if (typeof frame.seq !== "number") throw new Error(`screen frame ${frame.t} without seq`);
  return frame as Frame;
}

export class ScreenState {
  epoch: string | null = null;
  seq = 0;
  /** Every change up to this one was shown, by whichever centre; null before one was named. */
  change: number | null = null;
  /** Changes above `change` that were shown already: ids commit out of order. */
  private readonly seen = new Set<number>();
  /** A server with another epoch has said hello: its deltas mean nothing until its snapshot is here. */
  private awaitingSnapshot = true;
  private readonly topics = new Map<string, Map<string, unknown>>();

  get ready(): boolean {
    return this.epoch !== null;
  }

  topic<N extends TopicName>(name: N): ReadonlyMap<string, Topics[N]> {
    return (this.topics.get(name) ?? new Map()) as ReadonlyMap<string, Topics[N]>;
  }

  receive(frame: Frame): Outcome {
    switch (frame.t) {
      case "hello":
        this.awaitingSnapshot = frame.epoch !== this.epoch;
        return { kind: "hello" };
      case "snap":
        return this.replace(frame);
      case "d":
        return this.advance(frame);
    }
  }

  /** Asks for a whole snapshot at the next connection; what is shown stays until it is here. */
  forget(): void {
    this.epoch = null;
    this.awaitingSnapshot = true;
  }

  private replace(frame: SnapFrame): Outcome {
    this.topics.clear();
    for (const [name, values] of Object.entries(frame.set)) {
      this.topics.set(name, new Map(Object.entries(values).filter(([, value]) => value !== null)));
    }
    this.epoch = frame.epoch;
    this.seq = frame.seq;
    this.awaitingSnapshot = false;
    if (frame.reset === true) {
      this.change = null;
      this.seen.clear();
    }
    return { kind: "applied", changes: null, events: this.news(frame.ev ?? [], frame.change) };
  }

  private advance(frame: DeltaFrame): Outcome {
    if (this.awaitingSnapshot) return { kind: "gap", expected: this.seq, from: frame.from };
    if (frame.from !== this.seq) {
      if (frame.seq <= this.seq) return { kind: "duplicate" };
      return { kind: "gap", expected: this.seq, from: frame.from };
    }
    const changes = new Map<string, Set<string>>();
    for (const [name, values] of Object.entries(frame.set ?? {})) {
      changes.set(name, this.merge(name, values));
    }
    this.seq = frame.seq;
    return { kind: "applied", changes, events: this.news(frame.ev ?? [], frame.change) };
  }

  /** Those not shown before: two centres tell of the same change. */
  private news(events: readonly ScreenEvent[], upTo: number | undefined): readonly ScreenEvent[] {
    const known = this.change ?? -1;
    const fresh = events.filter(
      ({ change }) => change === undefined || (change > known && !this.seen.has(change)),
    );
    for (const { change } of fresh) if (change !== undefined) this.seen.add(change);
    if (upTo !== undefined && upTo > known) {
      this.change = upTo;
      for (const one of this.seen) if (one <= upTo) this.seen.delete(one);
    }
    return fresh;
  }

  private merge(name: string, values: Record<string, unknown>): Set<string> {
    let topic = this.topics.get(name);
    if (!topic) {
      topic = new Map();
      this.topics.set(name, topic);
    }
    for (const [key, value] of Object.entries(values)) {
      if (value === null) topic.delete(key);
      else topic.set(key, value);
    }
    return new Set(Object.keys(values));
  }
}
