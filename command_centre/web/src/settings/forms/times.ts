/** Instants of the centre as the settings show and take them, in the district's zone whatever the machine's is. */
import { dateMinute } from "../../i18n/format";
import { language } from "../../i18n/language.svelte";
import { district } from "../../wall/district.svelte";
import { instantOf, wallClock } from "./zone";

/** "–" where there is none. */
export function when(at: string | null | undefined): string {
  return at ? dateMinute(Date.parse(at), language.current, district.timeZone) : "–";
}

/** A form's local time ("2026-11-22T08:00") as the centre takes it; null when nothing was given. */
export function instant(local: string): string | null {
  return local === "" ? null : new Date(instantOf(local, district.timeZone)).toISOString();
}

/** The other way round, for a datetime-local input. */
export function localInput(at: string | null | undefined): string {
  return at ? wallClock(Date.parse(at), district.timeZone) : "";
}
