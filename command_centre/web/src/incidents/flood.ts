/** An alarm flood by ISA-18.2: more than ten alarms in ten minutes are more than one operator can follow. */
export const FLOOD_WINDOW_MS = 10 * 60 * 1000;
export const FLOOD_ABOVE = 10;
const MOST_KEPT = 10_000; // the figure shown stops there; memory must not grow with the flood

export class AlarmRate {
  private times: number[] = [];

  raised(at: number): void {
    this.times.push(at);
    if (this.times.length > MOST_KEPT) this.times.shift();
  }

  /** Alarms of the last ten minutes when they are a flood, else 0. */
  flood(now: number): number {
    this.times = this.times.filter((at) => at > now - FLOOD_WINDOW_MS);
    return this.times.length > FLOOD_ABOVE ? this.times.length : 0;
  }
}
