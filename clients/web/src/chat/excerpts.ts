/** Describes the passages that an answer or a refusal shows. Nothing here touches the page. */

import type { Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { FallbackKind, type TurnAnswer } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { t, type Key } from "../language/language.js";
import type { Place } from "../text/content.js";

const CAUSES: Readonly<Record<string, Key>> = { no_model: "noModelSet", declined: "modelDeclined", uncited: "modelUncited" };

/** Why an answer shows passages; undefined if it does not. `isOwn`: whether the reader has asked. */
export function whyPassages({ excerpts, fallbacks }: TurnAnswer, isOwn = true): string | undefined {
  if (excerpts.length === 0) return undefined;
  const fallback = fallbacks.findLast((one) => one.kind === FallbackKind.PASSAGES);
  const cause: readonly Key[] = fallback ? [fallback.cause.startsWith("budget:") ? "modelOverBudget" : (CAUSES[fallback.cause] ?? "modelUnavailable")] : [];
  return [...cause, ORIGINS[originOf(excerpts, isOwn)].best].map((key) => t(key)).join(" ");
}

const ORIGINS = {
  own: { heading: "fromDocuments", best: "fitBest" },
  docs: { heading: "fromResponsaDocs", best: "docsFitBest" },
  shared: { heading: "passages", best: "bothFitBest" },
  both: { heading: "fromBoth", best: "bothFitBest" },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Key>>>>;

/** Whether excerpts are of the reader's documents, of Responsa's documentation, or of both; or whether somebody shares them with the reader. */
function originOf(excerpts: readonly Excerpt[], isOwn: boolean): keyof typeof ORIGINS {
  const docs = excerpts.filter((one) => one.collectionKind === CollectionKind.DOCS).length;
  if (docs > 0 && docs === excerpts.length) return "docs";
  return !isOwn ? "shared" : docs === 0 ? "own" : "both";
}

/** The heading above the cards of excerpts. `isOwn`: see `whyPassages`. */
export function headingOf(excerpts: readonly Excerpt[], isOwn = true): string {
  return t(ORIGINS[originOf(excerpts, isOwn)].heading);
}

/** The title of the document and the headings above an excerpt, each once. */
export function pathOf({ title, uri, headings }: Excerpt): readonly string[] {
  return [...new Set([title || uri || t("document"), ...headings])];
}

/** Says that the collection has samples, which its name does not say; "" for any other collection. */
export function kindOf({ collectionKind }: Excerpt): string {
  return collectionKind === CollectionKind.SAMPLE ? t("sampleDocuments") : "";
}

/** A word of a question in a text. best: whether its line has more of the question's words than the others; rare words count more. */
export interface FoundWord extends Place {
  readonly best: boolean;
}

/** The words of a question in a text. A word counts from four letters on, also with another ending, and a number always. */
export function wordsIn(question: string, text: string): readonly FoundWord[] {
  const asked = (question.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).filter((word) => word.length > 3 || /\p{N}/u.test(word));
  const stems = [...new Set(asked)].map((word) => (/\p{N}/u.test(word) ? word : `${word.slice(0, Math.max(4, word.length - 2))}\\p{L}{0,4}`));
  if (stems.length === 0) return [];
  const found = [...text.matchAll(new RegExp(`(?<![\\p{L}\\p{N}])(?:${stems.join("|")})(?![\\p{L}\\p{N}])`, "giu"))].map(({ index, 0: word }) => ({ word: word.toLowerCase(), from: index, line: text.lastIndexOf("\n", index) }));
  const often = counted(found.map(({ word }) => [word, 1]));
  const weights = counted(found.map(({ word, line }) => [line, 1 / often.get(word)!]));
  const most = Math.max(...weights.values());
  const best = [...weights].find(([, weight]) => weight === most)?.[0];
  return found.map(({ word, from, line }) => ({ from, to: from + word.length, best: line === best }));
}

/** The sum of the values of each key. */
function counted<Key>(pairs: readonly (readonly [Key, number])[]): Map<Key, number> {
  const sums = new Map<Key, number>();
  for (const [key, value] of pairs) sums.set(key, (sums.get(key) ?? 0) + value);
  return sums;
}
