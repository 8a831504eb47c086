"""What a person's record has: scales with figures, things such as jobs, and sections. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Final
from uuid import UUID

from responsa_server.domain.record import NO_TOPIC, ONE_THING, Way
from responsa_server.search.record_lines import Line
from responsa_server.search.record_words import Shelf
from responsa_server.text.lexical import STOPWORDS

_COMMON: Final = 0.4
"""A word that this share of the record's sentences has, such as the person's name, says nothing about a sentence."""
_DATE: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b")
GAP: Final = re.compile(
    r"\b(?:has|have) not (?:taken|finished|been)\b|\bdid not finish\b|\bneither\b.{0,200}\bnor\b|\bno\b.{0,60}\byet\b",
    re.IGNORECASE,
)
READING: Final = re.compile(r"^how to read\b", re.IGNORECASE)
_LINK: Final = re.compile(r"\[([^\]]{1,200})\]\(")


class Contents:
    """What a record and its reference documents have, whatever the question. A name is a set of terms; a thing is what has its own heading, such as a job."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.lines = shelf.lines
        self.own = shelf.own
        self.small = frozenset(shelf.analyzer.terms(" ".join(STOPWORDS["en"]), shelf.language))
        counts = Counter(term for one in self.own for term in one.terms)
        self.weights = {
            term: math.log(1 + len(self.own) / counts[term])
            for term in counts
            if counts[term] <= max(2, _COMMON * len(self.own))
        }
        self.common = counts.keys() - self.weights.keys()

    def links(self, line: Line) -> Mapping[frozenset[str], str]:
        """The names of the documents to which a line links, by their terms."""
        return {frozenset(self.shelf.terms(one)): one for one in _LINK.findall(line.part.text)}

    def listed_things(self, line: Line) -> Sequence[frozenset[str]]:
        """The headings that this line lists, in the order of the headings."""
        ordered = sorted((one for one in self.own if self.is_thing(one)), key=lambda one: one.place)
        return [each for one in ordered if (each := self.under_terms(one)) <= line.terms]

    def overview(self, documents: AbstractSet[UUID]) -> Sequence[Line]:
        """All figures of these documents, and the sentences that list several of their scales; or what is missing."""
        inside = [one for one in self.own if one.key[0] in documents and not self.is_thing(one)]
        figures = [one for one in inside if one in self.valued and not self.is_sitting(one)]
        lists = [
            one
            for one in inside
            if sum(name <= one.terms for name in self.scale_names) > 1 and one not in figures
        ]
        return [*figures, *lists] or [one for one in inside if GAP.search(one.part.shown)]

    @cached_property
    def section_terms(self) -> AbstractSet[str]:
        """The terms of all headings that categories name."""
        words = " ".join(word for each in self.shelf.focus.values() for word in each)
        return frozenset(self.shelf.analyzer.terms(words, self.shelf.language))

    def is_thing(self, one: Line) -> bool:
        """Whether the line is under the heading of one thing, such as a job, in place of a section."""
        return bool(one.under) and not self.under_terms(one) & self.section_terms

    def under_terms(self, one: Line) -> frozenset[str]:
        """The terms of the line's heading, without numbers."""
        return frozenset(term for term in self.shelf.terms(one.under) if not term.isdigit())

    @cached_property
    def scale_names(self) -> AbstractSet[frozenset[str]]:
        """The terms of everything for which the record may give a figure."""
        names = {name for one, name in self.valued.items() if name and not self.is_thing(one)}
        said = self.shelf.analyzer.terms
        labels = [one for one in self.shelf.topics if one not in (ONE_THING, NO_TOPIC)]
        topics = {frozenset(said(one, self.shelf.language)) for one in labels}
        titles = {one.title for one in self.own}
        names |= {one for one in topics if not any(one <= each for each in titles)}
        return {one for one in names if not any(each < one for each in names)}

    def about_scale(self, name: frozenset[str]) -> Sequence[Line]:
        """All lines about this scale alone: its figure, its meaning and its consequences."""
        others = [one for one in self.scale_names if not one <= name]
        documents = {one.key[0] for one, valued in self.valued.items() if valued == name}
        return [
            one
            for one in self.own
            if name <= one.terms
            and (not documents or one.key[0] in documents)
            and not self.is_thing(one)
            and not READING.match(one.under)
            and sum(each <= one.terms for each in others) < 2  # one may be a chance likeness
        ]

    @cached_property
    def tests(self) -> AbstractSet[UUID]:
        """The documents about tests: those without things, such as jobs."""
        things = {one.key[0] for one in self.own if self.is_thing(one)}
        return {one.key[0] for one in self.own} - things

    def is_sitting(self, one: Line) -> bool:
        """Whether the line is in the section on two sittings of a test."""
        terms = frozenset(self.shelf.analyzer.terms("two sittings", self.shelf.language))
        return terms <= frozenset(self.shelf.analyzer.terms(one.under, self.shelf.language))

    def sittings(self, documents: AbstractSet[UUID], within: Sequence[Line] = ()) -> Sequence[Line]:
        """The lines of the record about two sittings of a test. If `within` is not empty, only the lines that are in `within` or that name no scale."""
        section = [one for one in self.own if self.is_sitting(one) and one.key[0] in documents]
        if not within:
            return section
        return [
            one for one in section if one in within or not any(name <= one.terms for name in self.scale_names)
        ]

    def dated(self, documents: AbstractSet[UUID]) -> Sequence[Line]:
        """The lines with dates, and the lines that say what is missing."""
        return [
            one
            for one in self.own
            if one.key[0] in documents
            and (self.is_sitting(one) or _DATE.search(one.part.shown) or GAP.search(one.part.shown))
            and not READING.match(one.under)
            and not any(name <= one.terms for name in self.scale_names)
        ]

    def readings(self, documents: AbstractSet[UUID]) -> Sequence[Line]:
        """How to read these documents."""
        return [one for one in self.own if one.key[0] in documents and READING.match(one.under)]

    @cached_property
    def headings(self) -> Sequence[frozenset[str]]:
        """The terms of the headings of things, in the order of the record."""
        ordered = sorted((one for one in self.own if self.is_thing(one)), key=lambda one: one.place)
        return list(dict.fromkeys(map(self.under_terms, ordered)))

    @cached_property
    def learning(self) -> frozenset[str]:
        """The words of the headings on learning."""
        focus = self.shelf.focus.items()
        listed = [each for one, each in focus if self.shelf.ways.get(one) is Way.LISTED]
        return frozenset(self.shelf.terms(" ".join(word for each in listed for word in each)))

    @cached_property
    def references(self) -> Sequence[Sequence[Line]]:
        """The reference documents with titles."""
        documents: dict[UUID, list[Line]] = {}
        for one in self.lines:
            if not one.own and one.title:
                documents.setdefault(one.key[0], []).append(one)
        return list(documents.values())

    def figures(self, line: Line) -> Sequence[Line]:
        """The lines of the record with a figure for something that this line names."""
        return [one for one, name in self.valued.items() if one is not line and name and name <= line.terms]

    @cached_property
    def valued(self) -> Mapping[Line, frozenset[str]]:
        """The lines of the record with a figure. Each line comes with the terms that the figure is for: the terms before the colon, without the person's name
        and the level.
        """
        levels = frozenset(term for one in self.own if READING.match(one.under) for term in one.terms)
        terms = self.shelf.analyzer.query_terms
        return {
            one: frozenset(terms(one.part.shown.partition(":")[0], self.shelf.language)) - levels - one.title
            for one in self.own
            if one.value is not None
        }
