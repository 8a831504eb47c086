"""Reads a person's record: chooses the sentences that answer a question, and says what the record does not have.

A record is small, so a search finds nearly all of it, and its sentences are alike: each has the person's name, and many name the same traits. So sentences are chosen by the rare words
of the question that they have, until all such words are covered; or, if the question names nothing in particular, by the headings that they stand under.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from responsa_server.domain.answers import Evidence, Extraction, Quote
from responsa_server.domain.passages import VectorKind
from responsa_server.domain.people import Principal
from responsa_server.domain.record import RecordReading, RecordWords
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.others import about_another
from responsa_server.search.parts import Part, PassageParts
from responsa_server.search.retrieve import Retrieval, Retriever, ScoredPassage
from responsa_server.text.lexical import STOPWORDS, Analyzer
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
_LONG: Final = 0.1
_ONE_HEADING: Final = 16
SUPPORTED: Final = 0.5
"""The least support of an answer."""
MOST_PARTS: Final = 4
"""The maximum number of parts of a question that are read one by one."""
_LEAST_SPELLED: Final = 6
"""The least number of letters of a misspelled word and of the word that is meant."""
_MOST_SPELLED: Final = 32
_MOST_CORRECTED: Final = 100
"""The number of words of a question whose spelling is looked at."""
_APART: Final = 5
"""The lengths of a misspelled word and of the word that is meant differ by at most one letter for so many letters."""
_ALIKE: Final = 0.85
"""The least likeness (0 to 1, `difflib`) of a misspelled word and the word that is meant."""

_GENERIC: Final = (
    "tell show give explain know please say think well good score scores point points result results value values level levels number record records much many describe mean means"
    " detail details anything something thing things list look read find get got want need according person kind type sort exactly really currently long actually question answer"
    " based info information data document documents see help let way ways use using have has compare compared comparison differ difference better worse stronger weaker higher lower above below"
    " far apart happened happen made make work works one two three four five six all every given give day date when test tests took take taken would suited right like stands"
    " become choose chosen greater smaller name speak speaks understand particularly especially figure figures change changed difference interpret pick select decide go going"
    " whats wheres hows whens im ive id dont didnt cant hey hi hello ok pls plz please thx stuff yet even any like just kinda bit vs versus maybe about idea too more up time spot spots also much very lot bad looks looking broken wrong advise enough count counts degree"
    " wich whitch wat wot wht wen shuld shoud shold shuold coud culd woud wuld becuase becouse"
    " strongest weakest highest lowest best worst top most least greatest poorest suggest overview summary summarise summarize general overall rather out come came stand where"
)
_GENERIC_WORDS: Final = frozenset(_GENERIC.split())
_PARTS: Final = re.compile(
    r"(?<=[?.!])\s|[,;]?\s(?:and|also|but)\s(?=(?:what|what['’]?s|which|how|when|where|why|is|are|am|do|does|did|can|could|should|will|would|tell)\b)"
    r"|[,;]\s(?=(?:what|what['’]?s|which|how|when|where)\b)",
    re.IGNORECASE,
)
_MOST: Final = re.compile(r"\b(?:strongest|highest|best|top|greatest|most|largest)\b", re.IGNORECASE)
_LEAST: Final = re.compile(r"\b(?:weakest|lowest|worst|poorest|least|smallest)\b", re.IGNORECASE)
_WEAK: Final = re.compile(r"\bweak(?:ness(?:es)?)?\b", re.IGNORECASE)
_HAVE: Final = re.compile(r"\bi (?:\w+ )?(?:have|got|lack|meet|miss)\b(?! to\b)|\bhave i\b", re.IGNORECASE)
_VALUE: Final = re.compile(
    r":[^\d:]*(\d+(?:\.\d+)?)(?: of \d+)? (?:points|percent)\b|:[^\d:]*(\d+(?:\.\d+)?) ?%"
)
_AUTHOR: Final = re.compile(r"\b(?:i|me|my|mine|myself|im|ive)\b", re.IGNORECASE)
_TAKEN: Final = re.compile(
    r"(?<!how )\bdid i (?:do|have)\b|\b(?:take|took|taken|finish(?:ed)?|completed?|done|miss(?:ed|ing)?|skip(?:ped)?|began|begun|start(?:ed)?)\b",
    re.IGNORECASE,
)
_TEST: Final = re.compile(r"\b(?:tests?|tested|sittings?|assessments?)\b", re.IGNORECASE)
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
        category: str,
        words: RecordWords,
        standalone: str = "",
    ) -> RecordReading:
        """See `RecordSource.read`."""
        own = frozenset(await self._retriever.about(who))
        retrieval = self._plain.validate_python(evidence.content) if evidence.content else None
        return await self._retriever.analyse(
            lambda analyses: read_record(question, retrieval, own, category, words, analyses, standalone)
        )


def figure_of(text: str) -> float | None:
    """The points or the percentage after a colon; None if there are none."""
    found = _VALUE.search(text)
    return float(found.group(1) or found.group(2)) if found else None


def read_record(
    question: str,
    retrieval: Retrieval | None,
    own: frozenset[UUID],
    category: str,
    words: RecordWords,
    analyses: PassageAnalyses,
    standalone: str = "",
) -> RecordReading:
    """See `RecordSource.read`. retrieval: the passages that were found. own: the ids of the documents about the caller."""
    passages = () if retrieval is None else (*retrieval.passages, *retrieval.elsewhere)
    lines = _lines(passages, own, analyses)
    titles = tuple(dict.fromkeys(one.passage.found.passage.title for one in lines if one.own))
    known = _words(lines)
    another = about_another(standalone or question, known)
    if another or not any(one.own for one in lines):
        return RecordReading(len(own), titles, Extraction((), 0.0, supported=False), another=another)
    spelled = _words([one for one in lines if one.own]) | _titles(lines)
    spelled |= frozenset(word for each in words.focus.values() for word in each) | words.synonyms.keys()
    spelling = _Spelling(spelled, analyses.analyzer, next(one for one in lines if one.own))
    asked = _meant(question, spelling, words)
    alone = _Choice(asked.text, lines, category, words, analyses.analyzer)
    if standalone and not alone.names:
        asked = _meant(standalone, spelling, words)
    made = _chosen(asked.text, lines, category, words, analyses.analyzer)
    quotes = [
        Quote(one.passage.found.passage, one.part.source, one.part.text, made.support, one.part.shown)
        for one in made.lines
    ]
    supported = bool(quotes) and made.support >= SUPPORTED
    return RecordReading(
        len(own),
        titles,
        Extraction(quotes, made.support, supported=supported),
        made.absent,
        made.unrecorded,
        asked.misspelled,
        alone.known,
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
            first + place,
        )


def _words(lines: Iterable[_Line]) -> frozenset[str]:
    """All words of the lines, their headings and their titles, in lower case."""
    texts = {text for one in lines for text in (one.part.text, one.under, one.passage.found.passage.title)}
    whole = {found.group().casefold() for text in texts for found in WORD.finditer(text)}
    return frozenset({*map(without_s, whole)} | whole)


def _titles(lines: Iterable[_Line]) -> frozenset[str]:
    titles = {one.passage.found.passage.title for one in lines}
    return frozenset(found.group().casefold() for text in titles for found in WORD.finditer(text))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question as `_Choice` reads it. misspelled: see `RecordReading`."""

    text: str
    misspelled: tuple[tuple[str, str], ...]


