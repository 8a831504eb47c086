/** A shared answer: one question and its answer, as this reader may read it. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { Share } from "@responsa/contract/responsa/chat/v1/share_pb.js";
import { AnswerView } from "./answer.js";
import { whyPassages } from "./excerpts.js";
import { passagesView, type OpenSource } from "./passages.js";
import { questionRow } from "./turnview.js";
import type { DocumentPanel } from "../documents/document.js";
import { Labels } from "../documents/library.js";
import { shareAt } from "../documents/place.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { cleanName, nameWithin } from "../text/names.js";
import { dateOf } from "../text/facts.js";
import { button, element, INSTALLATION, replace, WRITTEN } from "../widgets/dom.js";
import { t } from "../language/chat/texts.js";

export class SharedView {
  readonly title = t("sharedAnswer");
  readonly root = element("section", { class: "chat shared", "aria-label": t("sharedAnswer") });
  readonly #api: Pick<Api, "chat">;
  readonly #panel: Pick<DocumentPanel, "openCitation">;
  readonly #labels: Labels;
  readonly #say: (text: string) => void;
  readonly #heading = element("h2", { tabindex: "-1" }, t("sharedAnswer"));
  readonly #about = element("p", { class: "note", ...WRITTEN });
  readonly #messages = element("ol", { class: "messages" });

  constructor(api: Api, panel: Pick<DocumentPanel, "openCitation">, say: (text: string) => void) {
    this.#api = api;
    this.#panel = panel;
    this.#labels = new Labels(api);
    this.#say = say;
    this.root.append(element("div", { class: "scroll" }, element("header", {}, this.#heading, this.#about), this.#messages));
  }

  focus(): void {
    this.#heading.focus();
  }

  /** Show the share that the page's address names. */
  async refresh(): Promise<void> {
    const name = shareAt(location.hash) ?? "";
    this.#heading.textContent = t("sharedAnswer");
    this.#about.textContent = t("opening");
    replace(this.#messages);
    try {
      const share = await this.#api.chat.getShare({ name });
      if (name === shareAt(location.hash)) this.#show(share);
    } catch (error) {
      const failure = failureOf(error);
      if (name !== shareAt(location.hash)) return;
      const gone = failure.reason === "RESOURCE_NOT_FOUND";
      this.#heading.textContent = t(gone ? "linkGone" : "notOpened");
      this.#about.textContent = gone ? t("linkGoneNote") : failure.message;
      const way = gone ? element("a", { href: "#/" }, t("newConversation")) : button(t("tryAgain"), () => void this.refresh(), { class: "quiet" });
      replace(this.#messages, element("li", {}, way));
    }
  }

  #show({ question, answer, sharer, askTime, turn }: Share): void {
    this.#about.textContent = [turn ? t("sharedByYou") : t("sharedBy", { name: cleanName(sharer) || t("aUser") }), askTime && t("askedOn", { date: dateOf(timestampDate(askTime)) })].filter(Boolean).join(" · ");
    document.title = `${nameWithin(question)} · ${INSTALLATION}`;
    if (!answer) return;
    const open: OpenSource = (citations, index, by) => {
      const citation = citations[index];
      if (!citation || citation.notPermitted) this.#say(`${t("hiddenDocument")}.`);
      else void this.#panel.openCitation({ citation, answer: "", index }, by);
    };
    // Without a hash, the panel does not ask the server to check the citation, which only the asker may do.
    const citations = answer.citations.map((one): Citation => ({ ...one, sha256: new Uint8Array(), ...(one.notPermitted && { title: t("hiddenDocument") }) }));
    const hidden = citations.filter((one) => one.notPermitted).length;
    const why = whyPassages(answer);
    const body = element("div", { class: "answer" });
    if (hidden > 0) body.append(element("p", { class: "note withheld" }, why !== undefined || answer.text ? t("hiddenSources", { count: hidden }) : t("hiddenAnswer")));
    if (why !== undefined) body.append(passagesView(question, why, { ...answer, citations }, { open, label: (name: string) => this.#labels.of(name), say: this.#say }));
    else if (answer.text) {
      const view = new AnswerView(open, this.#say);
      view.show(answer.text, citations, answer.unsourced);
      view.finish();
      body.append(view.root);
    }
    replace(this.#messages, questionRow(question), element("li", { class: "message assistant" }, body));
  }
}
