import type { Entry } from "./catalogue";

/** The flood desk. */
export const floodWords = {} satisfies Record<string, Entry>;
