/** All stations as the desk draws them: the live topic, and what only /api/stations says, asked for when it changed. */
import { live } from "../screen/live.svelte";
import { session } from "../staff/session.svelte";
import { api, type StationRow } from "./api";
import { merged } from "./danger";

const DRAWN_EACH_MS = 1000;
const ASKED_EACH_MS = 10_000;

class StationBook {
  rows = $state.raw<StationRow[]>([]);
  problem = $state("");
  private known = new Map<string, StationRow>();
  /** The newest issue of a forecast that the last answer knew. */
  private issued = "";
  private drawing: ReturnType<typeof setTimeout> | null = null;
  private asking: ReturnType<typeof setTimeout> | null = null;

  find(code: string): StationRow | null {
    return this.rows.find((row) => row.code === code) ?? null;
  }

  follow(): () => void {
    void this.ask();
    const unwatch = live.watch("station", (keys) => {
      this.news();
      if (keys === null) this.draw();
      else this.drawing ??= setTimeout(() => this.draw(), DRAWN_EACH_MS);
    });
    return () => {
      unwatch();
      if (this.drawing !== null) clearTimeout(this.drawing);
      if (this.asking !== null) clearTimeout(this.asking);
      this.drawing = this.asking = null;
    };
  }

  private draw(): void {
    this.drawing = null;
    this.rows = merged(this.known, live.topic("station").values());
  }

  private newestIssue(): string {
    let newest = "";
    for (const { forecast_at } of live.topic("station").values()) {
      if (forecast_at && forecast_at > newest) newest = forecast_at;
    }
    return newest;
  }

  /** Times to the levels change when a forecast is issued, and only then. */
  private news(): void {
    if (this.asking !== null || this.newestIssue() <= this.issued) return;
    this.asking = setTimeout(() => {
      this.asking = null;
      void this.ask();
    }, ASKED_EACH_MS);
  }

  private async ask(): Promise<void> {
    const issued = this.newestIssue();
    try {
      this.known = new Map((await api.stations()).items.map((row) => [row.code, row]));
      this.issued = issued;
      this.problem = "";
    } catch (error) {
      this.problem = session.explain(error);
    }
    this.draw();
  }
}

export const book = new StationBook();
