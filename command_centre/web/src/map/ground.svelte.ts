import { named } from "../i18n/language.svelte";
import { extent, type Box } from "./projection";
import type { CellGround, Ground } from "./shapes";

const RETRY_MS = 5000;
const NOWHERE: Box = [0, 0, 1, 1];
type Answer = Omit<Ground, "bbox"> & { bbox: Box | null };

/** The district's ground, read once: its outlines, and the names of its cells and streets in both languages. */
class WallGround {
  drawn = $state.raw<Ground | null>(null);
  failed = $state(false);
  /** Something of it has an outline, so that there is a map to draw. */
  outlined = $state(true);
  private cells: ReadonlyMap<string, CellGround> = new Map();
  private areas: ReadonlyMap<string, { name: string; name_en: string }> = new Map();

  /** Tries until it has it; the returned function gives up. */
  load(): () => void {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const attempt = async (): Promise<void> => {
      try {
        const answer = await fetch("/api/wall/map", { signal: abort.signal });
        if (!answer.ok) throw new Error(`map answered ${answer.status}`);
        this.take((await answer.json()) as Answer);
      } catch (error) {
        if (abort.signal.aborted) return;
        console.warn("map not loaded", error);
        this.failed = true;
        timer = setTimeout(() => void attempt(), RETRY_MS);
      }
    };
    if (this.drawn === null) void attempt();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }

  private take(ground: Answer): void {
    this.cells = new Map(ground.cells.map((cell) => [cell.code, cell]));
    const areas = [...(ground.communities ?? []), ...ground.streets];
    this.areas = new Map(areas.map((area) => [area.code, area]));
    this.failed = false;
    this.outlined = ground.bbox !== null;
    this.drawn = { ...ground, bbox: ground.bbox ?? NOWHERE };
  }

  cell(code: string): CellGround | undefined {
    return this.drawn ? this.cells.get(code) : undefined;
  }

  /** In the language in use; what the centre sent with the row when the ground does not know the cell. */
  cellName(code: string, sent: string): string {
    const cell = this.cell(code);
    return cell ? named(cell.name || sent, cell.name_en) : sent || code;
  }

  streetName(code: string, sent: string): string {
    const street = this.areas.get(this.cell(code)?.street ?? "");
    return street ? named(street.name || sent, street.name_en) : sent;
  }

  /** Name of an area of any layer that the ground knows; its code otherwise. */
  areaName(code: string): string {
    const found = this.drawn ? (this.areas.get(code) ?? this.cells.get(code)) : undefined;
    return found ? named(found.name, found.name_en) : code;
  }

  /** The box around these cells, with a margin around it; null when none has an outline. */
  around(codes: Iterable<string>, margin: number): Box | null {
    return extent([...codes].flatMap((code) => this.cell(code)?.rings ?? []), margin);
  }
}

export const ground = new WallGround();
