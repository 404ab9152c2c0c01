import type { Entry } from "./catalogue";

/** What only the wall says. */
export const wallWords = {} satisfies Record<string, Entry>;
