/**
 * Keeps one socket to the screen hub open for years: acknowledges every `seq`, resumes where it stood,
 * and drops a socket that has gone quiet, since a dead peer behind a switch never closes it.
 */
import { CentreClock } from "./clock";
import { parseFrame, ScreenState, type Changes, type PairedScreen } from "./protocol";
import { refusalOf, type Refusal } from "./refusal";
import { USUAL, type ScreenEvent, type TopicName } from "./topics";

const QUIET_MS = 6000; // three heartbeats
const FIRST_DELAY_MS = 300;
const SOON_MS = 1500; // the screens shall be back within 2 s of a server that restarts
const SOON_TRIES = 60; // about a minute
const LONGEST_DELAY_MS = 10_000; // and not hammer one that is gone for an hour
const REFUSED_DELAY_MS = 15_000; // an administrator may let the screen in again meanwhile

/** Wait before try `attempt` (from 0): doubling, capped, and spread over its upper half. */
export function retryDelay(attempt: number, random: number): number {
  const cap =
    attempt < SOON_TRIES ? SOON_MS : Math.min(LONGEST_DELAY_MS, SOON_MS * 2 ** (attempt - SOON_TRIES + 1));
  const full = Math.min(cap, FIRST_DELAY_MS * 2 ** Math.min(attempt, 20));
  return full * (0.5 + random / 2);
}

/** What a page wants to see. */
export interface Wish {
  /** Code of a street, community or cell; null = the district. */
  scope: string | null;
  /** Beside the usual topics. */
  also: readonly TopicName[];
  /** Refuse me rather than treat me as a stranger. */
  staff: boolean;
}

export const PLAIN: Wish = { scope: null, also: [], staff: false };

export function screenUrl(base: string, state: ScreenState, wish: Wish = PLAIN): string {
  const url = new URL("/ws/screen", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (wish.staff) url.searchParams.set("as", "staff");
  if (wish.scope !== null) url.searchParams.set("scope", wish.scope);
  if (wish.also.length > 0) url.searchParams.set("topics", [...USUAL, ...wish.also].join(","));
  if (state.epoch !== null) {
    url.searchParams.set("epoch", state.epoch);
    url.searchParams.set("since", String(state.seq));
  }
  if (state.change !== null) url.searchParams.set("change", String(state.change));
  return url.toString();
}

export interface Listener {
  changed(changes: Changes, events: readonly ScreenEvent[]): void;
  /** Null = let in. */
  refused?(why: Refusal | null): void;
  paired?(screen: PairedScreen): void;
}

export class ScreenConnection {
  readonly state = new ScreenState();
  readonly clock = new CentreClock();
  private socket: WebSocket | null = null;
  private attempt = 0;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private openedAt = 0;

  constructor(
    private readonly base: string,
    private readonly listener: Listener,
    private readonly wish: () => Wish = () => PLAIN,
  ) {}

  open(): void {
    this.close();
    const socket = new WebSocket(screenUrl(this.base, this.state, this.wish()));
    this.socket = socket;
    this.openedAt = performance.now();
    socket.onmessage = (message) => {
      if (socket === this.socket) this.take(String(message.data));
    };
    socket.onclose = (event) => {
      if (socket === this.socket) this.lost(event.code);
    };
  }

  /** Called every quarter second: a socket without a word for QUIET_MS is given up. */
  watch(): void {
    const now = performance.now();
    const quiet = Math.min(this.clock.silenceMs(now), now - this.openedAt);
    if (this.socket && quiet > QUIET_MS) this.retry();
  }

  close(): void {
    clearTimeout(this.retryTimer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  private lost(code: number): void {
    const why = refusalOf(code);
    if (why === null) {
      this.retry();
      return;
    }
    this.listener.refused?.(why);
    this.retry(REFUSED_DELAY_MS * (0.5 + Math.random() / 2));
  }

  private retry(delay = retryDelay(this.attempt, Math.random())): void {
    this.close();
    this.retryTimer = setTimeout(() => {
      this.open();
    }, delay);
    this.attempt += 1;
  }

  private take(text: string): void {
    let outcome;
    try {
      const frame = parseFrame(text);
      this.clock.hear(frame.now, performance.now());
      outcome = this.state.receive(frame);
      if (frame.t === "hello" && frame.screen) this.listener.paired?.(frame.screen);
    } catch (error) {
      console.error("screen frame refused, connecting again", error);
      this.retry();
      return;
    }
    if (outcome.kind === "gap") {
      console.warn(`screen gap: stood at ${outcome.expected}, got ${outcome.from}; resuming`);
      // A gap that resuming did not close will not close by resuming again.
      if (this.attempt > 0) this.state.forget();
      this.retry();
      return;
    }
    if (outcome.kind === "hello") return;
    this.attempt = 0;
    this.listener.refused?.(null);
    this.socket?.send(JSON.stringify({ t: "ack", seq: this.state.seq }));
    if (outcome.kind === "applied") this.listener.changed(outcome.changes, outcome.events);
  }
}
