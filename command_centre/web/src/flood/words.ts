/** Times and dangers of the flood desk in the language in use, in the district's zone. */
import { aboutHours, dateMinute, hourMinute, metres } from "../i18n/format";
import { language, named, t } from "../i18n/language.svelte";
import type { Station } from "../screen/topics";
import { district } from "../wall/district.svelte";
import type { Arrival } from "./danger";

const DAY_MS = 86_400_000;
const ms = (at: string | number): number => (typeof at === "number" ? at : Date.parse(at));

export const whole = (at: string | number): string => dateMinute(ms(at), language.current, district.timeZone);
export const clock = (at: string | number): string => hourMinute(ms(at), language.current, district.timeZone);

/** Hours and minutes of a time near `now`, with its date when it is further away. */
export const near = (at: string | number, now: number | null): string =>
  now !== null && Math.abs(ms(at) - now) < DAY_MS / 2 ? clock(at) : whole(at);

export const about = (left: number): string => aboutHours(left, language.current);

export const stationName = (station: { name: string; name_en?: string | null; code: string }): string =>
  named(station.name, station.name_en) || station.code;

export const inMetres = (value: number | null | undefined): string =>
  value === null || value === undefined ? t("stations.no_value") : `${metres(value)} m`;

/** "rises 0.12", "falls 0.05", "steady": a sign alone is easily overlooked. */
export function rising(rise: number | null | undefined): string {
  if (rise === null || rise === undefined) return t("stations.no_value");
  if (Math.abs(rise) < 0.01) return t("stations.steady");
  return t(rise > 0 ? "stations.rises" : "stations.falls", { m: Math.abs(rise).toFixed(2) });
}

export function stateWords(station: Station): string {
  const state = station.station_kind === "landslide" && station.state === "unset" ? "spot" : station.state;
  const words = t(`stations.state.${state}` as const);
  return station.suspect ? `${words} · ${t(`water.suspect.${station.suspect}` as const)}` : words;
}

/** When a level is reached, with the chance that it is earlier. */
export function arrivalWords(when: Arrival, now: number | null): string {
  switch (when.is) {
    case "over":
      return t("stations.over", { m: metres(when.by) });
    case "at": {
      const left = now === null ? 0 : when.at - now;
      const words = t("stations.reaches", { time: about(left), at: near(when.at, now) });
      return when.earliest === null ? words : `${words}${t("stations.earliest", { at: near(when.earliest, now) })}`;
    }
    case "chance":
      return t("stations.chance", { at: near(when.earliest, now) });
    case "old":
      return t("stations.old_forecast", { at: near(when.issued, now) });
    default:
      return t(`stations.arrival.${when.is}` as const);
  }
}
