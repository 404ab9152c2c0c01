/** Times of stages as people write them ("30m", "4wh", "3wd") in words. Pure. */
export type LimitUnit = "m" | "h" | "d" | "wm" | "wh" | "wd";

export function partsOf(limit: string): { n: number; unit: LimitUnit } | null {
  const found = /^(\d+)(m|h|d|wm|wh|wd)$/.exec(limit);
  return found ? { n: Number(found[1]), unit: found[2] as LimitUnit } : null;
}

/** Only what was written: an empty field leaves a stage to the catalogue. */
export function given(limits: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(limits)
      .map(([stage, limit]) => [stage, limit.trim()])
      .filter(([, limit]) => limit !== ""),
  );
}
