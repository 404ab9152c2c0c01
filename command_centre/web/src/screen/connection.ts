/**
 * Keeps one socket to the screen hub open for years: acknowledges every `seq`, resumes where it stood,
 * and drops a socket that has gone quiet, since a dead peer behind a switch never closes it.
 */
import { CentreClock } from "./clock";
import { parseFrame, ScreenState, type Changes } from "./protocol";
import type { ScreenEvent } from "./topics";

const QUIET_MS = 6000; // three heartbeats
const FIRST_DELAY_MS = 300;
const LONGEST_DELAY_MS = 1500; // the screens shall be back within 2 s of the server

/** Wait before try `attempt` (from 0): doubling, capped, and spread over its upper half. */
export function retryDelay(attempt: number, random: number): number {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return full * (0.5 + random / 2);
}

export function screenUrl(base: string, state: ScreenState): string {
  const url = new URL("/ws/screen", base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (state.epoch !== null) {
    url.searchParams.set("epoch", state.epoch);
    url.searchParams.set("since", String(state.seq));
  }
  return url.toString();
}

export interface Listener {
  changed(changes: Changes, events: readonly ScreenEvent[]): void;
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
  ) {}

  open(): void {
    clearTimeout(this.retryTimer);
    const socket = new WebSocket(screenUrl(this.base, this.state));
    this.socket = socket;
    this.openedAt = performance.now();
    socket.onmessage = (message) => {
      if (socket === this.socket) this.take(String(message.data));
    };
    socket.onclose = () => {
      if (socket === this.socket) this.retry();
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

  private retry(): void {
    this.close();
    this.retryTimer = setTimeout(() => {
      this.open();
    }, retryDelay(this.attempt, Math.random()));
    this.attempt += 1;
  }

  private take(text: string): void {
    let outcome;
    try {
      const frame = parseFrame(text);
      this.clock.hear(frame.now, performance.now());
      outcome = this.state.receive(frame);
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
    this.socket?.send(JSON.stringify({ t: "ack", seq: this.state.seq }));
    if (outcome.kind === "applied") this.listener.changed(outcome.changes, outcome.events);
  }
}
