import { texts } from "../language.js";
import { en } from "./en.js";

/** The texts of what operators and the readers of the audit log see. */
export const t = await texts(en, { de: async () => (await import("./de.js")).de });
export type Key = keyof typeof en;