def _meant(question: str, spelling: _Spelling, words: RecordWords) -> _Asked:
    """The question with the words that were meant, and with synonyms in place of phrases."""
    asked = spelling.of(question)
    meant = asked.text
    for phrase, synonym in words.synonyms.items():
        if " " in phrase:
            meant = re.sub(rf"\b{re.escape(phrase)}\b", synonym, meant, flags=re.IGNORECASE)
    return _Asked(meant, asked.misspelled)


class _Spelling:
    """Finds the known words that were meant by unknown words which are nearly like them, such as “opennes”. Since “electrician” is nearly like “electrical”, too, the answer says what was read."""

    def __init__(self, known: AbstractSet[str], analyzer: Analyzer, line: _Line) -> None:
        self._candidates = sorted(one for one in known if len(one) >= _LEAST_SPELLED)
        self._analyzer = analyzer
        self._language = line.passage.found.language
        right = " ".join(known | _GENERIC_WORDS | STOPWORDS["en"])
        self._right = frozenset(analyzer.terms(right, self._language))

    def of(self, question: str) -> _Asked:
        """The question with the words that were meant."""
        misspelled: dict[str, str] = {}

        def meant(found: re.Match[str]) -> str:
            word = found.group()
            near = self._near(word.casefold())
            return misspelled.setdefault(word, near) if near else word

        return _Asked(WORD.sub(meant, question, _MOST_CORRECTED), tuple(misspelled.items()))

    def _near(self, word: str) -> str:
        """The word that was meant; "" if the word is known, in whatever form, or like none."""
        if not _LEAST_SPELLED <= len(word) <= _MOST_SPELLED:
            return ""
        if self._right.issuperset(self._analyzer.terms(word, self._language)):
            return ""
        most = len(word) // _APART
        near = [one for one in self._candidates if one[0] == word[0] and abs(len(one) - len(word)) <= most]
        best = next(iter(difflib.get_close_matches(word, near, 1, _ALIKE)), "")
        # “Advise” is another word than “adviser”, but “opennes” lacks a letter that stands twice.
        return "" if best.startswith(word) and best[-1] != word[-1] else best


