"""Reads a person's record: chooses the sentences that answer a question, and says what the record does not have.

A record is small, so a search finds nearly all of it, and its sentences are alike: each has the person's name, and many name the same traits. So sentences are chosen by the rare words
of the question that they have, until all such words are covered; or, if the question names nothing in particular, by the headings that they stand under.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from pydantic import TypeAdapter

from responsa_server.domain.answers import Evidence, Extraction, Quote
from responsa_server.domain.people import Principal
from responsa_server.domain.record import RecordQuestion, RecordReading, RecordWords, Way
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.others import about_another
from responsa_server.search.record_choice import SUPPORTED, Choice, choose, subject
from responsa_server.search.record_contents import Contents
from responsa_server.search.record_lines import lines_of, title_words, words_of
from responsa_server.search.record_meaning import Meaning, following
from responsa_server.search.record_words import GENERIC_WORDS, Shelf, Spelling, meant_by
from responsa_server.search.retrieve import Retrieval, Retriever
from responsa_server.text.lexical import STOPWORDS

MOST_WANTED: Final = 4
"""The maximum number of passages of a reference document that the question means without naming it."""


class LibraryRecord:
    """Implements the port `RecordSource` for the library."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._plain = TypeAdapter(Retrieval)

    async def read(
        self, who: Principal, question: RecordQuestion, evidence: Evidence, words: RecordWords
    ) -> RecordReading:
        """See `RecordSource.read`."""
        own = frozenset(await self._retriever.about(who))
        retrieval = self._plain.validate_python(evidence.content) if evidence.content else None
        reading, wanted = await self._retriever.analyse(
            lambda analyses: read_record(question, retrieval, own, words, analyses)
        )
        if wanted and retrieval is not None:
            # The question means a thing that it does not name, so the search for the question did not find its document.
            found = await self._retriever.search_tiers(
                who, wanted, None, lambda _, __: 0, top_k=MOST_WANTED, own=words.references, about=False
            )
            more = replace(retrieval, elsewhere=[*retrieval.elsewhere, *found[0].passages])
            reading, _ = await self._retriever.analyse(
                lambda analyses: read_record(question, more, own, words, analyses)
            )
        return reading


def read_record(
    question: RecordQuestion,
    retrieval: Retrieval | None,
    own: frozenset[UUID],
    words: RecordWords,
    analyses: PassageAnalyses,
) -> tuple[RecordReading, Sequence[str]]:
    """See `RecordSource.read`. retrieval: the passages that were found. own: the ids of the documents about the caller. Also returns the titles of reference documents
    that are needed and were not found.
    """
    passages = () if retrieval is None else (*retrieval.passages, *retrieval.elsewhere)
    lines = lines_of(passages, own, analyses)
    titles = tuple(dict.fromkeys(one.passage.found.passage.title for one in lines if one.own))
    known = words_of(lines) | GENERIC_WORDS | STOPWORDS["en"]
    about_things = words.ways.get(question.category) in (Way.REFERENCE, Way.LISTED)
    another = about_another(question.text, known, about_things=about_things)
    if another or not any(one.own for one in lines):
        return RecordReading(len(own), titles, Extraction((), 0.0, supported=False), another=another), ()
    spelled = words_of([one for one in lines if one.own]) | title_words(lines)
    spelled |= frozenset(word for each in words.focus.values() for word in each)
    ranked = tuple(dict.fromkeys(one.found.passage.document_id for one in passages))
    shelf = Shelf(lines, words, analyses.analyzer, ranked)
    spelling = Spelling(spelled | shelf.words, analyses.analyzer, shelf.language)
    misspelled: dict[str, str] = {}

    def meant(one: RecordQuestion) -> RecordQuestion:
        asked = meant_by(one.text, spelling, shelf)
        misspelled.update(asked.misspelled)
        before = None if one.before is None else meant(one.before)
        return replace(one, text=asked.text, before=before, parts=[meant(each) for each in one.parts])

    contents = Contents(shelf)
    # What was misspelled before was said with the answer before.
    earlier = None if question.before is None else subject(meant(question.before), contents)
    misspelled.clear()
    asked = meant(question)
    alone = Meaning(asked, contents, earlier)
    named = alone.known
    if earlier is not None and not alone.names:
        asked = following(asked)
        made = Choice(Meaning(asked, contents, earlier), contents).made()
        # Thanks after an answer go on with no question. Their category has nothing in the record.
        named = asked.category in words.focus or asked.category in words.ways
        if not made.lines and question.before is not None:
            made = choose(
                meant(replace(question, text=f"{question.text} ({question.before.text})")), contents
            )
    else:
        made = choose(asked, contents)
    quotes = [
        Quote(one.passage.found.passage, one.part.source, one.part.text, made.support, one.part.shown)
        for one in made.lines
    ]
    supported = bool(quotes) and made.support >= SUPPORTED
    reading = RecordReading(
        len(own),
        titles,
        Extraction(quotes, made.support, supported=supported),
        made.absent,
        made.unrecorded,
        tuple(misspelled.items()),
        made.lead,
        named,
    )
    return reading, made.wanted
