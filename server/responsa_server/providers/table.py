"""The table of the language models that are available on this server. Implements `Models`."""

from __future__ import annotations

import asyncio
import re
from collections import ChainMap
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pkgutil import resolve_name
from typing import Any, Final

from responsa_server.domain.models import (
    ChatModel,
    ModelPiece,
    ModelPrompt,
    Price,
)
from responsa_server.providers.chain import (
    ChainModel,
    KeyLimits,
    ModelChain,
    ModelCircuits,
    Retrying,
    RetryPolicy,
)
from responsa_server.providers.http_model import HttpModel
from responsa_server.providers.learned import Facts, Learned
from responsa_server.providers.prices import Prices
from responsa_server.providers.settings import ADAPTERS, CompatibleSettings, ModelSettings
from responsa_server.system.plugins import Group, load_rows


def _is_adapter(added: Sequence[type[Any]]) -> None:
    if not issubclass(added[-1], HttpModel):
        raise TypeError("it is no subclass of HttpModel")


_ADDED: Final = load_rows(Group.PROVIDERS, type, ADAPTERS, _is_adapter)
PASSAGES: Final = "passages"
"""In a chain, this name means that no model is used."""
DEFAULT: Final = "default"
_NAME: Final = re.compile(r"[\w./@:+-]{1,200}")


@dataclass(frozen=True)
class Provider:
    """A server of models. needs_key: the name of the setting that must contain the server's key; "" if the server needs no key.

    models: the names of all its models; empty if unknown.
    small: whether its models are small; see `Models.small`.
    """

    server: CompatibleSettings
    needs_key: str = ""
    models: frozenset[str] = frozenset()
    small: bool = False

    def adapter(self, model: str) -> HttpModel:
        """A new adapter for one of the provider's models. The caller closes it."""
        wire = self.server.wire
        build: Callable[[CompatibleSettings, str], HttpModel] = _ADDED.get(wire) or resolve_name(
            ADAPTERS[wire]
        )
        return build(self.server, model)

    @cached_property
    def limits(self) -> KeyLimits:
        """The limits of the server's key, which language models and embedding models share."""
        return KeyLimits(self.server.concurrent, self.server.requests_a_minute, self.server.wait_seconds)


@dataclass(frozen=True, slots=True)
class TableOptions:
    """The options of a `ProviderTable`.

    patience_seconds: the time that a model has to send its first word. retry: the rule for further calls to the same model.
    default: the models that `default` stands for in a chain. serverless: the models without a server, by the name `provider:model`.
    absent: the names of the providers that are not available, each with the reason.
    """

    patience_seconds: float
    retry: RetryPolicy
    default: Sequence[str] = ()
    serverless: Mapping[str, ChatModel] = field(default_factory=dict[str, ChatModel])
    absent: Mapping[str, str] = field(default_factory=dict[str, str])


class Limited:
    """A `ChatModel` that is asked through the adapter that the table has at the time of the call, and holds one of the places of
    its key while it answers."""

    def __init__(self, name: str, adapter: Callable[[], ChatModel], limits: KeyLimits) -> None:
        self.name = name
        self._adapter = adapter
        self._limits = limits

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        async with self._limits.place(), aclosing(self._adapter().stream(prompt)) as pieces:
            async for piece in pieces:
                yield piece


