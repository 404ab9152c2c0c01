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
