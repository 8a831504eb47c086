/** Shows the quotes that a refusal suggests. */

import { create } from "@bufbuild/protobuf";
import { CitationSchema } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { Suggestion } from "@responsa/contract/responsa/chat/v1/suggestion_pb.js";
import type { OpenSource } from "./answer.js";
import { element, WRITTEN } from "../common/dom.js";
import { collectionId } from "../documents/library.js";
import { placeOf } from "./parts.js";
import { plainText } from "../text/prose.js";

/** One card for each suggestion. A card opens the document at the quote. */
export function suggestionCards(suggestions: readonly Suggestion[], open: OpenSource): HTMLElement {
  // A suggestion has no hash, because no answer cites it.
  const quotes = suggestions.map(({ passage, documentVersion, title, uri, sourceRange, quote, page, box, path }) =>
    create(CitationSchema, { passage, documentVersion, title, uri, quote, page, path, ...(sourceRange && { sourceRange }), ...(box && { box }) }),
  );
  const cards = suggestions.map((one, index) => {
    const card: HTMLElement = element(
      "button",
      { type: "button", class: "plain suggestion", click: () => open(quotes, index, card) },
      element("strong", WRITTEN, one.title || one.uri || "Document"),
      element("q", WRITTEN, plainText(one.text || one.quote)),
      element("span", { class: "note" }, [collectionId(one.collection), placeOf(quotes[index]!)].filter(Boolean).join(" · ")),
    );
    return element("li", {}, card);
  });
  return element("div", { class: "suggestions" }, element("p", { class: "note" }, "Closest in the documents:"), element("ul", { "aria-label": "Closest in the documents" }, ...cards));
}
