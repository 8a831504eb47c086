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
"""An array of shape [n, dimensions]. Every row is a vector of length one."""


class Embedder(Protocol):
    """Turns texts into vectors. The cosine of two vectors measures how similar the texts are in meaning."""

    @property
    def name(self) -> str:
        """The name of the model and its weights. The vectors of two embedders with equal names can be compared with each other."""
        ...

    @property
    def dimensions(self) -> int:
        """The number of dimensions of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """The maximum number of tokens that one vector can represent. A longer text is cut."""
        ...

    @property
    def languages(self) -> frozenset[str] | None:
        """The ISO 639-1 codes of the languages that the model supports; None if it supports all languages."""
        ...

    def embed_sync(self, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, in the same order. Blocks the caller."""
        ...

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Like `embed_sync`, but does not block the event loop."""
        ...

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """The character ranges (start, end) of all tokens of the text, in order. A long text is not cut."""
        ...


class EmbeddingPart:
    """The health of the embedding model. The model is healthy if it computes a vector; this check waits behind the work that is already queued."""

    name = "embedding"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def check(self) -> PartReport:
        """Ask for the vector of a short text."""
        await self._embedder.embed(["Is anybody there?"])
        return PartReport(Health.OK, version=self._embedder.name)


class QuestionEmbedder:
    """Embeds questions, with a cache in front of the model. If a tenant repeats a question, the model does not run again.

    A key contains the tenant and the model. Therefore a tenant can neither learn from a cache hit what another tenant asked,
    nor get that tenant's vectors. A key contains the hash of a question, never its text. seconds: the time for which a vector is cached.
    """

    def __init__(self, model: Embedder, cache: Cache | None = None, seconds: int = DAY) -> None:
        self._model = model
        self._cache = cache
        self._seconds = seconds

    async def embed(self, tenant_id: str, texts: Sequence[str]) -> Vectors:
        """The vectors of the texts, in the same order. The model computes only the vectors that the cache does not have."""
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
