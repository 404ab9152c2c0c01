/** What an event or an alarm rests on, as pairs that people read; bookkeeping is left out. */

const BOOKKEEPING = new Set([
  "cell_id",
  "rule_version",
  "direction",
  "limit",
  "text",
  "purpose",
  "area",
  "clock",
  "incident",
  "unit_id",
  "from_unit_id",
  "request",
  "score",
  "url", // shown as a picture, see Media.svelte
  "deadband", // stands between the two limits
]);
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

/**
 * `time` turns an instant (epoch ms) into words. What is empty or false says nothing and is left out; of what is
 * there in both languages (`why`, `why_en`) one is shown.
 */
export function pairs(
  detail: unknown,
  time: (ms: number) => string,
  english = false,
): [name: string, value: string][] {
  if (detail === null || typeof detail !== "object") return [];
  const given = detail as Record<string, unknown>;
  return Object.keys(given)
    .filter((name) => !BOOKKEEPING.has(name) && !name.endsWith("_en"))
    .map((name): [string, unknown] => [name, english ? given[`${name}_en`] || given[name] : given[name]])
    .filter(([name, value]) => !saysNothing(name, value))
    .map(([name, value]) => [name, worded(value, time)]);
}

function saysNothing(name: string, value: unknown): boolean {
  if (value === null || value === "" || value === false) return true;
  if (name === "photos" && (value === 0 || Array.isArray(value))) return true; // shown as pictures
  return Array.isArray(value) && value.length === 0;
}

function worded(value: unknown, time: (ms: number) => string): string {
  if (value === true) return ""; // the name says it
  // The reading that cleared an alarm carries the whole evidence again: its value is what people ask for.
  if (value !== null && typeof value === "object" && "value" in value) return String(value.value);
  if (typeof value === "string") return INSTANT.test(value) ? time(Date.parse(value)) : value;
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return value.join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
