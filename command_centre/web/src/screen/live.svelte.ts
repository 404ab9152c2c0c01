/**
 * The one live connection of a page and what the components may ask of it.
 *
 * Only clock and liveness are reactive state. Topics are plain maps: a component watches the topics it
 * draws and keeps the few rows it shows, so that 5,000 cells never become 5,000 signals.
 */
import { ScreenConnection } from "./connection";
import type { Changes } from "./protocol";
import type { ScreenEvent, TopicName, Topics } from "./topics";

type Watcher = (keys: ReadonlySet<string> | null) => void;
type EventWatcher = (events: readonly ScreenEvent[]) => void;

class Live {
  /** Centre's time in whole seconds (epoch ms); null until it has spoken. */
  now = $state<number | null>(null);
  stale = $state(true);
  ready = $state(false);
  silenceS = $state(0);
  staleSince = $state<number | null>(null);

  private readonly watchers = new Map<TopicName, Set<Watcher>>();
  private readonly eventWatchers = new Set<EventWatcher>();
  private readonly connection = new ScreenConnection(window.location.href, {
    changed: (changes, events) => {
      this.spread(changes, events);
    },
  });
  private timer: ReturnType<typeof setInterval> | undefined;
  /** Centre's time of what is shown; heartbeats of a server that sends no state do not move it. */
  private shownAt: number | null = null;

  start(): () => void {
    this.connection.open();
    this.timer = setInterval(() => {
      this.tick();
    }, 250);
    return () => {
      clearInterval(this.timer);
      this.connection.close();
    };
  }

  topic<N extends TopicName>(name: N): ReadonlyMap<string, Topics[N]> {
    return this.connection.state.topic(name);
  }

  /** Calls `watcher` now and on every change of `name`, with the changed keys (null = all). */
  watch(name: TopicName, watcher: Watcher): () => void {
    // A plain Set on purpose: who watches is wiring, not something to draw.
    // eslint-disable-next-line svelte/prefer-svelte-reactivity
    const set = this.watchers.get(name) ?? new Set<Watcher>();
    this.watchers.set(name, set.add(watcher));
    watcher(null);
    return () => set.delete(watcher);
  }

  watchEvents(watcher: EventWatcher): () => void {
    this.eventWatchers.add(watcher);
    return () => this.eventWatchers.delete(watcher);
  }

  private spread(changes: Changes, events: readonly ScreenEvent[]): void {
    for (const [name, watchers] of this.watchers) {
      const keys = changes === null ? null : changes.get(name);
      if (keys === undefined) continue;
      for (const watcher of watchers) watcher(keys);
    }
    this.shownAt = this.connection.clock.lastHeard;
    if (events.length > 0) for (const watcher of this.eventWatchers) watcher(events);
    this.tick();
  }

  private tick(): void {
    const monotonic = performance.now();
    this.connection.watch();
    const clock = this.connection.clock;
    const now = clock.now(monotonic);
    this.now = now === null ? null : Math.floor(now / 1000) * 1000;
    this.ready = this.connection.state.ready;
    this.stale = !this.ready || clock.stale(monotonic);
    this.staleSince = this.stale ? this.shownAt : null;
    const silence = clock.silenceMs(monotonic);
    this.silenceS = Number.isFinite(silence) ? Math.floor(silence / 1000) : 0;
  }
}

export const live = new Live();
