/** Finds what the first screen shows of the documents: the collections, the questions that their owners suggest, and those that headings ask. Headings also ask what to ask next. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { SearchMode } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { DocumentState } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { Api } from "../server/api.js";
import { labelOf } from "../documents/library.js";
import { cleanName } from "../text/names.js";
import { bestGrade } from "./excerpts.js";

/** The most questions to try. */
export const MOST_QUESTIONS = 4;
const PAGE = 200; // collections
const MOST_COLLECTIONS = 4;
/** The most terms that a search may have. */
const MOST_DOCUMENTS = 8;
const MOST_PASSAGES = 48;
const LONGEST = 100; // characters of a heading
const ASKS = /[?？؟]\s*$/;

export interface Suggested {
  /** First those that the owners of the collections suggest, one of each collection before the second of any; then those of the agent; then headings of documents. */
  readonly questions: readonly string[];
  /** The newest of the collections, and the number of the others. */
  readonly collections: readonly Loaded[];
  readonly others: number;
  /** Whether all these collections are known to have no document that the user can ask about. */
  readonly empty: boolean;
}

/** A collection of the first screen. */
export interface Loaded {
  readonly label: string;
  readonly documents: number;
  /** When the document that changed last did so. */
  readonly changed: Date | undefined;
}

/** What the first screen shows of these collections, `collections/{id}`, or of the newest collections if the list is empty. `own`: the questions of the agent. Raises ConnectError. */
export async function suggested(api: Pick<Api, "knowledge">, collections: readonly string[], own: readonly string[], signal: AbortSignal): Promise<Suggested> {
  const newest = await api.knowledge.listCollections({ pageSize: PAGE, orderBy: "create_time desc" }, { signal });
  const readable = newest.collections.filter((one) => one.readable);
  const filled = readable.filter((one) => one.documentCount > 0n && (collections.length === 0 || collections.includes(one.name)));
  const first = filled.slice(0, MOST_COLLECTIONS);
  const parents = first.map((one) => one.name);
  const others = filled.length - first.length;
  if (parents.length === 0) return { collections: [], others, questions: own.slice(0, MOST_QUESTIONS), empty: collections.every((name) => readable.some((one) => one.name === name)) };
  const pageSize = Math.ceil(MOST_DOCUMENTS / parents.length);
  const pages = await Promise.all(parents.map((parent) => api.knowledge.listDocuments({ parent, pageSize, orderBy: "update_time desc" }, { signal })));
  const loaded = first.map((one, index) => {
    const { updateTime } = pages[index]?.documents[0] ?? {};
    return { label: labelOf(one), documents: Number(one.documentCount), changed: updateTime && timestampDate(updateTime) };
  });
  const known = new Set([...turnwise(filled.map((one) => one.suggestedQuestions.map(cleanName).filter(Boolean))), ...own]);
  const documents = turnwise(pages.map((page) => page.documents.filter((one) => one.state === DocumentState.READY && one.title)));
  const headings = known.size < MOST_QUESTIONS ? await questionsIn(api, documents.slice(0, MOST_DOCUMENTS), parents, MOST_QUESTIONS, signal) : [];
  return { collections: loaded, others, questions: [...new Set([...known, ...headings])].slice(0, MOST_QUESTIONS), empty: false };
}

/** The questions that headings ask in the documents of those excerpts that have the best grade. Raises ConnectError. */
export async function askedBy(api: Pick<Api, "knowledge">, excerpts: readonly Excerpt[], signal: AbortSignal): Promise<readonly string[]> {
  const best = excerpts.filter((one) => one.grade === bestGrade(excerpts));
  const documents = new Map(best.map(({ documentVersion, title }) => [documentVersion.replace(/\/versions\/.*/, ""), title]));
  const titled = [...documents].flatMap(([name, title]) => (title ? [{ name, title }] : []));
  return questionsIn(api, titled, [...new Set(best.map((one) => one.collection))], MOST_PASSAGES, signal);
}

/** The search is by words alone: it needs no vectors, and finds the passages of the documents with these titles. */
async function questionsIn(api: Pick<Api, "knowledge">, documents: readonly { readonly name: string; readonly title: string }[], collections: readonly string[], most: number, signal: AbortSignal): Promise<string[]> {
  if (documents.length === 0) return [];
  const terms = documents.map((one) => one.title);
  const { hits } = await api.knowledge.search({ terms, topK: MOST_PASSAGES, mode: SearchMode.TEXT, scope: { collections: [...collections] } }, { signal });
  const passages = hits.flatMap(({ passage }) =>
    passage ? [{ document: passage.document, headings: [...passage.headings.slice(-1), ...headingsIn(passage.text)] }] : [],
  );
  return questionsOf(documents.map((one) => one.name), passages, most);
}

export interface Headed {
  readonly document: string;
  /** The heading above the passage, and those in it. */
  readonly headings: readonly string[];
}

/** The headings in a passage of Markdown. */
function headingsIn(text: string): string[] {
  return [...text.replace(/^ {0,3}```[^]*?(?:^ {0,3}```|$(?![^]))/gm, "").matchAll(/^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*$/gm)].map(([, heading]) => heading!);
}

/** At most `most` questions of headings: each document is used once before any is used again. */
export function questionsOf(documents: readonly string[], passages: readonly Headed[], most: number): string[] {
  const of = documents.map((name) => {
    const headings = passages.filter((one) => one.document === name).flatMap((one) => one.headings.map(plain));
    return [...new Set(headings.filter((one) => ASKS.test(one) && usable(one)))];
  });
  return turnwise(of).filter((one, index, all) => all.indexOf(one) === index).slice(0, most);
}

/** Whether a heading can be asked as it is. */
function usable(text: string): boolean {
  return text.length <= LONGEST && /\p{L}{3}/u.test(text) && !/[<>{}|[\]]/.test(text);
}

/** A heading without the marks of Markdown and without a number in front. */
function plain(text: string): string {
  return text.replace(/[`*_]+/g, "").replace(/^\d+(?:\.\d+)*[.)]?\s+/, "").replace(/\s+/g, " ").trim();
}

/** The first of each list, then the second of each, and so on. */
function turnwise<T>(lists: readonly (readonly T[])[]): T[] {
  const longest = Math.max(0, ...lists.map((one) => one.length));
  return Array.from({ length: longest }, (_, index) => lists.flatMap((one) => one.slice(index, index + 1))).flat();
}
