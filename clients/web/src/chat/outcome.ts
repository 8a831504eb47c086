/** Describes the outcome of a turn: its agent and model, fallbacks, cost and refusal. Nothing here touches the page. */

import type { Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import {
  AnswerOutcome,
  FallbackKind,
  RefusalReason,
  Step,
  type Fallback,
  type Turn,
  type TurnAnswer,
  type TurnEvent,
  type TurnProviderSwitched,
  type TurnUsage,
  type Usage,
} from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { count, money } from "../text/facts.js";
import { collectionId } from "../documents/library.js";
import { whyPassages } from "./excerpts.js";
import { titleOf } from "./fetched.js";

/** The texts below an answer or another outcome. */
export interface Outcome {
  /** Agent, model and cost; "" if there is nothing to report. */
  readonly who: string;
  /** One sentence per fallback. */
  readonly fallbacks: readonly string[];
  /** Where an answer comes from, if not from people's own documents. */
  readonly origin?: string;
  /** The answer, and why it shows passages of the documents, if it does. */
  readonly passages?: { readonly why: string; readonly answer: TurnAnswer };
  /** The passages that come closest to an answer, below a refusal. */
  readonly closest?: readonly Excerpt[];
}

/** The cost of the model calls; "" if no model was called. */
export function cost(usage: Usage | undefined): string {
  if (!usage) return "";
  const { costUsdMicros, unpricedTokens, inputTokens, outputTokens } = usage;
  const unpriced = unpricedTokens > 0n ? `${count(unpricedTokens, "token")} of unknown price` : "";
  if (costUsdMicros > 0n) return unpriced ? `${money(costUsdMicros)}, and ${unpriced}` : money(costUsdMicros);
  return unpriced || (inputTokens + outputTokens > 0n ? money(0n) : "");
}

/** Describes who answered, and the cost. `agent` is the agent's display name, and `model` is the model as in TurnAnswer; both are "" if unknown. */
export function answeredBy(agent: string, model: string, usage: Usage | undefined): string {
  const how = { "": "", extractive: " with sentences of the documents", template: " with a template" }[model] ?? ` with ${model}`;
  const price = cost(usage);
  if (!agent && !how && !price) return "";
  return `Answered${agent && ` by ${agent}`}${how}${price && `; ${price}`}.`;
}

const CAUSES: Readonly<Record<string, string>> = {
  unreachable: "it could not be reached",
  timeout: "it did not answer in time",
  refused: "it refused",
  malformed: "its reply could not be read",
  cut: "its reply was incomplete",
  credential: "its key was not accepted",
  rate_limited: "it has reached its rate limit",
  overloaded: "it is overloaded",
  empty: "its reply was empty",
  not_configured: "it is not configured",
  no_model: "the agent has no model",
  structured_invalid: "its reply had the wrong form",
  "budget:steps": "too few steps are left",
  "budget:tokens": "too few tokens are left",
  "budget:cost_micros": "too little money is left",
};

/** Describes a cause; "" if there is nothing to add. */
export function because(cause: string): string {
  if (!cause) return "";
  const known = CAUSES[cause];
  if (known) return known;
  // The user does not need the name of the part; the sentence says what the server could not do.
  if (cause.startsWith("part_unavailable")) return "";
  return cause.replace(/[_:]+/g, " ");
}

/** Describes a fallback in one sentence. */
export function fellBack({ kind, source, target, cause }: Fallback): string {
  const why = because(cause);
  return `${meant(kind, source, target)}${why && ` (${why})`}.`;
}

function meant(kind: FallbackKind, source: string, target: string): string {
  switch (kind) {
    case FallbackKind.WITHOUT_RETRIEVAL:
      return "The documents could not be searched, so the answer does not use them";
    case FallbackKind.TEXT_ONLY:
      return "The documents were searched by words only, not by meaning";
    case FallbackKind.PROVIDER:
      return `${source || "The first model"} was not available; ${target || "another model"} was used instead`;
    case FallbackKind.EXTRACTIVE:
      return "No model was available, so the answer quotes sentences of the documents";
    case FallbackKind.TEMPLATE:
      return "No model wrote this: it is a filled-in template";
    case FallbackKind.CLASSIFIER:
      return "A trained classifier, not a model, chose the intent";
    case FallbackKind.RULE:
      return "A rule decided, not a model";
    case FallbackKind.WITHOUT_SUMMARY:
      return "The agent did not read the older messages of this conversation";
    case FallbackKind.PASSAGES:
      return "No language model was available";
    case FallbackKind.UNCITED:
      return "No sentence of this answer could be checked against the documents";
    case FallbackKind.WITHOUT_TOOL:
      return `The tool ${titleOf(`tools/${source}`)} was not used, because only a language model can choose it`;
    case FallbackKind.WITHOUT_RERANKER:
      return "The reranking model was not available, so the passages are in the order of the search";
    default:
      return "The agent used another fallback";
  }
}

/** The outcome in an event `answer`, `refused` or `failed`; undefined for other events. `agent` is the agent's display name. */
export function outcomeOf({ event }: TurnEvent, agent: string): Outcome | undefined {
  switch (event.case) {
    case "answer":
      return answered(event.value, agent);
    case "refused":
      return {
        who: spent(event.value.usage),
        fallbacks: sentences(event.value.fallbacks),
        ...(event.value.excerpts.length > 0 && { closest: event.value.excerpts }),
      };
    case "failed":
      return { who: spent(event.value.usage), fallbacks: sentences(event.value.fallbacks) };
    default:
      return undefined;
  }
}

function answered(answer: TurnAnswer, agent: string): Outcome {
  const { fallbacks, model, usage } = answer;
  const why = whyPassages(answer);
  // The line above the passages, or the fallback to a template, says who has written the answer.
  const said = why !== undefined || fallbacks.some((one) => one.kind === FallbackKind.TEMPLATE);
  return {
    who: said ? spent(usage) : answeredBy(agent, model, usage),
    fallbacks: [...sentences(why === undefined ? fallbacks : fallbacks.filter((one) => one.kind !== FallbackKind.PASSAGES), answer.outcome), ...unsupported(answer)],
    ...(why === undefined ? { origin: originOf(answer) } : { passages: { why, answer } }),
  };
}

/** Says that sentences of an answer lack a source, because readers may take the next source for theirs. */
function unsupported({ unsupportedSentences: number }: TurnAnswer): readonly string[] {
  if (number === 0) return [];
  return [`${count(number, "sentence")} of this answer ${number === 1 ? "has" : "have"} no source: the passage that the model named does not support ${number === 1 ? "it" : "them"}.`];
}

const KINDS: Partial<Record<CollectionKind, string>> = {
  [CollectionKind.SAMPLE]: "This answer comes from sample documents, not from your own",
  [CollectionKind.DOCS]: "This answer comes from the documentation of Responsa, not from your own documents",
};

/** Where an answer comes from, if not from people's own documents; "" otherwise. */
export function originOf({ collection, collectionKind }: TurnAnswer): string {
  const kind = KINDS[collectionKind];
  return kind ? `${kind}${collection && ` (collection ${collectionId(collection)})`}.` : "";
}

/** The outcome of a turn that ended earlier. */
export function outcomeOfTurn(turn: Turn, agent: string): Outcome {
  const ended = turn.terminalEvent && outcomeOf(turn.terminalEvent, agent);
  return ended ?? { who: spent(turn.usage), fallbacks: sentences(turn.fallbacks) };
}

function spent(usage: Usage | undefined): string {
  const price = cost(usage);
  return price && `The question cost ${price}.`;
}

function sentences(fallbacks: readonly Fallback[], outcome = AnswerOutcome.UNSPECIFIED): readonly string[] {
  // Several steps may have had the same fallback; each fallback is reported once.
  const said = [...new Set(fallbacks.map(fellBack))];
  if (outcome === AnswerOutcome.OUTPUT_LIMIT) said.push("The answer was cut off at a limit on its length or cost.");
  return said;
}

export interface RefusalWords {
  /** Shown above the server's reason. */
  readonly heading: string;
  /** Begins the line that sums up the steps: "Finished the search in 0.2 s and found no support". */
  readonly did: string;
  readonly end: string;
}

const REFUSALS: Partial<Record<RefusalReason, RefusalWords>> = {
  [RefusalReason.NEEDS_MODEL]: { heading: "This needs a language model", did: "Read the question", end: "and found no language model to write an answer" },
  [RefusalReason.OUT_OF_SCOPE]: { heading: "Not a question for this agent", did: "Read the question", end: "and decided that the question is outside the agent’s task" },
  [RefusalReason.UNSAFE]: { heading: "The model will not answer this", did: "Asked the model", end: "and the model declined" },
  [RefusalReason.SOURCE_ERASED]: { heading: "This answer was withdrawn", did: "Answered", end: "but a document that the answer quoted was erased later" },
  [RefusalReason.NOT_PERMITTED]: { heading: "You may no longer read this answer", did: "Answered", end: "but you are no longer allowed to read the documents that the answer uses" },
  [RefusalReason.BUDGET]: { heading: "Over the limit", did: "Stopped", end: "because the answer would exceed the limit" },
  [RefusalReason.QUOTA]: { heading: "Over your quota", did: "Stopped", end: "because your quota has too little left" },
};
const NO_SUPPORT: RefusalWords = { heading: "Nothing in these documents", did: "Finished the search", end: "and found no support" };

export function refusalWords(reason: RefusalReason): RefusalWords {
  return REFUSALS[reason] ?? NO_SUPPORT;
}

const STEPS: Partial<Record<Step, string>> = {
  [Step.REWRITING]: "Rephrasing your question…",
  [Step.RETRIEVING]: "Searching the documents…",
  [Step.GRADING]: "Grading the passages…",
  [Step.GENERATING]: "Writing the answer…",
  [Step.CALLING_TOOL]: "Calling a tool…",
  [Step.ROUTING]: "Choosing the intent…",
  [Step.VERIFYING]: "Checking the sources…",
};

/** The sentence for a step: the message of its status, or a fixed sentence if the status has no message. */
export function stepWords(step: Step, message: string): string {
  return message || STEPS[step] || "Working…";
}

export function switched({ source, target, cause }: TurnProviderSwitched): string {
  const why = because(cause);
  return `${source} was not available${why && ` (${why})`}; calling ${target}`;
}

/** The cost of one model call, for the list of steps. */
export function called({ model, usage }: TurnUsage): string {
  const price = cost(usage);
  return `${model} read ${count(usage?.inputTokens ?? 0n, "token")} and wrote ${usage?.outputTokens ?? 0n}${price && `: ${price}`}`;
}
