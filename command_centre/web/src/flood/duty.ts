/** The duty log: what a shift hands over, and which entries belong together. Pure but for the words. */
import { metres } from "../i18n/format";
import { t } from "../i18n/language.svelte";
import { aboveWarning } from "../incidents/order";
import type { Entry, FloodWarning, ResponseLevel, StationRow, TaskList } from "./api";
import { near, stationName } from "./words";

/** Entries of one shift after the other, in the order they come. */
export function byShift(entries: readonly Entry[]): { shift: string; entries: Entry[] }[] {
  const shifts: { shift: string; entries: Entry[] }[] = [];
  for (const entry of entries) {
    const last = shifts.at(-1);
    if (last?.shift === entry.shift) last.entries.push(entry);
    else shifts.push({ shift: entry.shift, entries: [entry] });
  }
  return shifts;
}

export const automatic = (entry: Entry): boolean => entry.actor === "system";

const NAMED = 5; // stations in one line; the rest is counted

/** What whoever comes on duty must know, as text a person reads over before it is written. */
export function handover(known: {
  level: ResponseLevel | null;
  warnings: readonly FloodWarning[];
  tasks: TaskList | null;
  stations: readonly StationRow[];
  now: number | null;
}): string {
  const lines = [t("duty.hand_over_head")];
  lines.push(known.level === null ? t("flood.no_response") : t("response.level", { level: known.level }));
  const inForce = known.warnings.filter((one) => !one.exercise);
  const listed = inForce.map((one) => `${t(`colour.${one.colour}`)} ${near(one.expires_at, known.now)}`).join(", ");
  lines.push(inForce.length === 0 ? t("warn.none.issued") : t("duty.hand_over_warnings", { list: listed }));
  const above = known.stations.filter(aboveWarning);
  lines.push(above.length === 0 ? t("duty.hand_over_none_above") : t("duty.hand_over_above", { list: some(above) }));
  const silent = known.stations.filter((one) => one.state === "silent" || one.suspect);
  if (silent.length > 0) lines.push(t("duty.hand_over_silent", { list: some(silent) }));
  const whole = known.tasks?.totals.district;
  if (whole && whole.tasks > 0) lines.push(t("task.sums", { tasks: whole.tasks, done: whole.done, remaining: whole.remaining }));
  return lines.join("\n");
}

function some(stations: readonly StationRow[]): string {
  const named = stations
    .slice(0, NAMED)
    .map((one) => `${stationName(one)}${one.level_m === null ? "" : ` ${metres(one.level_m)} m`}`);
  const rest = stations.length - named.length;
  return named.join(", ") + (rest > 0 ? ` ${t("duty.and_more", { n: rest })}` : "");
}
