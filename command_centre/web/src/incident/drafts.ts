/**
 * What was typed into an action's form and not sent yet. It outlives the form: an ended log-in, another incident
 * looked at in between, or a refusal must not cost a person their words.
 */
import { emptyValues, type Values } from "./fields";

const MOST = 50;
const kept = new Map<string, Values>();

export function draftOf(incident: string | number): Values {
  return kept.get(String(incident)) ?? emptyValues();
}

export function keep(incident: string | number, values: Values): void {
  const key = String(incident);
  kept.delete(key); // so that the newest stands last
  if (says(values)) kept.set(key, values);
  const oldest = kept.keys().next().value;
  if (kept.size > MOST && oldest !== undefined) kept.delete(oldest);
}

export function drop(incident: string | number): void {
  kept.delete(String(incident));
}

function says({ reason, comment, photos, unit, alarms, reports }: Values): boolean {
  return `${reason}${comment}${unit}`.trim() !== "" || photos.length + alarms.length + reports.length > 0;
}
