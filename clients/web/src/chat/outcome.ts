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
  type TurnToolResult,
  type TurnUsage,
  type Usage,
} from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { ToolFault } from "@responsa/contract/responsa/chat/v1/tool_pb.js";
import type { ByteRange } from "@responsa/contract/responsa/type/v1/byte_range_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { money } from "../text/facts.js";
import { modelName } from "../text/names.js";
import { whyPassages } from "./excerpts.js";
import { titleOf } from "./fetched.js";
import { isEnglish, locale, reasoned, t, type Key } from "../language/language.js";

/** Where an answer comes from. */
export interface Origin {
  /** A sentence without its full stop. */
  readonly text: string;
  /** `collections/{id}`, or "" if the text says enough. */
  readonly collection: string;
}

/** The texts below an answer or another outcome. */
export interface Outcome {
  /** Agent, model and cost; "" if there is nothing to report. */
  readonly who: string;
  /** One sentence per fallback. */
  readonly fallbacks: readonly string[];
  /** Where an answer comes from, if not from people's own documents. */
  readonly origin?: Origin;
  /** The answer, and why it shows passages of the documents, if it does. */
  readonly passages?: { readonly why: string; readonly answer: TurnAnswer };
  /** The sentences of an answer that name no source. */
  readonly unsourced?: readonly ByteRange[];
  /** The closest passages, below a refusal or an answer of which nothing is confirmed. `named`: whether the refusal says what they are; `folded`: whether a model has read them and declined. */
  readonly closest?: { readonly excerpts: readonly Excerpt[]; readonly named: boolean; readonly folded?: boolean };
}

/** The cost of the model calls; "" if no model was called, or if they cost nothing. */
export function cost(usage: Usage | undefined): string {
  if (!usage) return "";
  const { costUsdMicros, unpricedTokens } = usage;
  if (costUsdMicros === 0n) return unpricedTokens > 0n ? t("priceUnknown") : "";
  return unpricedTokens > 0n ? t("priceAnd", { price: money(costUsdMicros), unpriced: t("unpriced", { count: Number(unpricedTokens) }) }) : money(costUsdMicros);
}

/** Describes who answered, and the cost. `agent` is the agent's display name, and `model` is the model as in TurnAnswer; both are "" if unknown. */
export function answeredBy(agent: string, model: string, usage: Usage | undefined): string {
  const how = model && (model === "template" ? t("withTemplate") : t("withModel", { model: modelName(model) }));
  const price = cost(usage);
  if (!agent && !how && !price) return "";
  return `${agent ? t("answeredBy", { agent }) : t("answered")}${how}${price && `; ${price}`}.`;
}

const CAUSES: Readonly<Record<string, Key>> = {
  unreachable: "causeUnreachable",
  timeout: "causeTimeout",
  refused: "causeRefused",
  paused: "causePaused",
  malformed: "causeMalformed",
  cut: "causeCut",
  credential: "causeCredential",
  rate_limited: "causeRateLimited",
  overloaded: "causeOverloaded",
  empty: "causeEmpty",
  not_configured: "causeNotConfigured",
  no_model: "causeNoModel",
  structured_invalid: "causeInvalid",
  "budget:steps": "causeSteps",
  "budget:tokens": "causeTokens",
  "budget:cost_micros": "causeCost",
};

/** Describes a cause; "" if there is nothing to add: the name of a part or of a check says nothing to the user. */
export function because(cause: string): string {
  const known = CAUSES[cause];
  return known ? t(known) : "";
}

/** Describes a fallback in one sentence. */
export function fellBack({ kind, source, target, cause }: Fallback): string {
  const why = because(cause);
  return `${meant(kind, source, target)}${why && ` (${why})`}.`;
}

function meant(kind: FallbackKind, source: string, target: string): string {
  if (kind === FallbackKind.PROVIDER) return t("otherModel", { source: modelName(source) || t("firstModel"), target: modelName(target) || t("anotherModel") });
  if (kind === FallbackKind.OTHER_LANGUAGE) {
    const names = new Intl.DisplayNames([locale()], { type: "language" });
    return t("otherLanguage", { own: named(names, source), theirs: target.split(",").map((one) => named(names, one)).join(", ") });
  }
  if (kind === FallbackKind.WITHOUT_TOOL) return t("toolNotUsed", { tool: titleOf(`tools/${source}`) });
  return t(FALLBACKS[kind] ?? "anotherFallback");
}

