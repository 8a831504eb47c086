"""Chooses the lines of a record that answer a question. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final
from uuid import UUID

from responsa_server.domain.record import ONE_THING, RecordQuestion, Way
from responsa_server.search.record_contents import GAP, READING, Contents
from responsa_server.search.record_lines import Line
from responsa_server.search.record_meaning import WHY, Meaning, Subject, following
from responsa_server.search.record_words import AUTHOR

MOST_NAMED: Final = 6
"""The maximum number of sentences that answer a question which names something."""
MOST_GAPS: Final = 3
"""The maximum number of sentences on what the record lacks."""
MOST_UNDER_HEADINGS: Final = 10
"""The maximum number of sentences that answer a question by their headings."""
MOST_ABSENT: Final = 2
"""If no document has some words of a question, and there are at most this many of them, the answer names them. More such words are only remarks of the author."""
_SHORT: Final = 14
_LONG: Final = 0.1
_ONE_HEADING: Final = 16
SUPPORTED: Final = 0.5
"""The least support of an answer."""
_COUNT: Final = re.compile(r"\b(two|three|four|five|[2-5])\b", re.IGNORECASE)
_COUNTS: Final = {"two": 2, "three": 3, "four": 4, "five": 5}
_MOST: Final = re.compile(r"\b(?:strongest|highest|best|top|greatest|most|largest)\b", re.IGNORECASE)
_LEAST: Final = re.compile(r"\b(?:weakest|lowest|worst|poorest|least|smallest)\b", re.IGNORECASE)
_HAVE: Final = re.compile(r"\bi (?:\w+ )?(?:have|got|lack|meet|miss)\b(?! to\b)|\bhave i\b", re.IGNORECASE)
_UNNUMBERED: Final = re.compile(r"^\d+\W+")
_NAME: Final = re.compile(r".*?['’]s? ([a-z][a-z ]+?) is [^:]*:")
"""The name of the scale in “Mira Holt's openness is high: 88 of 100 points.”"""
_REASON: Final = re.compile(r"\bbecause\b|\bdue to\b|\bthe reason\b", re.IGNORECASE)


def choose(question: RecordQuestion, contents: Contents) -> Made:
    """The lines that answer the question. If the question has several parts that can be read alone, the lines that answer these parts."""
    parts = [Meaning(one, contents) for one in question.parts]
    meanings = _read_alone(Meaning(question, contents), parts)
    made = {one: Choice(one, contents).made() for one in meanings}
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


def subject(question: RecordQuestion, contents: Contents) -> Subject:
    """The subject of a question. If the question names nothing, the subject of the previous question."""
    earlier = None if question.before is None else subject(question.before, contents)
    alone = Meaning(question, contents, earlier)
    if earlier is None or alone.names:
        return Choice(Meaning(question, contents), contents).subject()
    return Choice(Meaning(following(question), contents, earlier), contents).subject()


def _read_alone(whole: Meaning, parts: Sequence[Meaning]) -> Sequence[Meaning]:
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


