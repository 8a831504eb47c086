/** Who can open the page's own address, and with it the links that people hand to others. */

import { onLoopback } from "../account/session.js";
import { t } from "../language/account/texts.js";
import { coded, element } from "./dom.js";

/** Whether what people type here travels in clear to another computer. */
export function isInClear({ protocol, hostname }: Pick<Location, "protocol" | "hostname">): boolean {
  return protocol === "http:" && !onLoopback(hostname);
}

/** What to know before one hands out a link to this page; nothing for an address that others open by TLS. */
export function reachNotes(at: Pick<Location, "protocol" | "hostname"> = location): HTMLElement[] {
  if (isInClear(at)) return [element("p", { class: "warning" }, t("inClear"))];
  if (!onLoopback(at.hostname)) return [];
  return [element("p", { class: "warning" }, element("strong", {}, t("onlyHere")), " ", ...coded(t("onlyHereWhy")))];
}
