/** Alarms by the device that raised them, those that stand first: what a person looks at together. */
import type { Alarm } from "../desk/api";

export interface DeviceAlarms {
  /** "" for alarms without a device (a cell's, the system's own). */
  device: string;
  /** Oldest first. */
  alarms: Alarm[];
  standing: boolean;
  firstOut: boolean;
}

export function byDevice(alarms: readonly Alarm[]): DeviceAlarms[] {
  const found = new Map<string, Alarm[]>();
  for (const alarm of alarms) {
    const device = alarm.device ?? "";
    found.set(device, [...(found.get(device) ?? []), alarm]);
  }
  return [...found]
    .map(([device, own]): DeviceAlarms => ({
      device,
      alarms: own.sort((a, b) => Date.parse(a.raised_at) - Date.parse(b.raised_at)),
      standing: own.some((one) => one.cleared_at === null),
      firstOut: own.some((one) => one.first_out === true),
    }))
    .sort(
      (a, b) =>
        Number(b.firstOut) - Number(a.firstOut) ||
        Number(b.standing) - Number(a.standing) ||
        Date.parse(a.alarms[0]?.raised_at ?? "") - Date.parse(b.alarms[0]?.raised_at ?? ""),
    );
}
