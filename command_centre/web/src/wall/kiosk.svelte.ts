import { untrack } from "svelte";
import { sounding } from "../incidents/order";
import { live } from "../screen/live.svelte";
import { district } from "./district.svelte";
import { within, type View, type WallOptions } from "./options";
import { chosen, turned, type Turn } from "./rotation";
import { scope } from "./scope.svelte";
import { keepAwake } from "./wakelock";

/** Which view this wall shows now, and what a screen without a person needs. */
class Kiosk {
  private turn = $state.raw<Turn>({ index: 0, since: 0 });
  private urgent = $state(false);

  /** Stays awake and hides the pointer while `options` ask for it. */
  keep({ kiosk }: WallOptions): () => void {
    document.documentElement.toggleAttribute("data-kiosk", kiosk);
    return kiosk ? keepAwake(navigator, document) : () => undefined;
  }

  watch(): () => void {
    return live.watch("incident", () => {
      this.urgent = sounding(scope.incidents).length > 0;
    });
  }

  /** Called as the centre's seconds pass; one clock for the whole wall, so no timers pile up. */
  pass({ rotate, everyS }: WallOptions): void {
    if (rotate.length === 0) return;
    const [now, urgent] = [performance.now(), this.urgent];
    untrack(() => {
      const next = turned(this.turn, now, everyS, rotate.length, urgent);
      if (next.index !== this.turn.index || next.since !== this.turn.since) this.turn = next;
    });
  }

  view(options: WallOptions): View {
    return chosen({
      asked: options.view,
      rotate: options.rotate,
      turn: this.turn,
      urgent: this.urgent,
      night: options.night !== null && live.now !== null && within(options.night, districtHour(live.now)),
      nightly: options.night !== null,
    });
  }
}

/** Hour of the day in the district, whatever the screen's own zone is. */
function districtHour(now: number): number {
  const hour = new Intl.DateTimeFormat("en-GB", { timeZone: district.timeZone, hour: "2-digit", hourCycle: "h23" });
  return Number(hour.format(now));
}

export const kiosk = new Kiosk();
