import type { Entry } from "./catalogue";

/** What a phone in the field says. */
export const fieldWords = {} satisfies Record<string, Entry>;
