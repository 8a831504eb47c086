import { texts } from "../language.js";
import { en } from "./en.js";

export const t = await texts(en, { de: async () => (await import("./de.js")).de });
export type Key = keyof typeof en;
