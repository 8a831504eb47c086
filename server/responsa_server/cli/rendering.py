"""Formats the result of a turn for the terminal, without side effects.

The result is the answer with numbered citation markers, its sources, and remarks about the agent and model, the
fallbacks and the cost.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa_client.results import Outcome
from responsa_server.cli.output import one_line

_FENCE: Final = re.compile(r"[ \t]*(```|~~~)")
# A line that begins a block or is indented like code. The line break before such a line must stay.
_BLOCK: Final = re.compile(
    r"[ \t]{4}|\t|[ \t]*(?:[-*+•][ \t]|\d{1,9}[.)][ \t]|#{1,6}[ \t]|[|>]|[-=*_]{3,}[ \t]*$)"
)
_LIST: Final = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]")
_COLUMNS: Final = re.compile(r"\S[ \t]*(?:[ ]{3,}|\t|[ \t]\|[ \t])[ \t]*\S")
_HARD_BREAK: Final = re.compile(r"(?: {2}|\\)$")


def reflow(text: str) -> str:
    """Join the lines of each paragraph. Code, lists, tables, quotes and headings do not change."""
    joined: list[str] = []
    open_paragraph = False
    for line, prose in _lines(text):
        if prose and open_paragraph:
            last = joined[-1].rstrip()
            following = line.lstrip()
            joined[-1] = last + _between(last, following) + following
        else:
            joined.append(line)
        open_paragraph = prose and _HARD_BREAK.search(line) is None
    return "\n".join(joined)


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each line, and whether the line is part of a paragraph's running text."""
    fence = ""
    in_list = False
    for line in text.replace("\r\n", "\n").split("\n"):
        found = _FENCE.match(line)
        if found is not None and fence in ("", found.group(1)):
            fence = "" if fence else found.group(1)
            in_list = False
            yield line, False
        elif fence or not line.strip():
            in_list = False
            yield line, False
        else:
            # A line after a list item, without a blank line between them, belongs to the item.
            in_list = in_list or _LIST.match(line) is not None
            yield line, not (in_list or _BLOCK.match(line) or _COLUMNS.search(line))


def _between(last: str, following: str) -> str:
    """Return the separator of two joined lines: a space, or nothing in scripts without spaces between words."""
    return "" if _unspaced(last[-1:]) and _unspaced(following[:1]) else " "


def _unspaced(character: str) -> bool:
    """Whether the character belongs to Chinese or Japanese, which have no spaces between words.

    Korean characters are wide too, but Korean has spaces.
    """
    return (
        character != ""
        and unicodedata.east_asian_width(character) in "WF"
        and not unicodedata.name(character, "").startswith("HANGUL")
    )


_QUOTE = 240


def answer_text(answer: turn_pb2.TurnAnswer) -> str:
    """Return the answer and its sources. A marker such as [1] follows each text that a source supports.

    The document's line breaks within a quoted sentence are removed; --json prints the exact text. Citations of the same
    place share one number. The numbers increase in the order of the text.
    """
    places: dict[tuple[str, int, int], int] = {}
    marks: dict[int, list[int]] = {}
    data = answer.text.encode()
    for citation in sorted(answer.citations, key=lambda c: (c.answer_range.end, c.answer_range.start)):
        number = places.setdefault(_place(citation), len(places) + 1)
        numbers = marks.setdefault(_whole(data, citation.answer_range.end), [])
        if number not in numbers:
            numbers.append(number)
    text = "".join(
        reflow(_marked(data, start, end, marks)) if quoted else _marked(data, start, end, marks)
        for start, end, quoted in _parts(data, answer.citations)
    )
    if answer.outcome == turn_pb2.ANSWER_OUTCOME_OUTPUT_LIMIT:
        text += "\n\n(The answer was cut off at its length limit.)"
    if not places:
        return text
    return text + "\n\nSources\n" + "\n".join(_sources(answer.citations, places))


def _whole(data: bytes, at: int) -> int:
    """Return the byte offset, moved forward to a character boundary if it lies within a character."""
    at = max(0, min(at, len(data)))
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at


