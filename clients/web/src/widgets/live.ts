/** Announcements: to a screen reader alone, or to everybody. */

import { element } from "./dom.js";
import { cleanText } from "../text/names.js";

/** For how long a notice stays in view, in milliseconds. */
const SHOWN = 8_000;

/** A polite live region. It does not repeat its last text. */
export class Live {
  readonly root = element("div", { class: "unseen", role: "status", "aria-live": "polite", "aria-atomic": "true" });
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Announce to a screen reader what the page shows in another place. */
  readonly say = (text: string): void => {
    this.#show(false);
    const shown = cleanText(text);
    if (this.root.textContent !== shown) this.root.textContent = shown;
  };

  /** Announce that an act has succeeded, and show this for a while: the change itself may be out of view. */
  readonly done = (text: string): void => {
    this.say(text);
    this.#show(true);
  };

  #show(seen: boolean): void {
    clearTimeout(this.#timer);
    this.root.className = seen ? "notice" : "unseen";
    if (seen) this.#timer = setTimeout(() => this.#show(false), SHOWN);
  }
}
