/** A limit in words: "3 working days". Whole hours and days are said as such. */
import { t } from "../i18n/language.svelte";
import { limitParts } from "./fields";

export function limitWords(limit: string): string {
  const parts = limitParts(limit);
  if (!parts) return limit;
  const { n, unit } = parts;
  if (unit === "m" && n % 1440 === 0) return `${n / 1440} ${t("limit.d")}`;
  if (unit === "m" && n % 60 === 0) return `${n / 60} ${t("limit.h")}`;
  if (unit === "wm" && n % 60 === 0) return `${n / 60} ${t("limit.wh")}`;
  return `${n} ${t(`limit.${unit}`)}`;
}

export function inWorkingTime(limit: string): boolean {
  return /w[mhd]$/.test(limit);
}
