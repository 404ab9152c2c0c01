import type { Entry } from "./catalogue";

/** Settings: rules, responsibility list, calendar, users, health. */
export const settingsWords = {} satisfies Record<string, Entry>;
