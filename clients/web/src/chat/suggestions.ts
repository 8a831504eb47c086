/** Shows the quotes that are suggested below an answer or a refusal. */

import { create } from "@bufbuild/protobuf";
import { CitationSchema } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { Suggestion } from "@responsa/contract/responsa/chat/v1/suggestion_pb.js";
import type { OpenSource } from "./answer.js";
import { element, WRITTEN } from "../widgets/dom.js";
import { count } from "../text/facts.js";
import { collectionId } from "../documents/library.js";
import { placeOf } from "./parts.js";
import { plainText } from "../text/prose.js";
import { cleanName } from "../text/names.js";

/** The quotes that come closest to an answer, below a refusal. */
export function closestCards(suggestions: readonly Suggestion[], open: OpenSource): HTMLElement {
  return element("div", { class: "suggestions" }, element("p", { class: "note" }, "Closest in the documents:"), cards(suggestions, "Closest in the documents", open));
}

/** Other quotes that may answer the question, below an answer. They are folded, so that they do not look like a part of the answer. */
export function otherCards(suggestions: readonly Suggestion[], open: OpenSource): HTMLElement {
  const summary = element("summary", {}, `Not what you asked? See ${count(suggestions.length, "other passage")}`);
  return element("details", { class: "suggestions" }, summary, cards(suggestions, "Other passages", open));
}

/** One card for each suggestion. A card opens the document at the quote. */
function cards(suggestions: readonly Suggestion[], label: string, open: OpenSource): HTMLElement {
  // A suggestion has no hash, because no answer cites it.
  const quotes = suggestions.map(({ passage, documentVersion, title, uri, sourceRange, quote, page, box, path }) =>
    create(CitationSchema, { passage, documentVersion, title, uri, quote, page, path, ...(sourceRange && { sourceRange }), ...(box && { box }) }),
  );
  const made = suggestions.map((one, index) => {
    const card: HTMLElement = element(
      "button",
      { type: "button", class: "plain suggestion", click: () => open(quotes, index, card) },
      element("strong", WRITTEN, cleanName(one.title || one.uri || "Document")),
      element("q", WRITTEN, plainText(one.text || one.quote)),
      element("span", { class: "note" }, [collectionId(one.collection), placeOf(quotes[index]!)].filter(Boolean).join(" · ")),
    );
    return element("li", {}, card);
  });
  return element("ul", { "aria-label": label }, ...made);
}
