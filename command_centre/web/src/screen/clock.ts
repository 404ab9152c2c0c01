/**
 * The centre's time, carried on between frames by a monotonic clock, and how long ago it last spoke.
 *
 * `monotonicMs` is performance.now(): a wall whose own clock is set back or forward neither lies about
 * countdowns nor hides that it is stale.
 */
const STALE_AFTER_MS = 4200; // two missed heartbeats of 2 s, and well within the 5 s that is promised

export class CentreClock {
  private saidMs: number | null = null;
  private heardAt = 0;

  hear(now: string, monotonicMs: number): void {
    const said = Date.parse(now);
    if (!Number.isNaN(said)) this.saidMs = said;
    this.heardAt = monotonicMs;
  }

  /** Epoch milliseconds by the centre's clock; null before the first word. */
  now(monotonicMs: number): number | null {
    return this.saidMs === null ? null : this.saidMs + (monotonicMs - this.heardAt);
  }

  /** Epoch milliseconds by the centre's clock of the last word heard. */
  get lastHeard(): number | null {
    return this.saidMs;
  }

  silenceMs(monotonicMs: number): number {
    return this.saidMs === null ? Number.POSITIVE_INFINITY : monotonicMs - this.heardAt;
  }

  stale(monotonicMs: number): boolean {
    return this.silenceMs(monotonicMs) > STALE_AFTER_MS;
  }
}
