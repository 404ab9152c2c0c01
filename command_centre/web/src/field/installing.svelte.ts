const AGAIN_MS = 5_000;

/** The service worker of /field: put in place, and a newer one let in only when the person says so. */
class Installing {
  /** A new version is there and waits. */
  waiting = $state(false);
  /** Whether this browser and address allow a worker at all. */
  readonly possible = "serviceWorker" in navigator;
  private fresh: ServiceWorker | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  follow(): () => void {
    if (!this.possible) return () => undefined;
    // The very first worker takes a page over that it also came with; every later one brings other scripts.
    let had = navigator.serviceWorker.controller !== null;
    const changed = () => {
      if (had) window.location.reload(); // scripts of one version, never of two
      had = true;
    };
    navigator.serviceWorker.addEventListener("controllerchange", changed);
    void this.put();
    return () => {
      clearTimeout(this.timer);
      navigator.serviceWorker.removeEventListener("controllerchange", changed);
    };
  }

  private async put(): Promise<void> {
    try {
      const place = await navigator.serviceWorker.register("/field/sw.js", { scope: "/field", updateViaCache: "none" });
      const look = (worker: ServiceWorker | null) => {
        if (worker?.state !== "installed" || !navigator.serviceWorker.controller) return;
        [this.fresh, this.waiting] = [worker, true];
      };
      const follow = (worker: ServiceWorker | null) => {
        worker?.addEventListener("statechange", () => {
          look(worker);
          if (worker.state === "redundant" && !place.active) this.later();
        });
      };
      look(place.waiting);
      follow(place.installing);
      place.addEventListener("updatefound", () => {
        follow(place.installing);
      });
    } catch {
      this.later(); // the page works without it as long as it stays open
    }
  }

  /** One file that did not arrive ends an installation, and nothing but another registration begins it again. */
  private later(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.put(), AGAIN_MS);
  }

  takeOver(): void {
    this.fresh?.postMessage("take-over");
  }
}

export const installing = new Installing();
