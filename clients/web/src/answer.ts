/** An answer's text with a chip behind every part that a citation supports. */

import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { ByteText } from "./bytes.js";
import { element } from "./dom.js";

export interface Part {
  readonly text: string;
  /** Number of the citation from 0 that supports it; undefined for text between. */
  readonly citation: number | undefined;
}

/** Cut an answer at its citations' ranges, in the order of the text. Together the parts are the text. */
export function parts(text: string, citations: readonly Citation[]): Part[] {
  const bytes = new ByteText(text);
  const order = citations
    .map((citation, index) => ({ index, range: citation.answerRange }))
    .filter((one) => one.range !== undefined)
    .sort((a, b) => Number(a.range!.start - b.range!.start));
  const result: Part[] = [];
  let place = 0;
  for (const { index, range } of order) {
    const start = Math.max(Number(range!.start), place);
    const end = Number(range!.end);
    if (end <= start) continue;
    if (start > place) result.push({ text: bytes.slice(place, start), citation: undefined });
    result.push({ text: bytes.slice(start, end), citation: index });
    place = end;
  }
  if (place < bytes.length) result.push({ text: bytes.slice(place, bytes.length), citation: undefined });
  return result;
}

export function answerView(
  text: string,
  citations: readonly Citation[],
  open: (citation: Citation) => void,
): HTMLElement {
  const view = element("p", { class: "answer-text" });
  for (const part of parts(text, citations)) {
    if (part.citation === undefined) {
      view.append(part.text);
      continue;
    }
    const citation = citations[part.citation]!;
    const number = part.citation + 1;
    view.append(
      element("span", { class: "supported" }, part.text),
      element(
        "button",
        {
          type: "button",
          class: "chip",
          title: citation.title,
          "aria-label": `Source ${number}: ${citation.title}`,
          click: () => open(citation),
        },
        String(number),
      ),
    );
  }
  return view;
}
