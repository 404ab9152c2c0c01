/**
 * The one live connection of a page and what the components may ask of it.
 *
 * Only clock and liveness are reactive state. Topics are plain maps: a component watches the topics it
 * draws and keeps the few rows it shows, so that 5,000 cells never become 5,000 signals.
 */
import { ScreenConnection } from "./connection";
import { pair, renew, Renewal, secretIn } from "./pairing";
import type { Changes, PairedScreen } from "./protocol";
import type { Refusal } from "./refusal";
import type { ScreenEvent, TopicName, Topics } from "./topics";

type Watcher = (keys: ReadonlySet<string> | null) => void;
type EventWatcher = (events: readonly ScreenEvent[]) => void;

const PATIENCE_MS = 5000; // as long as anything may be silent before it is called stale

class Live {
  /** Centre's time in whole seconds (epoch ms); null until it has spoken. */
  now = $state<number | null>(null);
  stale = $state(true);
  ready = $state(false);
  silenceS = $state(0);
  staleSince = $state<number | null>(null);
  /** Nothing has come yet, and it is too early to say that nothing comes. */
  connecting = $state(true);
  /** Why the centre does not let this screen look; null while it does, or cannot be reached. */
  refused = $state<Refusal | null>(null);
  /** Of a wall that was paired: which one it is. */
  screen = $state.raw<PairedScreen | null>(null);

  private readonly watchers = new Map<TopicName, Set<Watcher>>();
  private readonly eventWatchers = new Set<EventWatcher>();
  /** How many components ask for a topic that is not among the usual ones. */
  private readonly asked = new Map<TopicName, number>();
  private readonly renewal = new Renewal();
  private readonly wall = /^\/wall(\/|$)/.test(window.location.pathname);
  private started = 0;
  private readonly connection = new ScreenConnection(
    window.location.href,
    {
      changed: (changes, events) => {
        this.spread(changes, events);
      },
      refused: (why) => {
        if (why !== this.refused) this.refused = why;
      },
      paired: (screen) => {
        this.screen = screen;
      },
    },
    () => ({
      scope: this.wall ? new URLSearchParams(window.location.search).get("scope") : null,
      also: [...this.asked.keys()],
      staff: !this.wall,
    }),
  );
  private readonly began = performance.now();
  private timer: ReturnType<typeof setInterval> | undefined;
  /** Centre's time of what is shown; heartbeats of a server that sends no state do not move it. */
  private shownAt: number | null = null;

  start(): () => void {
    const secret = this.wall ? secretIn(window.location.hash) : null;
    const mine = ++this.started;
    if (secret === null) this.connection.open();
    else void this.pairAndOpen(secret, mine);
    this.timer = setInterval(() => {
      this.tick();
    }, 250);
    return () => {
      this.started += 1;
      clearInterval(this.timer);
      this.timer = undefined;
      this.connection.close();
    };
  }

  /** Asks for a topic beside the usual ones; returns how to give it up. Connects again when it is new. */
  ask(name: TopicName): () => void {
    const before = this.asked.get(name) ?? 0;
    this.asked.set(name, before + 1);
    if (before === 0) this.again();
    return () => {
      const left = (this.asked.get(name) ?? 1) - 1;
      if (left > 0) this.asked.set(name, left);
      else this.asked.delete(name); // what comes of it still is ignored; the next connection does without
    };
  }

  /** Connects anew when connected: another log-in, another scope. */
  again(): void {
    if (this.timer !== undefined) this.connection.open();
  }

  private async pairAndOpen(secret: string, mine: number): Promise<void> {
    const paired = await pair(secret);
    if (mine !== this.started) return;
    if (!paired) this.refused = "pairing";
    this.connection.open();
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
    if (this.screen !== null && !this.stale && this.renewal.due(monotonic)) void renew();
    const clock = this.connection.clock;
    const now = clock.now(monotonic);
    this.now = now === null ? null : Math.floor(now / 1000) * 1000;
    this.ready = this.connection.state.ready;
    this.stale = !this.ready || clock.stale(monotonic);
    this.connecting = this.stale && this.shownAt === null && monotonic - this.began < PATIENCE_MS;
    this.staleSince = this.stale ? this.shownAt : null;
    const silence = clock.silenceMs(monotonic);
    this.silenceS = Number.isFinite(silence) ? Math.floor(silence / 1000) : 0;
  }
}

export const live = new Live();
