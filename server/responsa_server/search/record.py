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
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import takewhile
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
"""The maximum number of words of a question whose spelling is checked."""
_APART: Final = 5
"""The lengths of a misspelled word and of the word that is meant differ by at most one letter for so many letters."""
_ALIKE: Final = 0.85
"""The least likeness (0 to 1, `difflib`) of a misspelled word and the word that is meant."""
_LEAST_IDLE: Final = 5
_IDLE_ALIKE: Final = 0.8
"""The same for words that say nothing about a question, such as “something”; they are left out."""

_GENERIC: Final = (
    "tell show give explain know please say think well good score scores point points result results value values level levels number record records much many describe mean means"
    " detail details anything something thing things list look read find get got want need according person kind type sort exactly really currently long actually question answer"
    " based info information data document documents see help let way ways use using have has compare compared comparison differ difference better worse stronger weaker higher lower above below"
    " far apart happened happen made make work works one two three four five six all every given give day date when test tests took take taken would suited right like stands"
    " become choose chosen greater smaller name speak speaks understand particularly especially figure figures change changed difference interpret pick select decide go going"
    " whats wheres hows whens im ive id dont didnt cant hey hi hello ok pls plz please thx stuff yet even any like just kinda bit vs versus maybe about idea too more up time spot spots also much very lot bad looks looking broken wrong advise enough count counts degree"
    " everything nothing everyone person people being another other end begin begun start started full whole bit little small big next side part parts half here there today ever never always rather quite really truly honestly actually true"
    " honest serious seriously mad crazy constantly totally strange weird odd funny poor buy believe convince sure certain certainly come came go went goes coming earth god gosh heck hand case fact exam quiz stand told tell said ask asked asking enquire obliged oblige kindly wonder wondering suppose supposed seem seems feel feels look looked sat now tip tips advice trick tricks file files papers page possible possibly perhaps wish wished wanted wanna gonna"
    " keep kept becoming became right properly proper short um uh lol btw tbh omg hmm er through gap cope moved isnt arent wasnt wont couldnt shouldnt wouldnt doesnt hasnt havent whether still only hate love hope across everywhere somewhere anywhere pray don doesn didn isn wasn aren weren won couldn wouldn shouldn hasn haven hadn ll ve re wd cd ur yeah yep nope after around again also both between able whatever somehow somewhat fairly pretty"
    " wich whitch wat wot wht wen shuld shoud shold shuold coud culd woud wuld becuase becouse"
    " strongest weakest highest lowest best worst top most least greatest poorest suggest overview summary summarise summarize general overall rather out come came stand where"
)
_GENERIC_WORDS: Final = frozenset(_GENERIC.split())
_IDLE: Final = re.compile(
    r"\b(?:on earth|in other words|just curious|(?:i am|i['’]?m) (?:just )?curious|go on|i think|i guess|i suppose|trust(?= (?:the|these|this|those|that|it|my (?:results?|scores?|numbers?|figures?|tests?))\b)|at all|after all|of course|(?:would|will|can|could) open|open (?:up|doors)|kind of|sort of|to be honest|by the way)\b",
    re.IGNORECASE,
)
"""Phrases that say nothing about the question, although a record may have their words."""
_TELLS: Final = re.compile(
    r"(?:and |but |so |also |please |pls |kindly |now |then )*(?:tell|give|show|list|name|describe|explain|compare|say|summari[sz]e|enumerate|state|mention|let me|i (?:would|['’]d) like to know|i want to know|i wonder)\b",
    re.IGNORECASE,
)
_THERE: Final = re.compile(r"\b(?:it|its|that|this|these|those|they|them|there|one|ones)\b", re.IGNORECASE)
_THEY: Final = re.compile(r"\b(?:they|them)\b", re.IGNORECASE)
_ADVICE: Final = re.compile(
    r"\b(?:tips?|advice|advise|tricks?|cope|coping|improve|improving|improvement|practi[sc]e|train|get better|do about|do against|help (?:me|with|against)|(?:would|could|can|will|might|what) helps?)\b",
    re.IGNORECASE,
)
_HELPS: Final = re.compile(r"\b(?:helps?|gains? from|needs?|works? best)\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w-]|\.\d)")
_COUNT: Final = re.compile(r"\b(two|three|four|five|[2-5])\b", re.IGNORECASE)
_COUNTS: Final = {"two": 2, "three": 3, "four": 4, "five": 5}
_PIECE: Final = re.compile(r"[^\W_]+")
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
    spelled |= frozenset(word for each in words.focus.values() for word in each)
    shelf = _Shelf(lines, words, analyses.analyzer)
    spelling = _Spelling(spelled | shelf.words, analyses.analyzer, shelf.language)
    asked = _meant(question, spelling, shelf)
    alone = _Choice(asked.text, shelf, category)
    if standalone and not alone.names:
        asked = _meant(standalone, spelling, shelf)
    made = _chosen(asked.text, shelf, category)
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
            known = found.get(line.key)
            # A sentence such as “It is not used.” is shown with the one before it.
            if known is None:
                found[line.key] = line
            elif len(line.part.shown) > len(known.part.shown):
                found[line.key] = replace(known, part=line.part, terms=known.terms | line.terms)
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


