import { CLASSES } from "../incidents/order";
import type { Cell, Incident, IncidentClass } from "../screen/topics";
import type { CellGround } from "./shapes";

/** A cell that no map can show. */
export interface Unplaced {
  code: string;
  name: string;
  class: IncidentClass | null;
  open: number;
  state: Cell["state"];
}

/**
 * Cells without a polygon that are not normal, and those of incidents that have no place at all, the worst first: what
 * the map cannot show stands beside it. An incident with a position of its own is on the map.
 */
export function unplaced(
  cells: readonly CellGround[],
  states: ReadonlyMap<string, Cell>,
  incidents: readonly Incident[],
  only: (cell: string) => boolean,
): Unplaced[] {
  const outlined = new Set(cells.filter((cell) => cell.rings.length > 0).map((cell) => cell.code));
  const found = new Map<string, Unplaced>();
  for (const cell of cells) {
    const state = states.get(cell.code)?.state ?? "unset";
    if (outlined.has(cell.code) || state === "normal" || !only(cell.code)) continue;
    found.set(cell.code, { code: cell.code, name: cell.name, class: null, open: 0, state });
  }
  for (const one of incidents) {
    const code = one.cell ?? ""; // nobody knows where it is
    if (outlined.has(code) || (one.lon !== null && one.lat !== null)) continue;
    const known = found.get(code) ?? {
      code,
      name: one.cell_name,
      class: null,
      open: 0,
      state: states.get(code)?.state ?? "normal",
    };
    const worse = known.class === null || CLASSES.indexOf(one.class) < CLASSES.indexOf(known.class);
    found.set(code, { ...known, class: worse ? one.class : known.class, open: known.open + 1 });
  }
  const rank = (of: Unplaced) => (of.class === null ? CLASSES.length : CLASSES.indexOf(of.class));
  return [...found.values()].sort((a, b) => rank(a) - rank(b) || b.open - a.open || a.code.localeCompare(b.code));
}
