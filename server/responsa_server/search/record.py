"""Reads a person's record: chooses the sentences that answer a question, and says what the record does not have.

A record is small, so a search finds nearly all of it, and its sentences are alike: each has the person's name, and many name the same traits. So sentences are chosen by the rare words
of the question that they have, until all such words are covered; or, if the question names nothing in particular, by the headings that they stand under.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from responsa_server.domain.answers import Evidence, Extraction, Quote
from responsa_server.domain.passages import VectorKind
from responsa_server.domain.people import Principal
from responsa_server.domain.record import RecordReading
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.others import WORD, about_another
from responsa_server.search.parts import Part, PassageParts
from responsa_server.search.retrieve import Retrieval, Retriever, ScoredPassage
from responsa_server.text.lexical import Analyzer

MOST_NAMED: Final = 6
"""The maximum number of sentences that answer a question which names something."""
MOST_UNDER_HEADINGS: Final = 9
"""The maximum number of sentences that answer a question by their headings."""
_COMMON: Final = 0.4
"""A word that this share of the record's sentences has, such as the person's name, says nothing about a sentence."""
_FOCUSED: Final = 0.6
_TITLED: Final = 0.4
_COSINE: Final = 0.5
_NUMBER: Final = 0.2
_NEAR: Final = 0.45
"""The cosine from which on a sentence is about a question that has none of its words."""

_GENERIC_WORDS: Final = (
    "tell show give explain know please say think well good score scores point points result results value values level levels number record records much many describe mean means"
    " detail details anything something thing things list look read find get got want need according person kind type sort exactly really currently long actually question answer"
    " based info information data document documents see help let way ways use using have has compare compared comparison differ difference better worse stronger weaker higher lower"
    " strongest weakest highest lowest best worst top most least greatest poorest suggest overview summary summarise summarize general overall rather out come came stand where"
)
_GENERIC: Final = frozenset(_GENERIC_WORDS.split())
_MOST: Final = re.compile(r"\b(?:strongest|highest|best|top|greatest|most|largest)\b", re.IGNORECASE)
_LEAST: Final = re.compile(r"\b(?:weakest|lowest|worst|poorest|least|smallest)\b", re.IGNORECASE)
_VALUE: Final = re.compile(r":\D*?(\d+(?:\.\d+)?)")
_READING: Final = re.compile(r"^how to read\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
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
    cosine: float
    place: int

    @property
    def value(self) -> float | None:
        """The figure after the colon; None if there is no such figure."""
        found = _VALUE.search(self.part.shown)
        return float(found.group(1)) if found else None

    @property
    def key(self) -> tuple[UUID, int]:
        return self.passage.found.passage.document_id, self.part.source.start


class LibraryRecord:
    """Implements the port `RecordSource` for the library."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._plain = TypeAdapter(Retrieval)

    async def read(
        self,
        who: Principal,
        question: str,
        evidence: Evidence,
        focus: Sequence[str],
        synonyms: Mapping[str, str],
    ) -> RecordReading:
        """See `RecordSource.read`."""
        own = frozenset(await self._retriever.about(who))
        retrieval = self._plain.validate_python(evidence.content) if evidence.content else None
        return await self._retriever.analyse(
            lambda analyses: read_record(question, retrieval, own, focus, synonyms, analyses)
        )


def read_record(
    question: str,
    retrieval: Retrieval | None,
    own: frozenset[UUID],
    focus: Sequence[str],
    synonyms: Mapping[str, str],
    analyses: PassageAnalyses,
) -> RecordReading:
    """See `RecordSource.read`. retrieval: the passages that were found. own: the ids of the documents about the caller."""
    passages = () if retrieval is None else (*retrieval.passages, *retrieval.elsewhere)
    lines = _lines(passages, own, analyses)
    titles = tuple(dict.fromkeys(one.passage.found.passage.title for one in lines if one.own))
    another = about_another(question, _words(lines))
    if another or not any(one.own for one in lines):
        return RecordReading(len(own), titles, Extraction((), 0.0, supported=False), another=another)
    chosen, absent, support = _Choice(question, lines, focus, synonyms, analyses.analyzer).made()
    quotes = [
        Quote(one.passage.found.passage, one.part.source, one.part.text, support, one.part.shown)
        for one in chosen
    ]
    return RecordReading(
        len(own), titles, Extraction(quotes, support, supported=bool(quotes) and support >= 0.5), absent
    )


