/** Shows a short text next to an element while the pointer or the keyboard's focus is on it (WCAG 2.2, 1.4.13: it can be dismissed, and the pointer can move onto it). */

import { element } from "./dom.js";

const SHOW_AFTER = 120; // milliseconds
const HIDE_AFTER = 150; // milliseconds in which the pointer can reach the tip
const GAP = 6; // pixels between the element and its tip
const EDGE = 8; // pixels that stay free at the edges of the window

/** Hides the open tip; there is at most one. */
let hideOpen: () => void = () => undefined;

/** Shows what `content` returns next to `target`. */
export function tipped(target: HTMLElement, content: () => readonly Node[]): void {
  let tip: HTMLElement | undefined;
  let waiting = 0;
  const later = (act: () => void, after: number) => {
    window.clearTimeout(waiting);
    waiting = window.setTimeout(act, after);
  };
  const hide = () => {
    window.clearTimeout(waiting);
    if (!tip) return;
    tip.remove();
    tip = undefined;
    target.removeAttribute("aria-describedby");
    window.removeEventListener("scroll", hide, true);
    window.removeEventListener("resize", hide);
  };
  const show = () => {
    window.clearTimeout(waiting);
    const home = target.closest(".answer") ?? document.getElementById("main");
    if (tip || !home) return;
    hideOpen();
    hideOpen = hide;
    tip = element("div", { class: "tip", role: "tooltip", id: "tip" }, ...content());
    tip.addEventListener("pointerenter", () => window.clearTimeout(waiting));
    tip.addEventListener("pointerleave", () => later(hide, HIDE_AFTER));
    home.append(tip);
    target.setAttribute("aria-describedby", "tip");
    beside(tip, target);
    window.addEventListener("scroll", hide, true);
    window.addEventListener("resize", hide);
  };
  target.addEventListener("pointerenter", ({ pointerType }) => pointerType === "mouse" && later(show, SHOW_AFTER));
  target.addEventListener("pointerleave", () => later(hide, HIDE_AFTER));
  target.addEventListener("focus", () => target.matches(":focus-visible") && show());
  target.addEventListener("blur", hide);
  target.addEventListener("click", hide);
  target.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !tip) return;
    event.stopPropagation();
    hide();
  });
}

/** Moves a fixed element below the target, because the text that the target belongs to stands before it; above it if there is no room below. */
export function beside(tip: HTMLElement, target: HTMLElement): void {
  const near = target.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const view = document.documentElement;
  const below = near.bottom + GAP;
  const left = near.left + near.width / 2 - width / 2;
  tip.style.left = `${Math.max(EDGE, Math.min(left, view.clientWidth - width - EDGE))}px`;
  tip.style.top = `${below + height <= view.clientHeight - EDGE ? below : Math.max(EDGE, near.top - height - GAP)}px`;
}
