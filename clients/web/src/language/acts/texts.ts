import { texts } from "../language.js";
import { en } from "./en.js";

/** The texts of the acts in the audit log. */
export const t = await texts(en, { de: async () => (await import("./de.js")).de });
export type Key = keyof typeof en;

/** The acts that have words. */
export const ACTS: readonly string[] = Object.keys(en).filter((key) => isKey(`${key}.did`));

/** Whether there is a text of this name. */
export function isKey(name: string): name is Key {
  return Object.hasOwn(en, name);
}
