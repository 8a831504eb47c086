/** Light, dark, or as the operating system has it: this browser's choice. */

import { element } from "./dom.js";

const KEY = "responsa.theme";
const THEMES = [
  ["", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
] as const;

/** Show the page in the theme that was chosen in this browser. */
export function applyTheme(): void {
  const chosen = localStorage.getItem(KEY) ?? "";
  if (THEMES.some(([theme]) => theme && theme === chosen)) document.documentElement.dataset["theme"] = chosen;
  else delete document.documentElement.dataset["theme"];
}

/** The control that chooses the theme. */
export function themeChoice(): HTMLElement {
  const options = THEMES.map(([theme, label]) => element("option", { value: theme }, label));
  const select = element("select", { id: "theme" }, ...options);
  select.value = localStorage.getItem(KEY) ?? "";
  select.addEventListener("change", () => {
    if (select.value) localStorage.setItem(KEY, select.value);
    else localStorage.removeItem(KEY);
    applyTheme();
  });
  return element("div", { class: "theme" }, element("label", { for: select.id }, "Theme"), select);
}