def _meant(question: str, spelling: _Spelling, shelf: _Shelf) -> _Asked:
    """The question with the words that were meant, and with words of the record in place of phrases."""
    asked = spelling.of(_IDLE.sub(" ", question))
    return _Asked(shelf.in_its_words(asked.text), asked.misspelled)


Keys = tuple[tuple[str, ...], ...]
"""The terms of each word of a phrase."""


class PhraseTables:
    """The words and phrases of questions that an agent's `RecordWords` name, as the terms of one language. They are not changed after they are made."""

    def __init__(self, words: RecordWords, analyzer: Analyzer, language: str) -> None:
        self.words = frozenset(
            piece for one in (*words.synonyms, *words.unheld) for piece in one.split() if " " not in one
        )
        self.synonyms: dict[tuple[str, ...], tuple[str, Sequence[str]]] = {}
        self.phrases: dict[tuple[str, ...], list[tuple[Keys, str]]] = {}
        for phrase, meant in words.synonyms.items():
            keys = tuple(_key(one.group(), analyzer, language) for one in _PIECE.finditer(phrase))
            if _AUTHOR.search(phrase):  # the question is still about its author
                meant = f"my {meant}"
            if len(keys) == 1 and len(keys[0]) == 1:
                self.synonyms.setdefault(keys[0], (phrase, analyzer.query_terms(meant, language)))
            else:
                self.phrases.setdefault(keys[0], []).append((keys, meant))
        for each in self.phrases.values():
            each.sort(key=lambda one: -len(one[0]))
        # “Fit” is not a form of “fitness”, so these words are compared as they are written.
        self.unheld: dict[str, list[Sequence[str]]] = {}
        for phrase in words.unheld:
            pieces = _PIECE.findall(phrase.casefold())
            self.unheld.setdefault(pieces[0], []).append(pieces)


@lru_cache(maxsize=64)
def phrase_tables(words: RecordWords, analyzer: Analyzer, language: str) -> PhraseTables:
    """Kept, because an agent has hundreds of phrases, and each question would analyse all of them again."""
    return PhraseTables(words, analyzer, language)


def _key(word: str, analyzer: Analyzer, language: str) -> tuple[str, ...]:
    return tuple(analyzer.terms(word, language)) or (word.casefold(),)


