"""Chooses the lines of a record that answer a question. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from uuid import UUID

from responsa_server.domain.record import RecordQuestion, Way
from responsa_server.search.record_lines import Line
from responsa_server.search.record_words import AUTHOR, GENERIC, PIECE, Shelf, inflected
from responsa_server.text.lexical import STOPWORDS

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
_TELLS: Final = re.compile(
    r"(?:and |but |so |also |please |pls |kindly |now |then )*(?:tell|give|show|list|name|describe|explain|compare|say|summari[sz]e|enumerate|state|mention|let me|i (?:would|['’]d) like to know|i want to know|i wonder)\b",
    re.IGNORECASE,
)
_THERE: Final = re.compile(r"\b(?:it|its|that|this|these|those|they|them|there|one|ones)\b", re.IGNORECASE)
_THEY: Final = re.compile(r"\b(?:they|them)\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w-]|\.\d)")
_ZERO: Final = re.compile(r"\bzero\b", re.IGNORECASE)
_COUNT: Final = re.compile(r"\b(two|three|four|five|[2-5])\b", re.IGNORECASE)
_SEVERAL: Final = re.compile(
    r"\b(?:two|three|four|five|several|both)\b|\b[2-5] (?:\w+ )?(?:best|top|jobs|careers|matches|professions)\b|\btop [2-5]\b",
    re.IGNORECASE,
)
_COUNTS: Final = {"two": 2, "three": 3, "four": 4, "five": 5}
_MOST: Final = re.compile(r"\b(?:strongest|highest|best|top|greatest|most|largest)\b", re.IGNORECASE)
_LEAST: Final = re.compile(r"\b(?:weakest|lowest|worst|poorest|least|smallest)\b", re.IGNORECASE)
_HAVE: Final = re.compile(r"\bi (?:\w+ )?(?:have|got|lack|meet|miss)\b(?! to\b)|\bhave i\b", re.IGNORECASE)
_DATE: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b")
_GAP: Final = re.compile(
    r"\b(?:has|have) not (?:taken|finished|been)\b|\bdid not finish\b|\bneither\b.{0,200}\bnor\b|\bno\b.{0,60}\byet\b",
    re.IGNORECASE,
)
_READING: Final = re.compile(r"^how to read\b", re.IGNORECASE)
_UNNUMBERED: Final = re.compile(r"^\d+\W+")
_NAME: Final = re.compile(r".*?['’]s? ([a-z][a-z ]+?) is [^:]*:")
"""The name of the scale in “Mira Holt's openness is high: 88 of 100 points.”"""
_LINK: Final = re.compile(r"\[([^\]]{1,200})\]\(")
_WHY: Final = re.compile(r"\bwhy\b|\breasons?\b", re.IGNORECASE)
_REASON: Final = re.compile(r"\bbecause\b|\bdue to\b|\bthe reason\b", re.IGNORECASE)


def choose(question: RecordQuestion, shelf: Shelf) -> Made:
    """What answers the question, or if it has several parts that can be read alone, what answers these."""
    whole = Choice(question, shelf)
    made = {one: one.made() for one in _read_alone(whole, [Choice(one, shelf) for one in question.parts])}
    best = max(one.support for one in made.values())
    kept = [one for one in made.values() if one.support >= min(best, SUPPORTED)]
    asked = [found for one, found in made.items() if found in kept or one.asks]
    return Made(
        list(dict.fromkeys(line for one in kept for line in one.lines))[:MOST_UNDER_HEADINGS],
        best,
        tuple(dict.fromkeys(word for one in asked for word in one.absent)),
        tuple(dict.fromkeys(title for one in kept for title in one.unrecorded)),
        tuple(dict.fromkeys(title for one in kept for title in one.wanted)),
        kept[0].lead,
    )


def _read_alone(whole: Choice, parts: Sequence[Choice]) -> Sequence[Choice]:
    """The parts if they are about different things and do not refer to each other; otherwise the whole."""
    # A statement before the question, such as “I am about to enrol.”, asks for nothing. A part such as “and why?” says nothing alone.
    asking = [one for one in parts if one.asks]
    alone = all(one.worded for one in asking) and not whole.refers_to_several
    if whole.subject_named or whole.certain:
        # “It” in a later part is what an earlier part names.
        named = {tuple(one.subject_named) for one in asking if one.names and not one.refers}
        different = len(named) > 1 or (bool(named) and len({one.category for one in asking}) > 1)
        return asking if alone and different else [whole]
    if all(one.worded and not one.refers for one in asking):
        return asking or [whole]
    return parts if all(one.worded for one in parts) and not whole.refers_to_several else [whole]


