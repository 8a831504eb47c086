/** The buttons below an answer with which the user says whether it helped, and comments on it. */

import { MessageSquareText, Share2, ThumbsDown, ThumbsUp } from "lucide";
import { Rating, type Feedback } from "@responsa/contract/responsa/chat/v1/feedback_pb.js";
import type { Api } from "../server/api.js";
import { filled } from "../widgets/dialog.js";
import { button, element, field, WRITTEN } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { byteLength, wellFormed } from "@responsa/client/parts.js";
import { t, type Key } from "../language/language.js";

const COMMENT_BYTES = 2_048;

/** Begin the comment of an answer that did not help. */
const REASONS = ["reasonWrong", "reasonIncomplete", "reasonOutdated", "reasonOther"] as const satisfies readonly Key[];

const CHOICES = [
  [Rating.UP, "helpful", ThumbsUp],
  [Rating.DOWN, "notHelpful", ThumbsDown],
] as const;

export type Given = Pick<Feedback, "rating" | "score" | "comment" | "shown">;

/** The controls below an answer that it shares with no other text: those that share it, if `shares`, and those for feedback. `turn` returns `turns/{uuid}`; the others are those of `FeedbackView`. */
export function actions(api: Pick<Api, "chat">, shares: boolean, turn: () => string, message: () => string, given: Given | undefined, say: (text: string) => void): HTMLElement {
  const share = () => void import("./sharing.js").then(({ shareDialog }) => shareDialog(api, turn(), say), () => say(t("unloaded")));
  return element("span", { class: "feedback" }, ...(shares ? [iconButton(Share2, t("share"), share)] : []), new FeedbackView(api, message, given, say).root);
}

class FeedbackView {
  readonly root = element("span", { class: "feedback", role: "group", "aria-label": t("feedback") });
  readonly #api: Pick<Api, "chat">;
  readonly #message: () => string;
  readonly #say: (text: string) => void;
  readonly #rates: readonly (readonly [Rating, HTMLButtonElement])[];
  readonly #comment = iconButton(MessageSquareText, t("comment"), () => void this.#write(), { hidden: true });
  readonly #problem = element("span", { class: "problem", role: "alert" });
  #given: Given | undefined;
  #sending = false;

  /** `message` returns the name of the answer, `messages/{uuid}`, or of its turn, `turns/{uuid}`. `given`: the user's earlier feedback. */
  constructor(api: Pick<Api, "chat">, message: () => string, given: Given | undefined, say: (text: string) => void) {
    this.#api = api;
    this.#message = message;
    this.#say = say;
    this.#given = given;
    this.#rates = CHOICES.map(([rating, label, drawing]) => [rating, iconButton(drawing, t(label), () => void this.#rate(rating))]);
    this.root.append(...this.#rates.map(([, one]) => one), this.#comment, this.#problem);
    this.#paint();
  }

  #paint(): void {
    for (const [rating, one] of this.#rates) one.setAttribute("aria-pressed", String(rating === this.#given?.rating));
    this.#comment.hidden = !this.#given;
    this.#comment.title = t(this.#given?.comment ? "editComment" : "comment");
    this.#comment.setAttribute("aria-label", this.#comment.title);
  }

  async #rate(rating: Rating): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    this.#problem.textContent = "";
    try {
      await this.#send({ rating, score: 0, comment: this.#given?.comment ?? "", shown: rating === Rating.DOWN && (this.#given?.shown ?? false) });
      if (rating === Rating.DOWN) void this.#write();
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
    } finally {
      this.#sending = false;
    }
  }

  async #write(): Promise<void> {
    const given = this.#given;
    if (!given) return;
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
    const reasons = isDown ? [element("div", { class: "row wrap", role: "group", "aria-label": t("commentReasons") }, ...REASONS.map((one) => t(one)).map((one) => button(one, () => chosen(one), { class: "quiet" })))] : [];
    await filled({ title: t("commentTitle"), action: t("send"), fields: [...reasons, row, ...(isDown ? [consent] : [])], first: text, act: () => this.#send({ ...given, comment: wellFormed(text.value.trim()), shown: isDown && shows.checked }) });
  }

  async #send({ rating, score, comment, shown }: Given): Promise<void> {
    // A score, which other clients give, stands for the rating.
    const opinion = score ? { score } : { rating };
    this.#given = await this.#api.chat.submitFeedback({ message: this.#message(), ...opinion, comment, shown });
    this.#paint();
    this.#say(t("feedbackSaved"));
  }
}