class _Shelf:
    """The lines that may answer a question, and the words that mean theirs."""

    def __init__(self, lines: Sequence[_Line], words: RecordWords, analyzer: Analyzer) -> None:
        self.lines = lines
        self.own = [one for one in lines if one.own]
        self.focus = words.focus
        self.described = words.described
        self.analyzer = analyzer
        self.language = self.own[0].passage.found.language
        self.said = [one.terms | one.heading | one.title for one in lines]
        self.titles = _titles(self.own)
        tables = phrase_tables(words, analyzer, self.language)
        self.words = tables.words
        self.synonyms = tables.synonyms
        self._phrases = tables.phrases
        self._unheld = tables.unheld
        self.replaced: dict[str, str] = {}
        """For terms of the record that stand in the place of a phrase, the phrase."""

    def terms(self, text: str) -> Sequence[str]:
        """The terms of a text, without function words."""
        return self.analyzer.query_terms(text, self.language)

    def in_its_words(self, question: str) -> str:
        """The question with words of the record in place of phrases."""
        found = list(_PIECE.finditer(question))
        keys = [self._key(one.group()) for one in found]
        shown: list[str] = []
        place = done = 0
        while place < len(found):
            for phrase, meant in self._phrases.get(keys[place], ()):
                if tuple(keys[place : place + len(phrase)]) == phrase:
                    said = question[found[place].start() : found[place + len(phrase) - 1].end()]
                    self.replaced |= dict.fromkeys(self.terms(meant), said)
                    shown += [question[done : found[place].start()], meant]
                    place += len(phrase)
                    done = found[place - 1].end()
                    break
            else:
                place += 1
        return "".join([*shown, question[done:]])

    def unheld(self, question: str) -> Sequence[str]:
        """The words of the question for what records do not hold, unless a line has them."""
        found = list(_PIECE.finditer(question))
        pieces = [one.group().casefold() for one in found]
        result: list[str] = []
        for place, piece in enumerate(pieces):
            for phrase in self._unheld.get(piece, ()):
                terms = {term for one in phrase for term in self._key(one)}
                if pieces[place : place + len(phrase)] == phrase and not any(
                    one.issuperset(terms) for one in self.said
                ):
                    result.append(question[found[place].start() : found[place + len(phrase) - 1].end()])
        return result

    def _key(self, word: str) -> tuple[str, ...]:
        return _key(word, self.analyzer, self.language)


class _Spelling:
    """Finds the known words that were meant by unknown words which are nearly like them, such as “opennes”. Since “electrician” is nearly like “electrical”, too, the answer says what was read."""

    def __init__(self, known: AbstractSet[str], analyzer: Analyzer, language: str) -> None:
        self._candidates = sorted(one for one in known if len(one) >= _LEAST_SPELLED)
        self._idle = sorted(one for one in _GENERIC_WORDS | STOPWORDS["en"] if len(one) >= _LEAST_IDLE)
        self._analyzer = analyzer
        self._language = language
        right = " ".join(known | _GENERIC_WORDS | STOPWORDS["en"])
        self._right = frozenset(analyzer.terms(right, self._language))

    def of(self, question: str) -> _Asked:
        """The question with the words that were meant."""
        misspelled: dict[str, str] = {}

        def meant(found: re.Match[str]) -> str:
            word = found.group()
            near = self._near(word.casefold())
            if near in _GENERIC_WORDS or near in STOPWORDS["en"]:
                return near
            return misspelled.setdefault(word, near) if near else word

        return _Asked(WORD.sub(meant, question, _MOST_CORRECTED), tuple(misspelled.items()))

    def _near(self, word: str) -> str:
        """The word that was meant; "" if the word is known, in whatever form, or like none."""
        if not _LEAST_IDLE <= len(word) <= _MOST_SPELLED:
            return ""
        if self._right.issuperset(self._analyzer.terms(word, self._language)):
            return ""
        if len(word) >= _LEAST_SPELLED:
            sound = _sound(word)
            most = len(word) // _APART
            near = {
                _sound(one): one
                for one in reversed(self._candidates)
                if _sound(one)[0] == sound[0] and abs(len(one) - len(word)) <= most
            }
            best = near.get(next(iter(difflib.get_close_matches(sound, near, 1, _ALIKE)), ""), "")
            # “Advise” is another word than “adviser”, but “opennes” lacks a letter that stands twice.
            if best and not (best.startswith(word) and best[-1] != word[-1]):
                return best
        near_idle = [one for one in self._idle if one[0] == word[0] and abs(len(one) - len(word)) <= 1]
        return next(iter(difflib.get_close_matches(word, near_idle, 1, _IDLE_ALIKE)), "")


def _sound(word: str) -> str:
    """The word with one spelling for one sound."""
    return word.replace("ph", "f")


