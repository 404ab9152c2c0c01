/** The district's outlines, asked for once while the page is open. */
import { call } from "../http";
import type { Ground } from "../map/shapes";

let asked: Promise<Ground> | null = null;

export function groundOnce(): Promise<Ground> {
  asked ??= call<Ground>("GET", "/api/wall/map").catch((error: unknown) => {
    asked = null; // the next page tries again
    throw error;
  });
  return asked;
}
