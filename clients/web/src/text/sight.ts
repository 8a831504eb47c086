/** Keeps what the reader looks at in sight while the page changes around it. */

const MARGIN = 12; // pixels

/** Changes the page. Afterwards, `anchor` is where it was, or as near to this place as necessary to show all `parts` between the top of its scroller and `bottom`. */
export function keepInSight(anchor: HTMLElement, parts: readonly Element[], change: () => void, bottom: () => number): void {
  const scroller = anchor.closest<HTMLElement>(".scroll, .collections");
  const before = anchor.getBoundingClientRect().top;
  change();
  if (!scroller) return;
  scroller.scrollTop += anchor.getBoundingClientRect().top - before;
  const view = scroller.getBoundingClientRect();
  const boxes = [...parts, anchor].map((one) => one.getBoundingClientRect());
  const low = Math.max(...boxes.map((one) => one.bottom)) + MARGIN - Math.min(view.bottom, bottom());
  const high = view.top + MARGIN - Math.min(...boxes.map((one) => one.top));
  // If the parts do not fit, their end is shown.
  if (low > 0) scroller.scrollTop += low;
  else if (high > 0) scroller.scrollTop -= Math.min(high, -low);
}
