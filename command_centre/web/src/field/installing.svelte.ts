/** The service worker of /field: put in place, and a newer one let in only when the person says so. */
class Installing {
  /** A new version is there and waits. */
  waiting = $state(false);
  /** Whether this browser and address allow a worker at all. */
  readonly possible = "serviceWorker" in navigator;
  private fresh: ServiceWorker | null = null;

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
      look(place.waiting);
      place.addEventListener("updatefound", () => {
        const worker = place.installing;
        worker?.addEventListener("statechange", () => {
          look(worker);
        });
      });
    } catch {
      // The page works without it as long as it stays open.
    }
  }

  takeOver(): void {
    this.fresh?.postMessage("take-over");
  }
}

export const installing = new Installing();
