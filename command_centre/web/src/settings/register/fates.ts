/** In which order rows of an import are looked at. */
import type { ImportRow } from "./api";

export const FATES = ["refused", "gone", "changed", "new", "same"] as const;

/** Rows of one fate; without one all but the unchanged, those first that need a person. */
export function ordered(rows: readonly ImportRow[], fate: string): ImportRow[] {
  const place = (row: ImportRow) => FATES.indexOf(row.fate);
  if (fate !== "") return rows.filter((row) => row.fate === fate);
  return rows.filter((row) => row.fate !== "same").sort((a, b) => place(a) - place(b));
}
