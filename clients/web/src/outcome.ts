/** What became of a turn, in words: who answered, what stood in for what, what it cost, why there is no answer. Nothing here touches the page. */

import {
  AnswerOutcome,
  FallbackKind,
  RefusalReason,
  Step,
  type Fallback,
  type Turn,
  type TurnEvent,
  type TurnProviderSwitched,
  type TurnUsage,
  type Usage,
} from "@responsa/contract/responsa/chat/v1/turn_pb.js";

/** What is told below an answer, or below what came in its place. */
export interface Outcome {
  /** Who answered and for how much; "" when there is nothing to say. */
  readonly who: string;
  /** Each a sentence on what was done in place of what was meant. */
  readonly fallbacks: readonly string[];
}

const MICROS = 1_000_000;

/** Millionths of a US dollar, e.g. 2100 → "0.0021 USD"; at least two decimals, four where that is exact enough. */
export function money(micros: bigint): string {
  const dollars = Number(micros) / MICROS;
  const [whole, decimals = ""] = dollars.toFixed(micros >= 100n ? 4 : 6).split(".");
  return `${whole}.${decimals.replace(/0+$/, "").padEnd(2, "0")} USD`;
}

/** What the models cost; "" where none was asked. */
export function cost(usage: Usage | undefined): string {
  if (!usage) return "";
  const { costMicros, unpricedTokens, inputTokens, outputTokens } = usage;
  const unpriced = unpricedTokens > 0n ? `${count(unpricedTokens, "token")} whose price is not known` : "";
  if (costMicros > 0n) return unpriced ? `${money(costMicros)}, and ${unpriced}` : money(costMicros);
  return unpriced || (inputTokens + outputTokens > 0n ? money(0n) : "");
}

/** `agent`: what people call it, "" where it is not known. `model`: as in TurnAnswer; "" where nobody tells. */
export function answeredBy(agent: string, model: string, usage: Usage | undefined): string {
  const how = { "": "", extractive: ", in sentences of the documents", template: ", from a template" }[model] ?? ` with ${model}`;
  const price = cost(usage);
  if (!agent && !how && !price) return "";
  return `Answered${agent && ` by ${agent}`}${how}${price && `; ${price}`}.`;
}

const CAUSES: Readonly<Record<string, string>> = {
  unreachable: "it could not be reached",
  timeout: "it did not answer in time",
  refused: "it refused",
  malformed: "its reply could not be read",
  cut: "its reply broke off",
  credential: "its key was not accepted",
  rate_limited: "it takes no more for the moment",
  overloaded: "it is overloaded",
  empty: "it said nothing",
  not_configured: "none is configured",
  no_model: "no model is configured",
  structured_invalid: "its reply had not the form asked for",
};

/** A cause for programs, for people; "" where there is nothing to add. */
export function because(cause: string): string {
  if (!cause) return "";
  const known = CAUSES[cause];
  if (known) return known;
  // Which part of the server it was says nothing to who asks; what could not be done is in the sentence.
  if (cause.startsWith("part_unavailable")) return "";
  return cause.replace(/[_:]+/g, " ");
}

/** A sentence on what was done in place of what was meant. */
export function fellBack({ kind, source, target, cause }: Fallback): string {
  const why = because(cause);
  return `${meant(kind, source, target)}${why && ` (${why})`}.`;
}

function meant(kind: FallbackKind, source: string, target: string): string {
  switch (kind) {
    case FallbackKind.WITHOUT_RETRIEVAL:
      return "The documents could not be searched, so the answer rests on none of them";
    case FallbackKind.TEXT_ONLY:
      return "The documents were searched by their words alone, not by meaning";
    case FallbackKind.PROVIDER:
      return `${source || "The first model"} could not be had; ${target || "another model"} was asked in its place`;
    case FallbackKind.EXTRACTIVE:
      return "No model could be had, so sentences of the documents are quoted";
    case FallbackKind.TEMPLATE:
      return "No model wrote this: it was filled into a template";
    case FallbackKind.CLASSIFIER:
      return "A trained classifier, not a model, told what was wanted";
    case FallbackKind.RULE:
      return "A rule decided in place of a model";
    case FallbackKind.WITHOUT_SUMMARY:
      return "The older messages of this conversation were left out";
    default:
      return "Something else was done than was meant";
  }
}

