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
from responsa_server.search.tool_sources import whole_source
from responsa_server.text.lexical import Analyzer

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
