/** The language of the page. To add one: a file like `de.ts`, and a row of `LANGUAGES`. */

import { element } from "../widgets/dom.js";
import { en } from "./en.js";

type Text = string | (Partial<Record<Intl.LDMLPluralRule, string>> & { readonly other: string });
type Key = keyof typeof en;
export type Messages = Readonly<Record<Key, Text>> & {
  /** What replaces the server's messages, which are English, by the reasons of errors. */
  readonly reasons?: Readonly<Record<string, string>>;
};

interface Language {
  readonly label: string;
  /** For dates and numbers. */
  readonly locale: string;
  readonly dir?: "rtl";
  readonly load: () => Promise<Messages>;
}

const LANGUAGES: Readonly<Record<string, Language>> = {
  en: { label: "English", locale: "en-GB", load: async () => en },
  de: { label: "Deutsch", locale: "de-DE", load: async () => (await import("./de.js")).de },
};
const KEY = "responsa.language";

let language = LANGUAGES["en"]!;
let messages: Messages = en;
let plurals = new Intl.PluralRules("en");

/** Use the language that was chosen in this browser, otherwise the first of the browser's languages that the page has; otherwise English. */
export async function loadLanguage(): Promise<void> {
  const wanted = [localStorage.getItem(KEY) ?? "", ...navigator.languages].map((one) => one.split("-")[0]!);
  const code = wanted.find((one) => Object.hasOwn(LANGUAGES, one)) ?? "en";
  const found = LANGUAGES[code]!;
  try {
    messages = await found.load();
  } catch {
    return; // English, without the connection that the file needs
  }
  language = found;
  plurals = new Intl.PluralRules(code);
  document.documentElement.lang = code;
  document.documentElement.dir = found.dir ?? "ltr";
}

/** The text in the language of the page. `count` among the values chooses its form. */
export function t(key: Key, values: Readonly<Record<string, string | number>> = {}): string {
  const text = messages[key];
  const form = typeof text === "string" ? text : (text[plurals.select(Number(values["count"]))] ?? text.other);
  return form.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name] ?? "";
    return typeof value === "number" ? value.toLocaleString(locale()) : value;
  });
}

/** The text with an element in the place of one of its values. */
export function around(key: Key, name: string, middle: Node): (Node | string)[] {
  const [before = "", after = ""] = t(key, { [name]: "\0" }).split("\0");
  return [before, middle, after];
}

/** The message of an error with this reason, if the language has one of its own. */
export function reasoned(reason: string, message: string): string {
  return messages.reasons?.[reason] ?? message;
}

/** For dates, numbers and lists. */
export function locale(): string {
  return language.locale;
}

/** The control that chooses the language of this browser. The page is loaded again, because its texts are everywhere. */
export function languageChoice(): HTMLElement {
  const options = Object.entries(LANGUAGES).map(([code, { label }]) => element("option", { value: code, lang: code, selected: LANGUAGES[code] === language }, label));
  const select = element("select", { id: "language" }, ...options);
  select.addEventListener("change", () => {
    localStorage.setItem(KEY, select.value);
    location.reload();
  });
  return element("div", { class: "theme" }, element("label", { for: select.id }, t("language")), select);
}
