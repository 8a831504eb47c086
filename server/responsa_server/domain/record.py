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
    answer the question. absent: the words of the question that neither the record nor the reference documents have. another: whether the question is about
    somebody else.
    """

    documents: int
    titles: tuple[str, ...]
    extraction: Extraction
    absent: tuple[str, ...] = ()
    another: bool = False


class RecordSource(Protocol):
    """Reads the records of callers."""

    async def read(
        self,
        who: Principal,
        question: str,
        evidence: Evidence,
        focus: Sequence[str],
        synonyms: Mapping[str, str],
    ) -> RecordReading:
        """Read what the caller's record says on the question. Nothing of another person's record is read, whatever the caller's role.

        evidence: the result of a search with `SearchOptions.own`. focus: words of the headings under which the answer is if the question names nothing more specific. synonyms:
        for words of questions, words of the record that mean the same. Raises Unavailable.
        """
        ...
