/** A failure as whoever reports reads it. */
import { Problem } from "../http";
import { named, t } from "../i18n/language.svelte";

export function explain(error: unknown): string {
  if (!(error instanceof Problem)) return String(error);
  if (error.status === 0) return t("report.network");
  return named(error.zh, error.en) || t("error.status", { status: error.status });
}
