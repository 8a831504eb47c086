/** The keys that work everywhere on the page, and the sheet that lists all keys. Single keys can be switched off (WCAG 2.2, 2.1.4). */

import { shown } from "./dialog.js";
import { element } from "./dom.js";
import { t } from "../language/language.js";

const KEY = "responsa.keys";
const OFF = "off";
const WRITES = "input:not([type=file], [type=checkbox], [type=radio]), textarea, select, [contenteditable]";
const KEYS = [
  ["Enter", "keyAsks"],
  ["Shift + Enter", "keyBegins"],
  ["/", "keyWrites"],
  ["Esc", "keyCloses"],
  ["?", "keyShows"],
] as const;

/** Listen for the keys until `signal` aborts. `write` shows the question box with the focus in it. */
export function listenForKeys(write: () => void, signal: AbortSignal): void {
  const pressed = (event: KeyboardEvent) => {
    const { key, target, ctrlKey, metaKey, altKey } = event;
    const act = { "/": write, "?": showKeys }[key];
    const writes = target instanceof Element && target.matches(WRITES);
    if (!act || writes || ctrlKey || metaKey || altKey || document.querySelector("dialog[open]") || localStorage.getItem(KEY) === OFF) return;
    event.preventDefault();
    act();
  };
  window.addEventListener("keydown", pressed, { signal });
}

/** Show the sheet. */
export function showKeys(): void {
  const single = element("input", { type: "checkbox", checked: localStorage.getItem(KEY) !== OFF, change: () => localStorage.setItem(KEY, single.checked ? "" : OFF) });
  const rows = KEYS.map(([key, does]) => element("div", {}, element("dt", {}, element("kbd", {}, key)), element("dd", {}, t(does))));
  const label = element("label", { class: "row" }, single, t("keysWork"));
  void shown(t("keyboardShortcuts"), t("close"), [element("dl", { class: "keys" }, ...rows), label], single);
}
