/** The language of the page. To add one: a row of `LANGUAGES`, and a file beside each `en.ts`. */

import { element } from "../widgets/dom.js";
import { en } from "./en.js";
import type { Messages, Text, Translated } from "./messages.js";

type Values = Readonly<Record<string, string | number>>;

interface Language {
  readonly label: string;
  /** For dates and numbers. */
  readonly locale: string;
  readonly dir?: "rtl";
}

const LANGUAGES = {
  en: { label: "English", locale: "en-GB" },
  de: { label: "Deutsch", locale: "de-DE" },
} as const satisfies Readonly<Record<string, Language>>;
type Code = keyof typeof LANGUAGES;
const KEY = "responsa.language";

let messages: Messages = en;
let code = chosen();
let plurals = new Intl.PluralRules(code);

/** Use the language that was chosen in this browser, otherwise the first of the browser's languages that the page has; otherwise English. */
export async function loadLanguage(): Promise<void> {
  code = chosen();
  messages = await translated(en, { de: async () => (await import("./de.js")).de });
  plurals = new Intl.PluralRules(code);
  document.documentElement.lang = code;
  document.documentElement.dir = language().dir ?? "ltr";
}

export type Key = keyof typeof en;

/** The text in the language of the page. `count` among the values chooses its form. */
export function t(key: Key, values: Values = {}): string {
  return filled(messages[key], values);
}

/**
 * The texts of a part of the page that is loaded when it is needed, and those of the whole page: the module `language/PART/texts.ts` awaits this function and exports what it returns as `t`.
 */
export async function texts<English extends Readonly<Record<string, Text>>>(
  english: English,
  others: Readonly<Record<Exclude<Code, "en">, () => Promise<Translated<English>>>>,
): Promise<(key: keyof English | Key, values?: Values) => string> {
  const found: Readonly<Record<string, Text>> = await translated(english, others);
  return (key, values = {}) => filled(found[String(key)] ?? messages[key as Key], values);
}

/** The texts in the language of the page; English if they cannot be loaded. */
async function translated<English extends Readonly<Record<string, Text>>, Other extends Translated<English>>(
  english: English,
  others: Readonly<Record<Exclude<Code, "en">, () => Promise<Other>>>,
): Promise<English | Other> {
  if (code === "en") {
    return english;
  }
  try {
    return await others[code]();
  } catch {
    code = "en"; // without the connection that the file needs
    return english;
  }
}

function filled(text: Text, values: Values): string {
  const form = typeof text === "string" ? text : (text[plurals.select(Number(values["count"]))] ?? text.other);
  return form.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name] ?? "";
    return typeof value === "number" ? value.toLocaleString(locale()) : value;
  });
}

function chosen(): Code {
  const wanted = [localStorage.getItem(KEY) ?? "", ...navigator.languages].map((tag) => tag.split("-")[0]!);
  return wanted.find((tag): tag is Code => Object.hasOwn(LANGUAGES, tag)) ?? "en";
}

function language(): Language {
  return LANGUAGES[code];
}

/** The text with an element in the place of one of its values. */
export function around(key: Key, name: string, middle: Node): (Node | string)[] {
  const [before = "", after = ""] = t(key, { [name]: "\0" }).split("\0");
  return [before, middle, after];
}

/** The message of an error or a refusal with this reason, if the language has one of its own, which may have the server's within it. */
export function reasoned(reason: string, message: string): string {
  return messages.reasons?.[reason]?.replace("{message}", () => message) ?? message;
}

/** The name or the description of an agent, a tool or a format, if the language has its own words for it. */
export function described(text: string): string {
  return messages.shipped?.[text] ?? text;
}

/** Whether the page is in the language of the server's messages. */
export function isEnglish(): boolean {
  return code === "en";
}

/** What is wrong with a field that breaks this rule, in the language if it has a text of its own. */
export function ruled(rule: string, description: string): string {
  return messages.rules?.[rule] ?? description;
}

/** For dates, numbers and lists. */
export function locale(): string {
  return language().locale;
}

/** The control that chooses the language of this browser. The page is loaded again, because its texts are everywhere. */
export function languageChoice(): HTMLElement {
  const options = Object.entries(LANGUAGES).map(([tag, { label }]) => element("option", { value: tag, lang: tag, selected: tag === code }, label));
  const select = element("select", { id: "language" }, ...options);
  select.addEventListener("change", () => {
    localStorage.setItem(KEY, select.value);
    location.reload();
  });
  return element("div", { class: "theme" }, element("label", { for: select.id }, t("language")), select);
}
