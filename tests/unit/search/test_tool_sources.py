"""What tools returned is quoted and cited byte for byte, like documents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from responsa_server.agents.engine.citations import citation_of
from responsa_server.domain.answers import CitedSentence, FoundSource, Quote
from responsa_server.domain.events import (
    ByteRange,
    Citation,
    QuoteOrigin,
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


def claim(text: str, passage: int, quote: str = "", *, place: int = 0) -> CitedSentence:
    return CitedSentence(text, ByteRange(place, place + len(text.encode())), passage, quote, place)


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
    (found,) = asyncio.run(
        check_claims([claim("The Nile is 6,650 km long.", 1)], [whole_source(one)], Analyzer())
    )
    assert found is not None
    quote = found.quote
    cited = citation_of(quote, quote.text, quote.source, ByteRange(0, 5))
    assert isinstance(cited, Citation)
    assert (cited.passage_id, cited.document_id, cited.version) == (UUID(int=7), UUID(int=8), 3)
    assert cited.source == range_


def test_claims_quote_the_sources_that_they_name() -> None:
    excerpts = [
        whole_source(source(RECIPE)),
        whole_source(source(NILE, index=1)),
        whole_source(source("", index=2)),
    ]
    length, dough = "The Nile is 6,650 km long", "Let it rest overnight"
    sentences = [
        ("The Nile has a length of 6,650 km.", 2, length),
        ("The Nile has a length of 6,650 km.", 1, length),
        ("The Nile has a length of 9,999 km.", 2, length),
        ("The dough rests overnight.", 1, dough),
        ("The dough rests overnight.", 3, dough),
        ("The dough rests overnight.", 4, dough),
    ]
    claims = [claim(*sentence, place=100 * place) for place, sentence in enumerate(sentences)]
    checked = asyncio.run(check_claims(claims, excerpts, Analyzer()))
    copied, missing = QuoteOrigin.COPIED, QuoteOrigin.NOT_FOUND
    assert [found and found.origin for found in checked] == [copied, missing, copied, copied, missing, None]
    assert [len(found.differences) for found in checked[:4] if found] == [0, 0, 1, 0]
    assert exact([found.quote for found in checked if found and found.origin is copied], (RECIPE, NILE))
