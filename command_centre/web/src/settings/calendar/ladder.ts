/** Steps of the ladder of urging, numbered as the centre wants them. Pure. */
export interface Step {
  /** 1 to 4; 0 = all. */
  event_level: number;
  class: string;
  stage: string;
  /** From 1, within its level, class and stage. */
  step: number;
  /** Relative to the deadline: -20%, -30m, 0, +50%. */
  at: string;
  purpose: string;
  tell: string[];
}

/** The same steps in their order, each set (level, class, stage) counted from 1. */
export function reordered(steps: readonly Step[]): Step[] {
  const counted = new Map<string, number>();
  return steps.map((step) => {
    const set = `${step.event_level} ${step.class} ${step.stage}`;
    const number = (counted.get(set) ?? 0) + 1;
    counted.set(set, number);
    return { ...step, at: step.at.trim(), step: number };
  });
}