def _lines(
    passages: Iterable[ScoredPassage], own: frozenset[UUID], analyses: PassageAnalyses
) -> Sequence[_Line]:
    """The lines of the passages, each once, in the order of documents and texts."""
    found: dict[tuple[UUID, int], _Line] = {}
    ordered = sorted(
        passages,
        key=lambda one: (
            one.found.passage.title,
            one.found.passage.document_id.bytes,
            one.found.passage.source.start,
        ),
    )
    for one in ordered:
        for line in _lines_of(one, own, analyses, len(found)):
            found.setdefault(line.key, line)
    return list(found.values())


def _lines_of(
    one: ScoredPassage, own: frozenset[UUID], analyses: PassageAnalyses, first: int
) -> Iterator[_Line]:
    found = one.found
    passage, analysis, parts = found.passage, analyses.of(found), PassageParts(found)
    title = frozenset(analyses.analyzer.terms(passage.title, found.language))
    under = passage.headings[-1] if passage.headings else ""
    heading = frozenset(analyses.analyzer.terms(" ".join(passage.headings), found.language)) - title
    for place, (piece, analysed) in enumerate(zip(found.pieces, analysis.pieces, strict=True)):
        if piece.kind is VectorKind.HEADING:
            under, heading = analysed.plain, analysed.distinct - title
            continue
        part = None if analysed.instructs else parts.of(place)
        if part is None or any(each.instructs for each in analysis.pieces[part.first : part.last + 1]):
            continue
        yield _Line(
            one,
            part,
            analysed.distinct,
            heading,
            title,
            under,
            passage.document_id in own,
            max(piece.cosine or 0.0, 0.0),
            first + place,
        )


def _words(lines: Iterable[_Line]) -> frozenset[str]:
    """All words of the lines, their headings and their titles, in lower case."""
    texts = {text for one in lines for text in (one.part.text, one.under, one.passage.found.passage.title)}
    whole = {found.group().casefold() for text in texts for found in WORD.finditer(text)}
    return frozenset({re.sub(r"['’]s$", "", one) for one in whole} | whole)


