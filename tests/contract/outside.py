"""Vector stores outside the database, for the contract tests: Qdrant in the client's local mode, which compares all
vectors, and the server at QDRANT_URL if there is one."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

from qdrant_client import AsyncQdrantClient

from responsa_server.stores.qdrant import QdrantOptions, QdrantVectors, Quantization, connect

QDRANT_URL: Final = os.environ.get("QDRANT_URL", "")
QDRANTS: Final = ["local", "server"] if QDRANT_URL else ["local"]
_QUANTIZATION: Final = Quantization(os.environ.get("QDRANT_QUANTIZATION", "int8"))


@asynccontextmanager
async def qdrant_at(place: str, made: type[QdrantVectors] = QdrantVectors) -> AsyncGenerator[QdrantVectors]:
    """A store whose collections have a prefix of their own, and are deleted after the block."""
    server = place == "server"
    client = (
        connect(QDRANT_URL, os.environ.get("QDRANT_API_KEY", "")) if server else AsyncQdrantClient(":memory:")
    )
    store = made(client, QdrantOptions(f"test_{uuid4().hex}", 4.0, 16, 64, 100, _QUANTIZATION))
    try:
        yield store
    finally:
        for name in await store._collections():
            await client.delete_collection(name)
        await store.close()


async def size(store: QdrantVectors) -> int:
    """The number of vectors, published or not."""
    counts = [await store._client.count(name, exact=True) for name in await store._collections()]
    return sum(one.count for one in counts)
