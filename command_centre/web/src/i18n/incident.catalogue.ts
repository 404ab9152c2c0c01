import type { Entry } from "./catalogue";

/** The incident's page at the desk. */
export const incidentWords = {} satisfies Record<string, Entry>;
