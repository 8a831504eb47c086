/** Builds filters (AIP-160) of documents, and explains them. Nothing here touches the page. */

import type { Failure } from "./errors.js";

/** What the user wants to see. An empty text means no limit. */
export interface Wanted {
  /** A part of the title or the path, in any case. */
  readonly text: string;
  /** A DocumentState without its prefix, such as "READY". */
  readonly state: string;
  readonly mediaType: string;
  /** A filter that the user wrote. */
  readonly expression: string;
}

export function filterOf({ text, state, mediaType, expression }: Wanted): string {
  const part = quoted(text.trim());
  // The user's own filter comes first, because errors count its characters. It needs no parentheses, because AND binds less tightly than OR.
  return [
    expression.trim(),
    text.trim() && `(title:${part} OR source_key:${part})`,
    state && `state = ${quoted(state)}`,
    mediaType && `media_type = ${quoted(mediaType)}`,
  ]
    .filter(Boolean)
    .join(" AND ");
}

/** A filter that shows what users can write. */
export const FILTER_EXAMPLE = 'labels.team = "legal" AND date >= 2025';

/** The mistake in a filter; undefined if the failure has another reason. The server also lists the fields, which the explanation above the message names already. */
export function filterProblem({ reason, violations, message }: Failure): string | undefined {
  if (reason !== "FILTER_INVALID") return undefined;
  const problem = (violations[0]?.description ?? message).split("; fields: ")[0]!;
  return `Filter: ${problem}.`;
}

/** A text as a value of a filter. It stands for itself: an asterisk is only an asterisk. */
export function quoted(text: string): string {
  return `"${text.replace(/[\\"*]/g, "\\$&")}"`;
}
