/** What the telephone keeps: one database for each person, so that nobody sees or sends what another left. */
import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import { freshKey } from "../http";
import { repeated } from "./outbox";
import type { Draft, Entry, KeptPhoto, Sent } from "./types";

const MOST_SENT = 50;

interface Kept {
  value: unknown;
  at: string;
}

interface Shelves extends DBSchema {
  kept: { key: string; value: Kept };
  outbox: { key: number; value: Omit<Entry, "seq"> };
  photos: { key: number; value: KeptPhoto };
  sent: { key: number; value: Omit<Sent, "seq"> };
}

export class Store {
  private constructor(
    readonly owner: string,
    private readonly db: IDBPDatabase<Shelves>,
  ) {}

  static async open(owner: string): Promise<Store> {
    const db = await openDB<Shelves>(`city-field-${owner}`, 1, {
      upgrade(fresh) {
        fresh.createObjectStore("kept");
        fresh.createObjectStore("outbox", { autoIncrement: true });
        fresh.createObjectStore("photos", { autoIncrement: true });
        fresh.createObjectStore("sent", { autoIncrement: true });
      },
    });
    return new Store(owner, db);
  }

  close(): void {
    this.db.close();
  }

  /** What was last heard of `name`, and when; undefined before that. */
  async kept<T>(name: string): Promise<{ value: T; at: string } | undefined> {
    return (await this.db.get("kept", name)) as { value: T; at: string } | undefined;
  }

  async keep(name: string, value: unknown, at: string): Promise<void> {
    await this.db.put("kept", { value, at }, name);
  }

  /** Orders and the like are gone; what waits to be sent stays. */
  async forget(): Promise<void> {
    await this.db.clear("kept");
  }

  /** In one piece: either all of it is kept when this resolves, or nothing. False for a step that waits already. */
  async add(draft: Draft, photos: readonly { photo: KeptPhoto; item: string }[]): Promise<boolean> {
    const change = this.db.transaction(["outbox", "photos"], "readwrite");
    const outbox = change.objectStore("outbox");
    if (repeated(await this.listed(outbox), draft)) return false;
    const kept: Entry["photos"] = [];
    for (const { photo, item } of photos) kept.push({ id: await change.objectStore("photos").add(photo), item });
    await outbox.add({ ...draft, key: freshKey(), photos: kept, tries: 0 });
    await change.done;
    return true;
  }

  async waiting(): Promise<Entry[]> {
    return this.listed(this.db.transaction("outbox").store);
  }

  private async listed(shelf: {
    openCursor(): Promise<{ key: number; value: Omit<Entry, "seq">; continue(): Promise<unknown> } | null>;
  }): Promise<Entry[]> {
    const found: Entry[] = [];
    for (let one = await shelf.openCursor(); one; one = (await one.continue()) as typeof one) {
      found.push({ ...one.value, seq: one.key });
    }
    return found;
  }

  async photo(id: number): Promise<KeptPhoto | undefined> {
    return this.db.get("photos", id);
  }

  /** Writes back what changed of something that waits; nothing when it is gone. */
  async update({ seq, ...entry }: Entry): Promise<void> {
    const change = this.db.transaction("outbox", "readwrite");
    if ((await change.store.getKey(seq)) !== undefined) await change.store.put(entry, seq);
    await change.done;
  }

  /** It is at the centre: gone from what waits, with its photos, and on the list of what was sent. */
  async done(entry: Entry, sent: Omit<Sent, "seq">): Promise<void> {
    const change = this.db.transaction(["outbox", "photos", "sent"], "readwrite");
    await change.objectStore("outbox").delete(entry.seq);
    for (const { id } of entry.photos) await change.objectStore("photos").delete(id);
    const list = change.objectStore("sent");
    await list.add(sent);
    const all = await list.getAllKeys();
    for (const old of all.slice(0, Math.max(0, all.length - MOST_SENT))) await list.delete(old);
    await change.done;
  }

  async sent(): Promise<Sent[]> {
    const change = this.db.transaction("sent");
    const [values, keys] = [await change.store.getAll(), await change.store.getAllKeys()];
    return values.map((one, n) => ({ ...one, seq: keys[n] ?? 0 })).reverse();
  }

  /** What was not taken is let go. */
  async drop(entries: readonly Entry[]): Promise<void> {
    const change = this.db.transaction(["outbox", "photos"], "readwrite");
    for (const { seq, photos } of entries) {
      await change.objectStore("outbox").delete(seq);
      for (const { id } of photos) await change.objectStore("photos").delete(id);
    }
    await change.done;
  }

  /** Several that were not taken become one comment that carries their photos. */
  async instead(entries: readonly Entry[], draft: Draft): Promise<void> {
    const change = this.db.transaction("outbox", "readwrite");
    for (const { seq } of entries) await change.store.delete(seq);
    const photos = entries.flatMap((one) => one.photos.map(({ id }) => ({ id, item: "" })));
    await change.store.add({ ...draft, key: freshKey(), photos, tries: 0 });
    await change.done;
  }
}
