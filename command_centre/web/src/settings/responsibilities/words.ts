import { named, t, tOr } from "../../i18n/language.svelte";
import type { Entry } from "./api";
import { partsOf } from "./limits";
import { comma } from "../forms/marks";

export const STAGES = ["acknowledge", "arrive", "handle", "verify"] as const;

export function limitWords(limit: string): string {
  const parts = partsOf(limit);
  return parts ? `${parts.n} ${t(`limit.${parts.unit}`)}` : limit;
}

export function placeWords(entry: Pick<Entry, "area" | "area_name" | "area_name_en">): string {
  return entry.area === null ? t("duties.district") : named(entry.area_name, entry.area_name_en) || entry.area;
}

export function limitsWords(limits: Readonly<Record<string, string>>): string {
  const parts = Object.entries(limits).map(([stage, limit]) => `${tOr("stage", stage)} ${limitWords(limit)}`);
  return parts.length === 0 ? t("duties.as_catalogued") : parts.join(comma());
}
