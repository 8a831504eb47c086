/** Finds what the first screen offers: the user's own earlier questions, those that owners and agents suggest, the newest documents, and the collections. Headings of a document ask what to ask next. */

import { timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { ExcerptGrade, type Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { RefusalReason, type TurnAnswer, type TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { SearchMode } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import type { Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import type { Api } from "../server/api.js";
import { labelOf, type Named } from "../documents/library.js";
import { t } from "../language/language.js";
import { cleanName } from "../text/names.js";
import { agentOf } from "./agents.js";
import { whyPassages } from "./excerpts.js";

/** The most questions to suggest. */
const MOST_QUESTIONS = 4;
/** The most questions that are searched, to suggest those that find an answer. */
const MOST_TRIED = 10;
/** The most hits of such a search. */
const MOST_HITS = 3;
const PAGE = 200; // collections
const MOST_COLLECTIONS = 4;
/** Of how many collections the documents are read. */
const MOST_READ = 12;
const MOST_DOCUMENTS = 4;
/** The latest conversations whose questions are suggested again. */
const MOST_CONVERSATIONS = 8;
const MOST_PASSAGES = 48;
const LONGEST = 100; // characters of a heading
const LONGEST_QUESTION = 200; // characters
/** The collection of Responsa's documentation. */
const DOCS = "collections/responsa-docs";
const ASKS = /[?？؟]\s*$/;

export interface Suggested {
  /** Questions of the user that were answered from these collections, the latest first. */
  readonly earlier: readonly Earlier[];
  /** Questions that the owners of the collections suggest, one of each collection before the second of any. */
  readonly owners: readonly string[];
  /** Questions of the headings of the documents that changed last. */
  readonly headings: readonly string[];
  /** The documents that changed last. */
  readonly documents: readonly Recent[];
  /** The newest of the collections, and the number of the others. */
  readonly collections: readonly Loaded[];
  readonly others: number;
  /** Whether all these collections are known to have no document that the user can ask about. */
  readonly empty: boolean;
  /** Responsa's documentation, if the user can ask about it and has not chosen what to ask about. */
  readonly manual: Named | undefined;
}

/** A question that the user has asked on the page. */
export interface Earlier {
  readonly text: string;
  /** `agents/{id}`. */
  readonly agent: string;
  readonly answer: TurnAnswer;
}

/** A document of the first screen. */
export interface Recent {
  /** `documents/{uuid}`. */
  readonly name: string;
  readonly title: string;
}

/** A collection of the first screen. */
export interface Loaded {
  readonly label: string;
  readonly documents: number;
  /** When the document that changed last did so. */
  readonly changed: Date | undefined;
}

/** What to ask an agent: what the user has asked it before, then what the agent is for, then what the owners of the collections suggest, then what headings ask. */
export function questionsFor(agent: Agent, { earlier, owners, headings }: Pick<Suggested, "earlier" | "owners" | "headings">): readonly string[] {
  const own = earlier.filter((one) => one.agent === agent.name).map((one) => one.text);
  return [...new Set([...own, ...agent.examples, ...owners, ...headings])].slice(0, MOST_TRIED);
}

/** Those of the questions to which a search of these collections finds an answer now, with the user's rights, at most four; an example that comes with Responsa is for questions of any kind. Raises ConnectError. */
export async function answerable(api: Pick<Api, "knowledge">, agent: Agent, questions: readonly string[], collections: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  if (agent.isExample || questions.length === 0) return questions.slice(0, MOST_QUESTIONS);
  const requests = questions.map((question) => ({ terms: [question], topK: MOST_HITS, rerank: false, scope: { collections: [...collections] } }));
  const { responses } = await api.knowledge.batchSearch({ requests }, { signal });
  const finds = (place: number) => responses[place]?.hits.some(({ excerpt }) => excerpt?.grade === ExcerptGrade.ANSWERS);
  return questions.filter((_, place) => finds(place)).slice(0, MOST_QUESTIONS);
}

/** What the first screen shows for these collections, `collections/{id}`, or for the newest collections if the list is empty. Raises ConnectError. */
export async function suggested(api: Pick<Api, "chat" | "knowledge">, collections: readonly string[], signal: AbortSignal): Promise<Suggested> {
  const [newest, asked] = await Promise.all([
    api.knowledge.listCollections({ pageSize: PAGE, orderBy: "create_time desc" }, { signal }),
    earlierQuestions(api, signal).catch(() => []), // without them, there are other suggestions
  ]);
  const readable = newest.collections.filter((one) => one.readable);
  const anything = collections.length === 0;
  const known = readable.filter((collection) => collection.documentCount > 0n);
  const manual = anything ? known.find(({ kind }) => kind === CollectionKind.DOCS) : undefined;
  const filled = known.filter(({ name, kind }) => (anything ? kind !== CollectionKind.DOCS : collections.includes(name)));
  const first = filled.slice(0, MOST_COLLECTIONS);
  const read = filled.slice(0, MOST_READ);
  const ready = { filter: "state = READY", pageSize: MOST_DOCUMENTS, orderBy: "update_time desc" };
  const pages = await Promise.all(read.map(({ name: parent }) => api.knowledge.listDocuments({ parent, ...ready }, { signal })));
  const loaded = first.map((one, index) => {
    const { updateTime } = pages[index]?.documents[0] ?? {};
    return { label: labelOf(one), documents: Number(one.documentCount), changed: updateTime && timestampDate(updateTime) };
  });
  const documents = pages.flatMap((page) => page.documents).sort((a, b) => changedAt(b) - changedAt(a)).slice(0, MOST_DOCUMENTS);
  const titled = documents.filter(({ title }) => title);
  const headings = await questionsIn(api, titled, read.map(({ name }) => name), MOST_TRIED, signal, (subject) => t("askAbout", { subject })).catch(() => []);
  return {
    headings,
    earlier: asked.filter(({ answer }) => (anything ? kindOf(answer) !== CollectionKind.DOCS : isFrom(answer, collections))),
    owners: turnwise(filled.map((one) => one.suggestedQuestions.map(cleanName).filter(Boolean))),
    documents: documents.map(({ name, title, sourceKey }) => ({ name, title: cleanName(title || sourceKey) })),
    collections: loaded,
    others: filled.length - first.length,
    manual: manual && { name: manual.name, label: labelOf(manual) },
    empty: first.length === 0 && collections.every((name) => readable.some((one) => one.name === name)),
  };
}

/** Questions that the user has asked on the page, with their answers, the latest first. Those of programs with the user's keys are not among them. Raises ConnectError. */
async function earlierQuestions(api: Pick<Api, "chat">, signal: AbortSignal): Promise<readonly Earlier[]> {
  const { conversations } = await api.chat.listConversations({ filter: "archived = false AND origin != PROGRAM", pageSize: MOST_CONVERSATIONS }, { signal });
  if (conversations.length === 0) return [];
  const among = conversations.map(({ name }) => `conversation = "${name}"`).join(" OR ");
  const { turns } = await api.chat.listTurns({ filter: `state = ANSWERED AND (${among})`, orderBy: "create_time desc", pageSize: MOST_CONVERSATIONS }, { signal });
  return turns.flatMap(({ text, agentVersion, terminalEvent }) =>
    terminalEvent?.event.case === "answer" && text.length <= LONGEST_QUESTION && !text.includes("\n") ? [{ text, agent: agentOf(agentVersion), answer: terminalEvent.event.value }] : [],
  );
}

/** The kind of the collection that an answer is from. */
function kindOf({ excerpts, collectionKind }: TurnAnswer): CollectionKind {
  return excerpts[0]?.collectionKind ?? collectionKind;
}

/** Whether an answer is from one of these collections. */
function isFrom({ excerpts, collection }: TurnAnswer, collections: readonly string[]): boolean {
  return [collection, ...excerpts.map((one) => one.collection)].some((one) => collections.includes(one));
}

function changedAt({ updateTime }: Document): number {
  return updateTime ? timestampMs(updateTime) : 0;
}

/** Whether an outcome says little: nothing was found that supports an answer, or the passages shown are only near. */
export function isWeak({ event }: TurnEvent): boolean {
  if (event.case === "refused") return event.value.reason === RefusalReason.NO_SUPPORT && event.value.excerpts.every(({ collectionKind }) => collectionKind !== CollectionKind.DOCS);
  return event.case === "answer" && whyPassages(event.value) !== undefined && event.value.excerpts.every(({ grade, collectionKind }) => grade !== ExcerptGrade.ANSWERS && collectionKind !== CollectionKind.DOCS);
}

/** The document of Responsa's documentation, `documents/{uuid}`, in which a search finds an answer to the question; undefined if there is none. Raises ConnectError. */
export async function helpFor(api: Pick<Api, "knowledge">, question: string, signal: AbortSignal): Promise<string | undefined> {
  const { hits } = await api.knowledge.search({ terms: [question], topK: MOST_HITS, rerank: false, scope: { collections: [DOCS] } }, { signal });
  return hits.find(({ excerpt }) => excerpt?.grade === ExcerptGrade.ANSWERS)?.passage?.document;
}

/** The questions that headings ask in the document of the first excerpt. Raises ConnectError. */
export async function askedBy(api: Pick<Api, "knowledge">, excerpts: readonly Excerpt[], signal: AbortSignal): Promise<readonly string[]> {
  const best = excerpts.slice(0, 1);
  const documents = new Map(best.map(({ documentVersion, title }) => [documentVersion.replace(/\/versions\/.*/, ""), title]));
  const titled = [...documents].flatMap(([name, title]) => (title ? [{ name, title }] : []));
  return questionsIn(api, titled, [...new Set(best.map((one) => one.collection))], MOST_PASSAGES, signal);
}

/** The search is by words alone: it needs no vectors, and finds the passages of the documents with these titles. */
async function questionsIn(api: Pick<Api, "knowledge">, documents: readonly { readonly name: string; readonly title: string }[], collections: readonly string[], most: number, signal: AbortSignal, about?: (heading: string) => string): Promise<string[]> {
  if (documents.length === 0) return [];
  const terms = documents.map((one) => one.title);
  const { hits } = await api.knowledge.search({ terms, topK: MOST_PASSAGES, mode: SearchMode.TEXT, scope: { collections: [...collections] } }, { signal });
  const passages = hits.flatMap(({ passage }) =>
    passage ? [{ document: passage.document, headings: [...passage.headings.slice(-1), ...headingsIn(passage.text)] }] : [],
  );
  return questionsOf(documents.map((one) => one.name), passages, most, about);
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

/** At most `most` questions of headings: each document is used once before any is used again. `about` makes a question of a heading that asks nothing. */
export function questionsOf(documents: readonly string[], passages: readonly Headed[], most: number, about?: (heading: string) => string): string[] {
  const of = documents.map((name) => {
    const headings = [...new Set(passages.filter((one) => one.document === name).flatMap((one) => one.headings.map(plain)).filter(usable))];
    const asking = headings.filter((one) => ASKS.test(one));
    return about ? [...asking, ...headings.filter((one) => !ASKS.test(one)).map(about)] : asking;
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
