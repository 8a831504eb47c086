/** What a screen reader is told while the eyes are elsewhere. */

import { element } from "./dom.js";

/** A polite live region. What it says last is not said again until something else was. */
export class Live {
  readonly root = element("div", { class: "unseen", role: "status", "aria-live": "polite", "aria-atomic": "true" });

  readonly say = (text: string): void => {
    if (this.root.textContent !== text) this.root.textContent = text;
  };
}
