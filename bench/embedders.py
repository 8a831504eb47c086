"""The embedding models of a measurement or a test: one."""

from __future__ import annotations

from responsa_server.search.embedder import Embedder, unknown_embedding


class OneEmbedder:
    """`Embedders` with a single model."""

    def __init__(self, embedder: Embedder) -> None:
        self.configured = embedder.name
        self._embedder = embedder

    async def of_model(self, called: str = "") -> Embedder:
        if called not in ("", self.configured):
            raise unknown_embedding(called)
        return self._embedder

    async def of_name(self, name: str) -> Embedder | None:
        return self._embedder if name == self._embedder.name else None
