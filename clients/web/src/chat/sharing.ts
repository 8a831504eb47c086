/** Shares an answer by a link: the button below an answer, and its dialog. */

import { Share2 } from "lucide";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Share } from "@responsa/contract/responsa/chat/v1/share_pb.js";
import { copyButton } from "./copy.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { dateOf } from "../text/facts.js";
import { shown } from "../widgets/dialog.js";
import { button, element, field, replace } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";

const DAY = 86_400_000; // milliseconds
const DAYS = [[1, "1 day"], [7, "7 days"], [30, "30 days"], [90, "90 days"], [365, "1 year"]] as const;

/** The button that opens the dialog. `turn` returns `turns/{uuid}`. */
export function shareButton(api: Pick<Api, "chat">, turn: () => string, say: (text: string) => void): HTMLElement {
  return iconButton(Share2, "Share the answer", () => void dialog(api, turn(), say));
}

async function dialog(api: Pick<Api, "chat">, turn: string, say: (text: string) => void): Promise<void> {
  let share: Share | undefined;
  const problem = element("p", { class: "problem", role: "alert" });
  const state = element("div", { class: "sharing" });
  const ends = element("select", { id: "share-ends", change: () => share && void attempt(set) }, element("option", { value: "", selected: true }, "The usual time"), ...DAYS.map(([days, label]) => element("option", { value: String(days) }, label)));
  const attempt = async (act: () => Promise<unknown>) => {
    problem.textContent = "";
    try {
      await act();
    } catch (error) {
      problem.textContent = failureOf(error).message;
    }
    paint();
  };
  const set = async () => {
    const before = share;
    const { expireTime } = (share = await api.chat.shareTurn({ turn, ...(ends.value && { expireTime: timestampFromDate(new Date(Date.now() + Number(ends.value) * DAY)) }) }));
    say(before ? `The link works until ${expireTime && dateOf(timestampDate(expireTime))}.` : "The link was made.");
  };
  const revoke = async () => {
    if (share) await api.chat.revokeShare({ name: share.name });
    share = undefined;
    say("The link does not work any more.");
  };
  const paint = () => {
    if (!share) return replace(state, button("Create link", () => void attempt(set), { class: "filled" }));
    const address = `${location.origin}${location.pathname}#/${share.name.replace("shares/", "shared/")}`;
    const link = element("input", { type: "text", readonly: true, "aria-label": "Link", focus: () => link.select() });
    link.value = address;
    const until = share.expireTime ? `Works until ${dateOf(timestampDate(share.expireTime))}.` : "";
    replace(state, element("div", { class: "row" }, link, copyButton("Copy the link", () => address, say)), element("div", { class: "row" }, element("p", { class: "note" }, until), button("Revoke the link", () => void attempt(revoke), { class: "plain danger" })));
  };
  await attempt(async () => {
    [share] = (await api.chat.listShares({ filter: `turn = "${turn}"` })).shares;
    if (share) ends.prepend(element("option", { value: "", selected: true, hidden: true }, "As long as it does now"));
  });
  const note = "Everyone in your organisation who has the link can read this question and its answer, and nothing else of the conversation. They see sources and quotes only of documents that they may read. Text that a language model wrote is shown to all of them.";
  await shown("Share this answer", "Done", [element("p", {}, note), field("The link works for", ends), state, problem], ends);
}
