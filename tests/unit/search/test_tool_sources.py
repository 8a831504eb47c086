"""What tools returned is quoted and cited byte for byte, like documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from responsa_server.agents.engine.citations import citation_of
from responsa_server.domain.answers import CitedSentence, FoundSource, Quote
from responsa_server.domain.events import (
    ByteRange,
    Citation,
    SourcePassage,
    ToolOrigin,
    ToolSource,
)
from responsa_server.search.answering import check_claims
from responsa_server.search.retrieve import Retrieval, ScoredPassage
from responsa_server.search.scoring import Score
from responsa_server.search.tool_sources import NO_COLLECTION, read_sources, whole_source, with_sources
from responsa_server.text.lexical import Analyzer, language_of
from tests.unit.search.test_excerpts import passage_of, weights_of

FETCHED = datetime(2026, 11, 22, 23, 40, tzinfo=UTC)
NILE = (
    "Rivers of Afriça — facts and figures.\n\n"
    "The Nile is 6,650 km long and flows through eleven countries. It reaches the Mediterranean Sea in Egypt.\n\n"
    "The Congo is the deepest river of the world."
)
RECIPE = "Knead the dough for ten minutes. Let it rest overnight."


def source(text: str, *, index: int = 0, title: str = "Rivers") -> FoundSource:
    origin = ToolOrigin("tool-1", "web_search", index, FETCHED)
    return FoundSource(origin, ToolSource(f"https://example.org/{index}", title, FETCHED, text))


def exact(quotes: Sequence[Quote], texts: Sequence[str]) -> bool:
    """Whether each quote stands at its place in the text of its source."""
    return all(
        quote.passage.origin is not None
        and texts[quote.passage.origin.source_index].encode()[quote.source.start : quote.source.end]
        == quote.text.encode()
        for quote in quotes
    )


def test_the_passages_of_sources_are_ranked_by_the_words_of_the_question() -> None:
    sources = [source(RECIPE, title="Bread"), source(NILE, index=1)]
    retrieval = with_sources(None, "How long is the Nile?", sources, Analyzer())
    assert [passage.found.passage.title for passage in retrieval.passages] == ["Rivers", "Bread"]
    assert with_sources(None, "Who?", [source("")], Analyzer()).passages == []


def test_passages_of_documents_stay_first_and_keep_their_readings() -> None:
    question = "How long is the Nile?"
    in_book = passage_of("The Nile is a river in Africa.", title="Book")
    searched = Retrieval(
        (question,),
        [ScoredPassage(in_book, Score(0.6, 5.0, 0.6, 0.6, 0.6), 0)],
        (weights_of(question),),
        (language_of(question),),
    )
    both = with_sources(searched, question, [source(NILE)], Analyzer())
    assert both.passages[0] == searched.passages[0]
    assert (both.weights[0], both.reading(0, "default").weights) == (searched.weights[0], searched.weights[0])
    assert both.reading(0, NO_COLLECTION).weights.passages == len(both.passages) - 1
    # A source that is a passage of a document is not shown twice, and its citation is one of the document.
    passage = in_book.passage
    place = SourcePassage(passage.id, passage.document_id, passage.version, passage.source)
    known = source(passage.text)
    known = FoundSource(known.origin, replace(known.source, passage=place))
    assert with_sources(searched, question, [known], Analyzer()).passages == searched.passages


def test_a_source_that_is_a_documents_passage_is_cited_as_one() -> None:
    text = "The Nile is 6,650 km long."
    range_ = ByteRange(1_000, 1_000 + len(text))
    place = SourcePassage(UUID(int=7), UUID(int=8), 3, range_)
    one = source(text)
    one = FoundSource(one.origin, replace(one.source, passage=place))
    (found,) = check_claims([CitedSentence("The Nile is 6,650 km long.", 1)], [whole_source(one)], Analyzer())
    quote = found.quote
    assert quote is not None
    cited = citation_of(quote, quote.text, quote.source, ByteRange(0, 5))
    assert isinstance(cited, Citation)
    assert (cited.passage_id, cited.document_id, cited.version) == (UUID(int=7), UUID(int=8), 3)
    assert cited.source == range_


def test_claims_are_held_against_the_sources_that_they_name() -> None:
    excerpts = [
        whole_source(source(RECIPE)),
        whole_source(source(NILE, index=1)),
        whole_source(source("", index=2)),
    ]
    length, dough = "The Nile is 6,650 km long", "Let it rest overnight"
    claims = [
        CitedSentence("The Nile has a length of 6,650 km.", 2, length),
        CitedSentence("The Nile has a length of 6,650 km.", 1, length),
        CitedSentence("The Nile has a length of 9,999 km.", 2, length),
        CitedSentence("The dough rests overnight.", 1, dough),
        CitedSentence("The dough rests overnight.", 3, dough),
        CitedSentence("The dough rests overnight.", 4, dough),
    ]
    checked = check_claims(claims, excerpts, Analyzer())
    assert [one.quoted for one in checked] == [True, False, False, True, False, False]
    assert exact([one.quote for one in checked if one.quoted and one.quote], (RECIPE, NILE))


def test_long_sources_are_cut_into_passages_at_sentences() -> None:
    text = "\n\n".join(f"Sentence number {number} stands here, all of it." for number in range(400))
    passages = read_sources([source(text)], 1_000)
    assert len(passages) > 10
    data = text.encode()
    for passage in passages:
        place = passage.passage.source
        assert data[place.start : place.end].decode() == passage.passage.text
        assert place.end - place.start <= 1_000
    assert len({passage.passage.id for passage in passages}) == len(passages)
    assert sum(len(passage.pieces) for passage in passages) == 400
