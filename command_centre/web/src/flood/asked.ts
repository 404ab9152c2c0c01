/** What a response level asks the desk to do next, from what is known. Steps that are done are marked, not hidden. */
import { aboveWarning } from "../incidents/order";
import type { Colour, FloodWarning, Headcount, ResponseLevel, StationRow, Task } from "./api";

export const LEVELS: readonly ResponseLevel[] = ["I", "II", "III", "IV"];
export const COLOURS: readonly Colour[] = ["red", "orange", "yellow", "blue"];
/** Colour and level of the same grade (docs/flood.md). */
export const COLOUR_OF: Record<ResponseLevel, Colour> = { I: "red", II: "orange", III: "yellow", IV: "blue" };

export interface Step {
  what: "warn" | "inspect" | "evacuate";
  done: boolean;
  /** Colour of the warning, or codes of cells that are still without such a task. */
  colour?: Colour;
  cells?: string[];
  people?: number;
}

/**
 * From IV on a warning of the level's colour and a round at every station over its warning level; from III on people
 * are moved out of the cells of the streets' list. docs/flood-desk.md says why.
 */
export function stepsOf(
  level: ResponseLevel,
  known: {
    stations: readonly StationRow[];
    warnings: readonly FloodWarning[];
    tasks: readonly Task[];
    headcounts: readonly Headcount[];
  },
): Step[] {
  const colour = COLOUR_OF[level];
  const inForce = known.warnings.filter((one) => one.state === "issued" && !one.exercise);
  const warned = inForce.some((one) => COLOURS.indexOf(one.colour) <= COLOURS.indexOf(colour));
  const having = (kind: Task["kind"]) =>
    new Set(known.tasks.filter((task) => task.kind === kind && !task.exercise).map((task) => task.cell));
  const [inspected, moving] = [having("inspect"), having("evacuate")];
  const wet = [...new Set(known.stations.filter(aboveWarning).map((station) => station.cell))].filter(Boolean);
  const rounds = wet.filter((cell) => !inspected.has(cell));
  const steps: Step[] = [
    { what: "warn", done: warned, colour },
    { what: "inspect", done: rounds.length === 0, cells: rounds },
  ];
  if (level === "IV") return steps;
  const waiting = known.headcounts.filter((one) => one.to_move > 0 && !moving.has(one.cell));
  steps.push({
    what: "evacuate",
    done: waiting.length === 0,
    cells: waiting.map((one) => one.cell),
    people: waiting.reduce((sum, one) => sum + one.to_move, 0),
  });
  return steps;
}
