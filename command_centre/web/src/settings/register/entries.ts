/** Entries of the register as forms hold them: texts go in, and only what differs goes out. */

export interface FieldChange {
  name: string;
  before: unknown;
  after: unknown;
}

/** What one change of the history did, field by field; those of a new entry have nothing before. */
export function changedFields(detail: Record<string, unknown>): FieldChange[] {
  const [before, after] = [detail["before"], detail["after"]].map((side) =>
    side !== null && typeof side === "object" ? (side as Record<string, unknown>) : {},
  ) as [Record<string, unknown>, Record<string, unknown>];
  if (typeof detail["before"] === "string" || typeof detail["after"] === "string") {
    return [{ name: "state", before: detail["before"], after: detail["after"] }];
  }
  const names = Object.keys({ ...before, ...after });
  return names
    .map((name) => ({ name, before: before[name], after: after[name] }))
    .filter((one) => shownValue(one.before) !== shownValue(one.after));
}

/** A value as people read it; empty for none. */
export function shownValue(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(String).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value as string | number | boolean);
}

/** `lines`: a list with one entry on each line, since its entries may hold spaces. */
export type Kind = "text" | "number" | "list" | "code" | "lines" | "day";
export type Draft = Record<string, string>;

/** The entry's values as a form shows them. */
export function draftOf(entry: Record<string, unknown>, fields: Record<string, Kind>): Draft {
  return Object.fromEntries(
    Object.entries(fields).map(([name, kind]) => {
      const value = entry[name];
      const between = kind === "list" ? " " : kind === "lines" ? "\n" : null;
      return [name, between !== null && Array.isArray(value) ? value.join(between) : shownValue(value)];
    }),
  );
}

/** Only what a person changed, as the centre takes it: an emptied number or code is null, a text is empty. */
export function changed(draft: Draft, before: Draft, fields: Record<string, Kind>): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [name, kind] of Object.entries(fields)) {
    const text = (draft[name] ?? "").trim();
    if (text === (before[name] ?? "").trim()) continue;
    if (kind === "list") found[name] = text.split(/[\s,;，；]+/).filter((part) => part !== "");
    else if (kind === "lines") found[name] = text.split("\n").map((line) => line.trim()).filter((line) => line !== "");
    else if (kind === "text") found[name] = text;
    else if (text === "") found[name] = null;
    else found[name] = kind === "number" ? Number(text) : text;
  }
  return found;
}
