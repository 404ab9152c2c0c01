/**
 * Sends what waits, in the order it was done, each thing once: the centre knows every try by its key. Used by the page
 * and, where the browser wakes it, by the service worker; a lock keeps the two apart.
 */
import { changed, guarded, sendable, text, verdict, type Reply } from "./outbox";
import type { Store } from "./store";
import type { Entry, Trouble } from "./types";

/** How a flush ended: all is sent, no signal, nobody is logged in, or somebody else is. */
export type Outcome = "done" | "later" | "login" | "other";
type Stop = Outcome | "postponed";
export type Ask = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Reply>;

const LOCK = "city-field-outbox";
const SAME_PERSON_MS = 5000;
const MOST_TURNS = 4; // an incident that changes faster than a telephone asks

/** Over the network; no answer is status 0. */
export const ask: Ask = async (method, path, body, headers = {}) => {
  try {
    const form = body instanceof FormData;
    const answer = await fetch(path, {
      method,
      headers: { ...headers, ...(body === undefined || form ? {} : { "Content-Type": "application/json" }) },
      ...(body === undefined ? {} : { body: form ? body : JSON.stringify(body) }),
    });
    try {
      return { status: answer.status, body: (await answer.json()) as unknown };
    } catch {
      // A page of a proxy in between is no answer of the centre's.
      return { status: answer.ok && answer.status !== 204 ? 0 : answer.status, body: null };
    }
  } catch {
    return { status: 0, body: null };
  }
};

/** Runs alone among this browser's pages and its worker; null when another is at it. */
export async function alone<T>(work: () => Promise<T>, wait = false): Promise<T | null> {
  if (!("locks" in navigator)) return work(); // no lock without https, but no worker either
  return navigator.locks.request(LOCK, { ifAvailable: !wait }, (lock) => (lock ? work() : null));
}

export async function flush(store: Store, asking: Ask = ask, now: () => number = Date.now): Promise<Outcome> {
  let seen = -Infinity;
  const postponed = new Set<string>(); // the centre stumbles over them: the others need not wait
  for (let next = await first(store, postponed); next; next = await first(store, postponed)) {
    if (now() - seen > SAME_PERSON_MS) {
      const who = await person(asking);
      if (who !== store.owner) return who === null ? "login" : who === undefined ? "later" : "other";
      seen = now();
    }
    const stopped = await send(store, next, asking, now);
    if (stopped === "postponed") postponed.add(next.target);
    else if (stopped) return stopped;
  }
  return postponed.size > 0 ? "later" : "done";
}

async function first(store: Store, postponed: ReadonlySet<string>): Promise<Entry | undefined> {
  return sendable(await store.waiting()).find((one) => !postponed.has(one.target));
}

/** The name of whoever is logged in, null for nobody, undefined when the centre does not answer. */
async function person(asking: Ask): Promise<string | null | undefined> {
  const { status, body } = await asking("GET", "/api/session");
  if (status === 401) return null;
  if (status !== 200) return undefined;
  return (body as { user: { name: string } }).user.name;
}

/** One thing: sent, put aside with its trouble, or a reason to stop here. */
async function send(store: Store, entry: Entry, asking: Ask, now: () => number): Promise<Stop | null> {
  for (let turn = 0; turn < MOST_TURNS; turn++) {
    const guard = await believed(store, entry, asking);
    if (typeof guard === "string") return guard;
    if (guard) return aside(store, entry, guard);
    const reply = await post(store, entry, asking);
    const means = verdict(entry, reply);
    if (means === "done" || means === "already") {
      const { kind, target, action, title, done_at } = entry;
      const sent_at = new Date(now()).toISOString();
      await store.done(entry, { kind, target, action, title, done_at, sent_at, already: means === "already" });
      return null;
    }
    if (means === "conflict" || (means === "stale" && !guarded(entry))) return aside(store, entry, refusal(reply));
    if (means !== "stale") return stop(means, reply);
    delete entry.version; // somebody acted in between: look again
  }
  return "postponed";
}

