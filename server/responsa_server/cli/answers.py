"""An answer as text: its citations as numbered marks, then the list of sources. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa_server.cli.output import one_line

_QUOTE = 240


def answer_text(answer: turn_pb2.TurnAnswer) -> str:
    """The answer with marks like [1] behind what they support, and its sources.

    Citations of the same place share one number; numbers go up in the order of the text.
    """
    places: dict[tuple[str, int, int], int] = {}
    marks: dict[int, list[int]] = {}
    for citation in sorted(answer.citations, key=lambda c: (c.answer_range.end, c.answer_range.start)):
        number = places.setdefault(_place(citation), len(places) + 1)
        numbers = marks.setdefault(citation.answer_range.end, [])
        if number not in numbers:
            numbers.append(number)
    text = _marked(answer.text, marks)
    if answer.outcome == turn_pb2.ANSWER_OUTCOME_OUTPUT_LIMIT:
        text += "\n\n(The answer was cut at its limits.)"
    if not places:
        return text
    return text + "\n\nSources\n" + "\n".join(_sources(answer.citations, places))


def _marked(text: str, marks: dict[int, list[int]]) -> str:
    """Put marks at byte offsets of the text; one that cuts a character apart goes behind it."""
    data = text.encode()
    pieces: list[str] = []
    last = 0
    for end in sorted(marks):
        at = min(end, len(data))
        while at < len(data) and data[at] & 0xC0 == 0x80:
            at += 1
        piece = data[last:at].decode()
        kept = piece.rstrip()
        pieces += [kept, " ", "".join(f"[{number}]" for number in marks[end]), piece[len(kept) :]]
        last = at
    pieces.append(data[last:].decode())
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
