/** Describes the passages that an answer or a refusal shows. Nothing here touches the page. */

import { ExcerptGrade, type Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { FallbackKind, type TurnAnswer } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";

const BEST = "These passages of your documents fit best.";
const UNAVAILABLE = "The language model is not available at the moment.";
const OVER_BUDGET = "An answer by the language model would exceed a limit.";
const CAUSES: Readonly<Record<string, string>> = {
  no_model: "No language model is configured.",
  declined: "The language model found no answer.",
  uncited: "The language model wrote nothing that the documents support.",
};
const KINDS: Partial<Record<CollectionKind, string>> = {
  [CollectionKind.SAMPLE]: "sample documents",
  [CollectionKind.DOCS]: "documentation of Responsa",
};

/** Why an answer shows passages; undefined if it does not. */
export function whyPassages({ excerpts, fallbacks }: TurnAnswer): string | undefined {
  if (excerpts.length === 0) return undefined;
  const fallback = fallbacks.findLast((one) => one.kind === FallbackKind.PASSAGES);
  if (!fallback) return BEST;
  return `${fallback.cause.startsWith("budget:") ? OVER_BUDGET : (CAUSES[fallback.cause] ?? UNAVAILABLE)} ${BEST}`;
}

/** The title of the document and the headings above an excerpt, each once. */
export function pathOf({ title, uri, headings }: Excerpt): readonly string[] {
  return [...new Set([title || uri || "Document", ...headings])];
}

const GRADES: Partial<Record<ExcerptGrade, string>> = {
  [ExcerptGrade.ANSWERS]: "This answers it",
  [ExcerptGrade.PERHAPS]: "Probably",
  [ExcerptGrade.CLOSEST]: "Less likely",
};

/** The best grade of the excerpts. A better grade has a smaller number. */
export function bestGrade(excerpts: readonly Excerpt[]): ExcerptGrade {
  return Math.min(...excerpts.map((one) => one.grade));
}

/** The grade in words. */
export function gradeWords(grade: ExcerptGrade): string {
  return GRADES[grade] ?? "";
}

/** The kind of the collection, if it is not the people's own, and the grade, if it is not the one that the answer's own line says. */
export function about({ collectionKind, grade }: Excerpt, said: ExcerptGrade): readonly string[] {
  return [KINDS[collectionKind], grade === said ? undefined : GRADES[grade]?.toLowerCase()].filter((note) => note !== undefined);
}
