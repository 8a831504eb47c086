"""Citations of what a model has written: which sentences of the text name passages, and what an answer looks like that cites them. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import sentencex
from pydantic import Field

from responsa_server.agents.engine.compose import citation_of, split
from responsa_server.agents.engine.marks import Mark
from responsa_server.agents.engine.node import NodeModel
from responsa_server.domain.answers import Quote
from responsa_server.domain.events import MAX_CITATIONS, MAX_QUOTE_BYTES, AnswerOutcome, ByteRange, Citation

_MOST_LINES_BACK: Final = 8
"""So many sentences without a word may stand between a mark and the sentence that it speaks for."""
_LEAD: Final = re.compile(r"(?:[\s,;:.)|–—]|>|#{1,6}\s|[-*+•]\s|\d{1,3}[.)]\s)*")
"""What stands before a claim's first word: white space, a list's or a heading's signs, what is left of the clause before."""


class CitationModel(NodeModel):
    """A citation as plain state keeps it: the hash is in hexadecimal."""

    passage_id: str
    document_id: str
    version: int = Field(ge=1)
    title: str
    uri: str
    source: ByteRange
    quote: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    answer: ByteRange
    score: float = Field(ge=0, le=1)


class AnswerModel(NodeModel):
    """The answer, whole."""

    text: str = Field(min_length=1)
    citations: tuple[CitationModel, ...] = Field(max_length=MAX_CITATIONS)
    outcome: AnswerOutcome
    passages_used: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A sentence and the passage that a mark behind it or within it names. source: its bytes in the text; text: those bytes."""

    text: str
    source: ByteRange
    passage: int


def claims(text: str, marks: Sequence[Mark]) -> Sequence[Claimed]:
    """What the marks claim, in the order of the text, each sentence and passage once.

    A mark speaks for the sentence that ends at it or that it stands in, up to it; in a sentence of several, each for what came since the one before, unless
    they stand together.
    """
    data = text.encode()
    found = dict[tuple[int, int, int], Claimed]()
    sentences = _sentences(text)
    starts = [one.start for one in sentences]
    before = 0
    for place, (offset, passage) in enumerate(marks):
        if place and marks[place - 1][0] != offset:
            before = marks[place - 1][0]
        end = min(offset, len(data))
        last = bisect_left(starts, end)
        near = sentences[max(0, last - _MOST_LINES_BACK) : last]
        source = _claim(data, near, min(before, offset), end)
        if source is not None:
            words = data[source.start : source.end].decode()
            found.setdefault((source.start, source.end, passage), Claimed(words, source, passage))
    return list(found.values())


def _claim(data: bytes, sentences: Sequence[ByteRange], before: int, offset: int) -> ByteRange | None:
    """The last of these sentences, which begin before the offset, up to it and, where a mark stands within it, from there; None where there is no word."""
    for sentence in reversed(sentences):
        end = min(sentence.end, offset)
        start = before if sentence.start < before < end else sentence.start
        raw = data[start:end]
        part = raw.decode()
        lead = _LEAD.match(part)
        start += len(part[: lead.end()].encode()) if lead else 0
        end -= len(raw) - len(raw.rstrip())
        if start < end and any(one.isalnum() for one in data[start:end].decode()):
            return ByteRange(start, end)
        # Nothing but signs: what a mark in a line of its own speaks for is the line before.
        before = 0
    return None


def _sentences(text: str) -> Sequence[ByteRange]:
    """A line break always ends a sentence: lists and headings have no full stops."""
    found: list[ByteRange] = []
    start = 0
    for line in text.split("\n"):
        place = start
        for one in sentencex.get_sentence_boundaries("en", line):
            size = len(one["text"].encode())
            found.append(ByteRange(place, place + size))
            place += size
        start += len(line.encode()) + 1
    return found


def citation(claimed: Claimed, quote: Quote) -> Citation:
    """The citation of a claim that a quote bears out. A quote that is longer than one may be is cut at its end."""
    first = next(split(quote.text, MAX_QUOTE_BYTES), "")
    # The space behind which it is cut is left out.
    words = first if first == quote.text else first.removesuffix(" ")
    start = quote.source.start
    return citation_of(quote, words, ByteRange(start, start + len(words.encode())), claimed.source)


def plain(one: Citation) -> CitationModel:
    """A citation as plain state keeps it."""
    return CitationModel(
        passage_id=str(one.passage_id),
        document_id=str(one.document_id),
        version=one.version,
        title=one.title,
        uri=one.uri,
        source=one.source,
        quote=one.quote,
        sha256=one.sha256.hex(),
        answer=one.answer,
        score=one.score,
    )
