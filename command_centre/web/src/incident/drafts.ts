/**
 * What was typed into an action's form and not sent yet. It outlives the form: another incident looked at in between,
 * or a refusal, must not cost a person their words. `whose` names person and incident: nobody reads another's draft.
 */
import { emptyValues, type Values } from "./fields";

const MOST = 50;
const kept = new Map<string, Values>();

export function draftOf(whose: string): Values {
  return kept.get(whose) ?? emptyValues();
}

export function keep(whose: string, values: Values): void {
  kept.delete(whose); // so that the newest stands last
  if (says(values)) kept.set(whose, values);
  const oldest = kept.keys().next().value;
  if (kept.size > MOST && oldest !== undefined) kept.delete(oldest);
}

export function drop(whose: string): void {
  kept.delete(whose);
}

function says({ reason, comment, photos, unit, alarms, reports }: Values): boolean {
  return `${reason}${comment}${unit}`.trim() !== "" || photos.length + alarms.length + reports.length > 0;
}
