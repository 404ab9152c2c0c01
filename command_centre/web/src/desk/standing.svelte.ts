/** The alarms at the desk: those that stand or wait to be acknowledged, live; and the silent ones, asked for. */
import { live } from "../screen/live.svelte";
import { session } from "../staff/session.svelte";
import { api } from "./api";
import { recent } from "./grouping";
import type { DeskAlarm } from "./listing";

const MOST_SILENT = 2000; // a night of maintenance; beyond that the list of devices serves better

class Standing {
  waiting = $state.raw<readonly DeskAlarm[]>([]);
  silent = $state.raw<readonly DeskAlarm[]>([]);
  problem = $state("");
  // Once a minute is soon enough for what counts ten of them.
  private readonly minute = $derived(live.now === null ? null : Math.floor(live.now / 60_000) * 60_000);
  /** Raised within the last ten minutes; a flood from `FLOOD_FROM` on. */
  readonly recent = $derived(this.minute === null ? [] : recent(this.waiting, this.minute));
  private counted = "";

  /** For an effect; ends with what it returns. */
  follow(): () => void {
    const giveUp = live.ask("alarm");
    const stop = live.watch("alarm", () => {
      this.waiting = [...live.topic("alarm").values()];
    });
    const stopCounts = live.watch("counts", () => {
      const counts = JSON.stringify(live.topic("counts").get("silent") ?? null);
      if (counts !== this.counted) void this.readSilent();
      this.counted = counts;
    });
    return () => {
      giveUp();
      stop();
      stopCounts();
    };
  }

  async readSilent(): Promise<void> {
    try {
      const found: DeskAlarm[] = [];
      let cursor: string | null = null;
      do {
        const page: Awaited<ReturnType<typeof api.silenced>> = await api.silenced(cursor);
        found.push(...page.items);
        cursor = page.next;
      } while (cursor !== null && found.length < MOST_SILENT);
      [this.silent, this.problem] = [found, ""];
    } catch (error) {
      this.problem = session.explain(error);
    }
  }
}

export const standing = new Standing();
