"""From quoted sentences to an answer's text, its deltas and its citations, within the limits of an answer. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.answers import Quote
from responsa_server.domain.events import (
    MAX_ANSWER_BYTES,
    MAX_CITATIONS,
    MAX_QUOTE_BYTES,
    AnswerOutcome,
    ByteRange,
    Citation,
    Cited,
    Delta,
)

SEPARATOR: Final = "\n"
"""Between two sentences: each stands on a line of its own, with its citations."""


@dataclass(frozen=True, slots=True)
class Composition:
    """An answer: events in order, whose deltas concatenate to text byte for byte."""

    text: str
    events: Sequence[Delta | Cited]
    outcome: AnswerOutcome

    @property
    def citations(self) -> Sequence[Citation]:
        """In the order of the text."""
        return [event.citation for event in self.events if isinstance(event, Cited)]


def compose(quotes: Sequence[Quote]) -> Composition:
    """Put sentences together, each whole and cited. One that does not fit any more ends the answer as OUTPUT_LIMIT.

    A sentence longer than a quote may be is cited in several pieces that follow each other.
    """
    text, events, cited = "", list[Delta | Cited](), 0
    outcome = AnswerOutcome.COMPLETE
    for quote in quotes:
        pieces = list(split(quote.text, MAX_QUOTE_BYTES))
        lead = SEPARATOR if text else ""
        size = len((text + lead + quote.text).encode())
        if size > MAX_ANSWER_BYTES or cited + len(pieces) > MAX_CITATIONS:
            outcome = AnswerOutcome.OUTPUT_LIMIT
            if text:
                break
            # No sentence is whole then; its beginning says more than nothing.
            pieces = pieces[: min(MAX_CITATIONS, MAX_ANSWER_BYTES // MAX_QUOTE_BYTES)]
        source = quote.source.start
        for piece in pieces:
            start = len((text + lead).encode())
            size = len(piece.encode())
            if lead and len(lead.encode()) + size > MAX_QUOTE_BYTES:  # as long as a delta may be
                events.append(Delta(lead, start - len(lead.encode())))
                events.append(Delta(piece, start))
            else:
                events.append(Delta(lead + piece, start - len(lead.encode())))
            events.append(
                Cited(
                    citation_of(
                        quote, piece, ByteRange(source, source + size), ByteRange(start, start + size)
                    )
                )
            )
            text += lead + piece
            source += size
            cited += 1
            lead = ""
        if outcome is AnswerOutcome.OUTPUT_LIMIT:
            break
    return Composition(text, events, outcome)


def split(text: str, most_bytes: int) -> Iterator[str]:
    """Pieces of at most so many bytes that concatenate to the text; cut after a space where there is one in the second half."""
    rest = text
    while len(rest.encode()) > most_bytes:
        piece = rest.encode()[:most_bytes].decode(errors="ignore")
        space = piece.rfind(" ")
        if space > len(piece) // 2:
            piece = piece[: space + 1]
        yield piece
        rest = rest[len(piece) :]
    if rest:
        yield rest


def citation_of(quote: Quote, piece: str, source: ByteRange, answer: ByteRange) -> Citation:
    """The citation of a piece of a quote: its place in the document and in the answer."""
    passage = quote.passage
    return Citation(
        passage_id=passage.id,
        document_id=passage.document_id,
        version=passage.version,
        title=passage.title,
        uri=passage.uri,
        source=source,
        quote=piece,
        sha256=hashlib.sha256(piece.encode()).digest(),
        answer=answer,
        score=min(max(quote.score, 0.0), 1.0),
    )