def _parts(data: bytes, citations: Sequence[citation_pb2.Citation]) -> Iterator[tuple[int, int, bool]]:
    """Yield the parts of the text in order, each as (start, end, whether the part is quoted).

    Adjacent quotes form one part, because a long sentence is cited with several quotes.
    """
    start, end = 0, 0
    for low, high in sorted(
        (_whole(data, one.answer_range.start), _whole(data, one.answer_range.end)) for one in citations
    ):
        if low > end:
            yield from ((start, end, True), (end, low, False))
            start, end = low, low
        end = max(end, high)
    yield from ((start, end, True), (end, len(data), False))


def _marked(data: bytes, start: int, end: int, marks: Mapping[int, Sequence[int]]) -> str:
    """Return a part of the text, with the markers that belong within the part and at its end."""
    pieces: list[str] = []
    last = start
    for at in sorted(at for at in marks if start < at <= end):
        piece = data[last:at].decode()
        kept = piece.rstrip()
        pieces += [kept, " ", "".join(f"[{number}]" for number in marks[at]), piece[len(kept) :]]
        last = at
    pieces.append(data[last:end].decode())
    return "".join(pieces)


def _sources(
    citations: Sequence[citation_pb2.Citation], places: dict[tuple[str, int, int], int]
) -> list[str]:
    first = {places[_place(citation)]: citation for citation in reversed(citations)}
    lines: list[str] = []
    for number in sorted(first):
        citation = first[number]
        source = citation.source_range
        place = f"{citation.uri or citation.document_version}, bytes {source.start}-{source.end}"
        title = one_line(citation.title, 120) or "(untitled)"
        lines.append(f'[{number}] {title} ({place})\n    "{one_line(citation.quote, _QUOTE)}"')
    return lines


def _place(citation: citation_pb2.Citation) -> tuple[str, int, int]:
    return citation.document_version, citation.source_range.start, citation.source_range.end


_INSTEAD = {
    turn_pb2.FALLBACK_KIND_WITHOUT_RETRIEVAL: "The documents could not be searched; the answer does not use them",
    turn_pb2.FALLBACK_KIND_TEXT_ONLY: "Vectors were not available; the search used words only",
    turn_pb2.FALLBACK_KIND_PROVIDER: "The first model did not answer; another model did",
    turn_pb2.FALLBACK_KIND_EXTRACTIVE: "No model was available; the answer consists of quotes from the documents",
    turn_pb2.FALLBACK_KIND_TEMPLATE: "A template wrote this answer, not a model",
    turn_pb2.FALLBACK_KIND_CLASSIFIER: "A trained classifier decided, not a model",
    turn_pb2.FALLBACK_KIND_RULE: "A rule decided, not a model",
    turn_pb2.FALLBACK_KIND_WITHOUT_SUMMARY: "Older messages were left out because they could not be summarized",
}
_WRITERS = {"extractive": "sentences from the documents", "template": "a template"}


def remarks(outcome: Outcome, agent_version: str) -> Sequence[str]:
    """Return sentences for stderr about the agent and model, the cost, and each fallback. Empty if the server reports
    nothing.

    agent_version: the name `agents/{id}/versions/{n}`, or "" if it is not known.
    """
    made = [
        one
        for one in (
            _who(outcome, agent_version),
            f"classified as {outcome.intent}" if outcome.intent else "",
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
        return f"{agent} answered with {by}"
    return f"answered with {by}" if by else agent


def _cost(outcome: Outcome) -> str:
    tokens = outcome.input_tokens + outcome.output_tokens
    if not tokens and not outcome.cost_usd_micros:
        return ""
    shown = f"{tokens:,} token{'' if tokens == 1 else 's'}"
    if not outcome.unpriced_tokens:
        return f"{shown}, {dollars(outcome.cost_usd_micros)}"
    known = f", {dollars(outcome.cost_usd_micros)}" if outcome.cost_usd_micros else ""
    return f"{shown}{known} ({outcome.unpriced_tokens:,} of the tokens without a known price)"


def dollars(micros: int) -> str:
    """Format millionths of a US dollar with at least two decimal places, and without further trailing zeros."""
    whole, rest = divmod(micros, 1_000_000)
    places = f"{rest:06}".rstrip("0").ljust(2, "0")
    return f"{whole:,}.{places} USD"


def _instead(one: turn_pb2.Fallback) -> str:
    what = _INSTEAD.get(one.kind, "The server used a fallback")
    way = " → ".join(one_line(part, 80) for part in (one.source, one.target) if part)
    aside = ": ".join(part for part in (way, one_line(one.cause, 80)) if part)
    return f"{what} ({aside})." if aside else f"{what}."