/** Of how a turn ended; undefined for what is no end. `agent`: what people call it. */
export function outcomeOf({ event }: TurnEvent, agent: string): Outcome | undefined {
  switch (event.case) {
    case "answer":
      return { who: answeredBy(agent, event.value.model, event.value.usage), fallbacks: told(event.value.fallbacks, event.value.outcome) };
    case "refused":
    case "failed":
      return { who: spent(event.value.usage), fallbacks: told(event.value.fallbacks) };
    default:
      return undefined;
  }
}

/** Of a turn that ended earlier. */
export function outcomeOfTurn(turn: Turn, agent: string): Outcome {
  const ended = turn.terminalEvent && outcomeOf(turn.terminalEvent, agent);
  return ended ?? { who: spent(turn.usage), fallbacks: told(turn.fallbacks) };
}

function spent(usage: Usage | undefined): string {
  const price = cost(usage);
  return price && `It cost ${price}.`;
}

function told(fallbacks: readonly Fallback[], outcome = AnswerOutcome.UNSPECIFIED): readonly string[] {
  // Several steps may have fallen back alike; that is said once.
  const said = [...new Set(fallbacks.map(fellBack))];
  if (outcome === AnswerOutcome.OUTPUT_LIMIT) said.push("The answer was cut off where the most that may be written or spent was reached.");
  return said;
}

export interface RefusalWords {
  /** Stands above the reason that the server gives. */
  readonly heading: string;
  /** Ends the line that sums the steps up: "Looked in 0.2 s and found no support". */
  readonly did: string;
  readonly end: string;
}

const REFUSALS: Partial<Record<RefusalReason, RefusalWords>> = {
  [RefusalReason.OUT_OF_SCOPE]: { heading: "Not a question for this agent", did: "Read", end: "and found it to be none of its tasks" },
  [RefusalReason.UNSAFE]: { heading: "The model will not answer this", did: "Asked the model", end: "and it declined" },
  [RefusalReason.BUDGET]: { heading: "Over the limit", did: "Stopped", end: "as it would take more than is allowed" },
};
const NO_SUPPORT: RefusalWords = { heading: "No answer", did: "Looked", end: "and found no support" };

export function refusalWords(reason: RefusalReason): RefusalWords {
  return REFUSALS[reason] ?? NO_SUPPORT;
}

const STEPS: Partial<Record<Step, string>> = {
  [Step.REWRITING]: "Rephrasing your question…",
  [Step.RETRIEVING]: "Searching the documents…",
  [Step.GRADING]: "Looking at what was found…",
  [Step.GENERATING]: "Writing the answer…",
  [Step.CALLING_TOOL]: "Calling a tool…",
  [Step.ROUTING]: "Telling what you want…",
  [Step.VERIFYING]: "Checking the sources…",
};

/** What a step is called where its status brings no sentence. */
export function stepWords(step: Step, message: string): string {
  return message || STEPS[step] || "Working…";
}

export function switched({ source, target, cause }: TurnProviderSwitched): string {
  const why = because(cause);
  return `${source} could not be had${why && ` (${why})`}; asking ${target}`;
}

/** What one call of a model has cost, for the list of steps. */
export function called({ model, usage }: TurnUsage): string {
  const price = cost(usage);
  return `${model} read ${count(usage?.inputTokens ?? 0n, "token")} and wrote ${usage?.outputTokens ?? 0n}${price && `: ${price}`}`;
}

export function count(number: number | bigint, noun: string): string {
  return `${number.toLocaleString("en")} ${noun}${Number(number) === 1 ? "" : "s"}`;
}