def _chosen(question: str, shelf: _Shelf, category: str) -> _Made:
    """What answers the parts of the question, with the support of the best part."""
    parts = [one for one in _PARTS.split(question) if one.strip()]
    choices = [_Choice(question, shelf, category)]
    if 1 < len(parts) <= MOST_PARTS:
        each = [_Choice(one, shelf, _category_of(one, category, shelf.focus)) for one in parts]
        # A statement before the question, such as “I am about to enrol.”, asks for nothing. A part such as “and why?” says nothing alone.
        asking = [one for one in each if one.asks]
        if all(one.names for one in asking) and not any(one.refers for one in asking):
            choices = asking or choices
        elif all(one.names for one in each) and not _THEY.search(question):
            choices = each
    made = {one: one.made() for one in choices}
    best = max(one.support for one in made.values())
    kept = [one for one in made.values() if one.support >= min(best, SUPPORTED)]
    asked = [found for one, found in made.items() if found in kept or one.asks]
    return _Made(
        list(dict.fromkeys(line for one in kept for line in one.lines))[:MOST_UNDER_HEADINGS],
        best,
        tuple(dict.fromkeys(word for one in asked for word in one.absent)),
        tuple(dict.fromkeys(title for one in kept for title in one.unrecorded)),
    )


def _category_of(part: str, category: str, focus: Mapping[str, Sequence[str]]) -> str:
    """The category of a part of a question: the one whose words it has, if it has no word of the whole question's."""
    asked = {found.group().casefold() for found in WORD.finditer(part)} - _GENERIC_WORDS
    shared = {one: len(asked.intersection(each)) for one, each in focus.items()}
    best = max(shared, key=lambda one: shared[one], default=category)
    return category if shared.get(category) or not shared.get(best) else best


@dataclass(frozen=True, slots=True)
class _Made:
    """The lines that answer a question, and their support, from 0 to 1. absent: the words of the question that nothing has. unrecorded: see `RecordReading`."""

    lines: Sequence[_Line]
    support: float
    absent: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()


