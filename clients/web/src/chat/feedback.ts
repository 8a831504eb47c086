/** The buttons below an answer with which the user says whether it helped, and comments on it. */

import { MessageSquareText, Share2, ThumbsDown, ThumbsUp } from "lucide";
import { Rating } from "@responsa/contract/responsa/chat/v1/feedback_pb.js";
import type { Api } from "../server/api.js";
import { element } from "../widgets/dom.js";
import { iconButton, wordButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { t } from "../language/language.js";
import type { Given } from "./commenting.js";

const CHOICES = [
  [Rating.UP, "helpful", ThumbsUp],
  [Rating.DOWN, "notHelpful", ThumbsDown],
] as const;

/** The controls below an answer that it shares with no other text: those that share it, if `shares`, and those for feedback. `turn` returns `turns/{uuid}`; the others are those of `FeedbackView`. */
export function actions(api: Pick<Api, "chat">, shares: boolean, turn: () => string, message: () => string, given: Given | undefined, say: (text: string) => void): HTMLElement {
  const share = () => void import("./sharing.js").then(({ shareDialog }) => shareDialog(api, turn(), say), () => say(t("unloaded")));
  return element("span", { class: "feedback" }, ...(shares ? [wordButton(Share2, t("shareWord"), t("share"), share)] : []), new FeedbackView(api, message, given, say).root);
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
    this.#rates = CHOICES.map(([rating, label, drawing]) => [rating, rating === Rating.UP ? wordButton(drawing, t(label), t(label), () => void this.#rate(rating)) : iconButton(drawing, t(label), () => void this.#rate(rating))]);
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
    await import("./commenting.js").then(({ comment }) => comment(given, (now) => this.#send(now)), () => this.#say(t("unloaded")));
  }

  async #send({ rating, score, comment, shown }: Given): Promise<void> {
    // A score, which other clients give, stands for the rating.
    const opinion = score ? { score } : { rating };
    this.#given = await this.#api.chat.submitFeedback({ message: this.#message(), ...opinion, comment, shown });
    this.#paint();
    this.#say(t("feedbackSaved"));
  }
}
