"""The embedding models of this server: the embedded one, and those at its providers. Implements `Embedders`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from weakref import WeakValueDictionary

from httpx2 import AsyncClient

from responsa_server.app.settings import SettingsError
from responsa_server.providers.chain import RetryPolicy
from responsa_server.providers.embedding import EMBEDDERS, HttpEmbedder
from responsa_server.providers.json_server import RequestOptions
from responsa_server.providers.learned import Learned
from responsa_server.providers.settings import EmbeddingModelSettings, ModelSettings
from responsa_server.providers.table import Provider
from responsa_server.search.embedder import Embedder, unknown_embedding
from responsa_server.search.settings import EMBEDDED_MODEL


class ConfiguredEmbedders:
    """Implements `Embedders`. It connects to a provider when a collection first needs one of its models. Call `close` at the end."""

    def __init__(
        self,
        embedded: Embedder,
        configured: str,
        settings: ModelSettings,
        providers: Mapping[str, Provider],
        learned: Learned | None = None,
    ) -> None:
        """configured: the model for new collections, written `provider:model`, unless `chosen` names another one.
        providers: by name; the language models use the same ones, and their keys and addresses may change. Raises
        SettingsError if the settings do not declare the model. learned: the facts of all models.
        """
        self.chosen = ""
        self._configured = configured
        self._embedded = embedded
        self._settings = settings
        self._providers = providers
        self._learned = learned or Learned()
        # Each with the provider that it was made for.
        self._made: dict[tuple[str, int | None], tuple[Provider, HttpEmbedder]] = {}
        # One for each provider: all its models share connections.
        self._http: dict[int, tuple[Provider, AsyncClient]] = {}
        self._asking = WeakValueDictionary[str, asyncio.Lock]()
        for called in (configured, *settings.embeddings):
            if (problem := self.problem(called)) is not None:
                setting = "retrieval.embedding" if called == configured else "models.embeddings"
                raise SettingsError(f"{setting} names {called!r}: {problem}")

    @property
    def configured(self) -> str:
        return self.chosen or self._configured

    async def close(self) -> None:
        await asyncio.gather(*(http.aclose() for _, http in self._http.values()))

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
                sorted(name for name, entry in self._providers.items() if entry.server.wire in EMBEDDERS)
            )
            return f"The providers are {known}; a server of your own is declared by the setting models.servers.{provider}.url."
        if chosen_provider.server.wire not in EMBEDDERS:
            return f"The provider {provider} has no embedding models."
        if chosen_provider.needs_key and not chosen_provider.server.api_key.get_secret_value():
            return f"The provider {provider} has no key: set {chosen_provider.needs_key}."
        return None

    async def test(self, called: str, provider: Provider) -> None:
        """Let a provider embed a text with the model `provider:model`. Raises Unavailable, and Precondition if its
        vectors cannot be used."""
        embedder = self._make(called, None, provider, None)
        try:
            await embedder.prepare()
            await embedder.embed(["OK"])
        finally:
            await embedder.close()

    async def of_model(self, called: str = "") -> Embedder:
        called = called or self.configured
        if called == EMBEDDED_MODEL:
            return self._embedded
        if (problem := self.problem(called)) is not None:
            raise unknown_embedding(called, f"{problem} Leave it empty for {self.configured}.")
        async with self._asking.setdefault(called, asyncio.Lock()):
            if (embedder := self._find_made(called, None)) is None:
                provider, embedder = self._new(called, None)
                await embedder.prepare()
                # Callers name models as they like, so others are not kept.
                if called == self.configured or called in self._settings.embeddings:
                    self._made[called, None] = provider, embedder
        return embedder

    async def of_name(self, name: str) -> Embedder | None:
        if name == self._embedded.name:
            return self._embedded
        called, _, dimensions = name.rpartition("/")
        if ":" not in called or not dimensions.isdecimal() or self.problem(called) is not None:
            return None
        key = (called, int(dimensions))
        if (embedder := self._find_made(*key)) is None:
            self._made[key] = self._new(*key)
            _, embedder = self._made[key]
        return embedder

    def _find_made(self, called: str, dimensions: int | None) -> HttpEmbedder | None:
        """The embedder that was made before, unless its provider has another key or address by now."""
        provider, embedder = self._made.get((called, dimensions), (None, None))
        return embedder if provider is self._providers[called.partition(":")[0]] else None

    def _new(self, called: str, dimensions: int | None) -> tuple[Provider, HttpEmbedder]:
        """dimensions: the length of the vectors in a stored generation, which may differ from that in the settings;
        None: the length in the settings."""
        provider = self._providers[called.partition(":")[0]]
        _, http = self._http.get(id(provider), (None, None))
        embedder = self._make(called, dimensions, provider, http)
        self._http[id(provider)] = provider, embedder.http
        return provider, embedder

    def _make(
        self, called: str, dimensions: int | None, provider: Provider, http: AsyncClient | None
    ) -> HttpEmbedder:
        return EMBEDDERS[provider.server.wire](
            provider.server,
            called,
            self._settings.embeddings.get(called, EmbeddingModelSettings()),
            dimensions,
            RequestOptions(provider.limits, RetryPolicy(self._settings.retries), http, self._learned),
        )
