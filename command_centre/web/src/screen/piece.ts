/** Parts of the page that are loaded when they are first shown. */

const LOOKS_MS = 2_000;
const APART_MS = 20_000; // a part that is missing for good must not make the page load for ever
const LAST = "city.loaded-anew";

export interface Surroundings {
  served: () => Promise<boolean>;
  again: () => void;
  now: () => number;
  wait: (ms: number) => Promise<void>;
  last: () => number; // when the page was loaded anew for this; 0 = never
  mark: (now: number) => void;
}

const BROWSER: Surroundings = {
  served: () => fetch("/healthz", { cache: "no-store" }).then(
    (answer) => answer.ok,
    () => false,
  ),
  again: () => window.location.reload(),
  now: () => Date.now(),
  wait: (ms) => new Promise((done) => setTimeout(done, ms)),
  last: () => Number(sessionStorage.getItem(LAST) ?? 0),
  mark: (now) => sessionStorage.setItem(LAST, String(now)),
};

/**
 * What `load` brings. Where it brings nothing (the centre restarts, or a newer version's files have other names) the page
 * is loaded anew once a centre answers, and the promise stays open: the new page has parts of one version.
 */
export async function piece<T>(load: () => Promise<T>, around: Surroundings = BROWSER): Promise<T> {
  try {
    return await load();
  } catch {
    const due = around.last() + APART_MS;
    do await around.wait(LOOKS_MS);
    while (around.now() < due || !(await around.served()));
    around.mark(around.now());
    around.again();
    return new Promise<T>(() => undefined);
  }
}
