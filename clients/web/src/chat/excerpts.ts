/** Describes the passages that an answer or a refusal shows. Nothing here touches the page. */

import { ExcerptGrade, type Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { FallbackKind, type TurnAnswer } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { t, type Key } from "../language/language.js";

const CAUSES: Readonly<Record<string, Key>> = { no_model: "noModelSet", declined: "modelDeclined", uncited: "modelUncited" };
const KINDS: Partial<Record<CollectionKind, Key>> = { [CollectionKind.SAMPLE]: "sampleDocuments", [CollectionKind.DOCS]: "docsOfResponsa" };

/** Why an answer shows passages; undefined if it does not. */
export function whyPassages({ excerpts, fallbacks }: TurnAnswer): string | undefined {
  if (excerpts.length === 0) return undefined;
  const fallback = fallbacks.findLast((one) => one.kind === FallbackKind.PASSAGES);
  const cause: readonly Key[] = fallback ? [fallback.cause.startsWith("budget:") ? "modelOverBudget" : (CAUSES[fallback.cause] ?? "modelUnavailable")] : [];
  const doubt: readonly Key[] = bestGrade(excerpts) > ExcerptGrade.ANSWERS ? ["mayBeMissing"] : [];
  return [...cause, "fitBest" as const, ...doubt].map((key) => t(key)).join(" ");
}

/** The title of the document and the headings above an excerpt, each once. */
export function pathOf({ title, uri, headings }: Excerpt): readonly string[] {
  return [...new Set([title || uri || t("document"), ...headings])];
}

const GRADES: Partial<Record<ExcerptGrade, Key>> = { [ExcerptGrade.ANSWERS]: "answersIt", [ExcerptGrade.PERHAPS]: "perhaps", [ExcerptGrade.CLOSEST]: "lessLikely" };

/** The best grade of the excerpts. A better grade has a smaller number. */
export function bestGrade(excerpts: readonly Excerpt[]): ExcerptGrade {
  return Math.min(...excerpts.map((one) => one.grade));
}

/** The grade in words. */
export function gradeWords(grade: ExcerptGrade): string {
  const words = GRADES[grade];
  return words ? t(words) : "";
}

/** The kind of the collection, if it is not the people's own, and the grade, if it is not the one that the answer's own line says. */
export function about({ collectionKind, grade }: Excerpt, said: ExcerptGrade): readonly string[] {
  const kind = KINDS[collectionKind];
  return [kind ? t(kind) : "", grade === said ? "" : gradeWords(grade).toLowerCase()].filter(Boolean);
}
