"""Evidence that costs nothing, so that only the machinery of a turn is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from responsa_contract import QuoteOrigin
from responsa_server.domain.answers import (
    DEFAULT_SEARCH,
    CheckedClaim,
    CitedSentence,
    Evidence,
    FoundSource,
    Quote,
    Ranked,
    Ranking,
    SearchOptions,
    ShownPassage,
)
from responsa_server.domain.events import ByteRange, Excerpt, Grade
from responsa_server.domain.passages import Passage
from responsa_server.domain.people import Principal

_SENTENCES: Final = (
    "The tide gauge at Marness was set up in 1877 because of shipping in the strait.",
    "In 1885 it failed through salt in the bearings, and a heated housing cured that.",
    "Its drum has been wound every Sunday since.",
)
_TEXT: Final = " ".join(_SENTENCES)
_PASSAGE: Final = Passage(
    id=UUID("01900000-0000-7000-8000-000000000001"),
    collection_id="default",
    document_id=UUID("01900000-0000-7000-8000-000000000002"),
    version=1,
    title="Marness",
    uri="",
    source=ByteRange(0, len(_TEXT)),
    text=_TEXT,
    headings=(),
)
_EXCERPT: Final = Excerpt(
    passage_id=_PASSAGE.id,
    collection_id=_PASSAGE.collection_id,
    collection_kind=None,
    document_id=_PASSAGE.document_id,
    version=1,
    title=_PASSAGE.title,
    headings=(),
    uri="",
    source=_PASSAGE.source,
    text=_TEXT,
    markdown=_TEXT,
    grade=Grade.ANSWERS,
    score=0.9,
)


class MemoryEvidence:
    """An `EvidenceSource` and a `CitationJudge` that use the same three sentences for every question."""

    async def search(
        self,
        caller: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        """See `EvidenceSource.search`."""
        return Evidence(passages=1, embedding_tokens=0, content={"questions": list(questions)})

    async def passages(self, evidence: Evidence, most_bytes: int) -> Sequence[ShownPassage]:
        """See `EvidenceSource.passages`."""
        return [ShownPassage(_PASSAGE.title, _TEXT)]

    async def rank(self, caller: Principal, question: str, evidence: Evidence) -> Ranked:
        """See `EvidenceSource.rank`."""
        return Ranked(evidence, Ranking((_EXCERPT,), (), support=0.9, near=True))

    async def excerpts(self, evidence: Evidence, ranking: Ranking) -> Ranking:
        """See `EvidenceSource.excerpts`."""
        return ranking

    async def read_again(self, caller: Principal, evidence: Evidence) -> Evidence | None:
        """See `EvidenceSource.read_again`."""
        return evidence

    async def check(
        self,
        claims: Sequence[CitedSentence],
        evidence: Evidence,
        most_bytes: int,
        sources: Sequence[FoundSource] = (),
    ) -> Sequence[CheckedClaim | None]:
        """See `CitationJudge.check`."""
        quote = _quotes()[0]
        return [CheckedClaim(quote, quote, QuoteOrigin.COPIED) for _ in claims]


def _quotes() -> Sequence[Quote]:
    quotes: list[Quote] = []
    start = 0
    for sentence in _SENTENCES:
        quotes.append(Quote(_PASSAGE, ByteRange(start, start + len(sentence)), sentence, 0.9))
        start += len(sentence) + 1
    return quotes