@dataclass(frozen=True, slots=True)
class Made:
    """The lines that answer a question, and their support, from 0 to 1. absent: the words of the question that nothing has. unrecorded: see `RecordReading`. wanted: the titles of reference documents that are needed."""

    lines: Sequence[Line]
    support: float
    absent: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    lead: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a question was about: the terms of scales and of things, and documents. listed: whether the question named none of them, but its answer begins with them."""

    scales: Sequence[frozenset[str]] = ()
    things: Sequence[frozenset[str]] = ()
    listed: bool = False
    documents: frozenset[UUID] = frozenset()


ONE_THING: Final = "thing"
"""The label of examples that mean one thing, such as a job, whichever it is."""
NO_TOPIC: Final = "none"
"""The label of examples that are about nothing in particular."""
LEAST_PROBABLE: Final = 0.15
"""The least probability (0 to 1) of a scale in a category that is about scales."""
LEAST_OF_SIDE: Final = 0.3
"""The least probability of a scale that is one side of a comparison."""
PROBABLE: Final = 0.4
"""The least probability of a topic in other categories, and of one that comes before chance words."""
MOST_ABSENT: Final = 2
"""If nothing has so many words of a question, the answer names them; more are only what the author tells."""
SURE: Final = 0.8
"""The least probability of a topic because of which the question before is not read."""
SURE_ENOUGH: Final = 0.6
"""The least probability of a scale because of which words for what no record holds are only what the author tells."""


class Choice:
    """Chooses the lines that answer one question."""

    def __init__(
        self,
        asked: RecordQuestion,
        shelf: Shelf,
        subject: Subject | None = None,
    ) -> None:
        """asked: the question in the words of the record. subject: what an earlier question was about, if this one refers to it."""
        self._question = question = asked.text
        self._category = category = asked.category
        self._topics_likely = topics = asked.topics
        self._sides = asked.sides
        self._subject = subject
        self._way = shelf.ways.get(category)
        if self._way is Way.REFUSE:
            others = [topics[one] for one in topics if one not in (ONE_THING, NO_TOPIC)]
            if subject is not None and subject.things:
                # A question about what was named before is answered from its document, if that says anything.
                self._way = next((one for one in shelf.ways.values() if one is Way.REFERENCE), None)
                category = next((one for one, way in shelf.ways.items() if way is Way.REFERENCE), category)
                self._category = category
            elif max(others, default=0.0) >= PROBABLE:
                self._way = None
        self._shelf = shelf
        self._lines = shelf.lines
        self._own = shelf.own
        self._analyzer = analyzer = shelf.analyzer
        self._language = language = shelf.language
        generic = frozenset(analyzer.terms(GENERIC, language))
        # “The reason” asks for reasons, and does not name anything, such as verbal reasoning.
        terms = analyzer.query_terms(_WHY.sub(" ", question), language)
        self._words = frozenset(terms)
        self._focus = frozenset(analyzer.terms(" ".join(shelf.focus.get(category, ())), language))
        self._described = self._way is Way.REFERENCE
        spoken = {found.group().casefold() for found in PIECE.finditer(question)}
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
            and (word in spoken or (term not in generic and any(inflected(one, word) for one in spoken)))
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
        self._compares = self._way is Way.FIGURES
        self._reads = self._way is Way.WHOLE

    @property
    def names(self) -> bool:
        """Whether the question names something, so that it can be read alone."""
        return bool(self._scales or self._named_things) or self._sure > SURE

    @property
    def _sure(self) -> float:
        """How probable (0 to 1) the topic is as far as examples tell."""
        return self._topics_likely.get(self._topic, 0.0)

    @property
    def certain(self) -> bool:
        """Whether the category alone tells what to answer."""
        return self._way is not None or self._on_things

    @property
    def category(self) -> str:
        """The category of the question."""
        return self._category

    @property
    def subject_named(self) -> Sequence[frozenset[str]]:
        """What the question names."""
        return [*self._meant_scales, *self._meant_things]

    @property
    def worded(self) -> bool:
        """Whether the question has a word that says something."""
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
    def refers_to_several(self) -> bool:
        """Whether the question refers to several things at once, such as “which of them”."""
        return _THEY.search(self._question) is not None

    @property
    def refers(self) -> bool:
        """Whether this refers to something outside of it."""
        return _THERE.search(self._question) is not None

    def made(self) -> Made:
        """What answers the question."""
        direct = self._directly()
        if direct is not None:
            return direct
        return self._by_words()

    def _by_words(self) -> Made:
        """What the record and the reference documents say on the words of the question."""
        about = self._met()
        bodies = frozenset(term for one in self._own for term in one.terms)
        above = frozenset(term for one in self._own for term in (*one.heading, *one.title))
        titles = frozenset(term for one in self._lines if not one.own for term in one.title)
        said = bodies | above | titles | self._focus
        said = said.union(*(one.terms | one.heading for one in about))
        known = [one for one in self._asked if one in said]
        absent = [one for one in self._asked if one not in said]
        lines, headings = bodies | titles, self._focus | (above - self._common)
        named = [
            one
            for one in known
            if one in lines and one not in self._common and (one in self._meant or one not in headings)
        ]
        if about:
            # The other side of a comparison may stand in the record alone.
            left = [one for one in named if not any(one in line.terms | line.title for line in about)]
            more = self._covering(left) if left and self._compares else ()
            more = [one for one in more if not _READING.match(one.under)]
            return Made([*about, *more], 1.0, self._shown(absent), self._unrecorded(bodies | above))
        # A scale, a job or a heading says more about the question than its other words.
        strong = [one for one in named if one in self._topics]
        if strong or any(one in above - self._common for one in known):
            named = strong
        chosen = self._covering(named) if named else self._under()
        gaps = self._gaps()
        own = any(one.own for one in chosen)
        if gaps and not (strong and own) and (absent or not own):
            chosen, known = gaps, self._asked
        asked = len(self._asked) + len(strong)
        support = (len(known) + len(strong)) / asked if asked else float(bool(chosen))
        return Made(chosen, support if chosen else 0.0, self._shown(absent))

    @property
    def _on_things(self) -> bool:
        """Whether the category is about things with headings or reference documents, such as jobs."""
        return self._way in {Way.REFERENCE, Way.HEADED, Way.LISTED}

    @cached_property
    def _topic(self) -> str:
        """What examples tell that the question is about: a word of the record, ONE_THING, or ""."""
        likely = self._topics_likely
        if self._on_things:
            return ONE_THING if likely.get(ONE_THING, 0.0) > likely.get(NO_TOPIC, 1.0) else ""
        if self._category in self._shelf.focus and self._way is None:
            # This category is about scales, so the likeliest of them is meant.
            best = max(sorted(likely.keys() - {ONE_THING, NO_TOPIC}), key=lambda one: likely[one], default="")
            return best if likely.get(best, 0.0) >= LEAST_PROBABLE else ""
        best = max(sorted(likely), key=lambda one: likely[one], default="")
        return best if best != NO_TOPIC and likely.get(best, 0.0) >= PROBABLE else ""

    @cached_property
    def _compared(self) -> Sequence[frozenset[str]]:
        """The two scales that the sides of a comparison are about, as far as examples tell."""
        if self._on_things or self._reads:
            return ()
        found: list[frozenset[str]] = []
        for one in self._sides:
            likely = {label: one.topics[label] for label in one.topics.keys() - {ONE_THING, NO_TOPIC}}
            best = max(sorted(likely), key=lambda label: likely[label], default="")
            if likely.get(best, 0.0) >= LEAST_OF_SIDE:
                found.append(frozenset(self._shelf.terms(best)))
        return list(dict.fromkeys(one for one in found if one in self._scale_names))

    @cached_property
    def _guessed(self) -> Sequence[frozenset[str]]:
        """The scale that the question is about as far as examples tell."""
        if not self._topic or self._topic == ONE_THING:
            return ()
        terms = frozenset(self._shelf.terms(self._topic))
        return () if any(terms <= one.title for one in self._own) else (terms,)

    def subject(self) -> Subject:
        """What the question is about: what it names, or what its answer begins with."""
        scales, things = self._meant_scales, self._meant_things
        lines = self.made().lines
        listed = not scales and not things
        if not scales and not things:
            first = next((one for one in lines if one.own), None)
            linked = [name for one in lines if one.own for name in self._links(one)]
            if first is not None and self._is_thing(first):
                things = (self._under_terms(first),)
            elif self._way is Way.LISTED and linked:
                things = linked[:1]
            elif first is not None:
                scales = [name for name in self._scale_names if name <= first.terms][:1]
                if not scales and any(self._listed_things(first)):
                    things = self._listed_things(first)[:1]
        return Subject(scales, things, listed, frozenset(one.key[0] for one in lines if one.own))

    def _links(self, line: Line) -> Mapping[frozenset[str], str]:
        """The names of the documents to which a line links, by their terms."""
        return {frozenset(self._shelf.terms(one)): one for one in _LINK.findall(line.part.text)}

    def _listed_things(self, line: Line) -> Sequence[frozenset[str]]:
        """The headings that this line lists, in the order of the headings."""
        ordered = sorted((one for one in self._own if self._is_thing(one)), key=lambda one: one.place)
        return [each for one in ordered if (each := self._under_terms(one)) <= line.terms]

    @cached_property
    def _meant_scales(self) -> Sequence[frozenset[str]]:
        if self._subject and self._subject.scales and not self._scales and not self._named_things:
            return self._subject.scales
        if self._way is Way.REFERENCE or self._meant_things:
            return ()
        if len(self._scales) < 2 and len(self._compared) == 2:
            return self._compared
        if self._scales:
            return self._scales
        if self._on_things or self._way in (Way.HIGHEST, Way.LOWEST, Way.DATES):
            return ()
        return self._guessed

    @cached_property
    def _meant_things(self) -> Sequence[frozenset[str]]:
        if self._scales and self._way is not Way.REFERENCE:
            return ()
        if self._named_things:
            return self._named_things
        if self._subject and (self._subject.things or self._subject.scales):
            # “What would I do there?” after a list asks about its first thing, but “what could I study?” does not.
            return () if self._subject.listed and self._way is Way.LISTED else self._subject.things
        return self._guessed_thing

    def _directly(self) -> Made | None:
        """What answers a question whose things or whose category are known; None if other words must tell."""
        if self._way is Way.REFUSE:
            return Made((), 0.0)
        if self._titled and (self._compares or _HAVE.search(self._question)):
            return None
        scales, things = self._meant_scales, self._meant_things
        if not things and not scales and self._way is Way.REFERENCE:
            # “What would I do there?” after a list of jobs asks about the first of them.
            first = next((one for one in self._own if self._is_thing(one)), None)
            things = () if first is None or not self._asked_little else (self._under_terms(first),)
        if things and not (self._way is None and not self._on_things and self._numbered(())):
            return self._of_things(things)
        numbered = () if self._reads or self._scales or self._on_things else self._numbered(())
        if numbered:
            return Made(numbered, 1.0)
        if scales:
            return self._of_scales(scales)
        documents = self._meant_documents
        match self._way:
            case Way.HIGHEST | Way.LOWEST:
                chosen = self._ranked(documents)
            case Way.DATES:
                chosen = self._when(documents)
            case Way.WHOLE:
                chosen = self._read(documents)
            case Way.CHANGES:
                chosen = self._sittings(documents)
            case Way.HEADED | Way.LISTED:
                chosen = self._listed()
            case None if self._category in self._shelf.focus and self._topic:
                chosen = self._overview(documents)
            case _:
                chosen = ()
        return Made(chosen[:MOST_UNDER_HEADINGS], 1.0, self._few_absent()) if chosen else None

    def _overview(self, documents: AbstractSet[UUID]) -> Sequence[Line]:
        """All figures of these documents, and the sentences that list several of their scales; or what is missing."""
        inside = [one for one in self._own if one.key[0] in documents and not self._is_thing(one)]
        figures = [one for one in inside if one in self._valued and not self._is_sitting(one)]
        lists = [
            one
            for one in inside
            if sum(name <= one.terms for name in self._scale_names) > 1 and one not in figures
        ]
        return [*figures, *lists] or [one for one in inside if _GAP.search(one.part.shown)]

    def _few_absent(self) -> tuple[str, ...]:
        """The words of the question that nothing has, unless there are so many that they are only what the author tells."""
        said = frozenset(term for one in self._lines for term in (*one.terms, *one.heading, *one.title))
        absent = [one for one in self._asked if one not in said and one not in self._section_terms]
        return self._shown(absent) if len(absent) <= MOST_ABSENT else ()

    @property
    def _asked_little(self) -> bool:
        return len(self._all_asked - self._small) <= 3

    def _listed(self) -> Sequence[Line]:
        """What stands under the headings of the category: the sentences that list things, and the figures of these."""
        lines = [one for one in self._own if one.heading & self._focus and not _READING.match(one.under)]
        sections = [one for one in lines if not self._is_thing(one)]
        best = max((len(one.heading & self._focus) for one in sections), default=0)
        sections = [one for one in sections if len(one.heading & self._focus) == best]
        documents = {one.key[0] for one in sections}
        under = [one for one in self._own if self._is_thing(one) and one.key[0] in documents]
        if self._way is Way.LISTED:
            return sections
        figures = [one for one in under if one.value is not None]
        reasons = [one for one in under if one.value is None and _REASON.search(one.part.shown)]
        if reasons and _WHY.search(self._question):
            return [*sections, *reasons]
        return [*sections, *figures, *reasons][:MOST_UNDER_HEADINGS]

    @cached_property
    def _section_terms(self) -> AbstractSet[str]:
        """The terms of all headings that categories name."""
        words = " ".join(word for each in self._shelf.focus.values() for word in each)
        return frozenset(self._analyzer.terms(words, self._language))

    def _is_thing(self, one: Line) -> bool:
        """Whether the line is under the heading of one thing, such as a job, in place of a section."""
        return bool(one.under) and not self._under_terms(one) & self._section_terms

    def _under_terms(self, one: Line) -> frozenset[str]:
        return frozenset(term for term in self._shelf.terms(one.under) if not term.isdigit())

    @cached_property
    def _scale_names(self) -> AbstractSet[frozenset[str]]:
        """The terms of all that the record may give a figure of."""
        names = {name for one, name in self._valued.items() if name and not self._is_thing(one)}
        said = self._analyzer.terms
        labels = [one for one in self._shelf.topics if one not in (ONE_THING, NO_TOPIC)]
        topics = {frozenset(said(one, self._language)) for one in labels}
        titles = {one.title for one in self._own}
        names |= {one for one in topics if not any(one <= each for each in titles)}
        return {one for one in names if not any(each < one for each in names)}

    @cached_property
    def _scales(self) -> Sequence[frozenset[str]]:
        """The things with figures that the question names, unless it is about something else as far as examples tell."""
        found = self._scales_named
        if not self._topics_likely:
            return found
        if not self._on_things:
            said = any(one <= self._words - self._shelf.replaced.keys() for one in found)
            surer = self._guessed and self._sure >= SURE_ENOUGH and self._guessed[0] not in found
            return [] if surer and not said else found
        likely = {
            frozenset(self._analyzer.terms(one, self._language))
            for one, probable in self._topics_likely.items()
            if probable >= PROBABLE
        }
        return [one for one in found if one in likely]

    @cached_property
    def _scales_named(self) -> Sequence[frozenset[str]]:
        """The things with figures that the question names."""
        asked = self._all_asked | self._words
        spread = Counter(term for each in self._scale_names for term in each)
        things = frozenset(term for each in self._headings for term in each)
        things = things.union(*(each[0].title for each in self._titled))
        found = [name for name in self._scale_names if name <= asked]
        # “Speed” means the processing speed, as long as nothing else has this word.
        found += [
            name
            for name in self._scale_names
            if name not in found
            and any(spread[term] == 1 for term in name & self._all_asked - self._small - things)
        ]
        return sorted((one for one in found if not any(one < each for each in found)), key=sorted)

    def _about_scale(self, name: frozenset[str]) -> Sequence[Line]:
        """All lines on this alone: its figure, its meaning and what follows from it."""
        others = [one for one in self._scale_names if not one <= name]
        documents = {one.key[0] for one, valued in self._valued.items() if valued == name}
        return [
            one
            for one in self._own
            if name <= one.terms
            and (not documents or one.key[0] in documents)
            and not self._is_thing(one)
            and not _READING.match(one.under)
            and sum(each <= one.terms for each in others) < 2  # one may be a chance likeness
        ]

    def _of_scales(self, scales: Sequence[frozenset[str]]) -> Made:
        about = [self._about_scale(one) for one in scales]
        if not any(about):
            gaps = self._gaps(always=True)
            return Made(gaps, 1.0 if gaps else 0.0)
        figures = [one for each in about for one in each if one.value is not None]
        documents = {one.key[0] for each in about for one in each}
        lines = [one for each in about for one in each]
        twice = [one for one in lines if self._is_sitting(one)]
        if self._way is Way.CHANGES:
            lines = [*figures, *self._sittings(documents, twice)]
        elif self._way is Way.DATES:
            lines = [*self._when(documents)]
        elif len(scales) > 1 and (self._compares or len(scales) > 2):
            lines = figures or lines
        elif twice:
            lines += self._sittings(documents, twice)
        if self._reads:
            lines = [*lines, *self._read(documents)]
        lines = list(dict.fromkeys(lines))[:MOST_UNDER_HEADINGS]
        return Made(lines, 1.0, lead=_compared(lines) if self._compares or self._compared else "")

    def _is_sitting(self, one: Line) -> bool:
        terms = frozenset(self._analyzer.terms("two sittings", self._language))
        return terms <= frozenset(self._analyzer.terms(one.under, self._language))

    def _sittings(self, documents: AbstractSet[UUID], within: Sequence[Line] = ()) -> Sequence[Line]:
        """What the record says on two sittings: within these lines, and on no other scale."""
        section = [one for one in self._own if self._is_sitting(one) and one.key[0] in documents]
        if not within:
            return section
        return [
            one
            for one in section
            if one in within or not any(name <= one.terms for name in self._scale_names)
        ]

    @cached_property
    def _meant_documents(self) -> AbstractSet[UUID]:
        """The documents that the question means by words of their titles, or as far as examples tell; all of them if nothing tells."""
        titled = self._all_asked - self._common | (frozenset(self._shelf.terms(self._topic)) - self._small)
        found = {one.key[0] for one in self._own if one.title & (self._all_asked - self._common)}
        if not found and self._subject and self._subject.documents:
            found = self._subject.documents
        found = found or {one.key[0] for one in self._own if one.title & titled - self._common}
        focused = {one.key[0] for one in self._own if one.title & self._focus}
        return found or focused or {one.key[0] for one in self._own}

    def _ranked(self, documents: AbstractSet[UUID]) -> Sequence[Line]:
        """The highest or the lowest figures of each document, and the section on them."""
        most = self._way is Way.HIGHEST or _MOST.search(self._question)
        least = self._way is Way.LOWEST or _LEAST.search(self._question)
        signs = ((1.0,) if most else ()) + ((-1.0,) if least else ())
        wanted = _COUNT.search(self._question)
        count = _COUNTS.get(wanted.group().casefold(), 0) or int(wanted.group()) if wanted else 1
        found: list[Line] = []
        for document in dict.fromkeys(one.key[0] for one in self._own if one.key[0] in documents):
            valued = [one for one in self._valued if one.key[0] == document and not self._is_thing(one)]
            for sign in signs if valued else ():
                ranked = sorted(valued, key=lambda one: -sign * _figure(one))
                bound = _figure(ranked[min(count, len(ranked)) - 1])
                found += [one for one in ranked if sign * _figure(one) >= sign * bound]
        section = [one for one in self._own if one.heading & self._focus and one.key[0] in documents]
        if not found and not section:
            return [one for one in self._gaps(always=True) if one.key[0] in documents]
        return list(dict.fromkeys([*found, *section]))

    def _when(self, documents: AbstractSet[UUID]) -> Sequence[Line]:
        """The lines with dates, and those on what is missing."""
        return [
            one
            for one in self._own
            if one.key[0] in documents
            and (self._is_sitting(one) or _DATE.search(one.part.shown) or _GAP.search(one.part.shown))
            and not _READING.match(one.under)
            and not any(name <= one.terms for name in self._scale_names)
        ]

    def _read(self, documents: AbstractSet[UUID]) -> Sequence[Line]:
        """How to read these documents."""
        return [one for one in self._own if one.key[0] in documents and _READING.match(one.under)]

    @property
    def _headings(self) -> Sequence[frozenset[str]]:
        """The terms of the headings of things, in the order of the record."""
        ordered = sorted((one for one in self._own if self._is_thing(one)), key=lambda one: one.place)
        return list(dict.fromkeys(map(self._under_terms, ordered)))

    @cached_property
    def _named_things(self) -> Sequence[frozenset[str]]:
        """The terms of the jobs, majors and the like that the question names, or means by their places or figures."""
        every = self._all_asked | self._words
        asked = every - self._section_terms - self._small
        titled = [each[0].title for each in self._titled]
        if self._way is Way.LISTED:
            return titled
        headings = self._headings
        spread = Counter(term for each in headings for term in each)
        whole = [one for one in headings if one <= asked]
        partly = [one for one in headings if any(spread[term] == 1 for term in one & asked)]
        if whole:
            return list(dict.fromkeys(whole))[:3]
        about_scales = self._category in self._shelf.focus and not self._on_things
        if about_scales and (self._way is not None or self._sure >= PROBABLE):
            partly = []
        if self._way is Way.HEADED or about_scales:
            question = self._question.casefold()
            exact = [one for one in self._titled if one[0].passage.found.passage.title.casefold() in question]
            titled = [each[0].title for each in exact]
            if (
                self._topic == ONE_THING
                and not about_scales
                and any(one <= line.terms for one in titled for line in self._own)
            ):
                titled = [] if self._guessed_thing else titled
        if titled or partly:
            return list(dict.fromkeys(titled or partly))[:2]
        if self._reads or self._compares or (self._way is Way.HEADED and _SEVERAL.search(self._question)):
            return ()
        if about_scales:
            return ()
        figures = {float(one.group()) for one in _NUMBER.finditer(self._question)}
        lines = [one for one in self._own if one.value is not None and self._is_thing(one)]
        placed = [
            one
            for one in lines
            if {bool(term.isdigit()) for term in one.terms & every - self._common} == {True, False}
        ] or [one for one in lines if one.value in figures and self._on_things]
        return list(dict.fromkeys(map(self._under_terms, placed)))

    @cached_property
    def _guessed_thing(self) -> Sequence[frozenset[str]]:
        """The thing of the record whose reference document fits the question best, if examples tell that the question means one."""
        if self._topic != ONE_THING or self._compares:
            return ()
        titles = {each[0].key[0]: each[0].title for each in self._references}
        headings = self._headings
        for document in self._shelf.ranked:
            title = titles.get(document)
            if title is None:
                continue
            listed = self._way is Way.LISTED and any(title <= one.terms for one in self._own)
            if title in headings or listed:
                return (title,)
        return ()

    def _of_things(self, things: Sequence[frozenset[str]]) -> Made | None:
        """What the record and the reference documents say on these."""
        chosen: list[Line] = []
        wanted: list[str] = []
        titled = [each[0].title for each in self._titled]
        for name in things:
            under = [one for one in self._own if self._is_thing(one) and name == self._under_terms(one)]
            own = under or [
                one
                for one in self._own
                if name <= one.terms and not name <= self._common and not _READING.match(one.under)
            ]
            reference = self._reference(name, [_UNNUMBERED.sub("", one.under) for one in under])
            if self._way is Way.REFERENCE:
                leading = self._leading(name, reference)
                if name not in titled:
                    names = [_UNNUMBERED.sub("", one.under) for one in under[:1]]
                    wanted += names or [links[name] for one in own if name in (links := self._links(one))][:1]
                if self._studies and leading is not reference:
                    chosen += [one for one in reference if one.heading & self._learning]
                chosen += [*own[:1], *self._sections(leading)]
            elif self._way is Way.LISTED and under:
                if not reference:
                    wanted.append(_UNNUMBERED.sub("", under[0].under))
                chosen += [*own[:1], *(one for one in reference if one.heading & self._focus)]
            elif self._reads:
                documents = {one.key[0] for one in own} or self._meant_documents
                chosen += [*own[:1], *self._read(documents)]
            elif own and not (self._compares or (_HAVE.search(self._question) and not under)):
                chosen += own
            else:
                return None
        if self._topic == ONE_THING and self._way is Way.HEADED:
            # The thing may be another than the question means, so the answer also lists all.
            lists = [one for one in self._own if len(self._listed_things(one)) > 1 and one not in chosen]
            chosen = [*chosen[:MOST_NAMED], *lists[:1]]
        lines = list(dict.fromkeys(chosen))[:MOST_UNDER_HEADINGS]
        return Made(lines, 1.0, wanted=tuple(wanted)) if lines else None

    @property
    def _studies(self) -> bool:
        """Whether the question has a word of the headings on learning."""
        return bool((self._words | self._all_asked) & self._learning)

    @cached_property
    def _learning(self) -> frozenset[str]:
        """The words of the headings on learning."""
        focus = self._shelf.focus.items()
        listed = [each for one, each in focus if self._shelf.ways.get(one) is Way.LISTED]
        return frozenset(self._shelf.terms(" ".join(word for each in listed for word in each)))

    def _reference(self, name: frozenset[str], headings: Sequence[str]) -> Sequence[Line]:
        """The reference document about the thing. Two may have the same terms, such as “translator” and “translation”: then words on learning, the question or a heading of the record tell."""
        found = [each for each in self._references if each[0].title == name]
        if self._studies:
            found.sort(key=lambda each: not any(one.heading & self._words & self._focus for one in each))
        else:
            said = {one.casefold() for one in headings}
            found.sort(key=lambda each: each[0].passage.found.passage.title.casefold() not in said)
        exact = [each for each in found if each in self._titled]
        return next(iter([*exact, *found] if len(exact) == 1 else found), ())

    def _leading(self, name: frozenset[str], reference: Sequence[Line]) -> Sequence[Line]:
        """The reference document, or one that names its thing and has a heading with a word of the question that this lacks, such as the major that leads to a job."""
        asked = (self._all_asked | self._words) - name - self._small
        if not self._studies or any(one.heading & asked & self._focus for one in reference):
            return reference
        ranked = sorted(self._references, key=lambda each: self._shelf.ranked.index(each[0].key[0]))
        for each in ranked:
            named = any(name <= one.terms for one in each) and each[0].title != name
            if named and any(one.heading & asked & self._focus for one in each):
                return each
        return reference

    def _sections(self, lines: Sequence[Line]) -> Sequence[Line]:
        """The sections of a reference document that describe its thing, and those of which the question has words."""
        if not lines:
            return ()
        asked = (self._words | self._all_asked) - lines[0].title - self._small
        described = [one for one in lines if one.heading & self._focus]
        worded = [one for one in lines if one.heading & asked and one not in described]
        return [*worded, *described][:MOST_UNDER_HEADINGS] if worded else described

    @cached_property
    def _topics(self) -> AbstractSet[str]:
        """The terms of what the record gives figures of, and of the titles of reference documents."""
        names = frozenset(term for each in self._valued.values() for term in each)
        named = any(each and each <= self._all_asked for each in self._valued.values())
        # If the question names a scale, a part of a title is a chance likeness, such as “office” in “police officer”.
        titles = [one.title for one in self._lines if not one.own]
        return names.union(*(one for one in titles if not named or one <= self._all_asked))

    def _numbered(self, strong: Sequence[str]) -> Sequence[Line]:
        """The lines with a figure that the question gives instead of what it is the figure of."""
        if strong:
            return ()
        numbers = {float(one.group()) for one in _NUMBER.finditer(self._question)}
        if _ZERO.search(self._question):
            numbers.add(0.0)
        return [one for one in self._valued if one.value in numbers][:MOST_NAMED]

    def _shown(self, absent: Iterable[str]) -> tuple[str, ...]:
        said = self._surface | self._shelf.replaced
        return tuple(dict.fromkeys(said[one] for one in absent if one in said))

    def _unrecorded(self, said: AbstractSet[str]) -> tuple[str, ...]:
        """The titles that the question sets its author against and that the record does not name."""
        if not AUTHOR.search(self._question):
            return ()
        lines = [each[0] for each in self._titled]
        return tuple(one.passage.found.passage.title for one in lines if not one.title <= said)

    @property
    def _references(self) -> Sequence[Sequence[Line]]:
        """The reference documents with titles."""
        documents: dict[UUID, list[Line]] = {}
        for one in self._lines:
            if not one.own and one.title:
                documents.setdefault(one.key[0], []).append(one)
        return list(documents.values())

    @cached_property
    def _titled(self) -> Sequence[Sequence[Line]]:
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
        # “Mechanical engineering” also has the letters of the title “Mechanical engineer”.
        names = [each[0].passage.found.passage.title.casefold() for each in exact]
        exact = [
            each
            for each, name in zip(exact, names, strict=True)
            if not any(name != one and name in one for one in names)
        ]
        return (exact or found)[:2]

    def _met(self) -> Sequence[Line]:
        """What a reference document asks for, and the figures of the record for that, if the question sets the author against it."""
        chosen: list[Line] = []
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

    def _figures(self, line: Line) -> Sequence[Line]:
        """The lines of the record with a figure for something that this line names."""
        return [one for one, name in self._valued.items() if one is not line and name and name <= line.terms]

    @cached_property
    def _valued(self) -> Mapping[Line, frozenset[str]]:
        """The lines of the record with a figure, and the terms of what each gives the figure of: those before the colon, without the person's name and the level."""
        levels = frozenset(term for one in self._own if _READING.match(one.under) for term in one.terms)
        terms = self._analyzer.query_terms
        return {
            one: frozenset(terms(one.part.shown.partition(":")[0], self._language)) - levels - one.title
            for one in self._own
            if one.value is not None
        }

    def _gaps(self, *, always: bool = False) -> Sequence[Line]:
        """The lines that say what the record lacks, if the question is about its author."""
        if not (always or AUTHOR.search(self._question)):
            return ()
        gaps = [one for one in self._own if _GAP.search(one.part.shown) and not _READING.match(one.under)]
        focused = [one for one in gaps if self._focus & (one.heading | one.title)]
        return (focused or gaps)[:MOST_GAPS]

    def _pool(self, left: AbstractSet[str]) -> Sequence[Line]:
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

    def _covered(self, one: Line, left: AbstractSet[str]) -> float:
        return sum(self._weights.get(term, 1.0) for term in one.terms & left)

    def _worth(self, one: Line, left: AbstractSet[str]) -> float:
        # A line that names many things says little about each.
        return self._covered(one, left) - _LONG * max(0, len(one.terms) - _SHORT)

    def _covering(self, named: Sequence[str]) -> Sequence[Line]:
        """The fewest lines that have all of these terms, and the lines of the same document that have the same."""
        left: set[str] = set(named)
        chosen: list[Line] = []
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

    def _under(self) -> Sequence[Line]:
        """Lines under the headings that the question means: of each heading the first, then of each the second, and so on. Lines with figures come first."""
        asked = self._all_asked
        # A word of one heading alone, such as the name of a job, means this heading.
        headings = Counter(
            term for each in {one.under: one.heading for one in self._own}.values() for term in each
        )
        best: list[Line] = []
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
        groups: dict[tuple[UUID, str], list[Line]] = {}
        for one in best:
            groups.setdefault((one.key[0], one.under), []).append(one)
        for group in groups.values():
            group.sort(key=lambda one: one.value is None)
        chosen: list[Line] = []
        for row in range(MOST_UNDER_HEADINGS):
            chosen += [group[row] for group in groups.values() if row < len(group)]
        return sorted(chosen[:MOST_UNDER_HEADINGS], key=lambda one: one.place)


def _compared(lines: Sequence[Line]) -> str:
    """Which of two figures is larger; "" if the lines do not begin with two figures of one document."""
    if len(lines) < 2 or lines[0].key[0] != lines[1].key[0]:
        return ""
    found = [
        (name.group(1), one.value)
        for one in lines[:2]
        if (name := _NAME.match(one.part.shown)) and one.value is not None
    ]
    if len(found) < 2:
        return ""
    (high, most), (low, least) = sorted(found, key=lambda one: -one[1])
    if most == least:
        return f"Your {high} and your {low} are equally high ({most:g} points)."
    return f"Your {high} ({most:g} points) is higher than your {low} ({least:g} points)."


def _figure(one: Line) -> float:
    return one.value or 0.0
