interface Clock {
  due_at: string;
  ended_at: string | null;
  paused_at: string | null;
}

/** Clocks that run, the nearest deadline first; then those that stand still; then what is over, newest first. */
export function runningFirst<C extends Clock>(clocks: readonly C[]): C[] {
  const rank = (one: Clock) => (one.ended_at !== null ? 2 : one.paused_at !== null ? 1 : 0);
  return [...clocks].sort(
    (a, b) =>
      rank(a) - rank(b) ||
      (rank(a) === 2 ? Date.parse(b.ended_at ?? "") - Date.parse(a.ended_at ?? "") : Date.parse(a.due_at) - Date.parse(b.due_at)),
  );
}
