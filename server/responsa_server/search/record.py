"""Reads a person's record: chooses the sentences that answer a question, and says what the record does not have.

A record is small, so a search finds nearly all of it, and its sentences are alike: each has the person's name, and many name the same traits. So sentences are chosen by the rare words
of the question that they have, until all such words are covered; or, if the question names nothing in particular, by the headings that they stand under.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from responsa_server.domain.answers import Evidence, Extraction, Quote
from responsa_server.domain.passages import VectorKind
from responsa_server.domain.people import Principal
from responsa_server.domain.record import RecordReading
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.others import about_another
from responsa_server.search.parts import Part, PassageParts
from responsa_server.search.retrieve import Retrieval, Retriever, ScoredPassage
from responsa_server.text.lexical import Analyzer
from responsa_server.text.names import WORD, without_s

MOST_NAMED: Final = 6
"""The maximum number of sentences that answer a question which names something."""
MOST_GAPS: Final = 3
"""The maximum number of sentences on what the record lacks."""
MOST_UNDER_HEADINGS: Final = 10
"""The maximum number of sentences that answer a question by their headings."""
_COMMON: Final = 0.4
"""A word that this share of the record's sentences has, such as the person's name, says nothing about a sentence."""
_SHORT: Final = 14
_NEARLY: Final = 0.8
_LONG: Final = 0.1
_TITLED: Final = 0.4
_COSINE: Final = 0.5
_NUMBER: Final = 0.2
_NEAR: Final = 0.45
"""The cosine from which on a sentence is about a question that has none of its words."""

_GENERIC: Final = (
    "tell show give explain know please say think well good score scores point points result results value values level levels number record records much many describe mean means"
    " detail details anything something thing things list look read find get got want need according person kind type sort exactly really currently long actually question answer"
    " based info information data document documents see help let way ways use using have has compare compared comparison differ difference better worse stronger weaker higher lower"
    " far apart happened happen made make work works one two three four five six all every given give day date when test tests took take taken would suited right like stands"
    " become choose chosen greater smaller name speak speaks understand particularly especially figure figures change changed difference interpret pick select decide go going"
    " strongest weakest highest lowest best worst top most least greatest poorest suggest overview summary summarise summarize general overall rather out come came stand where"
)
_MOST: Final = re.compile(r"\b(?:strongest|highest|best|top|greatest|most|largest)\b", re.IGNORECASE)
_LEAST: Final = re.compile(r"\b(?:weakest|lowest|worst|poorest|least|smallest)\b", re.IGNORECASE)
_VALUE: Final = re.compile(
    r":[^\d:]*(\d+(?:\.\d+)?)(?: of \d+)? (?:points|percent)\b|:[^\d:]*(\d+(?:\.\d+)?) ?%"
)
_AUTHOR: Final = re.compile(r"\b(?:i|me|my|mine|myself)\b", re.IGNORECASE)
_UNDERSTANDS: Final = re.compile(
    r"\bhow (?:should|do|can|must|shall) (?:i|one) (?:read|understand|interpret)\b", re.IGNORECASE
)
_WHEN: Final = re.compile(r"\bwhen\b|\b(?:which|what) (?:day|date|month|year)\b", re.IGNORECASE)
_DATE: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_GAP: Final = re.compile(
    r"\b(?:has|have) not (?:taken|finished|been)\b|\bdid not finish\b|\bneither\b.{0,200}\bnor\b|\bno\b.{0,60}\byet\b",
    re.IGNORECASE,
)
_READING: Final = re.compile(r"^how to read\b", re.IGNORECASE)
_WHY: Final = re.compile(r"\bwhy\b|\breasons?\b", re.IGNORECASE)
_REASON: Final = re.compile(r"\bbecause\b|\bdue to\b|\bthe reason\b", re.IGNORECASE)


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
        """See `figure_of`."""
        return figure_of(self.part.shown)

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


def figure_of(text: str) -> float | None:
    """The points or the percentage after a colon; None if there are none."""
    found = _VALUE.search(text)
    return float(found.group(1) or found.group(2)) if found else None


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
    return frozenset({*map(without_s, whole)} | whole)


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
        self._focus = frozenset(analyzer.terms(" ".join(focus), language))
        generic = frozenset(analyzer.terms(_GENERIC, language))
        meant = {
            term: analyzer.query_terms(words, language)
            for word, words in synonyms.items()
            for term in analyzer.terms(word, language)
        }
        # “The reason” asks for reasons, and does not name anything, such as verbal reasoning.
        terms = analyzer.query_terms(_WHY.sub(" ", question), language)
        self._words = frozenset(terms)
        # A word with a synonym is meant in its place.
        self._meant = {each for one in terms for each in meant.get(one, ())}
        self._asked = list(
            dict.fromkeys(each for one in terms for each in meant.get(one, () if one in generic else (one,)))
        )
        self._all_asked = frozenset(self._asked)
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
        self._compares = bool(self._focus & frozenset(analyzer.terms("compare", language)))
        self._reads = _UNDERSTANDS.search(question) is not None or bool(
            self._focus & frozenset(analyzer.terms("read", language))
        )

    def made(self) -> tuple[Sequence[_Line], tuple[str, ...], float]:
        """The lines, the words of the question that nothing has, and the support of the lines, from 0 to 1."""
        bodies = frozenset(term for one in self._own for term in one.terms)
        above = frozenset(term for one in self._own for term in (*one.heading, *one.title))
        titles = frozenset(term for one in self._lines if not one.own for term in one.title)
        said = bodies | above | titles | (frozenset[str]() if self._reads else self._focus)
        known = [one for one in self._asked if one in said]
        absent = [one for one in self._asked if one not in said]
        lines, headings = bodies | titles, self._focus | (above - self._common)
        named = [
            one
            for one in known
            if one in lines
            and one not in self._common
            and (self._reads or one in self._meant or one not in headings)
        ]
        chosen = self._dated() or self._extreme(named) or (self._covering(named) if named else self._under())
        if self._reads and chosen and _READING.match(chosen[0].under):
            # How to read something takes more than one sentence.
            first = chosen[0]
            section = [one for one in self._own if (one.key[0], one.under) == (first.key[0], first.under)]
            chosen = section[:MOST_UNDER_HEADINGS]
        gaps = self._gaps()
        if gaps and (absent or not chosen or not any(one.own for one in chosen)):
            chosen, known = gaps, self._asked
        else:
            chosen = self._with_reasons(chosen)
        if not chosen:
            near = max(self._own, key=lambda one: one.cosine)
            chosen = [near] if near.cosine >= _NEAR and len(absent) < 3 else []
        support = len(known) / len(self._asked) if self._asked else float(bool(chosen))
        shown = tuple(dict.fromkeys(self._surface[one] for one in absent if one in self._surface))
        return chosen, shown, support if chosen else 0.0

    def _with_reasons(self, chosen: Sequence[_Line]) -> Sequence[_Line]:
        """The lines, and if the question asks why and no line says so, the lines of the same documents that give reasons."""
        if not _WHY.search(self._question) or any(_REASON.search(one.part.shown) for one in chosen):
            return chosen
        documents = {one.key[0] for one in chosen}
        reasons = [one for one in self._own if one.key[0] in documents and _REASON.search(one.part.shown)]
        return [*chosen, *reasons][:MOST_UNDER_HEADINGS]

    def _dated(self) -> Sequence[_Line]:
        """The lines with a date that have the most words of the question, if it asks for a date."""
        dated = [one for one in self._own if _DATE.search(one.part.shown)]
        if not dated or not _WHEN.search(self._question):
            return ()
        most = max(len(one.terms & self._words) for one in dated)
        return [one for one in dated if most and len(one.terms & self._words) == most][:MOST_GAPS]

    def _gaps(self) -> Sequence[_Line]:
        """The lines that say what the record lacks, if the question is about its author."""
        if not _AUTHOR.search(self._question):
            return ()
        gaps = [one for one in self._own if _GAP.search(one.part.shown) and not _READING.match(one.under)]
        focused = [one for one in gaps if self._focus & (one.heading | one.title)]
        return (focused or gaps)[:MOST_GAPS]

    def _pool(self, left: AbstractSet[str]) -> Sequence[_Line]:
        """The lines to choose from: lines of the record under the right headings, else other lines of the record, else those of reference documents that are about one of the words."""
        having = [
            one for one in self._own if one.terms & left and (self._reads or not _READING.match(one.under))
        ] or [one for one in self._own if one.terms & left]
        asked = self._all_asked - self._focus
        if self._compares:
            # A figure for each thing compares better than a sentence that lists them.
            figures = [one for one in having if one.value is not None and one.heading & self._focus]
            if figures:
                return figures
        groups = [
            [one for one in having if one.heading & left],
            [one for one in having if one.heading & asked - left],
            [one for one in having if one.heading & self._focus],
            [one for one in having if one.title & self._focus],
        ]
        most = max((self._covered(one, left) for one in having), default=0.0)
        for group in groups:
            # The right headings do not help if other lines have more of the words.
            if group and max(self._covered(one, left) for one in group) >= _NEARLY * most:
                return group
        return having or [one for one in self._lines if one.title & left]

    def _covered(self, one: _Line, left: AbstractSet[str]) -> float:
        return sum(self._weights.get(term, 1.0) for term in one.terms & left)

    def _worth(self, one: _Line, left: AbstractSet[str]) -> float:
        worth = self._covered(one, left)
        worth += _TITLED * len((one.heading | one.title) & self._all_asked)
        worth += _COSINE * one.cosine + (-1 if self._reads else 1) * _NUMBER * (one.value is not None)
        # A line that names many things says little about each.
        worth -= _LONG * max(0, len(one.terms) - _SHORT)
        return worth

    def _covering(self, named: Sequence[str]) -> Sequence[_Line]:
        """The fewest lines that have all of these terms, and the lines of the same document that have the same."""
        left, chosen = set(named), list[_Line]()
        while left and len(chosen) < MOST_NAMED:
            pool = [one for one in self._pool(left) if one not in chosen]
            if not pool:
                break
            best = max(pool, key=lambda one: (self._worth(one, left), -one.place))
            chosen.append(best)
            covered = best.terms & left
            left -= best.terms | (frozenset[str]() if best.own else best.title)
            for one in self._own:
                near = one.key[0] == best.key[0] and (len(covered) > 1 or one.under == best.under)
                if near and covered <= one.terms and one not in chosen and len(chosen) < MOST_NAMED:
                    chosen.append(one)
        return chosen

    def _extreme(self, named: Sequence[str]) -> Sequence[_Line]:
        """The line with the highest or the lowest figure of each document that the question means, if it asks for that and names no line with a figure."""
        most, least = _MOST.search(self._question), _LEAST.search(self._question)
        valued = [one for one in self._own if one.value is not None and not _READING.match(one.under)]
        if not (most or least) or any(one.terms & frozenset(named) for one in valued):
            return ()
        asked = self._all_asked - self._common
        about = {one.key[0] for one in self._own if (one.title | one.terms) & asked}
        focused = {one.key[0] for one in valued if (one.heading | one.title) & self._focus}
        meant = (
            {one.key[0] for one in self._own if one.title & asked} or (about & focused) or focused or about
        )
        sign = 1.0 if most else -1.0
        chosen: dict[UUID, _Line] = {}
        for one in valued:
            best = chosen.get(one.key[0])
            if one.key[0] in meant and (best is None or sign * _figure(one) > sign * _figure(best)):
                chosen[one.key[0]] = one
        return list(chosen.values())

    def _under(self) -> Sequence[_Line]:
        """Lines under the headings that the question means: of each heading the first, then of each the second, and so on. Lines with figures come first."""
        asked = self._all_asked
        # A word of one heading alone, such as the name of a job, means this heading.
        headings = Counter(
            term for each in {one.under: one.heading for one in self._own}.values() for term in each
        )
        best: list[_Line] = []
        worth = 0
        for one in self._own:
            if bool(_READING.match(one.under)) is not self._reads:
                continue
            this = sum(12 if headings[term] == 1 else 4 for term in one.heading & asked)
            this += 4 * len(one.title & asked - self._common)
            this += 10 * bool(one.heading & self._focus) + bool(one.title & self._focus)
            this += self._reads * (1 + len(one.terms & asked))
            if this > worth:
                best, worth = [], this
            if this == worth and worth:
                best.append(one)
        groups: dict[tuple[UUID, str], list[_Line]] = {}
        for one in best:
            groups.setdefault((one.key[0], one.under), []).append(one)
        for group in groups.values():
            group.sort(key=lambda one: one.value is None)
        chosen: list[_Line] = []
        for row in range(MOST_UNDER_HEADINGS):
            chosen += [group[row] for group in groups.values() if row < len(group)]
        return sorted(chosen[:MOST_UNDER_HEADINGS], key=lambda one: one.place)


def _figure(one: _Line) -> float:
    return one.value or 0.0
