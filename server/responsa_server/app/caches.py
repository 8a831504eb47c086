"""The caches of a server in Redis, one for each kind of value."""

from __future__ import annotations

from responsa_server.app.layout import Layout
from responsa_server.app.resources import cache_key
from responsa_server.app.settings import Settings
from responsa_server.domain.cache import Cache
from responsa_server.search.retrieve import Retrieval
from responsa_server.stores.cached import RAW, SharedCache, plain


class Caches:
    """See `stores.settings.CacheSettings` and ADR 0076. Raises Fixable if the secret file cannot be read."""

    def __init__(self, settings: Settings, layout: Layout, cache: Cache) -> None:
        times, secret = settings.cache, cache_key(settings, layout)
        self.vectors = SharedCache(cache, "vectors", times.vectors_seconds, RAW, secret)
        self.searches = SharedCache(cache, "searches", times.searches_seconds, plain(Retrieval), secret)