class Choice:
    """Chooses the lines that answer one question."""

    def __init__(self, meaning: Meaning, contents: Contents) -> None:
        self._meaning = meaning
        self._contents = contents

    def made(self) -> Made:
        """What answers the question."""
        direct = self._directly()
        if direct is None:
            return self._by_words()
        if self._meaning.also is Way.WHOLE and direct.lines:
            documents = {one.key[0] for one in direct.lines if one.own}
            lines = [*direct.lines[:MOST_NAMED], *self._contents.readings(documents)]
            return replace(direct, lines=list(dict.fromkeys(lines))[:MOST_UNDER_HEADINGS])
        return direct

    def _by_words(self) -> Made:
        """What the record and the reference documents say on the words of the question."""
        about = self._met()
        bodies = frozenset(term for one in self._contents.own for term in one.terms)
        above = frozenset(term for one in self._contents.own for term in (*one.heading, *one.title))
        titles = frozenset(term for one in self._contents.lines if not one.own for term in one.title)
        said = bodies | above | titles | self._meaning.focus
        said = said.union(*(one.terms | one.heading for one in about))
        known = [one for one in self._meaning.asked if one in said]
        absent = [one for one in self._meaning.asked if one not in said]
        lines, headings = bodies | titles, self._meaning.focus | (above - self._contents.common)
        named = [
            one
            for one in known
            if one in lines
            and one not in self._contents.common
            and (one in self._meaning.synonymous or one not in headings)
        ]
        if about:
            # The other side of a comparison may stand in the record alone.
            left = [one for one in named if not any(one in line.terms | line.title for line in about)]
            more = self._covering(left) if left and self._meaning.compares else ()
            more = [one for one in more if not READING.match(one.under)]
            return Made([*about, *more], 1.0, self._shown(absent), self._unrecorded(bodies | above))
        # A scale, a job or a heading says more about the question than its other words.
        strong = [one for one in named if one in self._topics]
        if strong or any(one in above - self._contents.common for one in known):
            named = strong
        chosen = self._covering(named) if named else self._under()
        gaps = self._gaps()
        own = any(one.own for one in chosen)
        if gaps and not (strong and own) and (absent or not own):
            chosen, known = gaps, self._meaning.asked
        asked = len(self._meaning.asked) + len(strong)
        support = (len(known) + len(strong)) / asked if asked else float(bool(chosen))
        return Made(chosen, support if chosen else 0.0, self._shown(absent))

    def subject(self) -> Subject:
        """What the question is about: what it names, or what its answer begins with."""
        scales, things = self._meaning.scales, self._meaning.things
        lines = self.made().lines
        listed = not scales and not things
        linked = [name for one in lines if one.own for name in self._contents.links(one)]
        if not scales and not things:
            first = next((one for one in lines if one.own), None)
            if first is not None and self._contents.is_thing(first):
                things = (self._contents.under_terms(first),)
            elif self._meaning.way is Way.LISTED and linked:
                things = linked[:1]
            elif first is not None:
                scales = [name for name in self._contents.scale_names if name <= first.terms][:1]
                if not scales and any(self._contents.listed_things(first)):
                    things = self._contents.listed_things(first)[:1]
        order = linked if self._meaning.way is Way.LISTED else ()
        return Subject(scales, things, listed, frozenset(one.key[0] for one in lines if one.own), order)

    def _directly(self) -> Made | None:
        """What answers a question whose things or whose category are known; None if other words must tell."""
        if self._meaning.way is Way.REFUSE:
            # A question whose words the record has, such as “wich job shuld i take”, asks for something that it holds.
            asked = self._meaning.all_asked - self._contents.small
            said = frozenset(self._contents.section_terms).union(*(one.terms for one in self._contents.own))
            return None if asked and asked <= said else Made((), 0.0)
        if self._meaning.titled and (self._meaning.compares or _HAVE.search(self._meaning.question)):
            return None
        scales, things = self._meaning.scales, self._meaning.things
        if not things and not scales and self._meaning.way is Way.REFERENCE:
            # “What would I do there?” after a list of jobs asks about the first of them.
            first = next((one for one in self._contents.own if self._contents.is_thing(one)), None)
            things = (
                ()
                if first is None or not self._meaning.asked_little
                else (self._contents.under_terms(first),)
            )
        if things and not (
            self._meaning.way is None and not self._meaning.on_things and self._meaning.numbered
        ):
            return self._of_things(things)
        numbered = (
            ()
            if self._meaning.reads or self._meaning.named_scales or self._meaning.on_things
            else self._meaning.numbered
        )
        if numbered:
            return Made(numbered, 1.0)
        if scales:
            return self._of_scales(scales)
        absent = self._absent()
        if absent and self._meaning.words == frozenset(absent):
            # The examples can say nothing on a question such as “Moorhenlake?”.
            return Made((), 0.0, self._shown(absent))
        documents = self._meaning.documents
        match self._meaning.way:
            case Way.HIGHEST | Way.LOWEST:
                chosen = self._ranked(documents)
            case Way.DATES:
                chosen = self._contents.dated(documents)
            case Way.WHOLE:
                chosen = self._contents.readings(documents)
            case Way.CHANGES:
                chosen = self._contents.sittings(documents)
            case Way.HEADED | Way.LISTED:
                chosen = self._listed()
            case None if self._meaning.category in self._contents.shelf.focus and self._meaning.topic:
                chosen = self._contents.overview(documents)
            case _:
                chosen = ()
        few = self._shown(absent) if len(absent) <= MOST_ABSENT else ()
        return Made(chosen[:MOST_UNDER_HEADINGS], 1.0, few) if chosen else None

    def _absent(self) -> Sequence[str]:
        """The words of the question that neither the record nor a heading of the categories has."""
        said = frozenset(
            term for one in self._contents.lines for term in (*one.terms, *one.heading, *one.title)
        )
        return [
            one for one in self._meaning.asked if one not in said and one not in self._contents.section_terms
        ]

    def _listed(self) -> Sequence[Line]:
        """What stands under the headings of the category: the sentences that list things, and the figures of these."""
        lines = [
            one
            for one in self._contents.own
            if one.heading & self._meaning.focus and not READING.match(one.under)
        ]
        sections = [one for one in lines if not self._contents.is_thing(one)]
        best = max((len(one.heading & self._meaning.focus) for one in sections), default=0)
        sections = [one for one in sections if len(one.heading & self._meaning.focus) == best]
        documents = {one.key[0] for one in sections}
        under = [
            one for one in self._contents.own if self._contents.is_thing(one) and one.key[0] in documents
        ]
        if self._meaning.way is Way.LISTED:
            return sections
        figures = [one for one in under if one.value is not None]
        reasons = [one for one in under if one.value is None and _REASON.search(one.part.shown)]
        if reasons and WHY.search(self._meaning.question):
            return [*sections, *reasons]
        return [*sections, *figures, *reasons][:MOST_UNDER_HEADINGS]

    def _of_scales(self, scales: Sequence[frozenset[str]]) -> Made:
        about = [self._contents.about_scale(one) for one in scales]
        if not any(about):
            gaps = self._gaps(always=True)
            return Made(gaps, 1.0 if gaps else 0.0)
        figures = [one for each in about for one in each if one.value is not None]
        documents = {one.key[0] for each in about for one in each}
        lines = [one for each in about for one in each]
        twice = [one for one in lines if self._contents.is_sitting(one)]
        if self._meaning.way is Way.CHANGES:
            lines = [*figures, *self._contents.sittings(documents, twice)]
        elif self._meaning.way is Way.DATES:
            lines = [*self._contents.dated(documents)]
        elif len(scales) > 1 and (self._meaning.compares or len(scales) > 2):
            lines = figures or lines
        elif twice:
            lines += self._contents.sittings(documents, twice)
        if self._meaning.reads:
            lines = [*lines, *self._contents.readings(documents)]
        against = len(scales) == 2 and (self._meaning.compares or len(self._meaning.compared_scales) == 2)
        if against:
            compared = [one for one in figures if one in lines and one not in twice]
            lines = [*compared, *lines]
        lines = list(dict.fromkeys(lines))[:MOST_UNDER_HEADINGS]
        return Made(lines, 1.0, lead=_compared(lines) if against else "")

    def _ranked(self, documents: AbstractSet[UUID]) -> Sequence[Line]:
        """The highest or the lowest figures of each document, and the section on them."""
        most = self._meaning.way is Way.HIGHEST or _MOST.search(self._meaning.question)
        least = self._meaning.way is Way.LOWEST or _LEAST.search(self._meaning.question)
        signs = ((1.0,) if most else ()) + ((-1.0,) if least else ())
        wanted = _COUNT.search(self._meaning.question)
        count = _COUNTS.get(wanted.group().casefold(), 0) or int(wanted.group()) if wanted else 1
        found: list[Line] = []
        for document in dict.fromkeys(one.key[0] for one in self._contents.own if one.key[0] in documents):
            valued = [
                one
                for one in self._contents.valued
                if one.key[0] == document and not self._contents.is_thing(one)
            ]
            for sign in signs if valued else ():
                ranked = sorted(valued, key=lambda one: -sign * _figure(one))
                bound = _figure(ranked[min(count, len(ranked)) - 1])
                found += [one for one in ranked if sign * _figure(one) >= sign * bound]
        section = [
            one for one in self._contents.own if one.heading & self._meaning.focus and one.key[0] in documents
        ]
        if not found and not section:
            return [one for one in self._gaps(always=True) if one.key[0] in documents]
        return list(dict.fromkeys([*found, *section]))

    def _of_things(self, things: Sequence[frozenset[str]]) -> Made | None:
        """What the record and the reference documents say on these."""
        chosen: list[Line] = []
        wanted: list[str] = []
        titled = [each[0].title for each in self._meaning.titled]
        for name in things:
            under = [
                one
                for one in self._contents.own
                if self._contents.is_thing(one) and name == self._contents.under_terms(one)
            ]
            own = under or [
                one
                for one in self._contents.own
                if name <= one.terms and not name <= self._contents.common and not READING.match(one.under)
            ]
            reference = self._reference(name, [_UNNUMBERED.sub("", one.under) for one in under])
            if self._meaning.way is Way.REFERENCE:
                leading = self._leading(name, reference)
                if name not in titled:
                    names = [_UNNUMBERED.sub("", one.under) for one in under[:1]]
                    wanted += (
                        names
                        or [links[name] for one in own if name in (links := self._contents.links(one))][:1]
                    )
                if self._meaning.studies and leading is not reference:
                    chosen += [one for one in reference if one.heading & self._contents.learning]
                recommended = own[:2] if self._meaning.also is Way.HEADED else own[:1]
                chosen += [*recommended, *self._sections(leading)]
            elif self._meaning.way is Way.LISTED and under:
                if not reference:
                    wanted.append(_UNNUMBERED.sub("", under[0].under))
                chosen += [*own[:1], *(one for one in reference if one.heading & self._meaning.focus)]
            elif self._meaning.reads:
                documents = {one.key[0] for one in own} or self._meaning.documents
                chosen += [*own[:1], *self._contents.readings(documents)]
            elif own and not (self._meaning.compares or (_HAVE.search(self._meaning.question) and not under)):
                chosen += own
                if self._meaning.also is Way.REFERENCE:
                    if not reference:
                        wanted += [_UNNUMBERED.sub("", one.under) for one in under[:1]]
                    chosen += [one for one in reference if one.heading & self._described]
            else:
                return None
        if self._meaning.topic == ONE_THING and self._meaning.way is Way.HEADED:
            # The thing may be another than the question means, so the answer also lists all.
            lists = [
                one
                for one in self._contents.own
                if len(self._contents.listed_things(one)) > 1 and one not in chosen
            ]
            chosen = [*chosen[:MOST_NAMED], *lists[:1]]
        lines = list(dict.fromkeys(chosen))[:MOST_UNDER_HEADINGS]
        return Made(lines, 1.0, wanted=tuple(wanted)) if lines else None

    def _reference(self, name: frozenset[str], headings: Sequence[str]) -> Sequence[Line]:
        """The reference document about the thing. Two may have the same terms, such as “translator” and “translation”: then words on learning, the question or a heading of the record tell."""
        found = [each for each in self._contents.references if each[0].title == name]
        if self._meaning.studies:
            found.sort(
                key=lambda each: (
                    not any(one.heading & self._meaning.words & self._meaning.focus for one in each)
                )
            )
        else:
            said = {one.casefold() for one in headings}
            found.sort(key=lambda each: each[0].passage.found.passage.title.casefold() not in said)
        exact = [each for each in found if each in self._meaning.titled]
        return next(iter([*exact, *found] if len(exact) == 1 else found), ())

    def _leading(self, name: frozenset[str], reference: Sequence[Line]) -> Sequence[Line]:
        """The reference document, or one that names its thing and has a heading with a word of the question that this lacks, such as the major that leads to a job."""
        asked = (self._meaning.all_asked | self._meaning.words) - name - self._contents.small
        if not self._meaning.studies or any(one.heading & asked & self._meaning.focus for one in reference):
            return reference
        ranked = sorted(
            self._contents.references, key=lambda each: self._contents.shelf.ranked.index(each[0].key[0])
        )
        for each in ranked:
            named = any(name <= one.terms for one in each) and each[0].title != name
            if named and any(one.heading & asked & self._meaning.focus for one in each):
                return each
        return reference

    @property
    def _described(self) -> AbstractSet[str]:
        """The words of the headings that describe things in reference documents."""
        shelf = self._contents.shelf
        categories = [one for one, way in shelf.ways.items() if way is Way.REFERENCE]
        return frozenset(
            shelf.terms(" ".join(word for one in categories for word in shelf.focus.get(one, ())))
        )

    def _sections(self, lines: Sequence[Line]) -> Sequence[Line]:
        """The sections of a reference document that describe its thing, and those of which the question has words."""
        if not lines:
            return ()
        asked = (self._meaning.words | self._meaning.all_asked) - lines[0].title - self._contents.small
        described = [one for one in lines if one.heading & self._meaning.focus]
        worded = [one for one in lines if one.heading & asked and one not in described]
        return [*worded, *described][:MOST_UNDER_HEADINGS] if worded else described

    @cached_property
    def _topics(self) -> AbstractSet[str]:
        """The terms of what the record gives figures of, and of the titles of reference documents."""
        names = frozenset(term for each in self._contents.valued.values() for term in each)
        named = any(each and each <= self._meaning.all_asked for each in self._contents.valued.values())
        # If the question names a scale, a part of a title is a chance likeness, such as “office” in “police officer”.
        titles = [one.title for one in self._contents.lines if not one.own]
        return names.union(*(one for one in titles if not named or one <= self._meaning.all_asked))

    def _shown(self, absent: Iterable[str]) -> tuple[str, ...]:
        said = self._meaning.surface | self._contents.shelf.replaced
        return tuple(dict.fromkeys(said[one] for one in absent if one in said))

    def _unrecorded(self, said: AbstractSet[str]) -> tuple[str, ...]:
        """The titles that the question sets its author against and that the record does not name."""
        if not AUTHOR.search(self._meaning.question):
            return ()
        lines = [each[0] for each in self._meaning.titled]
        return tuple(one.passage.found.passage.title for one in lines if not one.title <= said)

    def _met(self) -> Sequence[Line]:
        """What a reference document asks for, and the figures of the record for that, if the question sets the author against it."""
        chosen: list[Line] = []
        for lines in self._meaning.titled:
            title = lines[0].title
            own = [one for one in self._contents.own if title <= one.heading] or [
                one for one in self._contents.own if title <= one.terms and not title <= self._contents.common
            ]
            if own and not (self._meaning.compares or _HAVE.search(self._meaning.question)):
                continue
            demands = max(lines, key=lambda one: len(self._contents.figures(one)))
            figures = self._contents.figures(demands)
            if figures:
                said = [one for one in own if one.value is not None or self._contents.figures(one)]
                chosen += [*said, demands] if said else [demands, *figures]
        return chosen[:MOST_UNDER_HEADINGS]

    def _gaps(self, *, always: bool = False) -> Sequence[Line]:
        """The lines that say what the record lacks, if the question is about its author."""
        if not (always or AUTHOR.search(self._meaning.question)):
            return ()
        gaps = [
            one for one in self._contents.own if GAP.search(one.part.shown) and not READING.match(one.under)
        ]
        focused = [one for one in gaps if self._meaning.focus & (one.heading | one.title)]
        return (focused or gaps)[:MOST_GAPS]

    def _pool(self, left: AbstractSet[str]) -> Sequence[Line]:
        """The lines to choose from: lines of the record under the right headings, else other lines of the record, else those of reference documents that are about one of the words."""
        having = [
            one
            for one in self._contents.own
            if one.terms & left and (self._meaning.reads or not READING.match(one.under))
        ] or [one for one in self._contents.own if one.terms & left]
        asked = self._meaning.all_asked - self._meaning.focus
        if self._meaning.compares:
            # A figure for each thing compares better than a sentence that lists them.
            figures = [one for one in having if one.value is not None and one.heading & self._meaning.focus]
            if figures:
                return figures
        groups = [
            [one for one in having if one.heading & left],
            [one for one in having if one.heading & asked - left],
            [one for one in having if one.heading & self._meaning.focus],
            [one for one in having if one.title & self._meaning.focus],
        ]
        most = max((self._covered(one, left) for one in having), default=0.0)
        for group in groups:
            # The right headings do not help if other lines have more of the words.
            if group and max(self._covered(one, left) for one in group) == most:
                return group
        return having or [one for one in self._contents.lines if one.title & left]

    def _covered(self, one: Line, left: AbstractSet[str]) -> float:
        return sum(self._contents.weights.get(term, 1.0) for term in one.terms & left)

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
            for one in self._contents.own:
                near = one.key[0] == best.key[0] and (len(covered) > 1 or one.under == best.under)
                if near and covered <= one.terms and one not in chosen and len(chosen) < MOST_NAMED:
                    chosen.append(one)
        return chosen

    def _under(self) -> Sequence[Line]:
        """Lines under the headings that the question means: of each heading the first, then of each the second, and so on. Lines with figures come first."""
        asked = self._meaning.all_asked
        # A word of one heading alone, such as the name of a job, means this heading.
        headings = Counter(
            term for each in {one.under: one.heading for one in self._contents.own}.values() for term in each
        )
        best: list[Line] = []
        worth = 0
        for one in self._contents.own:
            if bool(READING.match(one.under)) is not self._meaning.reads:
                continue
            this = sum(
                _ONE_HEADING if headings[term] == 1 and term not in self._meaning.focus else 4
                for term in one.heading & asked
            )
            this += 4 * len(one.title & asked - self._contents.common)
            this += 10 * bool(one.heading & self._meaning.focus) + bool(one.title & self._meaning.focus)
            this += self._meaning.reads * (1 + len(one.terms & asked))
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
