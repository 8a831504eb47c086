"""Reads a person's record: chooses the sentences that answer a question, and says what the record does not have.

A record is small, so a search finds nearly all of it, and its sentences are alike: each has the person's name, and many name the same traits. So sentences are chosen by the rare words
of the question that they have, until all such words are covered; or, if the question names nothing in particular, by the headings that they stand under.
"""

from __future__ import annotations

from uuid import UUID

from pydantic import TypeAdapter

from responsa_server.domain.answers import Evidence, Extraction, Quote
from responsa_server.domain.people import Principal
from responsa_server.domain.record import RecordReading, RecordWords
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.others import about_another
from responsa_server.search.record_choice import SUPPORTED, Choice, choose
from responsa_server.search.record_lines import lines_of, title_words, words_of
from responsa_server.search.record_words import Shelf, Spelling, meant_by
from responsa_server.search.retrieve import Retrieval, Retriever


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
    lines = lines_of(passages, own, analyses)
    titles = tuple(dict.fromkeys(one.passage.found.passage.title for one in lines if one.own))
    known = words_of(lines)
    another = about_another(standalone or question, known)
    if another or not any(one.own for one in lines):
        return RecordReading(len(own), titles, Extraction((), 0.0, supported=False), another=another)
    spelled = words_of([one for one in lines if one.own]) | title_words(lines)
    spelled |= frozenset(word for each in words.focus.values() for word in each)
    shelf = Shelf(lines, words, analyses.analyzer)
    spelling = Spelling(spelled | shelf.words, analyses.analyzer, shelf.language)
    asked = meant_by(question, spelling, shelf)
    alone = Choice(asked.text, shelf, category)
    if standalone and not alone.names:
        asked = meant_by(standalone, spelling, shelf)
    made = choose(asked.text, shelf, category)
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