function named(names: Intl.DisplayNames, code: string): string {
  return (code && names.of(code)) || code;
}

/** `satisfies` refuses a kind without a row; a newer server may send one that is unknown here. */
const FALLBACKS: Readonly<Record<number, Key | undefined>> = {
  [FallbackKind.UNSPECIFIED]: undefined,
  // `meant` has sentences of their own for these three.
  [FallbackKind.PROVIDER]: undefined,
  [FallbackKind.OTHER_LANGUAGE]: undefined,
  [FallbackKind.WITHOUT_TOOL]: undefined,
  [FallbackKind.WITHOUT_RETRIEVAL]: "withoutRetrieval",
  [FallbackKind.TEXT_ONLY]: "textOnly",
  [FallbackKind.TEMPLATE]: "isTemplate",
  [FallbackKind.CLASSIFIER]: "byClassifier",
  [FallbackKind.RULE]: "byRule",
  [FallbackKind.WITHOUT_SUMMARY]: "withoutSummary",
  [FallbackKind.PASSAGES]: "noModelAvailable",
  [FallbackKind.UNCITED]: "uncited",
  [FallbackKind.WITHOUT_RERANKER]: "withoutReranker",
  [FallbackKind.SEARCHED_AGAIN]: "searchedAgain",
} satisfies Record<FallbackKind, Key | undefined>;

