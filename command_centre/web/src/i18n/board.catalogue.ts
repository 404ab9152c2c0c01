import type { Entry } from "./catalogue";

/** Dispatch board, shift handover and the report on alarms. */
export const boardWords = {} satisfies Record<string, Entry>;
