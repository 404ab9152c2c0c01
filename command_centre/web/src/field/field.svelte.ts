/** The field on this telephone: who works here, what was last heard, what waits to be sent. */
import { api, type User } from "../desk/api";
import { Problem } from "../http";
import { session } from "../staff/session.svelte";
import { metres } from "./place";
import { alone, ask, flush, type Outcome } from "./sending";
import { Store } from "./store";
import type { Checklist, Day, Draft, Entry, KeptPhoto, PatrolRoute, Sent, Spot } from "./types";

const REMEMBERED = "city.field.user";
const LOCATE_MS = 8000;
const FULL_SHARE = 0.8;
const LITTLE_BYTES = 30 * 1024 * 1024;

interface Caller {
  name: string;
  phone: string;
}

interface Patrol {
  routes: PatrolRoute[];
  checklists: Checklist[];
}

class Field {
  /** Has the last question been answered by the centre? */
  reached = $state(true);
  busy = $state(false);
  day = $state.raw<Day | null>(null);
  patrol = $state.raw<Patrol | null>(null);
  /** When the day was heard, by the centre's clock. */
  heardAt = $state<string | null>(null);
  waiting = $state.raw<Entry[]>([]);
  sent = $state.raw<Sent[]>([]);
  here = $state.raw<Spot | null>(null);
  storageFull = $state(false);
  /** What a person who must log in anew has still to send. */
  left = $state<{ name: string; count: number } | null>(null);
  now = $state(Date.now());

  private store: Store | null = null;
  private skew = 0; // the centre's clock minus the telephone's, ms

  get zone(): string {
    return this.day?.timezone ?? "Asia/Shanghai";
  }

  /** The centre's time as well as the telephone knows it. */
  time(): number {
    return Date.now() + this.skew;
  }

  /** Who is it? Without signal: whoever it was last. */
  async find(): Promise<void> {
    const remembered = this.remembered();
    try {
      session.user = (await api.session()).user;
      this.reached = true;
    } catch (error) {
      const none = error instanceof Problem && error.status === 401;
      this.reached = none;
      session.user = none ? null : remembered;
      if (none && remembered) await this.countLeft(remembered);
    }
    session.known = true;
  }

  private remembered(): User | null {
    try {
      return JSON.parse(localStorage.getItem(REMEMBERED) ?? "null") as User | null;
    } catch {
      return null;
    }
  }

  private async countLeft(user: User): Promise<void> {
    const store = await Store.open(user.name);
    const count = (await store.waiting()).length;
    store.close();
    this.left = count > 0 ? { name: user.display_name || user.name, count } : null;
  }

  /** Opens what this person left on this telephone, and nobody else's. */
  async enter(user: User): Promise<void> {
    if (this.store?.owner === user.name) return;
    this.store?.close();
    [this.day, this.patrol, this.heardAt, this.left] = [null, null, null, null];
    localStorage.setItem(REMEMBERED, JSON.stringify(user));
    this.store = await Store.open(user.name);
    const [day, patrol] = [await this.store.kept<Day>("day"), await this.store.kept<Patrol>("patrol")];
    if (day) this.heard(day.value);
    if (patrol) this.patrol = patrol.value;
    await this.list();
    await this.round();
  }

  /** Leaves: orders go from the telephone, what waits to be sent stays for the same person. */
  async leave(): Promise<void> {
    await alone(async () => {
      await api.logOut();
      session.user = null;
    }, true);
    localStorage.removeItem(REMEMBERED);
    await this.store?.forget();
    this.store?.close();
    [this.store, this.day, this.patrol, this.waiting, this.sent] = [null, null, null, [], []];
  }

  private asked = false;

  /** Sends what waits, then asks what is new. */
  async round(): Promise<void> {
    const store = this.store;
    if (!store) return;
    // What is done while a round ends would otherwise wait for the next one by the clock.
    if (this.busy) {
      this.asked = true;
      return;
    }
    this.busy = true;
    try {
      do {
        this.asked = false;
        const outcome = await alone(() => flush(store));
        await this.list();
        await this.ended(outcome ?? "done");
        if (session.user && this.store === store) await this.hear(store);
        await this.look();
      } while (this.asked && this.store === store);
    } finally {
      this.busy = false;
    }
  }

  private async ended(outcome: Outcome): Promise<void> {
    if (outcome === "later") this.reached = false;
    if (outcome === "login" || outcome === "other") {
      this.store?.close();
      this.store = null;
      await this.find();
    }
  }