/** The outcome in an event `answer`, `refused` or `failed`; undefined for other events. `agent` is the agent's display name. */
export function outcomeOf({ event }: TurnEvent, agent: string): Outcome | undefined {
  switch (event.case) {
    case "answer":
      return answered(event.value, agent);
    case "refused":
      return {
        who: spent(event.value.usage),
        fallbacks: sentences(event.value.fallbacks),
        ...(event.value.excerpts.length > 0 && { closest: { excerpts: event.value.excerpts, named: event.value.reason === RefusalReason.NO_SUPPORT, folded: (event.value.usage?.inputTokens ?? 0n) > 0n } }),
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
  const from = originOf(answer);
  const uncited = fallbacks.some((one) => one.kind === FallbackKind.UNCITED);
  return {
    who: said ? spent(usage) : answeredBy(agent, model, usage),
    fallbacks: [...sentences(fallbacks.filter((one) => why === undefined || one.kind !== FallbackKind.PASSAGES), answer.outcome)],
    ...(why === undefined ? from && { origin: from } : { passages: { why, answer } }),
    ...(answer.unsourced.length > 0 && { unsourced: answer.unsourced }),
    ...(why === undefined && uncited && { closest: { excerpts: answer.moreExcerpts, named: false } }),
  };
}

const KINDS: Readonly<Record<number, Key | undefined>> = {
  [CollectionKind.UNSPECIFIED]: undefined,
  [CollectionKind.OWN]: undefined,
  [CollectionKind.SAMPLE]: "fromSamples",
  [CollectionKind.DOCS]: "fromDocs",
} satisfies Record<CollectionKind, Key | undefined>;

/** Where an answer comes from, if not from people's own documents; undefined otherwise. */
export function originOf({ collection, collectionKind }: TurnAnswer): Origin | undefined {
  const kind = KINDS[collectionKind];
  return kind && { text: t(kind), collection: collectionKind === CollectionKind.DOCS ? "" : collection };
}

/** The outcome of a turn that ended earlier. */
export function outcomeOfTurn(turn: Turn, agent: string): Outcome {
  const ended = turn.terminalEvent && outcomeOf(turn.terminalEvent, agent);
  return ended ?? { who: spent(turn.usage), fallbacks: sentences(turn.fallbacks) };
}

function spent(usage: Usage | undefined): string {
  const price = cost(usage);
  return price && t(usage?.costUsdMicros ? "questionCost" : "questionUnpriced", { price });
}

function sentences(fallbacks: readonly Fallback[], outcome = AnswerOutcome.UNSPECIFIED): readonly string[] {
  // Several steps may have had the same fallback; each fallback is reported once.
  const said = [...new Set(fallbacks.map(fellBack))];
  if (outcome === AnswerOutcome.OUTPUT_LIMIT) said.push(t("cutOff"));
  return said;
}

export interface RefusalWords {
  /** Shown above the text; "" if it has none. */
  readonly heading: string;
  /** Why the turn was refused: in the server's words, or in the page's own if the reader's language is another one. */
  readonly text: string;
  /** Begins the line that sums up the steps: "Read the question in 0.2 s and found no language model to write an answer". */
  readonly did: string;
  readonly end: string;
}

type Refusal = readonly [heading: Key, did: Key, end: Key];

const REFUSALS: Readonly<Record<number, Refusal | undefined>> = {
  [RefusalReason.UNSPECIFIED]: undefined,
  [RefusalReason.NO_SUPPORT]: undefined, // its text begins with its heading
  [RefusalReason.NEEDS_MODEL]: ["refusedNeedsModel", "didRead", "endNeedsModel"],
  [RefusalReason.OUT_OF_SCOPE]: ["refusedScope", "didRead", "endScope"],
  [RefusalReason.UNSAFE]: ["refusedUnsafe", "didAsk", "endUnsafe"],
  [RefusalReason.SOURCE_ERASED]: ["refusedErased", "answered", "endErased"],
  [RefusalReason.NOT_PERMITTED]: ["refusedNotPermitted", "answered", "endNotPermitted"],
  [RefusalReason.BUDGET]: ["refusedBudget", "didStop", "endBudget"],
  [RefusalReason.QUOTA]: ["refusedQuota", "didStop", "endQuota"],
} satisfies Record<RefusalReason, Refusal | undefined>;

/** The headings of refusals that the server begins with, which are English if the question is not German. */
const HEADINGS: Readonly<Record<string, Key>> = {
  "Closest passages": "closest",
  "Nothing close was found": "nothingClose",
  "The model found no answer in these passages": "foundNoAnswer",
};

/** What the server says in English, of which the page has a sentence of its own. An agent's author may write in the reader's language. */
const ENGLISH = /\b(?:the|you|and|it)\b/i;

/** The words of a refusal. The text of one after a search begins with its heading, in a paragraph of its own. */
export function refusalWords(reason: RefusalReason, message: string): RefusalWords {
  const words = REFUSALS[reason];
  const [first = "", ...rest] = message.split("\n\n");
  const headed = !words && rest.length > 0;
  const known = HEADINGS[first];
  const heading = words ? t(words[0]) : headed ? (known ? t(known) : first) : "";
  const said = headed ? rest.join("\n\n") : message;
  const text = !ENGLISH.test(said) || isEnglish() ? said : reasoned(RefusalReason[reason] ?? "", said);
  return { heading, text, did: t(words?.[1] ?? "searched"), end: words ? t(words[2]) : "" };
}

/** Why a tool failed: what the server or the tool says, which is English, or the kind of the failure. */
export function toolFailure({ fault, content }: Pick<TurnToolResult, "fault" | "content">): string {
  const known = CAUSES[ToolFault[fault]?.toLowerCase() ?? ""];
  return isEnglish() || !known ? content : t(known);
}

const STEPS: Readonly<Record<number, Key | undefined>> = {
  [Step.UNSPECIFIED]: undefined, // an agent's own step, with words of its own
  [Step.REWRITING]: "rephrasing",
  [Step.RETRIEVING]: "searching",
  [Step.GRADING]: "grading",
  [Step.GENERATING]: "writing",
  [Step.CALLING_TOOL]: "callingATool",
  [Step.ROUTING]: "routing",
  [Step.VERIFYING]: "verifying",
  [Step.LOADING]: "modelLoading",
} satisfies Record<Step, Key | undefined>;

/** The sentence for a step: the message of its status, which is usually English, or a fixed sentence. */
export function stepWords(step: Step, message: string): string {
  const known = STEPS[step];
  if (message && (isEnglish() || !known)) return message;
  return t(known ?? "working");
}

export function switched({ source, target, cause }: TurnProviderSwitched): string {
  const why = because(cause);
  return t("modelSwitched", { source: modelName(source), target: modelName(target), why: why && ` (${why})` });
}

/** The cost of one model call, for the list of steps. */
export function called({ model, usage }: TurnUsage): string {
  const price = cost(usage);
  return `${t("modelUsed", { model: modelName(model), count: Number(usage?.inputTokens ?? 0n), written: Number(usage?.outputTokens ?? 0n) })}${price && `: ${price}`}`;
}
