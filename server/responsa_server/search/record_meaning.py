"""What a question about a record is about: scales, things such as jobs, and documents. Pure.

The words of the record decide first, then the agent's table of everyday words, then the classifiers. The classifiers give the probability of each topic, and
the category.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final
from uuid import UUID

from responsa_server.domain.record import NO_TOPIC, ONE_THING, RecordQuestion, Way
from responsa_server.search.record_contents import Contents
from responsa_server.search.record_lines import Line
from responsa_server.search.record_words import GENERIC, PIECE, inflected

LEAST_PROBABLE: Final = 0.15
"""The least probability (0 to 1) of a scale in a category that is about scales."""
NEARLY: Final = 0.5
"""If the most probable scale or category is not sure, a second one that is at least half as probable is meant, too."""
LEAST_OF_SIDE: Final = 0.3
"""The least probability of a scale that is one side of a comparison."""
PROBABLE: Final = 0.4
"""The least probability of a topic in other categories, and of a topic that takes precedence over words that occur by chance."""
SURE: Final = 0.5
"""If a scale has at least this probability, the previous question is not read."""
SURE_OF_THING: Final = 0.9
"""The same limit for a thing. It is higher, because the thing may be that of the previous question."""
BEFORE: Final = 0.25
"""The weight of the previous question's category. The weight of the question's own category is 1."""
SURE_ENOUGH: Final = 0.6
"""If a scale has at least this probability, words for things that no record contains count only as remarks of the author."""
_TELLS: Final = re.compile(
    r"(?:and |but |so |also |please |pls |kindly |now |then )*(?:tell|give|show|list|name|describe|explain|compare|say|summari[sz]e|enumerate|state|mention|let me|i (?:would|['’]d) like to know|i want to know|i wonder)\b",
    re.IGNORECASE,
)
_THERE: Final = re.compile(r"\b(?:it|its|that|this|these|those|they|them|there|one|ones)\b", re.IGNORECASE)
_THEY: Final = re.compile(r"\b(?:they|them)\b", re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w-]|\.\d)")
_OTHER: Final = re.compile(r"\bother\b", re.IGNORECASE)
_NEXT: Final = re.compile(r"\bnext\b|\bafter (?:that|this|it)\b", re.IGNORECASE)
_ZERO: Final = re.compile(r"\bzero\b", re.IGNORECASE)
_SEVERAL: Final = re.compile(
    r"\b(?:two|three|four|five|several|both)\b|\b[2-5] (?:\w+ )?(?:best|top|jobs|careers|matches|professions)\b|\btop [2-5]\b",
    re.IGNORECASE,
)
WHY: Final = re.compile(r"\bwhy\b|\breasons?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a question was about: the terms of scales and of things, and documents. listed: whether the question named none of them, but its answer begins with them. order: the things that its answer lists, such as majors."""

    scales: Sequence[frozenset[str]] = ()
    things: Sequence[frozenset[str]] = ()
    listed: bool = False
    documents: frozenset[UUID] = frozenset()
    order: Sequence[frozenset[str]] = ()


def following(question: RecordQuestion) -> RecordQuestion:
    """The question with the category that is most probable after the question before. A short question says little about its category: “and the one after that?” is about jobs after a question about jobs."""
    before = question.before
    if before is None or not question.categories or not before.categories:
        return question
    scores = {
        one: math.log(probable) + BEFORE * math.log(before.categories[one])
        for one, probable in question.categories.items()
        if probable and before.categories.get(one)
    }
    return replace(question, category=max(sorted(scores), key=lambda one: scores[one], default=""))


def _topics(question: RecordQuestion) -> Mapping[str, float]:
    """How probable each topic is. A story often shows its scale in one sentence, so each scale's probability is the mean of that in the whole question and of the highest one in a part."""
    if not question.parts:
        return question.topics
    return {
        one: probable
        if one in (ONE_THING, NO_TOPIC)
        else (probable + max(part.topics.get(one, 0.0) for part in question.parts)) / 2
        for one, probable in question.topics.items()
    }