  private async hear(store: Store): Promise<void> {
    const day = await ask("GET", "/api/field");
    this.reached = day.status !== 0 && day.status < 500;
    if (day.status !== 200) return;
    this.skew = Date.parse((day.body as Day).at) - Date.now();
    this.heard(day.body as Day);
    await store.keep("day", day.body, (day.body as Day).at);
    await this.forgetCallers(store, day.body as Day);
    if (!session.may("hotline")) return;
    const [today, lists] = [await ask("GET", "/api/patrol/today"), await ask("GET", "/api/patrol/checklists")];
    if (today.status !== 200 || lists.status !== 200) return;
    const items = <T>(body: unknown) => (body as { items: T[] }).items;
    this.patrol = { routes: items<PatrolRoute>(today.body), checklists: items<Checklist>(lists.body) };
    await store.keep("patrol", $state.snapshot(this.patrol), (day.body as Day).at);
  }

  private heard(day: Day): void {
    [this.day, this.heardAt] = [day, day.at];
  }

  private async list(): Promise<void> {
    if (!this.store) return;
    [this.waiting, this.sent] = [await this.store.waiting(), await this.store.sent()];
  }

  /** Keeps what was done and tries to send it. Throws when the telephone could not keep it: then it is not done. */
  async did(
    draft: Omit<Draft, "done_at">,
    photos: readonly { photo: KeptPhoto; item: string }[] = [],
  ): Promise<void> {
    if (!this.store) throw new Error("nobody is logged in");
    const done_at = new Date(this.time()).toISOString();
    await this.store.add({ ...draft, done_at }, photos);
    await this.list();
    void navigator.storage?.persist?.();
    void this.wake();
    void this.round();
  }

  /** Asks the browser to wake the worker when there is signal again, the page being closed by then. */
  private async wake(): Promise<void> {
    try {
      const ready = await navigator.serviceWorker?.getRegistration("/field");
      await (ready as unknown as { sync?: { register(tag: string): Promise<void> } })?.sync?.register("outbox");
    } catch {
      // Not given or not allowed: the page sends when it is opened.
    }
  }

  async again(entries: readonly Entry[]): Promise<void> {
    for (const entry of entries) {
      const fresh = { ...entry };
      delete fresh.trouble;
      delete fresh.version;
      await this.store?.update(fresh);
    }
    await this.list();
    await this.round();
  }

  async drop(entries: readonly Entry[]): Promise<void> {
    await this.store?.drop(entries);
    await this.list();
  }

  async instead(entries: readonly Entry[], draft: Draft): Promise<void> {
    await this.store?.instead(entries, draft);
    await this.list();
    await this.round();
  }

  /** The caller's phone as it was looked up; forgotten when the order goes. */
  async caller(id: number): Promise<Caller | null> {
    return (await this.store?.kept<Record<number, Caller>>("callers"))?.value[id] ?? null;
  }

  async keepCaller(id: number, caller: Caller): Promise<void> {
    const all = (await this.store?.kept<Record<number, Caller>>("callers"))?.value ?? {};
    await this.store?.keep("callers", { ...all, [id]: caller }, new Date(this.time()).toISOString());
  }

  private async forgetCallers(store: Store, day: Day): Promise<void> {
    const all = (await store.kept<Record<number, Caller>>("callers"))?.value ?? {};
    const left = Object.entries(all).filter(([id]) => day.orders.some((one) => one.id === Number(id)));
    await store.keep("callers", Object.fromEntries(left), day.at);
  }

  /** Where the telephone is; null when it does not know or may not say. Asks for permission. */
  async locate(): Promise<Spot | null> {
    this.here = await new Promise<Spot | null>((resolve) => {
      if (!("geolocation" in navigator)) resolve(null);
      else {
        navigator.geolocation.getCurrentPosition(
          ({ coords: { longitude, latitude } }) => {
            resolve({ longitude, latitude });
          },
          () => {
            resolve(null);
          },
          { enableHighAccuracy: true, timeout: LOCATE_MS, maximumAge: 30_000 },
        );
      }
    });
    return this.here;
  }

  /** Metres from here; null without a position of either. */
  away(longitude: number | null | undefined, latitude: number | null | undefined): number | null {
    if (!this.here || typeof longitude !== "number" || typeof latitude !== "number") return null;
    return metres(this.here, { longitude, latitude });
  }

  private async look(): Promise<void> {
    const { usage, quota } = (await navigator.storage?.estimate?.()) ?? {};
    if (usage === undefined || quota === undefined) return;
    this.storageFull = usage / quota > FULL_SHARE || quota - usage < LITTLE_BYTES;
  }
}

export const field = new Field();
