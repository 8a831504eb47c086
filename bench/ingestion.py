"""Compares the ingestion of documents with the bare embedding of the same texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import numpy as np

from bench import corpus
from bench.figures import Comparison
from bench.interleaved import interleaved
from bench.report import Line
from bench.run import MANY, PARAGRAPHS, Run
from responsa_formats.parsers import markdown
from responsa_formats.parsers.sniff import sniff
from responsa_formats.text.sections import Whole
from responsa_local.embedded import LocalLayout
from responsa_server.app.resources import new_id
from responsa_server.domain.knowledge import Chunking
from responsa_server.ingest.indexing import DocumentIdentity, Indexer
from responsa_server.providers.minilm import load as load_model
from responsa_server.search.embedder import Embedder, Vectors
from responsa_server.search.settings import RetrievalSettings

TITLE: Final = "Ingestion: until documents are searchable, compared with the bare embedding of the same texts"


@dataclass(slots=True)
class Recorder:
    """An `Embedder` that records the texts of each call and returns zeros. It is also a cache that is always empty."""

    model: Embedder
    runs: list[Sequence[str]] = field(default_factory=list[Sequence[str]])

    @property
    def name(self) -> str:
        """The name of the real model."""
        return self.model.name

    @property
    def dimensions(self) -> int:
        """The number of dimensions of the real model."""
        return self.model.dimensions

    @property
    def max_tokens(self) -> int:
        """The token limit of the real model."""
        return self.model.max_tokens

    @property
    def languages(self) -> frozenset[str] | None:
        """The languages of the real model."""
        return self.model.languages

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """The token offsets that the real model computes."""
        return self.model.token_offsets(text)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return zeros."""
        self.runs.append(list(texts))
        return np.zeros((len(texts), self.dimensions), np.float32)

    async def find_cached(self, tenant_id: str, model: str, hashes: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return no vectors."""
        return {}

    async def cache_vectors(self, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]) -> None:
        """Store nothing."""


def texts_embedded(model: Embedder, documents: Sequence[corpus.Text]) -> tuple[list[Sequence[str]], int]:
    """The texts that the index embeds for these documents, call by call, and the number of passages. To find these
    texts, the documents are indexed with a `Recorder`."""
    recorder = Recorder(model)
    indexer = Indexer(recorder, recorder, new_id)

    async def work() -> int:
        passages = 0
        for document in documents:
            parsed = markdown.parse(sniff(document.text.encode(), document.key, known="MARKDOWN"))
            cut = await indexer.cut(Whole(parsed), Chunking(corpus.CHUNK_TOKENS, 0), "text/markdown")
            identity = DocumentIdentity("bench", MANY, UUID(int=1), 1, document.title, "")
            async for batch in indexer.passages(identity, cut, len(document.text.encode())):
                passages += len(batch)
        return passages

    passages = asyncio.run(work())
    return recorder.runs, passages


def measure(run: Run) -> list[Line]:
    """Passages per second on both sides, over new documents in each round."""
    number = run.pick(3, 2)
    model = load_model(
        LocalLayout.of(run.place.home).data / "models", threads=RetrievalSettings().embedding_threads
    )
    counted: list[int] = []
    embedded: list[int] = []

    def ours(place: int) -> float:
        run.say(f"ingestion: {number} documents of {PARAGRAPHS} paragraphs")
        seconds, passages = run.take_in_more(number)
        counted.append(passages)
        return passages / seconds

    def bare(place: int) -> float:
        # These documents resemble the ingested ones, but the server never gets them.
        runs, passages = texts_embedded(
            model, corpus.documents(number, PARAGRAPHS, first=place * number, seed=3)
        )
        embedded.append(sum(len(texts) for texts in runs))
        begun = time.perf_counter()
        for texts in runs:
            model.embed_sync(texts)
        return passages / (time.perf_counter() - begun)

    try:
        ours(0)
        counted.clear()
        mine, theirs = interleaved(run.pick(3, 2), ours, bare)
    finally:
        model.close()
    return [
        Line.compared(
            TITLE,
            f"passages of at most {corpus.CHUNK_TOKENS} tokens, {sum(embedded) / sum(counted):.1f} texts embedded for each",
            "/s",
            "more",
            Comparison.of(mine, theirs),
            sum(counted),
        )
    ]
