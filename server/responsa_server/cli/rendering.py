"""Formats the result of a turn for the terminal, without side effects.

The result is the answer with numbered citation markers, its sources, and remarks about the agent and model, the
fallbacks and the cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from google.protobuf import json_format

from responsa.chat.v1 import citation_pb2, excerpt_pb2, turn_pb2
from responsa.knowledge.v1 import document_pb2
from responsa.type.v1 import byte_range_pb2, collection_kind_pb2
from responsa_client.results import Outcome
from responsa_server.calls.numbering import Place, give_numbers, in_order, marks_of, place_of, words_instead
from responsa_server.cli.output import one_line
from responsa_server.domain.formatting import counted
from responsa_server.text.why_passages import tell_unchecked

_QUOTE = 240
_ARGUMENTS = 160


def answer_body(answer: turn_pb2.TurnAnswer) -> str:
    """Return the answer as Markdown. A mark such as [1] follows each text that cites a source.

    Citations of the same place share one number. The numbers increase in the order of the text.
    """
    if not answer.citations:
        return answer.text
    # Imported late, because it loads the Markdown parser, which only answers with marks need.
    from responsa_server.text.layout import with_marks

    return with_marks(answer.text, marks_of(answer.text, answer.citations, _places(answer.citations)))


def answer_notes(answer: turn_pb2.TurnAnswer, *, verbose: bool = False) -> str:
    """Return the text below the answer: whether it was cut, and its numbered sources. It may be empty.

    verbose: whether sources without another place have their byte ranges.
    """
    notes: list[str] = []
    if answer.outcome == turn_pb2.ANSWER_OUTCOME_OUTPUT_LIMIT:
        notes.append("(The answer was cut off at its length limit.)")
    if answer.citations:
        notes.append("Sources\n" + "\n".join(_sources(answer, _places(answer.citations), verbose=verbose)))
        data = answer.text.encode()
        bare = [
            one_line(data[span.start : span.end].decode(errors="ignore"), _QUOTE) for span in answer.unsourced
        ]
        if bare:
            notes.append("No source\n" + "\n".join(f'    "{sentence}"' for sentence in bare))
    if any(cited.quote and cited.verdict == citation_pb2.JUDGE_VERDICT_NONE for cited in answer.citations):
        notes.append(tell_unchecked())
    return "\n\n".join(notes)


def _places(citations: Sequence[citation_pb2.Citation]) -> Mapping[Place, int]:
    """Return the number of each cited place, counted from 1."""
    places: dict[Place, int] = {}
    give_numbers(citations, places)
    return places


_KINDS: Final = {
    collection_kind_pb2.COLLECTION_KIND_SAMPLE: "This answer comes from sample documents, not from your own",
    collection_kind_pb2.COLLECTION_KIND_DOCS: "This answer comes from the documentation of Responsa, not from your documents",
}


def origin(answer: turn_pb2.TurnAnswer) -> str:
    """Return a sentence that says where an answer comes from if not from the people's own documents; "" if there is nothing to say."""
    if (kind := _KINDS.get(answer.collection_kind)) is None:
        return ""
    collection = answer.collection.removeprefix("collections/")
    return f"{kind} (collection {collection})." if collection else f"{kind}."


_ORIGINS: Final = {
    citation_pb2.QUOTE_ORIGIN_CHOSEN: "Closest words, found by search.",
    citation_pb2.QUOTE_ORIGIN_NOT_FOUND: "The words that the model copies are not there.",
}


def _sources(answer: turn_pb2.TurnAnswer, places: Mapping[Place, int], *, verbose: bool) -> Sequence[str]:
    data = answer.text.encode()
    entries: dict[int, dict[str, None]] = {}
    for citation in in_order(answer.citations):
        number = places[place_of(citation)]
        lines = entries.setdefault(number, {})
        if not lines:
            lines[f"[{number}] {_source(citation, verbose=verbose)}"] = None
            if citation.quote:
                lines[f'    "{one_line(citation.quote, _QUOTE)}"'] = None
        for note in _notes(citation, data):
            lines[f"    {note}"] = None
    return [line for _, lines in sorted(entries.items()) for line in lines]


