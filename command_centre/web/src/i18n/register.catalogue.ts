import type { Entry } from "./catalogue";

/** Settings: devices, cells, units, screens, import. */
export const registerWords = {} satisfies Record<string, Entry>;
