/** What an event or an alarm rests on, as pairs that people read; bookkeeping is left out. */

const BOOKKEEPING = new Set(["cell_id", "rule_version", "reason_en", "direction", "limit", "text", "purpose"]);
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

/** `time` turns an instant (epoch ms) into words. What is empty or false says nothing and is left out. */
export function pairs(detail: unknown, time: (ms: number) => string): [name: string, value: string][] {
  if (detail === null || typeof detail !== "object") return [];
  return Object.entries(detail)
    .filter(([name, value]) => !BOOKKEEPING.has(name) && value !== null && value !== "" && value !== false)
    .map(([name, value]) => [name, worded(value, time)]);
}

function worded(value: unknown, time: (ms: number) => string): string {
  if (value === true) return ""; // the name says it
  // The reading that cleared an alarm carries the whole evidence again: its value is what people ask for.
  if (value !== null && typeof value === "object" && "value" in value) return String(value.value);
  if (typeof value === "string") return INSTANT.test(value) ? time(Date.parse(value)) : value;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