def _source(citation: citation_pb2.Citation, *, verbose: bool) -> str:
    tool = citation.HasField("tool_result")
    where = _fetch_note(citation) if tool else citation.uri or citation.document_version
    parts = place_parts(where, citation)
    location = ", ".join(parts if verbose or place_within(citation) else parts[:-1])
    return f"{one_line(citation.title, 120) or '(untitled)'} ({location})"


def _notes(citation: citation_pb2.Citation, answer: bytes) -> Iterator[str]:
    """What a reader should know of a citation: how its quote came about, what differs, and that a model denies it."""

    def show(part: byte_range_pb2.ByteRange) -> str:
        return one_line(answer[part.start : part.end].decode(errors="ignore"), _QUOTE)

    if origin := _ORIGINS.get(citation.quote_origin):
        yield origin
    for difference in citation.differences:
        if difference.kind == citation_pb2.DIFFERENCE_KIND_DENIAL:
            yield f'One of the two denies something: "{show(difference.answer_range)}".'
        elif words := one_line(words_instead(citation, difference), _QUOTE):
            yield f'Differs: "{show(difference.answer_range)}"; the passage says "{words}".'
        else:
            yield f'Differs: the passage does not say "{show(difference.answer_range)}".'
    if citation.verdict == citation_pb2.JUDGE_VERDICT_DENIED:
        yield f'A model checked this and denies it: "{show(citation.answer_range)}"'


def _fetch_note(citation: citation_pb2.Citation) -> str:
    """Where and when a tool fetched a source, e.g. "https://example.org/a, fetched by web_search on 2026-11-22 at 23:40 UTC"."""
    result = citation.tool_result
    when = result.fetch_time.ToDatetime()
    by = f"fetched by {_tool_id(result.tool)} on {when:%Y-%m-%d} at {when:%H:%M} UTC"
    return ", ".join(part for part in (one_line(citation.uri, 300), by) if part)


def _tool_id(name: str) -> str:
    return one_line(name.removeprefix("tools/"), 80)


_OUTCOMES: Final = {turn_pb2.TOOL_OUTCOME_OK: "done", turn_pb2.TOOL_OUTCOME_ERROR: "failed"}


def tool_line(call: turn_pb2.TurnToolCall, result: turn_pb2.TurnToolResult, seconds: float) -> str:
    """Return the line for a tool call that has ended: the tool, its arguments, the outcome and the time; for a failure, also its reason."""
    arguments = one_line(json_format.MessageToJson(call.arguments, indent=None), _ARGUMENTS)
    # A stream that was resumed after the call does not name the tool.
    tool = one_line(call.title, 80) or _tool_id(call.tool or result.call_id)
    inputs = f" with {arguments}" if call.arguments.fields else ""
    outcome = _OUTCOMES.get(result.outcome, "ended")
    parts = [f"Called {tool}{inputs}: {outcome} in {seconds:.1f} s"]
    if count := len(result.sources):
        parts.append(f", {counted(count, 'source')}")
    if result.outcome not in _OUTCOMES:
        parts.append(", and it is not known whether the call took effect")
    elif result.outcome == turn_pb2.TOOL_OUTCOME_ERROR and result.content:
        parts.append(f": {one_line(result.content, _QUOTE)}")
    return "".join(parts)


def place_parts(
    origin: str,
    source: citation_pb2.Citation | excerpt_pb2.Excerpt,
) -> Sequence[str]:
    """Return where a text comes from: its document, the date, and the place in the original file. If none is known, the
    byte range in the text that Responsa has read stands for it.
    """
    location = place_within(source)
    byte_range = f"bytes {source.source_range.start}-{source.source_range.end}"
    return [origin, *([f"dated {source.date}"] if source.date else []), location or byte_range]


def place_within(
    source: citation_pb2.Citation | excerpt_pb2.Excerpt | document_pb2.Passage,
) -> str:
    """Return the place in the original file; "" if it is not known."""
    return one_line(source.path, 80) or (f"page {source.locator or source.page}" if source.page else "")


