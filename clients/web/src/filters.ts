/** Builds the filter (AIP-160) of a list of documents from the controls of the page. */

/** What the user wants to see. An empty text means no limit. */
export interface Wanted {
  /** A part of the title or the path, in any case. */
  readonly text: string;
  readonly within: "title" | "source_key";
  /** A DocumentState without its prefix, such as "READY". */
  readonly state: string;
  readonly mediaType: string;
}

export function filterOf({ text, within, state, mediaType }: Wanted): string {
  return [
    text.trim() && `${within}:${quoted(text.trim())}`,
    state && `state = ${quoted(state)}`,
    mediaType && `media_type = ${quoted(mediaType)}`,
  ]
    .filter(Boolean)
    .join(" AND ");
}

function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, "\\$&")}"`;
}
