/** Light, dark, or as the operating system has it: this browser's choice. */

import { element } from "./dom.js";
import { t } from "../language/language.js";

const KEY = "responsa.theme";
const THEMES = [
  ["", "asSystem"],
  ["light", "light"],
  ["dark", "dark"],
] as const;

/** Show the page in the theme that was chosen in this browser. */
export function applyTheme(): void {
  const chosen = localStorage.getItem(KEY) ?? "";
  if (THEMES.some(([theme]) => theme && theme === chosen)) document.documentElement.dataset["theme"] = chosen;
  else delete document.documentElement.dataset["theme"];
}

/** The control that chooses the theme. */
export function themeChoice(): HTMLElement {
  const options = THEMES.map(([theme, label]) => element("option", { value: theme }, t(label)));
  const select = element("select", { id: "theme" }, ...options);
  select.value = localStorage.getItem(KEY) ?? "";
  select.addEventListener("change", () => {
    if (select.value) localStorage.setItem(KEY, select.value);
    else localStorage.removeItem(KEY);
    applyTheme();
  });
  return element("div", { class: "theme" }, element("label", { for: select.id }, t("theme")), select);
}