class ProviderTable:
    """Implements `Models`. It makes an adapter when a chain first needs the adapter. Call `close` at the end."""

    def __init__(self, providers: Mapping[str, Provider], prices: Prices, options: TableOptions) -> None:
        self._chosen: dict[str, Provider] = {}
        self.providers: Mapping[str, Provider] = ChainMap(self._chosen, dict(providers))
        """The providers, by name, with their present keys and addresses."""
        self.prices = prices
        """The prices of all models."""
        self._options = options
        self.learned: Final = Learned()
        """The facts of all models."""
        self._circuits = ModelCircuits(learned=self.learned)
        self.breakers = self._circuits.breakers
        """The circuit breakers of all models."""
        self._adapters: dict[str, HttpModel] = {}
        self._replaced: list[HttpModel] = []
        self._chains: dict[Sequence[str], ModelChain] = {}

    async def close(self) -> None:
        await asyncio.gather(*(adapter.close() for adapter in (*self._adapters.values(), *self._replaced)))

    def use_default(self, default: Sequence[str]) -> None:
        """Change the models that `default` stands for. Chains that were made before keep theirs."""
        self._options = replace(self._options, default=default)

    def use_provider(self, name: str, provider: Provider) -> None:
        """Let all further calls of a provider's models, also those of chains that were made before, use another key or address."""
        if (known := self.providers.get(name)) is not None and known.server == provider.server:
            return
        self._chosen[name] = provider
        stale = [model for model in self._adapters if model.partition(":")[0] == name]
        # Calls that have begun go on, so the adapters are closed at the end.
        self._replaced += [self._adapters.pop(model) for model in stale]

    def serverless(self, name: str) -> ChatModel | None:
        """The model without a server that has this name."""
        return self._options.serverless.get(name)

    def chain(self, names: Sequence[str]) -> ModelChain | None:
        wanted = self.resolve(names)
        if not wanted:
            return None
        if wanted not in self._chains:
            small = self.small(names)
            members = [
                ChainModel(
                    name,
                    # All models of a server are barred together.
                    name if name in self._options.serverless else name.partition(":")[0],
                    self._model(name),
                    name not in self._options.serverless and self._adapter(name).takes_prefix,
                    name in small,
                )
                for name in wanted
            ]
            self._chains[wanted] = ModelChain(
                members, self.prices, self._circuits, patience_seconds=self._options.patience_seconds
            )
        return self._chains[wanted]

    def resolve(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names without repetitions and without `passages`, with `default` replaced with its models. Raises
        KeyError if a model is not available."""
        flat = [item for name in names for item in (self._options.default if name == DEFAULT else (name,))]
        if PASSAGES in flat[:-1]:
            raise KeyError(f"{PASSAGES} must be the last of a chain")
        wanted = tuple(dict.fromkeys(name for name in flat if name != PASSAGES))
        for name in wanted:
            if (problem := self.problem(name)) is not None:
                raise KeyError(problem)
        return wanted

    def problem(self, name: str) -> str | None:
        if name in (PASSAGES, DEFAULT) or name in self._options.serverless:
            return None
        provider, colon, model = name.partition(":")
        if not (colon and _NAME.fullmatch(model)):
            return f'"{name}" is not a model: write provider:model, or {PASSAGES}.'
        if provider in self._options.absent:
            return self._options.absent[provider]
        chosen_provider = self.providers.get(provider)
        if chosen_provider is None:
            if models := [name for name in self._options.serverless if name.startswith(f"{provider}:")]:
                return f'There is no model "{name}", only {", ".join(models)}.'
            known = sorted({*self.providers, *(name.partition(":")[0] for name in self._options.serverless)})
            return (
                f'There is no provider "{provider}" here, only {", ".join(known)}; a server of your own is declared by the '
                f"setting models.servers.{provider}.url."
            )
        if chosen_provider.models and model not in chosen_provider.models:
            known = ", ".join(f"{provider}:{name}" for name in sorted(chosen_provider.models))
            return f'There is no model "{name}", only {known}.'
        if chosen_provider.needs_key and not chosen_provider.server.api_key.get_secret_value():
            return f'The provider "{provider}" has no key: set {chosen_provider.needs_key}, or put it into a secret file of that name.'
        return None

    async def probe(self, name: str, seconds: float) -> str:
        """Why the server of a model does not answer within so many seconds; "" if it does, or the model has none."""
        if name in (PASSAGES, DEFAULT) or name in self._options.serverless or self.problem(name) is not None:
            return ""
        return await self._adapter(name).probe(seconds)

    def price(self, model: str) -> Price | None:
        return self.prices.price(model, datetime.now(UTC).date())

    def small(self, names: Sequence[str]) -> frozenset[str]:
        declared = self._resolve_providers(names).items()
        return frozenset(name for name, provider in declared if provider is not None and provider.small)

    def requests_tools(self, names: Sequence[str]) -> bool:
        return any(
            provider is None or (provider.server.tools and self.facts(name).get("tools") != 0)
            for name, provider in self._resolve_providers(names).items()
        )

    def facts(self, name: str) -> Facts:
        """What was learned of a model, `provider:model`, within a day, unless a setting decides."""
        called, _, model = name.partition(":")
        if (provider := self.providers.get(called)) is None:
            return {}
        return self.learned.of((provider.server.url, model), provider.server.model_fields_set)

    def _resolve_providers(self, names: Sequence[str]) -> Mapping[str, Provider | None]:
        """The resolved names with their providers. None for a model without a server."""
        return {name: self.providers.get(name.partition(":")[0]) for name in self.resolve(names)}

    def _adapter(self, name: str) -> HttpModel:
        if name not in self._adapters:
            self._adapters[name] = self._provider(name).adapter(name.partition(":")[2])
            self._adapters[name].learned = self.learned
        return self._adapters[name]

    def _provider(self, name: str) -> Provider:
        provider = self.providers.get(name.partition(":")[0])
        assert provider is not None, "chains have available models only"
        return provider

    def _model(self, name: str) -> ChatModel:
        if name in self._options.serverless:
            return self._options.serverless[name]
        current = Limited(name.partition(":")[2], partial(self._adapter, name), self._provider(name).limits)
        return Retrying(current, self._options.retry, called=name)


def providers(settings: ModelSettings) -> dict[str, Provider]:
    """All providers that the settings declare, by name. A provider's name is the part of a model's name before the colon."""
    declared = {
        name: Provider(section, needs_key=f"{name.upper()}_API_KEY")
        for name, section in settings.language_vendors.items()
    }
    return declared | {name: Provider(server) for name, server in settings.own_servers.items()}
