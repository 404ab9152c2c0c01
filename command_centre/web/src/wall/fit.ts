/**
 * Shows as many rows as fit whole. The rows are laid out in normal flow; those that would stick out are made
 * invisible (not removed, so that the measure stays true) and counted as "more".
 */
export function fitRows(list: HTMLElement, tell: (shown: number) => void): () => void {
  const measure = () => {
    const bottom = list.getBoundingClientRect().bottom + 0.5;
    let shown = 0;
    let open = true;
    for (const row of list.children as HTMLCollectionOf<HTMLElement>) {
      open &&= row.getBoundingClientRect().bottom <= bottom;
      row.style.visibility = open ? "" : "hidden";
      if (open) shown += 1;
    }
    tell(shown);
  };
  const resized = new ResizeObserver(measure);
  resized.observe(list);
  const changed = new MutationObserver(measure);
  changed.observe(list, { childList: true, subtree: true, characterData: true });
  measure();
  return () => {
    resized.disconnect();
    changed.disconnect();
  };
}

export interface Room {
  width: number;
  height: number;
}

/** Tells how much room `host` has, in rem, now and whenever that changes. */
export function measured(host: HTMLElement, tell: (room: Room) => void): () => void {
  const measure = () => {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const { width, height } = host.getBoundingClientRect();
    tell({ width: width / rem, height: height / rem });
  };
  const resized = new ResizeObserver(measure);
  resized.observe(host);
  measure();
  return () => {
    resized.disconnect();
  };
}

/** How many equal boxes of a least size stand in `room`, in columns and rows; one at least. */
export function boxes(room: Room, least: Room, most: number): { columns: number; rows: number } {
  const columns = Math.max(1, Math.min(most, Math.floor(room.width / least.width)));
  const rows = Math.max(1, Math.min(Math.ceil(most / columns), Math.floor(room.height / least.height)));
  return { columns, rows };
}