_INSTEAD = {
    turn_pb2.FALLBACK_KIND_WITHOUT_RETRIEVAL: "The documents could not be searched; the answer does not use them",
    turn_pb2.FALLBACK_KIND_TEXT_ONLY: "Vectors were not available; the search used words only",
    turn_pb2.FALLBACK_KIND_PROVIDER: "The first model did not answer; another model did",
    turn_pb2.FALLBACK_KIND_TEMPLATE: "No model wrote this answer; it is a filled-in template",
    turn_pb2.FALLBACK_KIND_CLASSIFIER: "A trained classifier decided, not a model",
    turn_pb2.FALLBACK_KIND_RULE: "A rule decided, not a model",
    turn_pb2.FALLBACK_KIND_WITHOUT_SUMMARY: "Older messages were left out because they could not be summarized",
    turn_pb2.FALLBACK_KIND_PASSAGES: "No model was available; the answer shows passages of the documents",
    turn_pb2.FALLBACK_KIND_UNCITED: "No sentence of this answer names a source",
    turn_pb2.FALLBACK_KIND_WITHOUT_TOOL: "A tool could not be used without a model",
    turn_pb2.FALLBACK_KIND_WITHOUT_RERANKER: "The reranking model was not available; the search's own order was kept",
    turn_pb2.FALLBACK_KIND_SEARCHED_AGAIN: "A passage could not be read any more; the documents were searched again",
}
_WRITERS = {
    "passages": "passages of the documents",
    "template": "a template",
}


def remarks(outcome: Outcome, agent_version: str) -> Sequence[str]:
    """Return sentences for stderr about the agent and model, the cost, and each fallback. Empty if the server reports
    nothing. The first line of an answer of passages already says why it shows them.

    agent_version: the name `agents/{id}/versions/{n}`, or "" if it is not known.
    """
    parts = [
        part
        for part in (
            _who(outcome, agent_version),
            f"classified as {outcome.intent}" if outcome.intent else "",
            f"question of kind {one_line(outcome.category, 60)}" if outcome.category else "",
            _cost(outcome),
        )
        if part
    ]
    passages = outcome.model == "passages"
    sentences = [f"{'; '.join(parts)}."] if (outcome.model and not passages) or _cost(outcome) else []
    left = [
        fallback
        for fallback in outcome.fallbacks
        if not passages or fallback.kind != turn_pb2.FALLBACK_KIND_PASSAGES
    ]
    return [*sentences, *(_instead(fallback) for fallback in left)]


def _who(outcome: Outcome, agent_version: str) -> str:
    agent = agent_version.removeprefix("agents/").partition("/")[0]
    by = _WRITERS.get(outcome.model, one_line(outcome.model, 120))
    if agent and by:
        return f"{agent} answered with {by}"
    return f"answered with {by}" if by else agent


def _cost(outcome: Outcome) -> str:
    tokens = outcome.input_tokens + outcome.output_tokens
    if not tokens and not outcome.cost_usd_micros:
        return ""
    shown = counted(tokens, "token")
    if not outcome.unpriced_tokens:
        return f"{shown}, {dollars(outcome.cost_usd_micros)}"
    known = f", {dollars(outcome.cost_usd_micros)}" if outcome.cost_usd_micros else ""
    unpriced = counted(outcome.unpriced_tokens, "token")
    return f"{shown}{known} (the price of {unpriced} is not known)"


def dollars(micros: int) -> str:
    """Format millionths of a US dollar with at least two decimal places, and without further trailing zeros."""
    whole, rest = divmod(micros, 1_000_000)
    places = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{whole:,}.{places} USD"


def _name_languages(codes: str) -> str:
    # Imported late, because it loads the stemmers.
    from responsa_server.text.lexical import STEMMERS

    return " and ".join(STEMMERS.get(code, f"“{code}”").capitalize() for code in codes.split(","))


def _instead(fallback: turn_pb2.Fallback) -> str:
    if fallback.kind == turn_pb2.FALLBACK_KIND_OTHER_LANGUAGE:
        own, theirs = _name_languages(fallback.source), _name_languages(fallback.target)
        return (
            f"Your question is in {own}, these documents are in {theirs}: only words and numbers that both have were "
            f"searched. Ask in {theirs}, or set a language model, which translates questions."
        )
    what = _INSTEAD.get(fallback.kind, "The server used a fallback")
    way = " → ".join(one_line(part, 80) for part in (fallback.source, fallback.target) if part)
    aside = ": ".join(part for part in (way, one_line(fallback.cause, 80)) if part)
    return f"{what} ({aside})." if aside else f"{what}."
