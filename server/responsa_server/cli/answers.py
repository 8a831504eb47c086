"""An answer as text: its citations as numbered marks, then the list of sources. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa_server.cli.output import one_line
from responsa_server.cli.reflow import reflow

_QUOTE = 240


def answer_text(answer: turn_pb2.TurnAnswer) -> str:
    """The answer with marks like [1] behind what they support, and its sources.

    Each quoted sentence is on one line, wherever the document breaks its own; the exact text is what --json prints. Citations of the same place share one number; numbers go up in the order of the text.
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
        text += "\n\n(The answer was cut at its limits.)"
    if not places:
        return text
    return text + "\n\nSources\n" + "\n".join(_sources(answer.citations, places))


def _whole(data: bytes, at: int) -> int:
    """The byte offset, or the next one that cuts no character apart."""
    at = max(0, min(at, len(data)))
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at


def _parts(data: bytes, citations: Sequence[citation_pb2.Citation]) -> Iterator[tuple[int, int, bool]]:
    """The text in parts (start, end, whether it is quoted), in order. Quotes that touch are one: a long sentence is cited in several."""
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
    """A part with the marks that stand within it or at its end."""
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
