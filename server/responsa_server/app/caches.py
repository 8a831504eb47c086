"""The caches of a server, one for each kind of value."""

from __future__ import annotations

from typing import Final

from responsa_server.app.layout import Layout
from responsa_server.app.resources import cache_key
from responsa_server.app.settings import Settings
from responsa_server.domain.cache import Cache, MemoryCache
from responsa_server.search.retrieve import Retrieval
from responsa_server.stores.cached import RAW, SharedCache, plain

_VECTOR_BYTES: Final = 8 << 20
"""About 5,000 vectors of the embedded model. To ask Redis for a question's vector cost nearly every question two trips."""


class Caches:
    """See `stores.settings.CacheSettings` and ADR 0076. Raises Fixable if the secret file cannot be read."""

    def __init__(self, settings: Settings, layout: Layout, cache: Cache) -> None:
        times, secret = settings.cache, cache_key(settings, layout)
        self.vectors = SharedCache(MemoryCache(_VECTOR_BYTES), "vectors", times.vectors_seconds, RAW, secret)
        self.searches = SharedCache(cache, "searches", times.searches_seconds, plain(Retrieval), secret)
