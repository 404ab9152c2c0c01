/** What is read out of a hydrograph at one moment, as one sentence. */
import { metres } from "../i18n/format";
import { t } from "../i18n/language.svelte";
import type { Moment } from "./curves";
import { near } from "./words";

export function momentWords(moment: Moment, now: number | null): string {
  const parts = [near(moment.at * 1000, now)];
  if (moment.observed !== null) parts.push(t("hydro.says_observed", { m: metres(moment.observed) }));
  if (moment.expected !== null) {
    const { low, median, high } = moment.expected;
    parts.push(t("hydro.says_expected", { m: metres(median), low: metres(low), high: metres(high) }));
  }
  if (moment.rain !== null) parts.push(t("hydro.says_rain", { mm: moment.rain.toFixed(1) }));
  for (const { name, level } of moment.upstream) if (level !== null) parts.push(`${name} ${metres(level)} m`);
  return parts.join(" · ");
}
