"""What people are told beside an answer: who gave it, what was done in place of what was meant, and what it cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from responsa.chat.v1 import turn_pb2
from responsa_client.results import Outcome
from responsa_server.cli.output import one_line

_INSTEAD = {
    turn_pb2.FALLBACK_KIND_WITHOUT_RETRIEVAL: "The documents could not be searched; the answer rests on none of them",
    turn_pb2.FALLBACK_KIND_TEXT_ONLY: "Vectors could not be had; words alone decided what was found",
    turn_pb2.FALLBACK_KIND_PROVIDER: "Another model than the first answered",
    turn_pb2.FALLBACK_KIND_EXTRACTIVE: "No model could be had; the answer is quoted from the documents",
    turn_pb2.FALLBACK_KIND_TEMPLATE: "No model wrote this; a template did",
    turn_pb2.FALLBACK_KIND_CLASSIFIER: "A trained classifier decided in place of a model",
    turn_pb2.FALLBACK_KIND_RULE: "A rule decided in place of a model",
    turn_pb2.FALLBACK_KIND_WITHOUT_SUMMARY: "Older messages were left out, as they could not be summed up",
}
_WRITERS = {"extractive": "sentences of the documents", "template": "a template"}


def told_of(outcome: Outcome, agent_version: str) -> Sequence[str]:
    """Sentences for stderr, none where the server tells nothing. agent_version: `agents/{id}/versions/{n}`, "" where it is not known."""
    made = [
        one
        for one in (
            _who(outcome, agent_version),
            f"taken for {outcome.intent}" if outcome.intent else "",
            f"question of kind {one_line(outcome.category, 60)}" if outcome.category else "",
            _cost(outcome),
        )
        if one
    ]
    sentences = [f"{'; '.join(made)}."] if outcome.model or _cost(outcome) else []
    return [*sentences, *(_instead(one) for one in outcome.fallbacks)]


def _who(outcome: Outcome, agent_version: str) -> str:
    agent = agent_version.removeprefix("agents/").partition("/")[0]
    by = _WRITERS.get(outcome.model, one_line(outcome.model, 120))
    if agent and by:
        return f"{agent} answered by {by}"
    return f"answered by {by}" if by else agent


def _cost(outcome: Outcome) -> str:
    tokens = outcome.input_tokens + outcome.output_tokens
    if not tokens and not outcome.cost_micros:
        return ""
    shown = f"{tokens:,} token{'' if tokens == 1 else 's'}"
    if not outcome.unpriced_tokens:
        return f"{shown}, {dollars(outcome.cost_micros)}"
    known = f", {dollars(outcome.cost_micros)}" if outcome.cost_micros else ""
    return f"{shown}{known} ({outcome.unpriced_tokens:,} of the tokens without a known price)"


def dollars(micros: int) -> str:
    """Millionths of a US dollar for people: at least cents, and as many places as count."""
    whole, rest = divmod(micros, 1_000_000)
    places = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{whole:,}.{places} USD"


def _instead(one: turn_pb2.Fallback) -> str:
    what = _INSTEAD.get(one.kind, "Something else was done than was meant")
    way = " → ".join(one_line(part, 80) for part in (one.source, one.target) if part)
    aside = ": ".join(part for part in (way, one_line(one.cause, 80)) if part)
    return f"{what} ({aside})." if aside else f"{what}."
