import type { Shapes } from "../api/shapes";
import { live } from "../screen/live.svelte";
import { Polled } from "./polled.svelte";

const EVERY_MS = 10_000;

/** Smoke detectors and cameras, asked again when an alarm comes or goes. */
class Sensing extends Polled<Shapes["WallSensing"]> {
  constructor() {
    super(EVERY_MS);
  }

  override follow(query: string): () => void {
    const stop = super.follow(`/api/wall/sensing${query}`);
    const unwatch = live.watchEvents((events) => {
      if (events.some((event) => event.kind.startsWith("alarm."))) this.soon();
    });
    return () => {
      unwatch();
      stop();
    };
  }
}

export const sensing = new Sensing();