def _chosen(
    question: str, lines: Sequence[_Line], category: str, words: RecordWords, analyzer: Analyzer
) -> _Made:
    """What answers the parts of the question, with the support of the best part."""
    parts = [one for one in _PARTS.split(question) if one.strip()]
    choices = [_Choice(question, lines, category, words, analyzer)]
    if 1 < len(parts) <= MOST_PARTS:
        each = [_Choice(one, lines, _category_of(one, category, words), words, analyzer) for one in parts]
        # A part such as “and why?” says nothing alone.
        choices = each if all(one.names for one in each) else choices
    made = {one: one.made() for one in choices}
    best = max(one.support for one in made.values())
    kept = [one for one in made.values() if one.support >= min(best, SUPPORTED)]
    # A statement before the question, such as “I am about to enrol.”, need not stand in the record.
    asked = [found for one, found in made.items() if found in kept or one.asks]
    return _Made(
        list(dict.fromkeys(line for one in kept for line in one.lines))[:MOST_UNDER_HEADINGS],
        best,
        tuple(dict.fromkeys(word for one in asked for word in one.absent)),
        tuple(dict.fromkeys(title for one in kept for title in one.unrecorded)),
    )


def _category_of(part: str, category: str, words: RecordWords) -> str:
    """The category of a part of a question: the one whose words it has, if it has no word of the whole question's."""
    asked = {found.group().casefold() for found in WORD.finditer(part)} - _GENERIC_WORDS
    shared = {one: len(asked.intersection(each)) for one, each in words.focus.items()}
    best = max(shared, key=lambda one: shared[one], default=category)
    return category if shared.get(category) or not shared.get(best) else best


@dataclass(frozen=True, slots=True)
class _Made:
    """The lines that answer a question, and their support, from 0 to 1. absent: the words of the question that nothing has. unrecorded: see `RecordReading`."""

    lines: Sequence[_Line]
    support: float
    absent: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()


