/** Announcements to a screen reader. */

import { element } from "./dom.js";

/** A polite live region. It does not repeat its last text. */
export class Live {
  readonly root = element("div", { class: "unseen", role: "status", "aria-live": "polite", "aria-atomic": "true" });

  readonly say = (text: string): void => {
    if (this.root.textContent !== text) this.root.textContent = text;
  };
}
