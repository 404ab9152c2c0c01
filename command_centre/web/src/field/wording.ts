/** Words put together from what the centre says. */
import { dateMinute, hourMinute } from "../i18n/format";
import { language, named, t, tOr } from "../i18n/language.svelte";
import { field } from "./field.svelte";
import type { Entry, Order, Trouble } from "./types";

export function placeOf(order: Pick<Order, "street_name" | "cell_name" | "address">): string {
  return [order.street_name, order.cell_name, order.address].filter(Boolean).join(" · ");
}

/** "14:03" today, with the day when it was another one. */
export function when(at: string): string {
  const ms = Date.parse(at);
  const day = (moment: number) => dateMinute(moment, language.current, field.zone).slice(0, 10);
  const write = day(ms) === day(field.now) ? hourMinute : dateMinute;
  return write(ms, language.current, field.zone);
}

export function actionOf(entry: Pick<Entry, "kind" | "action">): string {
  if (entry.kind === "check") return t("field.act.check");
  if (entry.kind === "report") return t("field.act.report");
  if (entry.kind === "task") return t("field.act.progress");
  if (entry.action === "decline") return t("field.act.decline");
  return tOr("action", entry.action);
}

export function troubleWords(trouble: Trouble): string {
  if (trouble.why === "moved") {
    const unit = named(trouble.zh, trouble.en);
    return unit ? t("field.conflict.moved", { unit }) : t("field.conflict.moved_nobody");
  }
  if (trouble.why === "rework" || trouble.why === "again") return t(`field.conflict.${trouble.why}`);
  return named(trouble.zh, trouble.en) || t("error.status", { status: trouble.status });
}
