/** What a file of texts in a language holds. */

import type { en } from "./en.js";

export type Text = string | (Partial<Record<Intl.LDMLPluralRule, string>> & { readonly other: string });
export type Translated<English> = Readonly<Record<keyof English, Text>>;
export type Messages = Translated<typeof en> & {
  /** What replaces the server's messages, which are English, by the reasons of errors and of refusals. */
  readonly reasons?: Readonly<Record<string, string>>;
  /** What replaces the names and descriptions of the agents, tools and formats that Responsa ships, which are English. */
  readonly shipped?: Readonly<Record<string, string>>;
  /** What replaces the server's descriptions of wrong fields, by their rules. Each follows the name of the field. */
  readonly rules?: Readonly<Record<string, string>>;
};