class Meaning:
    """What one question is about."""

    def __init__(self, asked: RecordQuestion, contents: Contents, earlier: Subject | None = None) -> None:
        """asked: the question in the words of the record. earlier: what an earlier question was about, if this one refers to it."""
        self._contents = contents
        shelf, analyzer, language = contents.shelf, contents.shelf.analyzer, contents.shelf.language
        self.question = question = asked.text
        self.likely = _topics(asked)
        self.sides = asked.sides
        self.earlier = earlier
        self.category = asked.category
        self.way = shelf.ways.get(asked.category)
        scales = self.likely.keys() - {ONE_THING, NO_TOPIC}
        surest = max((self.likely[one] for one in scales), default=0.0)
        sure = asked.categories.get(asked.category, 0.0)
        if self.way is Way.REFUSE and earlier is not None and earlier.things:
            # A question about what was named before is answered from its document, if that says anything.
            self.category = next(
                (one for one, way in shelf.ways.items() if way is Way.REFERENCE), asked.category
            )
            self.way = shelf.ways[self.category]
        elif (self.way is Way.REFUSE and surest >= max(PROBABLE, sure)) or (
            self.on_things and surest >= max(SURE_ENOUGH, sure)
        ):
            self.way = None  # the scale is surer than the category
        category = self.category
        generic = frozenset(analyzer.terms(GENERIC, language))
        # “The reason” asks for reasons, and does not name anything, such as verbal reasoning.
        terms = analyzer.query_terms(WHY.sub(" ", question), language)
        self.words = frozenset(terms)
        self.focus = frozenset(analyzer.terms(" ".join(shelf.focus.get(category, ())), language))
        spoken = {found.group().casefold() for found in PIECE.finditer(question)}
        # The words of a title, such as “social worker”, mean the title.
        named = frozenset(
            term for one in shelf.lines if not one.own and one.title <= self.words for term in one.title
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
        # After a question about tests or majors, “the first” is not a job.
        self._counts_elsewhere = earlier is not None and (bool(earlier.order) or not earlier.things)
        self._places = [int(one) for each in meant.values() for one in each if one.isdecimal()]
        if self._counts_elsewhere:
            meant = {term: each for term, each in meant.items() if not any(one.isdecimal() for one in each)}
        # The words of a synonym stand together, or it is not one of this record's.
        meant = {
            term: each if any(one.issuperset(each) for one in shelf.said) else [term]
            for term, each in meant.items()
        }
        # Words that stand together in a title alone, such as “thinking skills”, mean the document, and not each line that has one of them.
        below = [one.terms | one.heading for one in contents.own]
        together = [each for each in meant.values() if any(one.issuperset(each) for one in below)]
        self.synonymous = {one for each in together for one in each}
        # “Thinking” and “personality” name documents, although “think” and “person” say nothing.
        titled = frozenset(term for one in spoken & shelf.titles for term in analyzer.terms(one, language))
        generic -= titled
        self.asked = list(
            dict.fromkeys(each for one in terms for each in meant.get(one, () if one in generic else (one,)))
        )
        self.all_asked = frozenset(self.asked)
        self.surface = {
            token.term: question[token.start : token.end] for token in analyzer.tokens(question, language)
        }
        self.also = self._also(asked)
        self.compares = self.way is Way.FIGURES
        self.reads = self.way is Way.WHOLE

    def _also(self, asked: RecordQuestion) -> Way | None:
        """How questions of the second category are answered, if examples hardly tell it from the first."""
        others = {one: asked.categories[one] for one in asked.categories.keys() - {asked.category}}
        second = max(sorted(others), key=lambda one: others[one], default="")
        near = second and others[second] >= NEARLY * asked.categories.get(asked.category, 1.0)
        return self._contents.shelf.ways.get(second) if near else None

    @property
    def names(self) -> bool:
        """Whether the question names something, so that it can be read alone."""
        sure = SURE_OF_THING if self.topic == ONE_THING else SURE
        return bool(self.named_scales or self.named_things) or self.sure >= sure

    @property
    def sure(self) -> float:
        """How probable (0 to 1) the topic is as far as examples tell."""
        return self.likely.get(self.topic, 0.0)

    @property
    def certain(self) -> bool:
        """Whether the category alone tells what to answer."""
        return self.way is not None or self.on_things

    @property
    def subject_named(self) -> Sequence[frozenset[str]]:
        """What the question names."""
        return [*self.scales, *self.things]

    @property
    def worded(self) -> bool:
        """Whether the question has a word that carries meaning."""
        return any(one not in self._contents.small for one in self.asked)

    @property
    def known(self) -> bool:
        """Whether the record or the title of a reference document has a word that the question names."""
        said = frozenset(
            term
            for one in self._contents.lines
            for term in ((one.terms | one.heading) if one.own else one.title)
        )
        return not (self.all_asked - self._contents.small - self.focus).isdisjoint(said)

    @property
    def asks(self) -> bool:
        """Whether this is a question or a request, as far as its last character and its first words tell."""
        said = self.question.strip()
        return not said.endswith((".", "!")) or _TELLS.match(said) is not None

    @property
    def refers_to_several(self) -> bool:
        """Whether the question refers to several things at once, such as “which of them”."""
        return _THEY.search(self.question) is not None

    @property
    def refers(self) -> bool:
        """Whether this refers to something outside of it."""
        return _THERE.search(self.question) is not None

    @property
    def on_things(self) -> bool:
        """Whether the category is about things with headings or reference documents, such as jobs."""
        return self.way in {Way.REFERENCE, Way.HEADED, Way.LISTED}

    @cached_property
    def topic(self) -> str:
        """What examples tell that the question is about: a word of the record, ONE_THING, or ""."""
        likely = self.likely
        if self.on_things:
            return ONE_THING if likely.get(ONE_THING, 0.0) > likely.get(NO_TOPIC, 1.0) else ""
        if self.category in self._contents.shelf.focus and self.way is None:
            # This category is about scales, so the likeliest of them is meant.
            best = max(sorted(likely.keys() - {ONE_THING, NO_TOPIC}), key=lambda one: likely[one], default="")
            return best if likely.get(best, 0.0) >= LEAST_PROBABLE else ""
        best = max(sorted(likely), key=lambda one: likely[one], default="")
        least = SURE if self.way is Way.CHANGES else PROBABLE  # a question about two sittings needs no scale
        return best if best != NO_TOPIC and likely.get(best, 0.0) >= least else ""

    @cached_property
    def compared_scales(self) -> Sequence[frozenset[str]]:
        """The two scales that the sides of a comparison are about, as far as examples tell."""
        if self.on_things or self.reads:
            return ()
        # “Do I crack under pressure or is it all in my head?” is about one scale, if the sides do not clearly name two.
        least = LEAST_OF_SIDE if self.compares or self.sure < SURE else SURE_ENOUGH
        found: list[frozenset[str]] = []
        for one in self.sides:
            likely = {label: one.topics[label] for label in one.topics.keys() - {ONE_THING, NO_TOPIC}}
            best = max(sorted(likely), key=lambda label: likely[label], default="")
            if likely.get(best, 0.0) >= least:
                found.append(frozenset(self._contents.shelf.terms(best)))
        return list(dict.fromkeys(one for one in found if one in self._contents.scale_names))

    @cached_property
    def guessed_scale(self) -> Sequence[frozenset[str]]:
        """The scale that the question is about as far as examples tell."""
        if not self.topic or self.topic == ONE_THING:
            return ()
        terms = frozenset(self._contents.shelf.terms(self.topic))
        return () if any(terms <= one.title for one in self._contents.own) else (terms,)

    @cached_property
    def scales(self) -> Sequence[frozenset[str]]:
        """The scales that the question is about."""
        ranks = self.way in (Way.HIGHEST, Way.LOWEST)
        if (
            self.earlier
            and self.earlier.scales
            and not ranks
            and not self.named_scales
            and not self.named_things
        ):
            return self.earlier.scales
        if self.way is Way.REFERENCE or self.things:
            return ()
        if len(self.named_scales) < 2 and len(self.compared_scales) == 2:
            return self.compared_scales
        if self.named_scales:
            return self.named_scales
        if self.on_things or self.way in (Way.HIGHEST, Way.LOWEST, Way.DATES):
            return ()
        return self.likely_scales

    @cached_property
    def likely_scales(self) -> Sequence[frozenset[str]]:
        """The scale that the question is about as far as examples tell, and the next one if the examples hardly tell them apart."""
        if not self.guessed_scale or self.sure >= SURE:
            return self.guessed_scale
        others = self.likely.keys() - {ONE_THING, NO_TOPIC, self.topic}
        second = max(sorted(others), key=lambda one: self.likely[one], default="")
        if not second or self.likely[second] < NEARLY * self.sure:
            return self.guessed_scale
        terms = frozenset(self._contents.shelf.terms(second))
        return (*self.guessed_scale, terms) if terms in self._contents.scale_names else self.guessed_scale

    @cached_property
    def things(self) -> Sequence[frozenset[str]]:
        """The jobs, majors and the like that the question is about."""
        if self.named_scales and self.way is not Way.REFERENCE:
            return ()
        if self.named_things:
            return self.named_things
        if self.earlier and (self.earlier.things or self.earlier.scales):
            # “What would I do there?” after a list asks about its first thing, but “what could I study?” does not.
            return () if self.earlier.listed and self.way is Way.LISTED else self._things_before(self.earlier)
        return self.guessed_thing

    def _things_before(self, earlier: Subject) -> Sequence[frozenset[str]]:
        """The things that the earlier question was about, or that its answer lists in the place that this question names."""
        found = [earlier.order[one - 1] for one in self._places if 0 < one <= len(earlier.order)]
        if found:
            return found
        headings = list(earlier.order or self._contents.headings)
        if _NEXT.search(self.question) and earlier.things[0] in headings[:-1]:
            return (headings[headings.index(earlier.things[0]) + 1],)
        return earlier.things

    @property
    def asked_little(self) -> bool:
        """Whether the question has few words, so that it may mean what comes first."""
        return len(self.all_asked - self._contents.small) <= 3

    @cached_property
    def named_scales(self) -> Sequence[frozenset[str]]:
        """The things with figures that the question names, unless it is about something else as far as examples tell."""
        found = self.worded_scales
        if not self.likely:
            return found
        if not self.on_things:
            said = any(one <= self.words - self._contents.shelf.replaced.keys() for one in found)
            surer = self.guessed_scale and self.sure >= SURE_ENOUGH and self.guessed_scale[0] not in found
            return [] if surer and not said else found
        likely = {
            frozenset(self._contents.shelf.analyzer.terms(one, self._contents.shelf.language))
            for one, probable in self.likely.items()
            if probable >= PROBABLE
        }
        return [one for one in found if one in likely]

    @cached_property
    def worded_scales(self) -> Sequence[frozenset[str]]:
        """The things with figures that the question names."""
        asked = self.all_asked | self.words
        spread = Counter(term for each in self._contents.scale_names for term in each)
        things = frozenset(term for each in self._contents.headings for term in each)
        things = things.union(*(each[0].title for each in self.titled))
        found = [name for name in self._contents.scale_names if name <= asked]
        # “Speed” means the processing speed, as long as nothing else has this word.
        found += [
            name
            for name in self._contents.scale_names
            if name not in found
            and any(spread[term] == 1 for term in name & self.all_asked - self._contents.small - things)
        ]
        return sorted((one for one in found if not any(one < each for each in found)), key=sorted)

    @cached_property
    def documents(self) -> AbstractSet[UUID]:
        """The documents that the question means by words of their titles, or as far as examples tell; all of them if nothing tells."""

        def titled(terms: AbstractSet[str]) -> AbstractSet[UUID]:
            said = terms - self._contents.common - self._contents.small
            return {one.key[0] for one in self._contents.own if one.title & said}

        topic = frozenset(self._contents.shelf.terms(self.topic))
        found = titled(self.all_asked)
        if not found and self.sure > self.likely.get(NO_TOPIC, 0.0):
            found = titled(topic)
        if not found and self.earlier and self.earlier.documents:
            found = self.earlier.documents
            if _OTHER.search(self.question):
                found = self._contents.tests - found or found
        found = found or titled(topic)
        focused = {one.key[0] for one in self._contents.own if one.title & self.focus}
        return found or focused or {one.key[0] for one in self._contents.own}

    @cached_property
    def named_things(self) -> Sequence[frozenset[str]]:
        """The terms of the jobs, majors and the like that the question names, or means by their places or figures."""
        every = self.all_asked | self.words
        asked = every - self._contents.section_terms - self._contents.small
        titled = [each[0].title for each in self.titled]
        if self.way is Way.LISTED:
            return titled
        headings = self._contents.headings
        spread = Counter(term for each in headings for term in each)
        whole = [one for one in headings if one <= asked]
        partly = [one for one in headings if any(spread[term] == 1 for term in one & asked)]
        about_scales = self.category in self._contents.shelf.focus and not self.on_things
        if about_scales and self.sure >= SURE_ENOUGH:
            whole = [one for one in whole if one <= self.words]  # “wood” may mean a forester elsewhere
        if whole:
            return list(dict.fromkeys(whole))[:3]
        if about_scales and (self.way is not None or self.sure >= PROBABLE):
            partly = []
        if self.way is Way.HEADED or about_scales:
            question = self.question.casefold()
            exact = [one for one in self.titled if one[0].passage.found.passage.title.casefold() in question]
            titled = [each[0].title for each in exact]
            if (
                self.topic == ONE_THING
                and not about_scales
                and any(one <= line.terms for one in titled for line in self._contents.own)
            ):
                titled = [] if self.guessed_thing else titled
        if titled or partly:
            return list(dict.fromkeys(titled or partly))[:2]
        if self.reads or self.compares or (self.way is Way.HEADED and _SEVERAL.search(self.question)):
            return ()
        if about_scales:
            return ()
        if self._counts_elsewhere:
            return ()
        figures = {float(one.group()) for one in _NUMBER.finditer(self.question)}
        lines = [one for one in self._contents.own if one.value is not None and self._contents.is_thing(one)]
        placed = [
            one
            for one in lines
            if {bool(term.isdigit()) for term in one.terms & every - self._contents.common} == {True, False}
        ] or [one for one in lines if one.value in figures and self.on_things]
        return list(dict.fromkeys(map(self._contents.under_terms, placed)))

    @cached_property
    def guessed_thing(self) -> Sequence[frozenset[str]]:
        """The thing of the record whose reference document fits the question best, if examples tell that the question means one."""
        if self.topic != ONE_THING or self.compares:
            return ()
        titles = {each[0].key[0]: each[0].title for each in self._contents.references}
        headings = self._contents.headings
        for document in self._contents.shelf.ranked:
            title = titles.get(document)
            if title is None:
                continue
            listed = self.way is Way.LISTED and any(title <= one.terms for one in self._contents.own)
            if title in headings or listed:
                return (title,)
        return ()

    @property
    def studies(self) -> bool:
        """Whether the question has a word of the headings on learning."""
        return bool((self.words | self.all_asked) & self._contents.learning)

    @cached_property
    def numbered(self) -> Sequence[Line]:
        """The lines whose figure the question gives instead of a name."""
        numbers = {float(one.group()) for one in _NUMBER.finditer(self.question)}
        if _ZERO.search(self.question):
            numbers.add(0.0)
        return [one for one in self._contents.valued if one.value in numbers]

    @cached_property
    def titled(self) -> Sequence[Sequence[Line]]:
        """The reference documents whose whole titles the question names, with their lines."""
        named = [each for each in self._contents.references if each[0].title <= self.all_asked | self.words]
        titles = {each[0].title for each in named}
        found = [each for each in named if not any(each[0].title < another for another in titles)]
        question = self.question.casefold()
        if not found and self.way is Way.REFERENCE and not self._counts_elsewhere:
            # “The first one” is the job of this recommendation.
            meant = [
                one
                for one in self._contents.own
                if one.value is not None and len(one.terms & self.all_asked) > 1
            ]
            found = [
                each for each in self._contents.references if any(each[0].title <= one.terms for one in meant)
            ]
        exact = [each for each in found if each[0].passage.found.passage.title.casefold() in question]
        # “Mechanical engineering” also has the letters of the title “Mechanical engineer”.
        names = [each[0].passage.found.passage.title.casefold() for each in exact]
        exact = [
            each
            for each, name in zip(exact, names, strict=True)
            if not any(name != one and name in one for one in names)
        ]
        return (exact or found)[:2]
