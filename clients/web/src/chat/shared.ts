/** A shared answer: one question and its answer, as this reader may read it. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { Share } from "@responsa/contract/responsa/chat/v1/share_pb.js";
import { AnswerView, type OpenSource } from "./answer.js";
import { whyPassages } from "./excerpts.js";
import { passagesView } from "./passages.js";
import { questionRow } from "./turnview.js";
import type { DocumentPanel } from "../documents/document.js";
import { Labels } from "../documents/library.js";
import { shareAt } from "../documents/place.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { cleanName, nameWithin } from "../text/names.js";
import { count, dateOf } from "../text/facts.js";
import { element, INSTALLATION, replace, WRITTEN } from "../widgets/dom.js";

const HIDDEN = "A document that you may not read";

export class SharedView {
  readonly root = element("section", { class: "chat shared", "aria-label": "Shared answer" });
  readonly #api: Pick<Api, "chat">;
  readonly #panel: Pick<DocumentPanel, "openCitation">;
  readonly #labels: Labels;
  readonly #say: (text: string) => void;
  readonly #heading = element("h2", { tabindex: "-1" }, "Shared answer");
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
    this.#heading.textContent = "Shared answer";
    this.#about.textContent = "Opening…";
    replace(this.#messages);
    try {
      const share = await this.#api.chat.getShare({ name });
      if (name === shareAt(location.hash)) this.#show(share);
    } catch (error) {
      const failure = failureOf(error);
      if (name !== shareAt(location.hash)) return;
      const gone = failure.reason === "RESOURCE_NOT_FOUND";
      this.#heading.textContent = gone ? "This link does not work" : "The answer could not be opened";
      this.#about.textContent = gone ? "It may have ended, or its sender has revoked it or deleted the answer. Ask the sender for another link." : failure.message;
    }
  }

  #show({ question, answer, sharer, askTime, turn }: Share): void {
    this.#about.textContent = [turn ? "Shared by you" : `Shared by ${cleanName(sharer) || "a user"}`, askTime && `asked on ${dateOf(timestampDate(askTime))}`].filter(Boolean).join(" · ");
    document.title = `${nameWithin(question)} · ${INSTALLATION}`;
    if (!answer) return;
    const open: OpenSource = (citations, index, by) => {
      const citation = citations[index];
      if (!citation || citation.notPermitted) this.#say(`${HIDDEN}.`);
      else void this.#panel.openCitation({ citation, answer: "", index }, by);
    };
    // Without a hash, the panel does not ask the server to check the citation, which only the asker may do.
    const citations = answer.citations.map((one): Citation => ({ ...one, sha256: new Uint8Array(), ...(one.notPermitted && { title: HIDDEN }) }));
    const hidden = citations.filter((one) => one.notPermitted).length;
    const body = element("div", { class: "answer" });
    const why = whyPassages(answer);
    if (why !== undefined) body.append(passagesView(question, why, { ...answer, citations }, { open, label: (name: string) => this.#labels.of(name), say: this.#say }));
    else if (answer.text) {
      const view = new AnswerView(open, this.#say);
      view.show(answer.text, citations);
      view.finish();
      body.append(view.root);
    }
    if (hidden > 0) {
      const without = why !== undefined || answer.text ? `${count(hidden, "source")} of this answer ${hidden === 1 ? "is" : "are"} hidden, because you may not read ${hidden === 1 ? "its document" : "their documents"}.` : "This answer consists of passages of documents that you may not read.";
      body.append(element("p", { class: "note withheld" }, `${without} Their owners can share them with you.`));
    }
    replace(this.#messages, questionRow(question), element("li", { class: "message assistant" }, body));
  }
}
