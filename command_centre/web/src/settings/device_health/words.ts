/** Figures of device health as people read them. */
import type { Shapes } from "../../api/shapes";
import { dateMinute } from "../../i18n/format";
import { language, t } from "../../i18n/language.svelte";
import { district } from "../../wall/district.svelte";

export type Battery = Shapes["BatteryHealth"];

export const SIGNS: Readonly<Record<string, string>> = { silent: "✕", blind: "◐", late: "◔", online: "✓", never: "–", out: "–" };

export function at(time: string | null): string {
  return time === null ? "–" : dateMinute(Date.parse(time), language.current, district.timeZone);
}

/** "99.2 %"; a dash where nothing was expected. */
export function share(value: number | null): string {
  if (value === null) return t("wellness.no_data");
  return new Intl.NumberFormat(language.current === "zh" ? "zh-CN" : "en-GB", {
    style: "percent",
    minimumFractionDigits: 1,
    maximumFractionDigits: 1,
  }).format(value);
}

export function percent(value: number | null): string {
  return value === null ? "–" : `${Math.round(value)}%`;
}

/** Change in a week, with its sign. */
export function weekly(perDay: number | null): string {
  if (perDay === null) return "–";
  const value = perDay * 7;
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(1)}%`;
}

/** What the page's address asks of the centre, from the row after `after`. */
export function asking(query: string, after: string | null): string {
  const asked = new URLSearchParams(query);
  asked.delete("lang");
  if (after !== null) asked.set("cursor", after);
  return asked.toString();
}
