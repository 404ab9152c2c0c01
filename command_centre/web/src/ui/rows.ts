/** Which rows of a long list are drawn, and where the list stands after rows came or went. No DOM is read here. */

export interface Pane {
  /** Pixels above the first visible one. */
  scroll: number;
  /** Visible height and height of each row, in pixels. */
  view: number;
  height: number;
  total: number;
}

const SPARE = 6; // rows drawn above and below what is seen, so that a quick scroll meets no hole

/** First row drawn and the one after the last. */
export function drawn({ scroll, view, height, total }: Pane): [from: number, to: number] {
  if (height <= 0) return [0, 0];
  const from = Math.min(Math.max(0, Math.floor(scroll / height) - SPARE), total);
  return [from, Math.min(total, Math.ceil((scroll + view) / height) + SPARE)];
}

/** The least scrolling that shows row `index` whole. */
export function revealing(index: number, { scroll, view, height }: Pane): number {
  const top = index * height;
  if (top < scroll) return top;
  return top + height > scroll + view ? Math.max(0, top + height - view) : scroll;
}

/**
 * Where to scroll so that what a person looks at stays where it is when `before` becomes `after`.
 *
 * That is the chosen row while it is in sight, else the first visible one. At the very top with nothing chosen the
 * list stays at the top: there the newest is what one waits for.
 */
export function steadied(
  before: readonly string[],
  after: ReadonlyMap<string, number>,
  chosen: string | null,
  pane: Pane,
): number {
  const { scroll, view, height } = pane;
  const most = Math.max(0, after.size * height - view);
  const seen = (index: number) => index >= 0 && (index + 1) * height > scroll && index * height < scroll + view;
  const at = chosen === null ? -1 : before.indexOf(chosen);
  const anchor = seen(at) ? at : scroll > 0 ? Math.floor(scroll / height) : -1;
  // A row that went gives its place to the next one that stayed.
  for (let index = anchor; index >= 0 && index < before.length; index += 1) {
    const now = after.get(before[index] ?? "");
    if (now !== undefined) return Math.min(Math.max(0, scroll + (now - anchor) * height), most);
  }
  return Math.min(scroll, most);
}

/** Keys from one row to another, both included, whichever comes first; only `to` when `from` is gone. */
export function between(keys: readonly string[], from: number, to: number): string[] {
  const [low, high] = from < 0 ? [to, to] : [Math.min(from, to), Math.max(from, to)];
  return keys.slice(low, high + 1);
}