class _Choice:
    """Chooses the lines that answer one question."""

    def __init__(
        self,
        question: str,
        lines: Sequence[_Line],
        category: str,
        words: RecordWords,
        analyzer: Analyzer,
    ) -> None:
        self._question = question
        self._lines = lines
        self._own = [one for one in lines if one.own]
        self._analyzer = analyzer
        self._language = language = self._own[0].passage.found.language
        generic = frozenset(analyzer.terms(_GENERIC, language))
        # “The reason” asks for reasons, and does not name anything, such as verbal reasoning.
        terms = analyzer.query_terms(_WHY.sub(" ", question), language)
        self._words = frozenset(terms)
        self._focus = frozenset(analyzer.terms(" ".join(words.focus.get(category, ())), language))
        self._described = category in words.described
        meant = {
            term: analyzer.query_terms(each, language)
            for word, each in words.synonyms.items()
            if " " not in word
            for term in analyzer.terms(word, language)
        }
        said = [one.terms | one.heading | one.title for one in lines]
        # A word with a synonym is meant in its place. The words of a synonym stand together, or it is not one of this record's.
        meant = {
            term: each if any(one.issuperset(each) for one in said) else []
            for term, each in meant.items()
            if term in terms
        }
        # Words that stand together in a title alone, such as “thinking skills”, mean the document, and not each line that has one of them.
        below = [one.terms | one.heading for one in self._own]
        together = [each for each in meant.values() if any(one.issuperset(each) for one in below)]
        self._meant = {one for each in together for one in each}
        self._asked = list(
            dict.fromkeys(each for one in terms for each in meant.get(one, () if one in generic else (one,)))
        )
        self._all_asked = frozenset(self._asked)
        self._small = frozenset(analyzer.terms(" ".join(STOPWORDS["en"]), language))
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
        self._reads = bool(self._focus & frozenset(analyzer.terms("read", language)))

    @property
    def names(self) -> bool:
        """Whether the question names something, so that it can be read alone."""
        return any(one not in self._small for one in self._asked)

    @property
    def known(self) -> bool:
        """Whether the record or the title of a reference document has a word that the question names."""
        said = frozenset(
            term for one in self._lines for term in ((one.terms | one.heading) if one.own else one.title)
        )
        return not (self._all_asked - self._small - self._focus).isdisjoint(said)

    @property
    def asks(self) -> bool:
        """Whether this is a question, as far as its last character tells."""
        return not self._question.rstrip().endswith((".", "!"))

    def made(self) -> _Made:
        """What answers the question."""
        taken = self._taken()
        if taken:
            return _Made(taken, 1.0)
        against = _HAVE.search(self._question) is not None
        about = (against and self._met()) or self._about() or self._met()
        bodies = frozenset(term for one in self._own for term in one.terms)
        above = frozenset(term for one in self._own for term in (*one.heading, *one.title))
        titles = frozenset(term for one in self._lines if not one.own for term in one.title)
        said = bodies | above | titles | (frozenset[str]() if self._reads else self._focus)
        if about:
            said |= frozenset(term for one in about for term in (*one.terms, *one.heading))
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
        if about:
            # The other side of a comparison may stand in the record alone.
            left = [one for one in named if not any(one in line.terms | line.title for line in about)]
            more = self._covering(left) if left and self._compares else ()
            more = [one for one in more if not _READING.match(one.under)]
            return _Made([*about, *more], 1.0, self._shown(absent), self._unrecorded(bodies | above))
        chosen = self._dated() or self._extreme(named) or (self._covering(named) if named else self._under())
        if self._reads and chosen and _READING.match(chosen[0].under):
            # How to read something takes more than one sentence.
            meant = {(one.key[0], one.under) for one in (chosen[:1] if named else chosen)}
            section = [one for one in self._own if (one.key[0], one.under) in meant]
            chosen = section[:MOST_UNDER_HEADINGS]
        elif self._reads and chosen and chosen[0].own and chosen[0].value is not None:
            # A figure says little without its scale.
            chosen = [
                *chosen,
                *(one for one in self._own if one.key[0] == chosen[0].key[0] and _READING.match(one.under)),
            ]
        gaps = self._gaps()
        if gaps and (absent or not chosen or not any(one.own for one in chosen)):
            chosen, known = gaps, self._asked
        else:
            chosen = self._with_reasons(chosen)
        support = len(known) / len(self._asked) if self._asked else float(bool(chosen))
        if self._reads and chosen and _READING.match(chosen[0].under):
            support = max(support, SUPPORTED)
        return _Made(chosen, support if chosen else 0.0, self._shown(absent))

    def _shown(self, absent: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._surface[one] for one in absent if one in self._surface))

    def _unrecorded(self, said: AbstractSet[str]) -> tuple[str, ...]:
        """The titles that the question sets its author against and that the record does not name."""
        if not _AUTHOR.search(self._question):
            return ()
        lines = [each[0] for each in self._titled]
        return tuple(one.passage.found.passage.title for one in lines if not one.title <= said)

    def _with_reasons(self, chosen: Sequence[_Line]) -> Sequence[_Line]:
        """The lines, and if the question asks why and no line says so, the lines of the same documents that give reasons."""
        if not _WHY.search(self._question) or any(_REASON.search(one.part.shown) for one in chosen):
            return chosen
        documents = {one.key[0] for one in chosen}
        reasons = [one for one in self._own if one.key[0] in documents and _REASON.search(one.part.shown)]
        headings = {(one.key[0], one.under) for one in chosen}
        under = [one for one in reasons if (one.key[0], one.under) in headings]
        return [*chosen, *(under or reasons)][:MOST_UNDER_HEADINGS]

    def _taken(self) -> Sequence[_Line]:
        """The lines that say which tests were taken or not, if the question asks for that."""
        if not (_TEST.search(self._question) and _TAKEN.search(self._question)) or self._reads:
            return ()
        test = frozenset(self._analyzer.terms("test", self._language))
        found = [
            one
            for one in self._own
            if one.terms & test
            and (_GAP.search(one.part.shown) or _DATE.search(one.part.shown))
            and not _READING.match(one.under)
        ]
        # A line on a test that the question names, if there is one.
        most = max((len(one.terms & self._all_asked) for one in found), default=0)
        return [one for one in found if len(one.terms & self._all_asked) == most][:MOST_GAPS]

    @cached_property
    def _titled(self) -> Sequence[Sequence[_Line]]:
        """The reference documents whose whole titles the question names, with their lines."""
        documents: dict[UUID, list[_Line]] = {}
        for one in self._lines:
            if not one.own and one.title and one.title <= self._all_asked | self._words:
                documents.setdefault(one.key[0], []).append(one)
        titles = {each[0].title for each in documents.values()}
        found = [
            each for each in documents.values() if not any(each[0].title < another for another in titles)
        ]
        question = self._question.casefold()
        exact = [each for each in found if each[0].passage.found.passage.title.casefold() in question]
        return (exact or found)[:2]

    def _about(self) -> Sequence[_Line]:
        """The section of a reference document that the question is about, such as what a job is like."""
        titled = self._titled
        if not titled or not (self._described or _AUTHOR.search(self._question) is None):
            return ()
        chosen: list[_Line] = []
        for lines in titled:
            sections: dict[str, list[_Line]] = {}
            for one in lines:
                sections.setdefault(one.under, []).append(one)
            words = self._words - lines[0].title

            def worth(section: Sequence[_Line], words: AbstractSet[str] = words) -> int:
                said = frozenset(term for one in section for term in one.terms)
                return (
                    2 * len(section[0].heading & words)
                    + len(said & words)
                    + 2 * bool(section[0].heading & self._focus)
                )

            best = max(sections.values(), key=worth)
            chosen += best if self._described or worth(best) else ()
        return chosen[:MOST_UNDER_HEADINGS]

    def _met(self) -> Sequence[_Line]:
        """What a reference document asks for, and the figures of the record for that, if the question sets the author against it."""
        chosen: list[_Line] = []
        for lines in self._titled:
            title = lines[0].title
            own = [one for one in self._own if title <= one.heading] or [
                one for one in self._own if title <= one.terms and not title <= self._common
            ]
            if own and not (self._compares or _HAVE.search(self._question)):
                continue
            demands = max(lines, key=lambda one: len(self._figures(one)))
            figures = self._figures(demands)
            if figures:
                said = [one for one in own if one.value is not None or self._figures(one)]
                chosen += [*said, demands] if said else [demands, *figures]
        return chosen[:MOST_UNDER_HEADINGS]

    def _figures(self, line: _Line) -> Sequence[_Line]:
        """The lines of the record with a figure for something that this line names."""
        return [one for one, name in self._valued.items() if one is not line and name and name <= line.terms]

    @cached_property
    def _valued(self) -> Mapping[_Line, frozenset[str]]:
        """The lines of the record with a figure, and the terms of what each gives the figure of: those before the colon, without the person's name and the level."""
        levels = frozenset(term for one in self._own if _READING.match(one.under) for term in one.terms)
        terms = self._analyzer.query_terms
        return {
            one: frozenset(terms(one.part.shown.partition(":")[0], self._language)) - levels - one.title
            for one in self._own
            if one.value is not None
        }

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
            if group and max(self._covered(one, left) for one in group) == most:
                return group
        return having or [one for one in self._lines if one.title & left]

    def _covered(self, one: _Line, left: AbstractSet[str]) -> float:
        return sum(self._weights.get(term, 1.0) for term in one.terms & left)

    def _worth(self, one: _Line, left: AbstractSet[str]) -> float:
        # A line that names many things says little about each.
        return self._covered(one, left) - _LONG * max(0, len(one.terms) - _SHORT)

    def _covering(self, named: Sequence[str]) -> Sequence[_Line]:
        """The fewest lines that have all of these terms, and the lines of the same document that have the same."""
        left: set[str] = set(named)
        chosen: list[_Line] = []
        while left and len(chosen) < MOST_NAMED:
            pool = [one for one in self._pool(left) if one not in chosen]
            if not pool:
                break
            best = max(pool, key=lambda one: (self._worth(one, left), -one.place))
            if (figure := self._defined(best)) is not None and figure not in chosen:
                chosen.append(figure)
            chosen.append(best)
            covered = best.terms & left
            left -= best.terms | (frozenset[str]() if best.own else best.title)
            for one in self._own:
                near = one.key[0] == best.key[0] and (len(covered) > 1 or one.under == best.under)
                if near and covered <= one.terms and one not in chosen and len(chosen) < MOST_NAMED:
                    chosen.append(one)
        return chosen

    def _defined(self, line: _Line) -> _Line | None:
        """The line with the figure of what this line explains, if the question is about its author."""
        if self._reads or line.value is not None or not line.own or not _AUTHOR.search(self._question):
            return None
        return next(
            (
                one
                for one in self._own
                if one.value is not None
                and one.key[0] == line.key[0]
                and one.under == line.under
                and one.place + 1 == line.place
                and self._valued[one] <= line.terms
            ),
            None,
        )

    def _extreme(self, named: Sequence[str]) -> Sequence[_Line]:
        """The lines with the highest or the lowest figure of each document that the question means, if it asks for that and names no line with a figure."""
        most, least = _MOST.search(self._question), _LEAST.search(self._question)
        if not named and _WEAK.search(self._question):
            least = True
        valued = [one for one in self._own if one.value is not None and not _READING.match(one.under)]
        if not (most or least) or any(one.terms & frozenset(named) for one in valued):
            return ()
        asked = self._all_asked - self._common
        about = {one.key[0] for one in self._own if (one.title | one.terms) & asked}
        focused = {one.key[0] for one in valued if (one.heading | one.title) & self._focus}
        meant = (
            {one.key[0] for one in self._own if one.title & asked} or (about & focused) or focused or about
        )
        found: list[_Line] = []
        for sign in ((1.0,) if most else ()) + ((-1.0,) if least else ()):
            chosen: dict[UUID, _Line] = {}
            for one in valued:
                best = chosen.get(one.key[0])
                if one.key[0] in meant and (best is None or sign * _figure(one) > sign * _figure(best)):
                    chosen[one.key[0]] = one
            found += chosen.values()
        return found

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
            this = sum(
                _ONE_HEADING if headings[term] == 1 and term not in self._focus else 4
                for term in one.heading & asked
            )
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
