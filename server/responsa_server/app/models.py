"""The reranking model and the language models of this server: the models that the settings declare, the embedded model,
and the scripted models of tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from responsa_server.app.layout import Layout
from responsa_server.app.settings import Settings, SettingsError
from responsa_server.domain.agents import Agent
from responsa_server.domain.faults import Faults
from responsa_server.domain.models import FREE, ChatModel, Price, PriceTable, Reranker
from responsa_server.domain.quotas import Metric
from responsa_server.outbound.addresses import is_private
from responsa_server.providers.chain import RetryPolicy
from responsa_server.providers.json_server import RequestOptions
from responsa_server.providers.onnx_reranker import OnnxReranker, RerankerUnusable
from responsa_server.providers.prices import PriceList, PriceRow, Prices, load_shipped, price_of
from responsa_server.providers.reranking import HttpReranker
from responsa_server.providers.settings import (
    ONNX,
    CompatibleSettings,
    ModelSettings,
)
from responsa_server.providers.table import Provider, ProviderTable, TableOptions, providers
from responsa_server.system.instance import MODEL_ANSWERS, MODEL_WINDOW, no_language_model

EMBEDDED: Final = "embedded"
EMBEDDED_MODEL: Final = "smollm2"
SCRIPTED: Final = "scripted"
_EMBEDDED_IDLE_SECONDS: Final = 120.0
"""The longest time without data from the embedded model, before or within an answer."""
# Embedded and scripted models, and those in a folder, cost nothing.
_FREE: Final = (EMBEDDED, SCRIPTED, ONNX)
_NOT_SCRIPTED: Final = "The scripted models are turned off: set RESPONSA_MODELS__SCRIPTED=true to use them, but not in production."


class Doubles(Protocol):
    """The scripted models and the testing agent, which the laboratory has (`responsa_lab/doubles.py`)."""

    PRICED: str
    PRICES: Mapping[str, str]
    TESTING: str

    def scripted_models(self) -> Mapping[str, ChatModel]: ...

    async def testing_agent(
        self, model_url: str, tool_url: str, faults: Faults, stack: AsyncExitStack, /
    ) -> Agent: ...


@cache
def doubles() -> Doubles:
    """What the entry point `doubles` names, because no module of the product imports the laboratory."""
    (entry,) = distribution("responsa").entry_points.select(group="responsa.lab", name="doubles")
    return entry.load()


def model_table(
    settings: ModelSettings, layout: Layout | None = None, extra: Mapping[str, ChatModel] | None = None
) -> ProviderTable:
    """Return the table of available models. The caller must call `close` on the table at the end.

    layout: the instance whose embedded model is used, or None to use no embedded model. extra: additional models, keyed
    by `provider:name`.
    """
    missing = no_language_model()
    declared, absent = providers(settings), dict[str, str]()
    if layout is not None and missing is None:
        declared[EMBEDDED] = _local_provider(layout)
    else:
        absent[EMBEDDED] = (
            missing or "The embedded model belongs to an instance: only `responsa serve` can call it."
        )
    if settings.scripted:
        extra = {**doubles().scripted_models(), **(extra or {})}
    else:
        absent[SCRIPTED] = _NOT_SCRIPTED
    options = TableOptions(
        default=settings.default,
        patience_seconds=settings.patience_seconds,
        retry=RetryPolicy(retries=settings.retries),
        serverless=extra or {},
        absent=absent,
    )
    return ProviderTable(declared, Prices(_prices(settings), list_own_prices(settings)), options)


def warn_of_spending(
    settings: Settings, default: Sequence[str] | None = None, table: PriceTable | None = None
) -> tuple[str, str] | None:
    """What to know and what to do if a default model, the reranking model, or the model that judges citations has a
    price and no quota limits what users spend; None if there is nothing to know. default: the default models; None for
    those of the settings. table: the prices that also know an owner's; None for those of the settings.
    """
    if any(settings.quotas.quota.limits(metric) for metric in Metric):
        return None
    models = settings.models
    prices = table or Prices(_prices(models), list_own_prices(models))
    today = datetime.now(UTC).date()
    # A vendor's model without a known price costs money, too.
    others = filter(None, [settings.retrieval.reranker, settings.citations.judge])
    used = [*(models.default if default is None else default), *others]
    costly = [name for name in used if (price := prices.price(name, today)) is None or price != FREE]
    if not costly:
        return None
    return (
        f"{' and '.join(costly)} cost{'s' if len(costly) == 1 else ''} money, and no quota limits what users spend",
        "set quotas.cost_micros_per_month or quotas.tokens_per_month (docs/settings.md)",
    )


def list_own_prices(settings: ModelSettings) -> Mapping[str, Price]:
    """The prices of providers: those of the settings, and none for what runs on this machine or in a private network."""
    own: dict[str, Price] = dict.fromkeys(_FREE, FREE)
    for name, server in settings.servers.items():
        if server.price is not None:
            own[name] = price_of(*server.price)
        elif is_private(urlsplit(server.url).hostname or "", settings.allow_private):
            own[name] = FREE
    return own


def list_models(settings: ModelSettings) -> Mapping[str, frozenset[str]]:
    """Return all providers that these settings allow, reachable or not, each with its models. The set of models is
    empty if the provider accepts any model name.
    """
    played = frozenset(name.partition(":")[2] for name in doubles().scripted_models())
    known = dict.fromkeys(providers(settings), frozenset[str]())
    return {**known, EMBEDDED: frozenset({EMBEDDED_MODEL}), SCRIPTED: played}


def by_name(known: Mapping[str, Collection[str]]) -> Sequence[str]:
    """Return the models of all providers with a known list of models, as `provider:model`."""
    return [f"{provider}:{model}" for provider, models in known.items() for model in sorted(models)]


def _local_provider(layout: Layout) -> Provider:
    server = CompatibleSettings(
        url="http://embedded/v1",
        idle_seconds=_EMBEDDED_IDLE_SECONDS,
        concurrent=MODEL_ANSWERS,
        wait_seconds=_EMBEDDED_IDLE_SECONDS,
        uds=str(layout.model_socket),
        # The embedded server sometimes closes a connection just as the next request arrives on it.
        keep_alive=False,
        tools=False,
        window=MODEL_WINDOW,
    )
    return Provider(server, models=frozenset({EMBEDDED_MODEL}), small=True)


def _prices(settings: ModelSettings) -> PriceList:
    known = load_shipped()
    if not settings.scripted:
        return known
    row = PriceRow.model_validate(
        {
            "provider": SCRIPTED,
            "match": "exact",
            "model": doubles().PRICED,
            "from": date.min,
            **{key: Decimal(price) for key, price in doubles().PRICES.items()},
        }
    )
    return known.model_copy(update={"models": [*known.models, row]})


_SETTING: Final = "retrieval.reranker (RESPONSA_RETRIEVAL__RERANKER)"


async def open_reranker(
    called: str, settings: ModelSettings, models: ProviderTable, threads: int, stack: AsyncExitStack
) -> Reranker | None:
    """Return the reranking model `provider:model`, or None if the name is empty. The stack closes it.

    models: the table whose providers and prices it shares. threads: those of a model that runs in the server. Raises SettingsError.
    """
    if not called:
        return None
    name, _, model = called.partition(":")
    if name == ONNX:
        try:
            local = await asyncio.to_thread(OnnxReranker, Path(model), threads=threads)
        except RerankerUnusable as error:
            raise SettingsError(f"{_SETTING} names {called!r}, but {error}") from None
        stack.callback(local.close)
        return local
    if (problem := _problem(called, settings, models.providers)) is not None:
        raise SettingsError(f"{_SETTING} names {called!r}: {problem}")
    provider = _reranking_providers(settings, models.providers)[name]
    calling = RequestOptions(provider.limits, RetryPolicy(settings.retries))
    reranker = HttpReranker(provider.server, called, calling, models.prices)
    stack.push_async_callback(reranker.close)
    return reranker


def _problem(called: str, settings: ModelSettings, providers: Mapping[str, Provider]) -> str | None:
    """Why no server can be asked for the reranking model, as a sentence with the remedy; None if one can."""
    name = called.partition(":")[0]
    provider = _reranking_providers(settings, providers).get(name)
    if provider is None and name in settings.servers:
        return f"The server {name} has no reranking models: set models.servers.{name}.rerank to its protocol."
    if provider is None:
        known = ", ".join(sorted({*_reranking_providers(settings, providers), ONNX}))
        return (
            f"The providers of reranking models are {known}; a server of your own is declared by the settings models.servers.{name}.url "
            f"and models.servers.{name}.rerank."
        )
    if provider.needs_key and not provider.server.api_key.get_secret_value():
        return f"The provider {name} has no key: set {provider.needs_key}, or put it into a secret file of that name."
    return None


def _reranking_providers(
    settings: ModelSettings, providers: Mapping[str, Provider]
) -> Mapping[str, Provider]:
    """The providers that have reranking models, by name. providers: all providers of language models; their limits are shared."""
    vendors = {
        name: Provider(section, needs_key=f"{name.upper()}_API_KEY")
        for name, section in settings.reranking_vendors.items()
    }
    own = {name: providers[name] for name, server in settings.servers.items() if server.rerank is not None}
    return vendors | own
