"""A person's record: the documents about this person, and what is read from it for an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from responsa_server.domain.answers import Evidence, Extraction
from responsa_server.domain.people import Principal


@dataclass(frozen=True, slots=True)
class RecordReading:
    """What the caller's record says on a question.

    documents: the number of documents about the caller. titles: the titles of those among them that the search found. extraction: the sentences that
    answer the question. absent: the words of the question that neither the record nor the reference documents have. unrecorded: the titles of reference documents that the question
    sets its author against and that the record does not name. misspelled: the words of the question that were read as words of the record, each with this word. named: whether the question itself, without earlier ones, names something that the record or the reference documents
    have. another: whether the question is about somebody else.
    """

    documents: int
    titles: tuple[str, ...]
    extraction: Extraction
    absent: tuple[str, ...] = ()
    unrecorded: tuple[str, ...] = ()
    misspelled: tuple[tuple[str, str], ...] = ()
    named: bool = False
    another: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RecordWords:
    """What an agent says about the words of its records. Each is equal only to itself, so that what is made of it can be kept.

    focus: for each category of questions, words of the headings under which the answer is if the question names nothing more specific. synonyms: for words of questions, words
    of the record that mean the same. described: the categories whose questions are about a reference document, such as what a job is like. unheld: words for what no record holds, such as a
    salary: a question with one of them is not answered, unless a document has the word.
    """

    focus: Mapping[str, Sequence[str]]
    synonyms: Mapping[str, str]
    described: frozenset[str] = frozenset()
    unheld: tuple[str, ...] = ()


class RecordSource(Protocol):
    """Reads the records of callers."""

    async def read(
        self,
        who: Principal,
        question: str,
        evidence: Evidence,
        category: str,
        words: RecordWords,
        standalone: str = "",
    ) -> RecordReading:
        """Read what the caller's record says on the question. Nothing of another person's record is read, whatever the caller's role.

        evidence: the result of a search with `SearchOptions.own`. category: the question's category; "" if it is unknown. standalone: the question with what it takes from earlier
        messages, which is read if the question alone names nothing; "" if there is nothing to take. Raises Unavailable.
        """
        ...
