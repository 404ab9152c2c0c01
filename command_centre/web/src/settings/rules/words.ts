/** What a rule says of itself, in words. */
import { named, t, tOr } from "../../i18n/language.svelte";
import type { Kinds, RuleRow } from "./api";
import { comma, semicolon } from "../forms/marks";

/** The kinds of device it is for; all of them when it names none. */
export function kindWords(row: Pick<RuleRow, "kinds">, words: Kinds | null): string {
  if (row.kinds.length === 0) return t("rule.every_kind");
  return row.kinds
    .map((code) => {
      const kind = words?.device_kinds.find((one) => one.code === code);
      return named(kind?.name, kind?.name_en) || code;
    })
    .join(comma());
}

/** Where it holds: its scope's keys with their codes, the whole district when there are none. */
export function scopeWords(scope: Readonly<Record<string, readonly string[]>> | null | undefined): string {
  const parts = Object.entries(scope ?? {}).map(
    ([key, codes]) => `${tOr("rulekey", `scope.${key}`)} ${codes.join(comma())}`,
  );
  return parts.length === 0 ? t("rule.whole_district") : parts.join(semicolon());
}

export const typeWords = (type: string): string => tOr("ruletype", type);

/** The words of a key of a rule file: of its full path, else of its last part. */
export function keyWords(path: string): string {
  const whole = tOr("rulekey", path);
  return whole === path ? tOr("rulekey", path.split(".").at(-1) ?? path) : whole;
}

/** What it means, one sentence; empty where the words of the key say it all. */
export function keyMeaning(path: string): string {
  const whole = tOr("rulehint", path);
  if (whole !== path) return whole;
  const last = path.split(".").at(-1) ?? path;
  const words = tOr("rulehint", last);
  return words === last ? "" : words;
}
