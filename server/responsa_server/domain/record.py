"""A person's record: the documents about this person, and what is read from it for an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from responsa_server.domain.answers import Evidence, Extraction
from responsa_server.domain.people import Principal


@dataclass(frozen=True, slots=True)
class RecordReading:
    """What the caller's record says on a question.

    documents: the number of documents about the caller. titles: the titles of those among them that the search found. extraction: the sentences that
    answer the question. absent: the words of the question that neither the record nor the reference documents have. unrecorded: the titles of reference documents that the question
    sets its author against and that the record does not name. misspelled: the words of the question that were read as words of the record, each with this word. lead: a sentence that says which of the first two quotes of the extraction has the larger figure; "" if they are not compared. named: whether the question itself, without earlier ones, names something that the record or the reference documents
    have, or goes on with an earlier one. another: whether the question is about somebody else.
    """

    documents: int
    titles: tuple[str, ...]
    extraction: Extraction
    absent: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()
    misspelled: tuple[tuple[str, str], ...] = ()
    lead: str = ""
    named: bool = False
    another: bool = False


class Way(StrEnum):
    """How the questions of a category are answered.

    REFERENCE: with what a reference document says, such as what a job is like. HEADED: with things that have headings in the record, such as recommended jobs. LISTED: with things that a section lists, such
    as majors. FIGURES: with figures side by side. HIGHEST, LOWEST: with the best or the weakest results. DATES: with
    what happened when. CHANGES: with what two sittings of one test say. WHOLE: with the whole section. REFUSE: not, because no record holds the answer.
    """

    REFERENCE = "reference"
    HEADED = "headed"
    LISTED = "listed"
    FIGURES = "figures"
    HIGHEST = "highest"
    LOWEST = "lowest"
    DATES = "dates"
    CHANGES = "changes"
    WHOLE = "whole"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, eq=False)
class RecordWords:
    """What an agent says about the words of its records. Each is equal only to itself, so that what is made of it can be kept.

    focus: for each category of questions, words of the headings under which the answer is if the question names nothing more specific. ways: for categories, how a question is answered in
    place of quoting what stands under these headings. synonyms: for words of questions, words of the record that mean the same. topics: the words of records that `RecordQuestion.topics` has. references: the collections of the reference documents.
    """

    focus: Mapping[str, Sequence[str]]
    synonyms: Mapping[str, str]
    ways: Mapping[str, Way] = field(default_factory=dict[str, "Way"])
    topics: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordQuestion:
    """A question about the caller. category: its category; "" if it is unknown. topics: how probable (0 to 1) each of the words of records is that examples have for labels; empty if there are no
    examples. categories: the same for each category. before: the question before, if this one may refer to it. parts: see `parts_of`. sides: see `sides_of`. Neither parts nor sides
    have parts, sides or a question before.
    """

    text: str
    category: str = ""
    topics: Mapping[str, float] = field(default_factory=dict[str, float])
    before: RecordQuestion | None = None
    parts: Sequence[RecordQuestion] = ()
    sides: Sequence[RecordQuestion] = ()
    categories: Mapping[str, float] = field(default_factory=dict[str, float])


ONE_THING: Final = "thing"
"""The label of examples that mean one thing, such as a job, whichever it is."""
NO_TOPIC: Final = "none"
"""The label of examples that are about nothing in particular."""
MOST_PARTS: Final = 4
"""The maximum number of parts of a question that are read one by one."""
_PARTS: Final = re.compile(
    r"(?<=[?.!])\s|[,;]?\s(?:and|also|but)\s(?=(?:what|what['’]?s|which|how|when|where|why|is|are|am|do|does|did|can|could|should|will|would|tell)\b)"
    r"|[,;]\s(?=(?:what|what['’]?s|which|how|when|where)\b)",
    re.IGNORECASE,
)
_SIDES: Final = re.compile(r",?\s+(?:or|than|versus|vs\.?|compared (?:to|with)|against)\s+", re.IGNORECASE)


def parts_of(question: str) -> Sequence[str]:
    """The sentences of a question, and the questions that are joined by “and”; empty if there is one, or if there are more than MOST_PARTS."""
    parts = [one for one in _PARTS.split(question) if one.strip()]
    return parts if 1 < len(parts) <= MOST_PARTS else ()


def sides_of(question: str) -> Sequence[str]:
    """The two sides of a comparison, such as “words or numbers”; empty if there are none."""
    sides = [one for one in _SIDES.split(question) if re.search(r"\w", one)]
    return sides if len(sides) == 2 else ()


class RecordSource(Protocol):
    """Reads the records of callers."""

    async def read(
        self, who: Principal, question: RecordQuestion, evidence: Evidence, words: RecordWords
    ) -> RecordReading:
        """Read what the caller's record says on the question. Nothing of another person's record is read, whatever the caller's role.

        evidence: the result of a search with `SearchOptions.own`. Raises Unavailable.
        """
        ...
