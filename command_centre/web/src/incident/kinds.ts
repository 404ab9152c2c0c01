/** Events of a timeline by what they are about, so that people can look at one thread of it. */
import type { TimelineItem } from "../desk/api";

export const THREADS = ["acts", "alarms", "told", "clocks"] as const;
export type Thread = (typeof THREADS)[number];

const ALARMS = new Set([
  "joined", "class_raised", "fused", "alarm_again", "alarm_cleared", "acknowledgement_reopened",
]);
const TOLD = new Set(["told", "nobody_told", "receipt", "delivery_delayed", "delivery_failed", "resent"]);
const CLOCKS = new Set(["reminded", "urged", "overdue", "deadlines_recomputed"]);

export function threadOf({ kind }: Pick<TimelineItem, "kind">): Thread {
  if (ALARMS.has(kind)) return "alarms";
  if (TOLD.has(kind) || kind.startsWith("site_order_reminded")) return "told";
  return CLOCKS.has(kind) ? "clocks" : "acts";
}

/** Digests of an event's photos; others write how many came. */
export function photosOf(item: Pick<TimelineItem, "detail">): string[] {
  const detail = item.detail as Record<string, unknown> | null;
  const found = detail?.["photos"];
  return Array.isArray(found) ? found.filter((one): one is string => /^[0-9a-f]{64}$/.test(String(one))) : [];
}
