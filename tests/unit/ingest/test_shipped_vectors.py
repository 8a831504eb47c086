"""The vectors of Responsa's own documents, which come with the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from bench.ingestion import Recorder
from responsa_server.ingest.shipped_vectors import SHIPPED, ShippedVectors, pack, read
from responsa_server.providers.minilm import MiniLmEmbedder
from tools.docs_vectors import Vectors, index

MODEL = "a model/1"
KNOWN, UNKNOWN, CACHED = (sha256(text).digest() for text in (b"known", b"unknown", b"cached"))
VECTOR = np.array([0.6, 0.8, 0.0], "<f4").astype("<f2").astype("<f4").tobytes()


class Cache:
    """Has one vector, whichever model is asked for."""

    def __init__(self) -> None:
        self.asked: list[Sequence[bytes]] = []

    async def find_cached(self, tenant_id: str, model: str, hashes: Sequence[bytes]) -> Mapping[bytes, bytes]:
        self.asked.append(hashes)
        return {digest: b"cached" for digest in hashes if digest == CACHED}

    async def cache_vectors(self, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]) -> None:
        raise NotImplementedError


async def test_the_cache_is_asked_only_for_what_the_file_lacks(tmp_path: Path) -> None:
    file = tmp_path / "shipped.vectors"
    others = {sha256(bytes([number])).digest(): VECTOR for number in range(20)}
    file.write_bytes(pack(MODEL, {KNOWN: VECTOR, **others}))
    cache = Cache()
    vectors = ShippedVectors(cache, file)
    hashes = [UNKNOWN, KNOWN, CACHED]
    assert await vectors.find_cached("t", MODEL, hashes) == {KNOWN: VECTOR, CACHED: b"cached"}
    assert await vectors.find_cached("t", MODEL, list(others)) == others
    assert await vectors.find_cached("t", "a model/2", hashes) == {CACHED: b"cached"}
    file.unlink()
    assert await vectors.find_cached("t", MODEL, hashes) == {CACHED: b"cached"}
    assert cache.asked == [[UNKNOWN, CACHED], hashes, hashes]


async def test_most_texts_of_the_own_documents_have_a_shipped_vector(embedder: MiniLmEmbedder) -> None:
    vectors = Vectors()
    await index(Recorder(embedder), vectors)
    assert len(vectors.shipped) > 0.6 * len(vectors.shipped | vectors.computed), "make ready"


async def test_shipped_vectors_are_those_of_the_model(embedder: MiniLmEmbedder) -> None:
    text = "Agents"  # the title of a page
    digest = sha256(text.encode()).digest()
    (shipped,) = read(SHIPPED, embedder.name, [digest]).values()
    (computed,) = await embedder.embed([text])
    assert np.frombuffer(shipped, "<f4") @ computed > 0.999
