/** What the centre answers to one question, asked again and again: one request at a time, the next after the last. */

const SOONEST_MS = 1000;

export class Polled<T> {
  /** The newest answer; null before the first. */
  value = $state.raw<T | null>(null);
  /** The last try failed: what is shown is old. */
  failed = $state(false);
  private again: (() => void) | null = null;

  constructor(private readonly everyMs: number) {}

  /** Asks `address` until the returned function is called. An answer 404 means that there is nothing (any more). */
  follow(address: string): () => void {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wanted = false;
    let asking = false;
    let askedAt = -Infinity;
    const later = (ms: number) => {
      clearTimeout(timer);
      if (!abort.signal.aborted) timer = setTimeout(() => void ask(), ms);
    };
    const ask = async (): Promise<void> => {
      asking = true;
      wanted = false;
      askedAt = performance.now();
      await this.read(address, abort.signal);
      asking = false;
      later(wanted ? SOONEST_MS : this.everyMs);
    };
    this.again = () => {
      if (asking) wanted = true;
      else later(Math.max(0, askedAt + SOONEST_MS - performance.now()));
    };
    void ask();
    return () => {
      abort.abort();
      clearTimeout(timer);
      this.again = null;
    };
  }

  /** Something happened that the answer may tell: ask soon, a second after the last time at the earliest. */
  soon(): void {
    this.again?.();
  }

  private async read(address: string, signal: AbortSignal): Promise<void> {
    try {
      const answer = await fetch(address, { signal });
      if (!answer.ok && answer.status !== 404) throw new Error(`${address} answered ${answer.status}`);
      this.value = answer.ok ? ((await answer.json()) as T) : null;
      this.failed = false;
    } catch (error) {
      if (signal.aborted) return;
      console.warn(`${address} not read`, error);
      this.failed = true;
    }
  }
}
