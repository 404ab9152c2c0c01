/// <reference lib="webworker" />
/** The service worker of /field: the page without signal, and what waits sent when the browser wakes it. */
import { alone, ask, flush } from "./sending";
import { Store } from "./store";

declare const self: ServiceWorkerGlobalScope;
/** Written by the build: every file of the field's page, and a digest over them. */
declare const __SHELL__: readonly string[];
declare const __VERSION__: string;

const CACHE = `field-${__VERSION__}`;
const HEARD = "field-heard"; // what anybody may ask for, as it was last answered
const KEPT_ANSWERS = ["/api/report-categories", "/api/wall/map"];

self.addEventListener("install", (event) => {
  // One by one past the browser's own cache: a page of yesterday beside scripts of today would not start.
  event.waitUntil(
    caches.open(CACHE).then((cache) =>
      cache.addAll(__SHELL__.map((path) => new Request(path, { cache: "reload" }))),
    ),
  );
});

self.addEventListener("activate", (event) => {
  const old = (name: string) => name.startsWith("field-") && name !== CACHE && name !== HEARD;
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("message", (event) => {
  // Only when the page says so: what somebody is typing is not taken away by an update.
  if (event.data === "take-over") void self.skipWaiting();
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== self.location.origin) return;
  if (request.mode === "navigate") {
    if (pathname === "/field" || pathname.startsWith("/field/")) event.respondWith(shell("/field", request));
  } else if (__SHELL__.includes(pathname)) event.respondWith(shell(pathname, request));
  else if (KEPT_ANSWERS.includes(pathname)) event.respondWith(heard(request));
});

async function shell(path: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  return (await cache.match(path)) ?? fetch(request);
}

async function heard(request: Request): Promise<Response> {
  const cache = await caches.open(HEARD);
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put(request, answer.clone());
    return answer;
  } catch (error) {
    const kept = await cache.match(request);
    if (kept) return kept;
    throw error;
  }
}

self.addEventListener("sync", ((event: ExtendableEvent & { tag: string }) => {
  if (event.tag === "outbox") event.waitUntil(sendAll());
}) as EventListener);

/** Of whoever is logged in, and of nobody else. Throws when something is left, so that the browser wakes us again. */
async function sendAll(): Promise<void> {
  const who = await ask("GET", "/api/session");
  if (who.status === 401) return; // the page asks to log in
  if (who.status !== 200) throw new Error("the centre does not answer");
  const store = await Store.open((who.body as { user: { name: string } }).user.name);
  try {
    const outcome = await alone(() => flush(store), true);
    for (const page of await self.clients.matchAll()) page.postMessage("sent");
    if (outcome === "later") throw new Error("something still waits");
  } finally {
    store.close();
  }
}
