"""Retrieval and extraction for the graph. The evidence consists of plain values, so that checkpoints can store it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import structlog
from pydantic import TypeAdapter
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.answers import (
    DEFAULT_SEARCH,
    Claim,
    Evidence,
    Extraction,
    Quote,
    SearchOptions,
    ShownPassage,
)
from responsa_server.domain.people import Principal
from responsa_server.search.claims import THRESHOLD, ClaimSupport, Excerpt, excerpts, support_claim
from responsa_server.search.embedder import Embedder
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.extract import MAX_PARTS, PASSAGES_READ, Extractor
from responsa_server.search.retrieve import Retrieval, Retriever, ScoredPassage, joined
from responsa_server.search.support import DEFAULT_SUPPORT
from responsa_server.text.lexical import UNKNOWN, language_of

TEXT_ONLY: Final = "text_only"
"""The value of `Evidence.degraded` when vectors were not available."""

_LOG: Final[FilteringBoundLogger] = structlog.get_logger("search")
_WIDER: Final = 4
"""If `SearchOptions.last` names collections, this factor multiplies the number of passages that a search reads. Otherwise,
passages of those collections could displace passages of the other collections.
"""
_SPECIAL_TOKENS: Final = 2
"""The begin and end tokens that the model reads around every text."""


class LibraryEvidence:
    """An `EvidenceSource`, an `Extractor` and a `CitationJudge` over the library's passages.

    support: the minimum support (0 to 1) of an answer; a question whose answer has less support is refused. top_k: the maximum
    number of passages that a search returns. most: the maximum number of parts of an answer.
    """

    def __init__(
        self,
        retriever: Retriever,
        embedder: Embedder,
        *,
        support: float = DEFAULT_SUPPORT,
        top_k: int = PASSAGES_READ,
        most: int = MAX_PARTS,
    ) -> None:
        self._retriever = retriever
        self._embedder = embedder
        self._plain = TypeAdapter(Retrieval)
        self._support = support
        self._top_k = top_k
        self._most = most

    async def search(
        self,
        who: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        """See `EvidenceSource.search`."""
        top_k = self._top_k if options.top_k is None else options.top_k
        found = await self._retriever.search(
            who.tenant_id,
            questions,
            collections or None,
            top_k=_WIDER * top_k if options.last else top_k,
            threshold=options.threshold,
            rerank=options.rerank,
            text_will_do=True,
            expansions=options.expansions,
        )
        retrieval = await self._preferred(found, options, top_k) if options.last else found
        content = self._plain.dump_python(retrieval, mode="json")
        tokens = 0 if retrieval.text_only else self._tokens(retrieval.terms, retrieval.languages)
        degraded = TEXT_ONLY if retrieval.text_only else ""
        return Evidence(len(retrieval.passages), tokens, content, degraded)

    async def _preferred(self, found: Retrieval, options: SearchOptions, top_k: int) -> Retrieval:
        """At most `top_k` passages. They come from the collections outside `options.last` if these support an answer, otherwise
        from all collections.
        """

        def first(one: ScoredPassage) -> bool:
            return one.found.passage.collection_id not in options.last

        everything = _cut(found, found.passages, found.alone, top_k)
        if all(first(one) for one in (*found.passages, *found.alone)):
            return everything
        preferred = _cut(
            replace(found, beside=list(filter(first, found.beside))),
            list(filter(first, found.passages)),
            list(filter(first, found.alone)),
            top_k,
        )
        answer = await self._retriever.analyse(
            lambda analyses: Extractor(analyses).answer(found.terms[-1], preferred)
        )
        supported = answer.supported(self._support if options.support is None else options.support)
        return preferred if supported else everything

    def passages(self, evidence: Evidence, most_bytes: int) -> Sequence[ShownPassage]:
        """See `EvidenceSource.passages`."""
        retrieval = self._plain.validate_python(evidence.content)
        return [
            ShownPassage(one.found.passage.title, one.text)
            for one in excerpts(retrieval.passages, most_bytes)
        ]

    async def extract(self, question: str, evidence: Evidence) -> Extraction:
        """See `Extractor.extract`."""
        # Runs on the thread that analysed these passages for the search.
        return await self._retriever.analyse(lambda analyses: self._extract(question, evidence, analyses))

    async def judge(
        self, claims: Sequence[Claim], evidence: Evidence, most_bytes: int
    ) -> Sequence[Quote | None]:
        """See `CitationJudge.judge`."""
        if not claims or not evidence.passages:
            return [None] * len(claims)
        supports = await self._retriever.analyse(
            lambda analyses: self._supports(claims, evidence, most_bytes, analyses)
        )
        doubtful = [
            (claim.text, piece.analysis.plain)
            for claim, (_, pieces) in zip(claims, supports, strict=True)
            for piece in pieces
            # Embedding takes most of the time. Therefore a piece is embedded only if a cosine can change the outcome.
            if pieces[0].score(None) < THRESHOLD and piece.doubtful
        ]
        cosines = await self._cosines(doubtful, self._language(claims))
        return [
            _quote(claim, passage, pieces, cosines)
            for claim, (passage, pieces) in zip(claims, supports, strict=True)
        ]

    def _supports(
        self, claims: Sequence[Claim], evidence: Evidence, most_bytes: int, analyses: PassageAnalyses
    ) -> Sequence[tuple[Excerpt | None, Sequence[ClaimSupport]]]:
        """For each claim, the excerpt whose number the claim names (None if there is no such excerpt), and the best pieces of that excerpt."""
        retrieval = self._plain.validate_python(evidence.content)
        passages = excerpts(retrieval.passages, most_bytes)
        language = self._language(claims)
        found: list[tuple[Excerpt | None, Sequence[ClaimSupport]]] = []
        for claim in claims:
            if not 1 <= claim.passage <= len(passages):
                found.append((None, ()))
                continue
            passage = passages[claim.passage - 1]
            found.append((passage, support_claim(claim.text, language, passage, analyses)))
        return found

    @staticmethod
    def _language(claims: Sequence[Claim]) -> str:
        # The language is detected for all claims together, because the language of a single sentence is often unknown.
        return language_of(" ".join(claim.text for claim in claims))

    async def _cosines(
        self, pairs: Sequence[tuple[str, str]], language: str
    ) -> Mapping[tuple[str, str], float]:
        """The cosine of each pair of texts; empty if the model does not know the language, or fails."""
        known = self._embedder.languages
        if not pairs or not (known is None or language == UNKNOWN or language in known):
            return {}
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        try:
            vectors = dict(zip(texts, np.asarray(await self._embedder.embed(texts)), strict=True))
        except Exception:
            # Words alone decide nearly as well as words with vectors, so the kind of failure does not matter.
            _LOG.warning("claims could not be embedded; words alone decide", exc_info=True)
            return {}
        return {(one, other): float(vectors[one] @ vectors[other]) for one, other in pairs}

    def _extract(self, question: str, evidence: Evidence, analyses: PassageAnalyses) -> Extraction:
        retrieval = self._plain.validate_python(evidence.content)
        found = Extractor(analyses).answer(question, retrieval, most=self._most)
        quotes = [Quote(one.passage, one.source, one.text, one.score, one.shown) for one in found.parts]
        return Extraction(quotes, found.support, found.supported(self._support))

    def _tokens(self, questions: Sequence[str], languages: Sequence[str]) -> int:
        """The number of tokens that the embedding model read. The model embeds only questions in its languages."""
        known = self._embedder.languages
        return sum(
            min(
                len(self._embedder.token_offsets(question)) + _SPECIAL_TOKENS,
                self._embedder.max_tokens + _SPECIAL_TOKENS,
            )
            for question, language in zip(questions, languages, strict=True)
            if known is None or not language or language in known
        )


def _cut(
    found: Retrieval, passages: Sequence[ScoredPassage], alone: Sequence[ScoredPassage], top_k: int
) -> Retrieval:
    """The result of a wider search (`found`), reduced to the best `top_k` passages."""
    alone = alone[:top_k]
    kept = joined(alone, passages, top_k) if found.expansions else passages[:top_k]
    return replace(found, passages=kept, alone=alone)


def _quote(
    claim: Claim,
    passage: Excerpt | None,
    pieces: Sequence[ClaimSupport],
    cosines: Mapping[tuple[str, str], float],
) -> Quote | None:
    """A quote of the piece that supports the claim best; None if no piece supports the claim."""
    if passage is None or not pieces:
        return None
    scores = [one.score(cosines.get((claim.text, one.analysis.plain))) for one in pieces]
    best = max(range(len(pieces)), key=lambda place: scores[place])
    if scores[best] < THRESHOLD:
        return None
    return Quote(passage.found.passage, pieces[best].piece.source, pieces[best].analysis.quote, scores[best])
