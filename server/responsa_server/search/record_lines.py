"""The lines of a person's record and of the reference documents: sentences, items and rows, each with its headings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from responsa_server.domain.passages import VectorKind
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.parts import Part, PassageParts
from responsa_server.search.retrieve import ScoredPassage
from responsa_server.text.names import WORD, without_s

_VALUE: Final = re.compile(
    r":[^\d:]*(\d+(?:\.\d+)?)(?: of \d+)? (?:points|percent)\b|:[^\d:]*(\d+(?:\.\d+)?) ?%"
)


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A sentence, item or row that an answer may show. terms: its own terms. heading: the terms of its heading. title: the terms of its document's title. under: its heading. own: whether it is in a document
    about the caller. place: the order of the lines.
    """

    passage: ScoredPassage
    part: Part
    terms: frozenset[str]
    heading: frozenset[str]
    title: frozenset[str]
    under: str
    own: bool
    place: int

    @property
    def value(self) -> float | None:
        """See `figure_of`."""
        return figure_of(self.part.shown)

    @property
    def key(self) -> tuple[UUID, int]:
        """The document and the first byte of the line in it."""
        return self.passage.found.passage.document_id, self.part.source.start


def figure_of(text: str) -> float | None:
    """The points or the percentage after a colon; None if there are none."""
    found = _VALUE.search(text)
    return float(found.group(1) or found.group(2)) if found else None


def lines_of(
    passages: Iterable[ScoredPassage], own: frozenset[UUID], analyses: PassageAnalyses
) -> Sequence[Line]:
    """The lines of the passages, each once, in the order of documents and texts."""
    found: dict[tuple[UUID, int], Line] = {}
    ordered = sorted(
        passages,
        key=lambda one: (
            one.found.passage.title,
            one.found.passage.document_id.bytes,
            one.found.passage.source.start,
        ),
    )
    for one in ordered:
        for line in _within(one, own, analyses, len(found)):
            known = found.get(line.key)
            # A sentence such as “It is not used.” is shown with the one before it.
            if known is None:
                found[line.key] = line
            elif len(line.part.shown) > len(known.part.shown):
                found[line.key] = replace(known, part=line.part, terms=known.terms | line.terms)
    return list(found.values())


def _within(
    one: ScoredPassage, own: frozenset[UUID], analyses: PassageAnalyses, first: int
) -> Iterator[Line]:
    found = one.found
    passage, analysis, parts = found.passage, analyses.of(found), PassageParts(found)
    title = frozenset(analyses.analyzer.query_terms(passage.title, found.language))
    under = passage.headings[-1] if passage.headings else ""
    heading = frozenset(analyses.analyzer.terms(" ".join(passage.headings), found.language)) - title
    for place, (piece, analysed) in enumerate(zip(found.pieces, analysis.pieces, strict=True)):
        if piece.kind is VectorKind.HEADING:
            under, heading = analysed.plain, analysed.distinct - title
            continue
        part = None if analysed.instructs else parts.of(place)
        if part is None or any(each.instructs for each in analysis.pieces[part.first : part.last + 1]):
            continue
        yield Line(
            one,
            part,
            analysed.distinct,
            heading,
            title,
            under,
            passage.document_id in own,
            first + place,
        )


def words_of(lines: Iterable[Line]) -> frozenset[str]:
    """All words of the lines, their headings and their titles, in lower case."""
    texts = {text for one in lines for text in (one.part.text, one.under, one.passage.found.passage.title)}
    whole = {found.group().casefold() for text in texts for found in WORD.finditer(text)}
    return frozenset({*map(without_s, whole)} | whole)


def title_words(lines: Iterable[Line]) -> frozenset[str]:
    """All words of the titles of the lines' documents, in lower case."""
    titles = {one.passage.found.passage.title for one in lines}
    return frozenset(found.group().casefold() for text in titles for found in WORD.finditer(text))