class _Choice:
    """Chooses the lines that answer one question."""

    def __init__(
        self,
        question: str,
        lines: Sequence[_Line],
        focus: Sequence[str],
        synonyms: Mapping[str, str],
        analyzer: Analyzer,
    ) -> None:
        self._question = question
        self._lines = lines
        self._own = [one for one in lines if one.own]
        language = self._own[0].passage.found.language
        self._focus = frozenset(term for word in focus for term in analyzer.terms(word, language))
        generic = {term for word in _GENERIC for term in analyzer.terms(word, language)}
        meant = {
            term: analyzer.query_terms(words, language)
            for word, words in synonyms.items()
            for term in analyzer.terms(word, language)
        }
        terms = analyzer.query_terms(question, language)
        # A word with a synonym is meant in its place.
        self._asked = list(
            dict.fromkeys(each for one in terms for each in meant.get(one, () if one in generic else (one,)))
        )
        self._surface = {
            token.term: question[token.start : token.end] for token in analyzer.tokens(question, language)
        }
        counts = Counter(term for one in self._own for term in one.terms)
        self._weights = {
            term: math.log(1 + len(self._own) / counts[term])
            for term in counts
            if counts[term] <= max(2, _COMMON * len(self._own))
        }
        self._common = counts.keys() - self._weights.keys()

    def made(self) -> tuple[Sequence[_Line], tuple[str, ...], float]:
        """The lines, the words of the question that nothing has, and the support of the lines, from 0 to 1."""
        bodies = frozenset(term for one in self._lines for term in one.terms)
        above = frozenset(term for one in self._lines for term in (*one.heading, *one.title))
        known = [one for one in self._asked if one in bodies or one in above or one in self._focus]
        absent = [one for one in self._asked if one not in known]
        headed = frozenset(
            term for one in self._own for term in (*one.heading, *one.title) if term not in self._common
        )
        named = [
            one
            for one in known
            if one not in self._focus and one not in self._common and one in bodies and one not in headed
        ]
        if not named and (extreme := self._extreme()):
            chosen: Sequence[_Line] = extreme
        elif named:
            chosen = self._covering(named)
        else:
            chosen = self._under([one for one in known if one in headed or one in self._focus])
        if not chosen:
            near = max(self._own, key=lambda one: one.cosine)
            chosen = [near] if near.cosine >= _NEAR and len(absent) < 3 else []
        support = len(known) / max(len(self._asked), 1) if self._asked else float(bool(chosen))
        shown = tuple(dict.fromkeys(self._surface[one] for one in absent if one in self._surface))
        return chosen, shown, support if chosen else 0.0

    def _aside(self, one: _Line) -> float:
        """What a line is worth apart from its words."""
        worth = _FOCUSED * bool(self._focus & (one.heading | one.title)) + _COSINE * one.cosine
        return worth + (0.8 if one.own else 0.0) + _NUMBER * (one.value is not None)

    def _covering(self, named: Sequence[str]) -> Sequence[_Line]:
        """The fewest lines that have all of these terms, and the lines next to them that have the same."""
        left, chosen = set(named), list[_Line]()
        wanted = frozenset(named) | (frozenset(self._asked) - self._common)
        while left and len(chosen) < MOST_NAMED:
            best = max(
                (one for one in self._lines if one.terms & left),
                key=lambda one: (
                    sum(self._weight(term) for term in one.terms & left)
                    + _TITLED * len((one.heading | one.title) & wanted)
                    + self._aside(one),
                    -one.place,
                ),
                default=None,
            )
            if best is None:
                break
            chosen.append(best)
            covered = best.terms & left
            left -= best.terms
            for one in self._lines:
                same = one.key[0] == best.key[0] and one not in chosen
                if same and covered <= one.terms and len(covered) > 1 and len(chosen) < MOST_NAMED:
                    chosen.append(one)
        return chosen

    def _weight(self, term: str) -> float:
        return self._weights.get(term, 1.0)

    def _extreme(self) -> Sequence[_Line]:
        """The line with the highest or the lowest figure, if the question asks for that."""
        most, least = _MOST.search(self._question), _LEAST.search(self._question)
        if not most and not least:
            return ()
        asked = frozenset(self._asked) | self._focus
        valued = [one for one in self._own if one.value is not None and (one.heading | one.title) & asked]
        titled = [one for one in valued if one.title & frozenset(self._asked)]
        valued = titled or valued
        if not valued:
            return ()
        chosen: dict[UUID, _Line] = {}
        for one in valued:
            best = chosen.get(one.key[0])
            if best is None or (one.value or 0.0) * (1 if most else -1) > (best.value or 0.0) * (
                1 if most else -1
            ):
                chosen[one.key[0]] = one
        return list(chosen.values())

    def _under(self, headed: Sequence[str]) -> Sequence[_Line]:
        """Lines under the headings that the question means: of each heading the first, then of each the second, and so on."""
        asked = frozenset(headed)
        reads = bool({one for one in asked if one not in self._focus} & self._reading_terms())
        best: list[_Line] = []
        worth = 0
        for one in self._own:
            if _READING.match(one.under) and not reads and not self._reads_focus():
                continue
            this = 4 * len(one.heading & asked - self._focus) + 2 * len(one.title & asked - self._focus)
            this += 2 * bool(one.heading & self._focus) + bool(one.title & self._focus)
            if this > worth:
                best, worth = [], this
            if this == worth and worth:
                best.append(one)
        groups: dict[tuple[UUID, str], list[_Line]] = {}
        for one in best:
            groups.setdefault((one.key[0], one.under), []).append(one)
        chosen: list[_Line] = []
        for row in range(MOST_UNDER_HEADINGS):
            chosen += [group[row] for group in groups.values() if row < len(group)]
        return sorted(chosen[:MOST_UNDER_HEADINGS], key=lambda one: one.place)

    def _reading_terms(self) -> frozenset[str]:
        return frozenset(term for one in self._own if _READING.match(one.under) for term in one.heading)

    def _reads_focus(self) -> bool:
        return bool(self._focus & self._reading_terms())
