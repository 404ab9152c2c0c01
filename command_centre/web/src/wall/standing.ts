import { metres } from "../i18n/format";
import { t } from "../i18n/language.svelte";
import { aboveWarning } from "../incidents/order";
import type { Station } from "../screen/topics";

/** How a station stands to its levels, in words and with a sign that needs no colour. */
export function standing(station: Station): string {
  if (station.suspect) return `▲ ${t(`water.suspect.${station.suspect}` as const)}`;
  const m = metres(Math.abs(station.margin_m ?? 0));
  const key = `water.state.${station.state}` as const;
  if (far(station)) return `▲▲ ${t(key)}`;
  return aboveWarning(station) ? `▲ ${t(key, { m })}` : t(key, { m });
}

/** Above the guaranteed level, or higher than ever. */
export function far(station: Station): boolean {
  return station.state === "guaranteed" || station.state === "record";
}
