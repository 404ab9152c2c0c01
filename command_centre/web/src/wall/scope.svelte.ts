import { CLASSES } from "../incidents/order";
import { live } from "../screen/live.svelte";
import type { Cell, Counts, Incident, Station } from "../screen/topics";
import type { Box } from "../map/projection";
import { ground } from "../map/ground.svelte";

/**
 * The part of the district that this wall shows, by the code of a street, community or cell in its address.
 *
 * Its rows are chosen here and its figures counted here, so a wall of a street does not show what another street has.
 */
class Scope {
  code = $state<string | null>(null);
  private readonly cells = $derived.by(() => {
    const [code, drawn] = [this.code, ground.drawn];
    if (code === null || drawn === null) return null;
    return new Set(
      drawn.cells
        .filter((cell) => cell.code === code || cell.community === code || cell.street === code)
        .map((cell) => cell.code),
    );
  });

  /** The address names an area that the district does not have. */
  get unknown(): boolean {
    return this.cells?.size === 0;
  }

  get box(): Box | null {
    return this.cells === null ? null : ground.around(this.cells, 0.05);
  }

  /** Whether a cell belongs to it; another function when the answers change, so that who reads it looks again. */
  readonly within = $derived.by((): ((cell: string) => boolean) => {
    const [code, cells] = [this.code, this.cells];
    return (cell) => code === null || (cells?.has(cell) ?? false);
  });

  get incidents(): Incident[] {
    const within = this.within;
    return [...live.topic("incident").values()].filter((one) => within(one.cell));
  }

  /** What stands in water: a landslide spot has none. */
  get stations(): Station[] {
    const within = this.within;
    return [...live.topic("station").values()].filter(
      (one) => one.station_kind !== "landslide" && within(one.cell),
    );
  }

  get cellStates(): [string, Cell][] {
    const within = this.within;
    return [...live.topic("cell")].filter(([code]) => within(code));
  }

  get counts(): Counts | null {
    if (this.code === null) return live.topic("counts").get("open") ?? null;
    return counted(this.incidents);
  }

  /** For the question to the centre; empty for the whole district. */
  get query(): string {
    return this.code === null ? "" : `?scope=${encodeURIComponent(this.code)}`;
  }
}

/** Drills count apart, as the centre counts them. */
export function counted(incidents: readonly Incident[]): Counts {
  const real = incidents.filter((one) => !one.exercise);
  const [A, B, C] = CLASSES.map((of) => real.filter((one) => one.class === of).length);
  return {
    A: A ?? 0,
    B: B ?? 0,
    C: C ?? 0,
    unassigned: real.filter((one) => one.unit === null).length,
    unacknowledged: real.filter((one) => one.acknowledged_at === null).length,
    total: real.length,
    exercise: incidents.length - real.length,
  };
}

export const scope = new Scope();
