/** The dialog in which a user comments on an answer, and shows it to administrators. */

import { byteLength, wellFormed } from "@responsa/client/parts.js";
import { Rating, type Feedback } from "@responsa/contract/responsa/chat/v1/feedback_pb.js";
import { t } from "../language/chat/texts.js";
import { filled } from "../widgets/dialog.js";
import { button, element, field, WRITTEN } from "../widgets/dom.js";

const COMMENT_BYTES = 2_048;

export type Given = Pick<Feedback, "rating" | "score" | "comment" | "shown">;

/** Begin the comment of an answer that did not help. */
const REASONS = [t("reasonWrong"), t("reasonIncomplete"), t("reasonOutdated"), t("reasonOther")];

/** `send` stores the feedback. */
export async function comment(given: Given, send: (now: Given) => Promise<void>): Promise<void> {
  const text = element("textarea", { id: "feedback-comment", rows: "5", "aria-describedby": "feedback-comment-note", ...WRITTEN });
  text.value = given.comment;
  const check = () => {
    const over = byteLength(text.value) - COMMENT_BYTES;
    text.setCustomValidity(over > 0 ? t("commentTooLong", { count: over }) : "");
  };
  text.addEventListener("input", check);
  const row = field(t("comment"), text, t("commentNote"));
  const chosen = (reason: string) => {
    text.value = `${reason}. ${text.value}`;
    check();
    text.focus();
  };
  const isDown = given.rating === Rating.DOWN;
  const shows = element("input", { type: "checkbox", id: "feedback-shown", checked: given.shown, "aria-describedby": "feedback-shown-note" });
  const consent = element("div", {}, element("label", { class: "row" }, shows, t("showExchange")), element("p", { class: "note", id: "feedback-shown-note" }, t("showExchangeNote")));
  const reasons = isDown ? [element("div", { class: "row wrap", role: "group", "aria-label": t("commentReasons") }, ...REASONS.map((reason) => button(reason, () => chosen(reason), { class: "quiet" })))] : [];
  await filled({ title: t("commentTitle"), action: t("send"), fields: [...reasons, row, ...(isDown ? [consent] : [])], first: text, act: () => send({ ...given, comment: wellFormed(text.value.trim()), shown: isDown && shows.checked }) });
}
