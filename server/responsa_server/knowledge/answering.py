"""Retrieval and extraction as the graph asks for them: evidence that travels as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import TypeAdapter

from responsa_server.domain.answers import Evidence, Extraction, Quote
from responsa_server.domain.people import Principal
from responsa_server.knowledge.embedder import Embedder
from responsa_server.knowledge.extract import MAX_SENTENCES, PASSAGES_READ, Extractor
from responsa_server.knowledge.readings import Readings
from responsa_server.knowledge.retrieve import Retrieval, Retriever
from responsa_server.knowledge.support import DEFAULT_SUPPORT

_SPECIAL_TOKENS: Final = 2
"""Begin and end, which the model reads around every text."""


class LibraryEvidence:
    """An `EvidenceSource` and an `Extractor` over the library's passages.

    support: below it (0 to 1) a question is refused. top_k: passages kept; most: sentences of an answer.
    """

    def __init__(
        self,
        retriever: Retriever,
        embedder: Embedder,
        *,
        support: float = DEFAULT_SUPPORT,
        top_k: int = PASSAGES_READ,
        most: int = MAX_SENTENCES,
    ) -> None:
        self._retriever = retriever
        self._embedder = embedder
        self._plain = TypeAdapter(Retrieval)
        self._support = support
        self._top_k = top_k
        self._most = most

    async def search(
        self, who: Principal, questions: tuple[str, ...], collections: tuple[str, ...]
    ) -> Evidence:
        """See `EvidenceSource.search`."""
        retrieval = await self._retriever.search(
            who.tenant_id, questions, collections or None, top_k=self._top_k
        )
        content = self._plain.dump_python(retrieval, mode="json")
        return Evidence(len(retrieval.passages), self._tokens(questions, retrieval.languages), content)

    async def extract(self, question: str, evidence: Evidence) -> Extraction:
        """See `Extractor.extract`."""
        # On the thread that read these passages for the search.
        return await self._retriever.judging(lambda readings: self._extract(question, evidence, readings))

    def _extract(self, question: str, evidence: Evidence, readings: Readings) -> Extraction:
        retrieval = self._plain.validate_python(evidence.content)
        found = Extractor(readings).answer(question, retrieval, most=self._most)
        quotes = [Quote(one.passage, one.source, one.text, one.score) for one in found.sentences]
        return Extraction(quotes, found.support, found.supported(self._support))

    def _tokens(self, questions: Sequence[str], languages: Sequence[str]) -> int:
        """What the model read: only questions in its languages are embedded."""
        known = self._embedder.languages
        return sum(
            min(
                len(self._embedder.token_offsets(question)) + _SPECIAL_TOKENS,
                self._embedder.max_tokens + _SPECIAL_TOKENS,
            )
            for question, language in zip(questions, languages, strict=True)
            if known is None or not language or language in known
        )
