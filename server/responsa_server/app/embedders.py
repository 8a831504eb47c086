"""The embedding models of this server: the embedded one, and those at the providers that the settings declare. Implements `Embedders`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from weakref import WeakValueDictionary

from httpx2 import AsyncClient

from responsa_server.app.settings import SettingsError
from responsa_server.providers.chain import RetryPolicy
from responsa_server.providers.embedding import EMBEDDERS, HttpEmbedder, described
from responsa_server.providers.json_server import Calling
from responsa_server.providers.settings import EmbeddingModelSettings, ModelSettings
from responsa_server.providers.table import Provider
from responsa_server.search.embedder import Embedder, unknown_embedding
from responsa_server.search.settings import EMBEDDED_MODEL


class ConfiguredEmbedders:
    """Implements `Embedders`. It connects to a provider when a collection first needs one of its models. Call `close` at the end."""

    def __init__(
        self, embedded: Embedder, configured: str, settings: ModelSettings, providers: Mapping[str, Provider]
    ) -> None:
        """configured: the model for new collections, written `provider:model`. providers: the providers that the
        settings declare, by name; the language models use the same ones. Raises SettingsError if the settings do not
        declare the model.
        """
        self.configured = configured
        self._embedded = embedded
        self._settings = settings
        self._providers = providers
        self._made: dict[tuple[str, int | None], HttpEmbedder] = {}
        # One for each provider: all its models share connections.
        self._http: dict[str, AsyncClient] = {}
        self._asking = WeakValueDictionary[str, asyncio.Lock]()
        for called in (configured, *settings.embeddings):
            if (problem := self.problem(called)) is not None:
                place = "retrieval.embedding" if called == configured else "models.embeddings"
                raise SettingsError(f"{place} names {called!r}: {problem}")

    async def close(self) -> None:
        await asyncio.gather(*(one.aclose() for one in self._http.values()))

    def problem(self, called: str) -> str | None:
        """The reason why the server cannot use the model `provider:model`; None if it can."""
        provider, _, model = called.partition(":")
        if called == EMBEDDED_MODEL:
            return None
        if provider == EMBEDDED_MODEL.partition(":")[0]:
            return f"There is only {EMBEDDED_MODEL}."
        chosen_provider = self._providers.get(provider)
        if chosen_provider is None or not model:
            known = ", ".join(
                sorted(name for name, one in self._providers.items() if one.server.wire in EMBEDDERS)
            )
            return f"The providers are {known}; a server of your own is declared by the setting models.servers.{provider}.url."
        if chosen_provider.server.wire not in EMBEDDERS:
            return f"The provider {provider} has no embedding models."
        if chosen_provider.needs_key and not chosen_provider.server.api_key.get_secret_value():
            return f"The provider {provider} has no key: set {chosen_provider.needs_key}."
        return None

    async def declared(self, called: str = "") -> Embedder:
        called = called or self.configured
        if called == EMBEDDED_MODEL:
            return self._embedded
        if (problem := self.problem(called)) is not None:
            raise unknown_embedding(called, f"{problem} Leave it empty for {self.configured}.")
        async with self._asking.setdefault(called, asyncio.Lock()):
            if (called, None) not in self._made:
                made = self._new(called, None)
                await made.prepare()
                if called != self.configured and called not in self._settings.embeddings:
                    return made  # callers name models as they like, so such a model is not kept
                self._made[called, None] = made
        return self._made[called, None]

    async def named(self, name: str) -> Embedder | None:
        if name == self._embedded.name:
            return self._embedded
        called, _, dimensions = name.rpartition("/")
        if ":" not in called or not dimensions.isdecimal() or self.problem(called) is not None:
            return None
        key = (called, int(dimensions))
        if key not in self._made:
            self._made[key] = self._new(*key)
        return self._made[key]

    def _new(self, called: str, dimensions: int | None) -> HttpEmbedder:
        """dimensions: the length of the vectors in a stored generation, which may differ from that in the settings;
        None: the length in the settings."""
        name = called.partition(":")[0]
        provider = self._providers[name]
        made = EMBEDDERS[provider.server.wire](
            provider.server,
            described(called, self._settings.embeddings.get(called, EmbeddingModelSettings()), dimensions),
            Calling(provider.limits, RetryPolicy(self._settings.retries), self._http.get(name)),
        )
        self._http[name] = made.http
        return made
