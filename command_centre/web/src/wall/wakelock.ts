/** Keeps a kiosk's picture on. The browser lets go whenever the page is hidden, so it is asked again when it is seen. */

interface Sentinel {
  released: boolean;
  release(): Promise<void>;
}
interface Screen {
  wakeLock?: { request(kind: "screen"): Promise<Sentinel> };
}
interface Page {
  visibilityState: string;
  addEventListener(kind: "visibilitychange", listener: () => void): void;
  removeEventListener(kind: "visibilitychange", listener: () => void): void;
}

/** Holds it until the returned function is called. A browser that has or gives none is left alone. */
export function keepAwake(screen: Screen, page: Page): () => void {
  let held: Sentinel | null = null;
  let asking = false;
  let over = false;

  async function ask(): Promise<void> {
    if (asking || over || !screen.wakeLock || page.visibilityState !== "visible" || held?.released === false) return;
    asking = true;
    try {
      held = await screen.wakeLock.request("screen");
      if (over) await held.release();
    } catch (error) {
      console.warn("the screen may go to sleep", error); // a battery that is low, a policy
    } finally {
      asking = false;
    }
  }
  const seen = () => void ask();
  page.addEventListener("visibilitychange", seen);
  void ask();
  return () => {
    over = true;
    page.removeEventListener("visibilitychange", seen);
    void held?.release();
  };
}
