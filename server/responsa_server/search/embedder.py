"""What retrieval needs of an embedding model. `providers/` has the implementations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from responsa_server.domain.ports.parts import Health, PartReport

Vectors = npt.NDArray[np.float32]
"""[n, dimensions], every row of length one."""


class Embedder(Protocol):
    """Turns text into vectors whose cosine tells how near two texts are in meaning."""

    @property
    def name(self) -> str:
        """Identity of the vectors, weights included: equal names, equal vectors."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens of text that one vector can cover; what is beyond is cut."""
        ...

    @property
    def languages(self) -> frozenset[str] | None:
        """ISO 639-1 codes of the languages that the vectors are good for; None: all."""
        ...

    def embed_sync(self, texts: Sequence[str]) -> Vectors:
        """Vectors of the texts in their order; blocks the caller."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """As `embed_sync`, off the event loop."""
        ...

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character ranges (start, end) of every token of the text, in order, nothing cut."""
        ...


class EmbeddingPart:
    """The model's health: whether it makes a vector, behind whatever it is at."""

    name = "embedding"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def check(self) -> PartReport:
        """Ask for the vector of a short text."""
        await self._embedder.embed(["Is anybody there?"])
        return PartReport(Health.OK, version=self._embedder.name)
