import { live } from "../screen/live.svelte";
import type { District } from "../screen/topics";

/** The district's name, zone and response level, as the hub says them. */
class DistrictInfo {
  info = $state.raw<District | null>(null);

  get timeZone(): string {
    return this.info?.timezone ?? "Asia/Shanghai";
  }

  follow(): () => void {
    return live.watch("district", () => {
      this.info = live.topic("district").get("info") ?? null;
    });
  }
}

export const district = new DistrictInfo();
