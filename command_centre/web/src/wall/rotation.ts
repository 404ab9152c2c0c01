/** Which view a wall shows that changes by itself. No clock is read here: `now` is monotonic milliseconds. */
import type { View } from "./options";

export interface Turn {
  index: number;
  since: number;
}

/**
 * The turn at `now`: held while something urgent waits, and then given its whole time again. One step at most, however
 * long the machine slept.
 */
export function turned(turn: Turn, now: number, everyS: number, views: number, held: boolean): Turn {
  if (held || views < 1) return { ...turn, since: now };
  if (now - turn.since < everyS * 1000) return turn;
  return { index: (turn.index + 1) % views, since: now };
}

export interface Standing {
  asked: View;
  rotate: readonly View[];
  turn: Turn;
  /** A first-class incident waits to be acknowledged. */
  urgent: boolean;
  /** The hours for which the night view was asked. */
  night: boolean;
  /** Whether the address asked for night hours at all: such a wall, too, changes by itself. */
  nightly: boolean;
}

/** A wall that changes by itself goes to the urgent incident; one that a person set to a view stays there. */
export function chosen({ asked, rotate, turn, urgent, night, nightly }: Standing): View {
  if (asked === "calibrate") return asked;
  const byItself = rotate.length > 0 || nightly;
  if (byItself && urgent) return "incident";
  if (night) return "night";
  return rotate[turn.index % Math.max(1, rotate.length)] ?? asked;
}
