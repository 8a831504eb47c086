/** The page on which a person allows a program, such as an assistant, to search and ask in the person's name (OAuth). The server sends the browser here with the program's request. */

import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { button, element, INSTALLATION, replace, WRITTEN } from "../widgets/dom.js";
import { withWait } from "../server/errors.js";
import { consent, type Asked } from "./session.js";
import { t } from "../language/account/texts.js";

/** The page. `leave`: go on to the rest of the page. */
export function consentView(user: User, request: string, leave: () => void): { readonly root: HTMLElement; readonly show: () => Promise<void> } {
  const heading = element("h1", { tabindex: "-1" }, INSTALLATION);
  const problem = element("p", { class: "problem", role: "alert" });
  const body = element("div", { class: "stack" });
  const root = element("main", { class: "signed-out", "aria-busy": "true" }, heading, body, problem);
  let busy = false;
  const go = (address: string) => {
    // Never an address that runs a script: schemes of programs have a period, but for Cursor's.
    if (/^(https?|cursor|[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+):$/.test(new URL(address).protocol)) location.assign(address);
  };
  const decide = async (allow: boolean) => {
    if (busy) return;
    busy = true; // a disabled button would lose the focus
    const reply = await consent(user.name, request, allow);
    busy = false;
    if ("reason" in reply) problem.textContent = withWait(reply);
    else if (reply.redirectUri) go(reply.redirectUri);
  };
  const ask = (asked: Asked) => {
    const facts = [
      ...(asked.clientHost ? [t("programDocument", { host: asked.clientHost })] : []),
      t("programGoesTo", { host: asked.redirectHost }),
      t("programEnds", { count: asked.unusedDays }),
    ];
    const warnings = [...(asked.vouched ? [] : [t("programUnknown")]), ...(asked.loopback ? [t("programLocal")] : [])];
    replace(
      body,
      element("h2", WRITTEN, asked.displayName),
      element("p", {}, t("programAsks")),
      element("ul", { class: "bullets" }, ...asked.scopes.map((scope) => element("li", {}, scope === "ask" ? t("programMayAsk") : t("programMaySearch")))),
      element("p", { class: "note" }, t("programAs", { user: user.email || user.displayName })),
      ...facts.map((one) => element("p", { class: "note" }, one)),
      ...warnings.map((one) => element("p", { class: "access" }, one)),
      element("div", { class: "row wrap" }, button(t("programAllow"), () => void decide(true), { class: "filled" }), button(t("programRefuse"), () => void decide(false))),
    );
  };
  const show = async () => {
    const reply = await consent(user.name, request);
    root.removeAttribute("aria-busy");
    heading.textContent = t("programConnect");
    const back = button(t("programLeave"), leave, { class: "quiet" });
    if ("reason" in reply) {
      problem.textContent = withWait(reply);
      replace(body, back);
    } else if (reply.asked) ask(reply.asked);
    else {
      problem.textContent = t("programWrong", { problem: reply.problem ?? "" });
      const { redirectUri } = reply;
      replace(body, element("div", { class: "row wrap" }, ...(redirectUri ? [button(t("programBack"), () => go(redirectUri), { class: "filled" })] : []), back));
    }
    heading.focus();
  };
  return { root, show };
}
