"""From a parsed document to passages that can be stored: cut, planned, embedded, in batches."""

from __future__ import annotations

import asyncio
import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import numpy as np

from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import Chunking, Passage
from responsa_server.domain.passages import NewPassage, PassageVector
from responsa_server.domain.ports.turns import NewId
from responsa_server.ingest.chunk import Chunk, ChunkSettings, chunk_document
from responsa_server.ingest.passage_vectors import LexicalForm, PlannedVector, lexical_form, plan_vectors
from responsa_server.search.embedder import Embedder
from responsa_server.text.canonical import ParsedDocument
from responsa_server.text.languages import language_of
from responsa_server.text.lexical import Analyzer
from responsa_server.text.sentences import Piece, pieces

_PASSAGES_A_BATCH: Final = 16
# A question's own vector waits for what the model is at: so little at a time.
_TEXTS_A_RUN: Final = 16
# HNSW links what is nearest: some hundred equal vectors link to each other alone, and a search that meets them never gets out, whoever's
# vectors lie beyond (2,000 equal ones among 2,500 others hid a quarter of those). So of equal vectors in a document the later ones are moved
# apart, by so little that their cosine to the first stays above 0.999; measured, nothing is hidden then.
_EQUAL_MOST: Final = 4
_APART: Final = 0.0007


class VectorCache(Protocol):
    """Vectors by the SHA-256 of their text, one tenant a call: 32-bit floats, little-endian."""

    async def cached_vectors(
        self, tenant_id: str, model: str, hashes: Sequence[bytes]
    ) -> Mapping[bytes, bytes]:
        """Those that are known."""
        ...

    async def cache_vectors(self, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]) -> None:
        """Keep these."""
        ...


@dataclass(frozen=True, slots=True)
class DocumentIdentity:
    """Whose passages they will be."""

    tenant_id: str
    collection_id: str
    document_id: UUID
    version: int
    title: str
    uri: str


@dataclass(frozen=True, slots=True)
class CutDocument:
    """A document cut into passages. starts: where each piece begins, for finding those of a passage."""

    language: str
    chunks: Sequence[Chunk]
    pieces: Sequence[Piece]
    starts: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Planned:
    chunk: Chunk
    lexical: LexicalForm
    vectors: Sequence[PlannedVector]


class Indexer:
    """Makes passages with their vectors and terms. What takes processor time runs off the event loop."""

    def __init__(self, embedder: Embedder, cache: VectorCache, new_id: NewId) -> None:
        self._embedder = embedder
        self._cache = cache
        self._new_id = new_id

    @property
    def model(self) -> str:
        """Whose vectors it makes."""
        return self._embedder.name

    async def cut(self, parsed: ParsedDocument, chunking: Chunking) -> CutDocument:
        """Cut a document into passages, in order."""
        return await asyncio.to_thread(self._cut, parsed, chunking)

    async def passages(
        self, identity: DocumentIdentity, cut: CutDocument
    ) -> AsyncIterator[Sequence[NewPassage]]:
        """All passages in order, a batch at a time, each with its vectors."""
        seen: Counter[bytes] = Counter()
        for start in range(0, len(cut.chunks), _PASSAGES_A_BATCH):
            chunks = cut.chunks[start : start + _PASSAGES_A_BATCH]
            planned = await asyncio.to_thread(self._plan, identity.title, cut, chunks)
            texts = {_digest(one.text): one.text for plan in planned for one in plan.vectors}
            vectors = await self._vectors(identity.tenant_id, texts)
            yield [self._passage(identity, cut.language, plan, vectors, seen) for plan in planned]

    def _cut(self, parsed: ParsedDocument, chunking: Chunking) -> CutDocument:
        language = parsed.language or language_of(parsed.canonical_text)
        settings = ChunkSettings(chunking.max_tokens, chunking.overlap_tokens)
        chunks = chunk_document(parsed, self._embedder.token_offsets, settings)
        found = pieces(parsed.canonical_text, parsed.blocks, language)
        return CutDocument(language, chunks, found, [piece.byte_start for piece in found])

    def _plan(self, title: str, cut: CutDocument, chunks: Sequence[Chunk]) -> list[_Planned]:
        analyzer = Analyzer()
        planned: list[_Planned] = []
        for chunk in chunks:
            own = cut.pieces[
                bisect_left(cut.starts, chunk.byte_start) : bisect_left(cut.starts, chunk.byte_end)
            ]
            vectors = plan_vectors(
                self._embedder,
                title,
                chunk.heading_path,
                ByteRange(chunk.byte_start, chunk.byte_end),
                chunk.text,
                own,
                first=chunk.ordinal == 0,
            )
            lexical = lexical_form(analyzer, title, chunk.heading_path, chunk.text, cut.language)
            planned.append(_Planned(chunk, lexical, vectors))
        return planned

    async def _vectors(self, tenant_id: str, texts: Mapping[bytes, str]) -> Mapping[bytes, bytes]:
        """Vectors by the texts' hashes, those from the cache as they are, the others made and kept."""
        model = self._embedder.name
        known = dict(await self._cache.cached_vectors(tenant_id, model, list(texts)))
        # Texts of like length side by side: a run is as long as its longest text.
        missing = sorted((digest for digest in texts if digest not in known), key=lambda one: len(texts[one]))
        made: dict[bytes, bytes] = {}
        for start in range(0, len(missing), _TEXTS_A_RUN):
            run = missing[start : start + _TEXTS_A_RUN]
            vectors = await self._embedder.embed([texts[digest] for digest in run])
            for digest, vector in zip(run, vectors, strict=True):
                made[digest] = np.ascontiguousarray(vector, "<f4").tobytes()
        if made:
            await self._cache.cache_vectors(tenant_id, model, made)
        return known | made

    def _passage(
        self,
        identity: DocumentIdentity,
        language: str,
        plan: _Planned,
        vectors: Mapping[bytes, bytes],
        seen: Counter[bytes],
    ) -> NewPassage:
        chunk = plan.chunk
        return NewPassage(
            passage=Passage(
                id=self._new_id(),
                collection_id=identity.collection_id,
                document_id=identity.document_id,
                version=identity.version,
                title=identity.title,
                uri=identity.uri,
                source=ByteRange(chunk.byte_start, chunk.byte_end),
                text=chunk.text,
                headings=chunk.heading_path,
            ),
            ordinal=chunk.ordinal,
            language=language,
            tokens=chunk.tokens,
            terms=plan.lexical.terms,
            length=plan.lexical.length,
            vectors=[
                PassageVector(one.kind, one.source, _apart(vectors[_digest(one.text)], seen))
                for one in plan.vectors
            ],
        )


def _apart(vector: bytes, seen: Counter[bytes]) -> bytes:
    """The vector; from its fifth time on moved a little, each time otherwise but in every run alike."""
    values = np.frombuffer(vector, "<f4")
    # Of the vector as the index rounds it, not of its text: texts that differ beyond what the model reads have the same one.
    digest = hashlib.sha256(values.astype("<f2").tobytes()).digest()[:16]
    seen[digest] += 1
    if seen[digest] <= _EQUAL_MOST:
        return vector
    moved = values + np.random.default_rng(seen[digest]).normal(0.0, _APART, values.size)
    return (moved / np.linalg.norm(moved)).astype("<f4").tobytes()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
