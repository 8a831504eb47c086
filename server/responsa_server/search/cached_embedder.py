"""An embedding model with a cache in front: a question that was asked before costs no run of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from responsa_server.domain.ports.cache import Cache
from responsa_server.search.embedder import Embedder, Vectors

DAY = 86_400


class CachedEmbedder:
    """An `Embedder` that looks into the cache before it asks the model. Keys hold hashes, never a text."""

    def __init__(self, model: Embedder, cache: Cache, seconds: int = DAY) -> None:
        self._model = model
        self._cache = cache
        self._seconds = seconds

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    @property
    def dimensions(self) -> int:
        """The model's."""
        return self._model.dimensions

    @property
    def max_tokens(self) -> int:
        """The model's."""
        return self._model.max_tokens

    @property
    def languages(self) -> frozenset[str] | None:
        """The model's."""
        return self._model.languages

    def embed_sync(self, texts: Sequence[str]) -> Vectors:
        """The model's, without the cache."""
        return self._model.embed_sync(texts)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """The model's."""
        return self._model.token_offsets(text)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of the texts in their order; only those that the cache has not are made."""
        keys = [f"vector:{self.name}:{hashlib.sha256(text.encode()).hexdigest()}" for text in texts]
        width = self.dimensions * 4
        known = {key: value for key, value in (await self._cache.get(keys)).items() if len(value) == width}
        missing = [place for place, key in enumerate(keys) if key not in known]
        result = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for place, key in enumerate(keys):
            if key in known:
                result[place] = np.frombuffer(known[key], dtype="<f4")
        if missing:
            made = await self._model.embed([texts[place] for place in missing])
            for place, vector in zip(missing, made, strict=True):
                result[place] = vector
            await self._cache.put(
                {
                    keys[place]: vector.astype("<f4").tobytes()
                    for place, vector in zip(missing, made, strict=True)
                },
                self._seconds,
            )
        return result