def _inflected(one: str, other: str) -> bool:
    """Whether two words of one stem are forms of one word. “Living” is not a form of “lively”."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return len(list(same)) >= min(len(one), len(other)) - 1


class _Choice:
    """Chooses the lines that answer one question."""

    def __init__(self, question: str, shelf: _Shelf, category: str) -> None:
        self._question = question
        self._shelf = shelf
        self._lines = shelf.lines
        self._own = shelf.own
        self._analyzer = analyzer = shelf.analyzer
        self._language = language = shelf.language
        generic = frozenset(analyzer.terms(_GENERIC, language))
        # “The reason” asks for reasons, and does not name anything, such as verbal reasoning.
        terms = analyzer.query_terms(_WHY.sub(" ", question), language)
        self._words = frozenset(terms)
        self._focus = frozenset(analyzer.terms(" ".join(shelf.focus.get(category, ())), language))
        self._described = category in shelf.described
        spoken = {found.group().casefold() for found in _PIECE.finditer(question)}
        # The words of a title, such as “social worker”, mean the title.
        named = frozenset(
            term for one in shelf.lines if not one.own and one.title <= self._words for term in one.title
        )
        # A word with a synonym is meant in its place, but “help” does not mean “helpful”.
        meant = {
            term: each
            for term in terms
            if term not in named
            for word, each in (shelf.synonyms.get((term,), ("", ())),)
            if word
            and (word in spoken or (term not in generic and any(_inflected(one, word) for one in spoken)))
        }
        # The words of a synonym stand together, or it is not one of this record's.
        meant = {
            term: each if any(one.issuperset(each) for one in shelf.said) else [term]
            for term, each in meant.items()
        }
        # Words that stand together in a title alone, such as “thinking skills”, mean the document, and not each line that has one of them.
        below = [one.terms | one.heading for one in self._own]
        together = [each for each in meant.values() if any(one.issuperset(each) for one in below)]
        self._meant = {one for each in together for one in each}
        # “Thinking” and “personality” name documents, although “think” and “person” say nothing.
        titled = frozenset(term for one in spoken & shelf.titles for term in analyzer.terms(one, language))
        generic -= titled
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
        """Whether this is a question or a request, as far as its last character and its first words tell."""
        said = self._question.strip()
        return not said.endswith((".", "!")) or _TELLS.match(said) is not None

    @property
    def refers(self) -> bool:
        """Whether this refers to something outside of it."""
        return _THERE.search(self._question) is not None

    def made(self) -> _Made:
        """What answers the question."""
        unheld = self._shelf.unheld(self._question)
        if unheld:
            return _Made((), 0.0, tuple(unheld))
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
        # A scale, a job or a heading says more about the question than its other words.
        strong = [one for one in named if one in self._topics]
        if strong or any(one in above - self._common for one in known):
            named = strong
        section = self._section(strong)
        chosen = self._numbered(strong) or self._dated() or self._several() or section or self._extreme(named)
        chosen = chosen or (self._covering(named) if named else self._under())
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
        own = any(one.own for one in chosen)
        if gaps and not (strong and own) and (absent or not own):
            chosen, known = gaps, self._asked
        else:
            chosen = self._with_advice(self._with_reasons(chosen))
        asked = len(self._asked) + len(strong)
        support = (len(known) + len(strong)) / asked if asked else float(bool(chosen))
        if self._reads and chosen and _READING.match(chosen[0].under):
            support = max(support, SUPPORTED)
        return _Made(chosen, support if chosen else 0.0, self._shown(absent))

    @cached_property
    def _topics(self) -> AbstractSet[str]:
        """The terms of what the record gives figures of, and of the titles of reference documents."""
        names = frozenset(term for each in self._valued.values() for term in each)
        named = any(each and each <= self._all_asked for each in self._valued.values())
        # If the question names a scale, a part of a title is a chance likeness, such as “office” in “police officer”.
        titles = [one.title for one in self._lines if not one.own]
        return names.union(*(one for one in titles if not named or one <= self._all_asked))

    def _section(self, strong: Sequence[str]) -> Sequence[_Line]:
        """The lines under the headings that the question names, such as those on two sittings: on the scale and of the document that the question names, if it does."""
        own = [one for one in self._own if not _READING.match(one.under)]
        found: list[_Line] = []
        for under in dict.fromkeys(one.under for one in own):
            inside = [one for one in own if one.under == under]
            outside = frozenset(term for one in own if one.under != under for term in one.terms | one.title)
            if (frozenset(self._shelf.terms(under)) & self._all_asked) - outside - self._small:
                found += inside
        titled = [one for one in found if one.title & self._all_asked - self._common]
        if any(one.title & self._all_asked - self._common for one in own):
            found = titled
        names = {name for name in self._valued.values() if name and name <= self._all_asked}
        if not names:
            return () if strong and self._titled else sorted(found, key=lambda one: one.place)
        within = [one for one in found if any(name <= one.terms for name in names)]
        figures = [one for one, name in self._valued.items() if name in names and one not in within]
        return [*figures, *within] if within else ()

    def _numbered(self, strong: Sequence[str]) -> Sequence[_Line]:
        """The lines with a figure that the question gives instead of what it is the figure of."""
        if strong or not _AUTHOR.search(self._question):
            return ()
        numbers = {float(one.group()) for one in _NUMBER.finditer(self._question)}
        return [one for one in self._valued if one.value in numbers][:MOST_NAMED]

    def _with_advice(self, chosen: Sequence[_Line]) -> Sequence[_Line]:
        """The lines, with advice if the question asks for it."""
        result = [*chosen]
        if _ADVICE.search(self._question):
            names = {self._valued[one] for one in chosen if one in self._valued}
            result += [
                one
                for one in self._own
                if one not in self._valued
                and _HELPS.search(one.part.shown)
                and any(name and name <= one.terms for name in names)
                and not _READING.match(one.under)
            ]
        return list(dict.fromkeys(result))[:MOST_UNDER_HEADINGS]

    def _shown(self, absent: Iterable[str]) -> tuple[str, ...]:
        said = self._surface | self._shelf.replaced
        return tuple(dict.fromkeys(said[one] for one in absent if one in said))

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

    @property
    def _references(self) -> Sequence[Sequence[_Line]]:
        """The reference documents with titles."""
        documents: dict[UUID, list[_Line]] = {}
        for one in self._lines:
            if not one.own and one.title:
                documents.setdefault(one.key[0], []).append(one)
        return list(documents.values())

    @cached_property
    def _titled(self) -> Sequence[Sequence[_Line]]:
        """The reference documents whose whole titles the question names, with their lines."""
        named = [each for each in self._references if each[0].title <= self._all_asked | self._words]
        titles = {each[0].title for each in named}
        found = [each for each in named if not any(each[0].title < another for another in titles)]
        question = self._question.casefold()
        if not found and self._described:
            # “The first one” is the job of this recommendation.
            meant = [
                one for one in self._own if one.value is not None and len(one.terms & self._all_asked) > 1
            ]
            found = [each for each in self._references if any(each[0].title <= one.terms for one in meant)]
        exact = [each for each in found if each[0].passage.found.passage.title.casefold() in question]
        return (exact or found)[:2]

    def _about(self) -> Sequence[_Line]:
        """The section of a reference document that the question is about, such as what a job is like."""
        titled = self._titled
        asked = self._words | self._all_asked
        headed = any(one.heading & self._all_asked - one.title for each in titled for one in each)
        if not titled or not (headed or self._described or _AUTHOR.search(self._question) is None):
            return ()
        chosen: list[_Line] = []
        for lines in titled:
            sections: dict[str, list[_Line]] = {}
            for one in lines:
                sections.setdefault(one.under, []).append(one)
            words = asked - lines[0].title - self._small

            def worth(section: Sequence[_Line], words: AbstractSet[str] = words) -> int:
                said = frozenset(term for one in section for term in one.terms)
                return (
                    2 * len(section[0].heading & words)
                    + len(said & words)
                    + 2 * bool(section[0].heading & self._focus)
                )

            best = max(sections.values(), key=worth)
            lost = [
                one
                for one in self._all_asked - lines[0].title
                if not any(one in each.terms for each in lines)
            ]
            # A section that has no word of the question does not answer one with several other words.
            if worth(best) > (2 if len(lost) > 1 else 0) or (self._described and len(lost) <= 1):
                chosen += best
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
        words = self._words | self._all_asked
        most = max(len(one.terms & words) for one in dated)
        return [one for one in dated if most and len(one.terms & words) == most][:MOST_GAPS]

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
        question = self._question.casefold()
        least = least or (not named and (_WEAK.search(question) or "less easily" in question))
        most = most or (not named and "strengths" in question)
        valued = [one for one in self._own if one.value is not None and not _READING.match(one.under)]
        if not (most or least) or any(one.terms & frozenset(named) for one in valued):
            return ()
        asked = self._all_asked - self._common
        about = {one.key[0] for one in self._own if (one.title | one.terms) & asked}
        focused = {one.key[0] for one in valued if (one.heading | one.title) & self._focus}
        meant = (
            {one.key[0] for one in self._own if one.title & asked} or (about & focused) or focused or about
        )
        if not meant and not self._asked:
            meant = {one.key[0] for one in valued}
        wanted = _COUNT.search(self._question)
        count = _COUNTS.get(wanted.group().casefold(), 0) or int(wanted.group()) if wanted else 1
        found: list[_Line] = []
        for sign in ((1.0,) if most else ()) + ((-1.0,) if least else ()):
            for document in dict.fromkeys(one.key[0] for one in valued if one.key[0] in meant):
                ranked = sorted(
                    (one for one in valued if one.key[0] == document), key=lambda one: -sign * _figure(one)
                )
                bound = _figure(ranked[min(count, len(ranked)) - 1])
                found += [one for one in ranked if sign * _figure(one) >= sign * bound]
        return found[:MOST_UNDER_HEADINGS]

    def _several(self) -> Sequence[_Line]:
        """The figures of several things that have headings and that the question names, such as jobs."""
        headings = Counter(
            term for each in {one.under: one.heading for one in self._own}.values() for term in each
        )
        asked = {one for one in self._all_asked - self._focus if headings[one] == 1}
        unders = {one.under for one in self._own if one.heading & asked}
        figures = [one for one in self._own if one.under in unders and one.value is not None]
        return figures[:MOST_NAMED] if len({one.under for one in figures}) > 1 and not self._compares else ()

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
