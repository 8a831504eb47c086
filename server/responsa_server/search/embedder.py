"""The interface to an embedding model, and the cache of question vectors. `providers/` has the models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from responsa_server.domain.cache import Cache
from responsa_server.domain.parts import Health, PartReport

DAY: Final = 86_400

Vectors = npt.NDArray[np.float32]
"""[n, dimensions], every row of length one."""


class Embedder(Protocol):
    """Turns text into vectors whose cosine measures how near two texts are in meaning."""

    @property
    def name(self) -> str:
        """Identifies the vectors, including the weights: equal names mean equal vectors."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens of text that one vector can cover; longer texts are cut."""
        ...

    @property
    def languages(self) -> frozenset[str] | None:
        """ISO 639-1 codes of the languages that the vectors suit; None: all."""
        ...

    def embed_sync(self, texts: Sequence[str]) -> Vectors:
        """Vectors of the texts in their order; blocks the caller."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Like `embed_sync`, off the event loop."""
        ...

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character ranges (start, end) of all tokens of the text, in order; a long text is not cut."""
        ...


class EmbeddingPart:
    """The model's health: whether it computes a vector, after the work that is already queued."""

    name = "embedding"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def check(self) -> PartReport:
        """Ask for the vector of a short text."""
        await self._embedder.embed(["Is anybody there?"])
        return PartReport(Health.OK, version=self._embedder.name)


class QuestionEmbedder:
    """Embeds questions, with a cache in front of the model: the same question of the same tenant costs one run of the model.

    Keys contain the tenant and the model: a tenant can neither learn from a hit what another tenant asked,
    nor get that tenant's vectors. They contain the hash of a question, never its text. seconds: how long a vector is cached.
    """

    def __init__(self, model: Embedder, cache: Cache | None = None, seconds: int = DAY) -> None:
        self._model = model
        self._cache = cache
        self._seconds = seconds

    async def embed(self, tenant_id: str, texts: Sequence[str]) -> Vectors:
        """Vectors of the texts in their order; the model computes only those that the cache lacks."""
        if self._cache is None:
            return await self._model.embed(texts)
        keys = [
            f"vector:{tenant_id}:{self._model.name}:{hashlib.sha256(text.encode()).hexdigest()}"
            for text in texts
        ]
        dimensions = self._model.dimensions
        cached = {
            key: value for key, value in (await self._cache.get(keys)).items() if len(value) == dimensions * 4
        }
        missing = [place for place, key in enumerate(keys) if key not in cached]
        result = np.empty((len(texts), dimensions), dtype=np.float32)
        for place, key in enumerate(keys):
            if key in cached:
                result[place] = np.frombuffer(cached[key], dtype="<f4")
        if missing:
            made = await self._model.embed([texts[place] for place in missing])
            for place, vector in zip(missing, made, strict=True):
                result[place] = vector
            entries = {
                keys[place]: vector.astype("<f4").tobytes()
                for place, vector in zip(missing, made, strict=True)
            }
            await self._cache.put(entries, self._seconds)
        return result