function stop(means: "later" | "login", { status }: Reply): Stop {
  return means === "later" && status !== 0 ? "postponed" : means;
}

/** Whether the incident still is what the telephone believed. Asked before the first try only: later ones may be replays. */
async function believed(store: Store, entry: Entry, asking: Ask): Promise<Trouble | Stop | null> {
  if (!guarded(entry) || entry.version !== undefined) return null;
  const reply = await asking("GET", `/api/incidents/${entry.target.split(":")[1]}`);
  const means = verdict({ kind: "incident", action: "" }, reply);
  if (means === "later" || means === "login") return stop(means, reply);
  if (means !== "done") return refusal(reply);
  const why = changed(entry.believed, reply.body);
  if (why) {
    const phone = text(reply.body, "unit_lead_phone") || text(reply.body, "unit_phone");
    return { status: 409, why, zh: text(reply.body, "unit_name"), en: text(reply.body, "unit_name_en"), phone };
  }
  entry.version = (reply.body as { version: number }).version;
  entry.tries += 1;
  await store.update(entry); // before it leaves: after a kill the same try is made again, not another one
  return null;
}

async function post(store: Store, entry: Entry, asking: Ask): Promise<Reply> {
  const { target, action, kind } = entry;
  const id = target.slice(target.indexOf(":") + 1);
  const headers: Record<string, string> = { "Idempotency-Key": entry.key };
  if (kind === "report") return asking("POST", "/api/reports", await form(store, entry), headers);
  const digests = await uploaded(store, entry, asking);
  if (!(digests instanceof Map)) return digests;
  if (kind === "check") return asking("POST", "/api/patrol/checks", checked(entry, digests), headers);
  if (entry.version !== undefined) headers["If-Match"] = `"${entry.version}"`;
  const photos = digests.get("") ?? [];
  const path = { incident: `/api/incidents/${id}/${action}`, call: `/api/orders/${id}/${action}` };
  if (kind === "task") return asking("POST", `/api/flood/tasks/${id}/progress`, entry.body, headers);
  return asking("POST", path[kind], photos.length > 0 ? { ...entry.body, photos } : entry.body, headers);
}

/** Digests of its photos by item; the first answer that was none. The same picture sent twice is one at the centre. */
async function uploaded(store: Store, entry: Entry, asking: Ask): Promise<Map<string, string[]> | Reply> {
  const digests = new Map<string, string[]>();
  for (const { id, item } of entry.photos) {
    const photo = await store.photo(id);
    if (!photo) continue;
    const data = new FormData();
    data.append("photo", new Blob([photo.bytes], { type: "image/jpeg" }), photo.name);
    const reply = await asking("POST", "/api/photos", data, { "Idempotency-Key": `${entry.key}-${id}` });
    if (reply.status !== 201) return reply;
    const [digest] = (reply.body as { photos: string[] }).photos;
    if (digest) digests.set(item, [...(digests.get(item) ?? []), digest]);
  }
  return digests;
}

function checked(entry: Entry, digests: ReadonlyMap<string, string[]>): unknown {
  const answers = entry.body["answers"] as { item: string }[];
  return { ...entry.body, answers: answers.map((one) => ({ ...one, photos: digests.get(one.item) ?? [] })) };
}

async function form(store: Store, entry: Entry): Promise<FormData> {
  const data = new FormData();
  for (const [name, value] of Object.entries(entry.body)) data.append(name, String(value));
  for (const { id } of entry.photos) {
    const photo = await store.photo(id);
    if (photo) data.append("photo", new Blob([photo.bytes], { type: "image/jpeg" }), photo.name);
  }
  return data;
}

function refusal({ status, body }: Reply): Trouble {
  const zh = text(body, "detail_zh") || text(body, "detail");
  return { status, why: "refused", zh, en: text(body, "detail") };
}

async function aside(store: Store, entry: Entry, trouble: Trouble): Promise<null> {
  await store.update({ ...entry, trouble });
  return null;
}
