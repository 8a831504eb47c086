"""The vectors of Responsa's own documents, in a file that `tools/docs_vectors.py` writes for `make up` and for the
wheel. With them, a new instance loads these documents without running the embedding model.

The first line has the name of the model and the size of a row. Rows follow, sorted: the SHA-256 of a text, then its
vector as 16-bit floats, little-endian, as in the index. So a search finds the same as with computed vectors. A text
without a row costs only time, because the model computes its vector.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Final

import numpy as np

from responsa_server.ingest.indexing import VectorCache

SHIPPED: Final = Path(__file__).with_name("shipped.vectors")
_HASH: Final = 32


class ShippedVectors:
    """A `VectorCache` that looks in the file first, and then in another cache. The file is open only during a call."""

    def __init__(self, cache: VectorCache, file: Path = SHIPPED) -> None:
        self._cache = cache
        self._file = file

    async def find_cached(self, tenant_id: str, model: str, hashes: Sequence[bytes]) -> Mapping[bytes, bytes]:
        vectors = read(self._file, model, hashes)
        if missing := [digest for digest in hashes if digest not in vectors]:
            vectors |= await self._cache.find_cached(tenant_id, model, missing)
        return vectors

    async def cache_vectors(self, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]) -> None:
        await self._cache.cache_vectors(tenant_id, model, vectors)


def pack(model: str, vectors: Mapping[bytes, bytes]) -> bytes:
    """The bytes of a file with at least one vector. vectors: as in `VectorCache`, all of one size."""
    rows = [
        digest + np.frombuffer(vectors[digest], "<f4").astype("<f2").tobytes() for digest in sorted(vectors)
    ]
    return f"{model} {len(rows[0])}\n".encode() + b"".join(rows)


def read(file: Path, model: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    """The vectors of a file for these hashes, as in `VectorCache`. A hash without a vector is left out, and so are all
    hashes if the file is missing or is for another model."""
    vectors: dict[bytes, bytes] = {}
    try:
        opened = file.open("rb")
    except FileNotFoundError:
        return vectors
    with opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as data:
        name, _, size = data.readline().decode().rpartition(" ")
        if name != model:
            return vectors
        start, row = data.tell(), int(size)
        rows = range(start, len(data), row)
        for digest in hashes:
            position = bisect_left(rows, digest, key=lambda at: data[at : at + _HASH])
            if position < len(rows) and data[rows[position] : rows[position] + _HASH] == digest:
                half = np.frombuffer(data[rows[position] + _HASH : rows[position] + row], "<f2")
                vectors[digest] = half.astype("<f4").tobytes()
    return vectors
