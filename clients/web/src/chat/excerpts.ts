/** Describes the passages that an answer or a refusal shows. Nothing here touches the page. */

import type { Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { FallbackKind, type TurnAnswer } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { t, type Key } from "../language/language.js";
import type { Place } from "../text/content.js";

const CAUSES: Readonly<Record<string, Key>> = { no_model: "noModelSet", declined: "modelDeclined", uncited: "modelUncited" };

/** Why an answer shows passages, "" if its agent asks no model; undefined if it shows none. */
export function whyPassages({ excerpts, fallbacks }: TurnAnswer): string | undefined {
  if (excerpts.length === 0) return undefined;
  const fallback = fallbacks.findLast((one) => one.kind === FallbackKind.PASSAGES);
  return fallback ? t(fallback.cause.startsWith("budget:") ? "modelOverBudget" : (CAUSES[fallback.cause] ?? "modelUnavailable")) : "";
}

/** The title of the document and the headings above an excerpt, each once. */
export function pathOf({ title, uri, headings }: Excerpt): readonly string[] {
  return [...new Set([title || uri || t("document"), ...headings])];
}

/** Says that the collection has samples, which its name does not say; "" for any other collection. */
export function kindOf({ collectionKind }: Excerpt): string {
  return collectionKind === CollectionKind.SAMPLE ? t("sampleDocuments") : "";
}

/** The places of a question's words in a text, also with another ending. In a question of at least three words, short words and a short first one are those with which every question is put, such as “What”: a word counts from five letters on, a name from four, the first word from seven, and a number always. */
export function wordsIn(question: string, text: string): readonly Place[] {
  const words = question.match(/[\p{L}\p{N}]+/gu) ?? [];
  const least = (word: string, place: number) => (words.length < 3 || (place > 0 && /^\p{Lu}/u.test(word)) ? 4 : place > 0 ? 5 : 7);
  const asked = words.filter((word, place) => word.length >= least(word, place) || /\p{N}/u.test(word)).map((word) => word.toLowerCase());
  const stems = [...new Set(asked)].map((word) => (/\p{N}/u.test(word) ? word : `${word.slice(0, Math.max(4, word.length - 2))}\\p{L}{0,4}`));
  if (stems.length === 0) return [];
  const found = text.matchAll(new RegExp(`(?<![\\p{L}\\p{N}])(?:${stems.join("|")})(?![\\p{L}\\p{N}])`, "giu"));
  return [...found].map(({ index, 0: word }) => ({ from: index, to: index + word.length }));
}
