/** The dialog that shares an answer via a link. */

import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Share } from "@responsa/contract/responsa/chat/v1/share_pb.js";
import { copyButton } from "./copy.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { dateOf } from "../text/facts.js";
import { shown } from "../widgets/dialog.js";
import { button, element, field, replace } from "../widgets/dom.js";
import { reachNotes } from "../widgets/reach.js";
import { t } from "../language/chat/texts.js";

const DAY = 86_400_000; // milliseconds
const DAYS = [1, 7, 30, 90, 365];

/** `turn`: `turns/{uuid}`. */
export async function shareDialog(api: Pick<Api, "chat">, turn: string, say: (text: string) => void): Promise<void> {
  let share: Share | undefined;
  const problem = element("p", { class: "problem", role: "alert" });
  const state = element("div", { class: "sharing" });
  const ends = element("select", { id: "share-ends", change: () => share && void attempt(set) }, element("option", { value: "", selected: true }, t("shareUsual")), ...DAYS.map((days) => element("option", { value: String(days) }, days === 365 ? t("year1") : t("shareDays", { count: days }))));
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
    say(before ? t("shareUntil", { date: dateOf(timestampDate(expireTime!)) }) : t("shareMade"));
  };
  const revoke = async () => {
    if (share) await api.chat.revokeShare({ name: share.name });
    share = undefined;
    say(t("shareRevoked"));
  };
  const paint = () => {
    if (!share) return replace(state, button(t("shareCreate"), () => void attempt(set), { class: "filled" }));
    const address = `${location.origin}${location.pathname}#/${share.name.replace("shares/", "shared/")}`;
    const link = element("input", { type: "text", readonly: true, "aria-label": t("link"), focus: () => link.select() });
    link.value = address;
    const until = share.expireTime ? t("shareUntil", { date: dateOf(timestampDate(share.expireTime)) }) : "";
    replace(state, element("div", { class: "row" }, link, copyButton(t("copyLink"), () => address, say)), element("div", { class: "row" }, element("p", { class: "note" }, until), button(t("shareRevoke"), () => void attempt(revoke), { class: "plain danger" })));
  };
  await attempt(async () => {
    [share] = (await api.chat.listShares({ filter: `turn = "${turn}"` })).shares;
    if (share) ends.prepend(element("option", { value: "", selected: true, hidden: true }, t("shareAsNow")));
  });
  await shown(t("shareTitle"), t("done"), [element("p", {}, t("shareNote")), ...reachNotes(), field(t("shareTime"), ends), state, problem], ends);
}
