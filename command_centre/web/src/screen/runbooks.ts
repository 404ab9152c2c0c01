/** Pages of the centre that say step by step what to do about the system itself; they need no log-in. */
import { language } from "../i18n/language.svelte";

/** By the category of the system's own incidents, as `command_centre/runbook_pages.py` has it. */
const OF_CATEGORY: Readonly<Record<string, string>> = {
  "system.backup": "BackupOld",
  "system.certificate": "CertificateEnds",
  "system.disk": "DiskFull",
  "system.ingest": "IngestDown",
};

export const runbookAt = (address: string): string => `${address}?lang=${language.current}`;
export const runbook = (name: string): string => runbookAt(`/runbooks/${name}`);

/** Of an incident; null for everything that is not the system's own. */
export const runbookOf = (category: string): string | null => OF_CATEGORY[category] ?? null;
