"""The reranking model that the settings name."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from responsa_server.app.settings import SettingsError
from responsa_server.domain.reranking import Reranker
from responsa_server.providers.chain import RetryPolicy
from responsa_server.providers.json_server import Calling
from responsa_server.providers.onnx_reranker import OnnxReranker, RerankerUnusable
from responsa_server.providers.reranking import RERANKERS
from responsa_server.providers.settings import ONNX, CompatibleSettings, ModelSettings
from responsa_server.providers.table import ModelTable, Provider

_SETTING: Final = "retrieval.reranker (RESPONSA_RETRIEVAL__RERANKER)"


async def open_reranker(
    called: str, settings: ModelSettings, models: ModelTable, threads: int, stack: AsyncExitStack
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
    wire = provider.server.rerank
    assert wire is not None, "only such providers are listed"
    calling = Calling(provider.limits, RetryPolicy(settings.retries))
    made = RERANKERS[wire](provider.server, called, calling, models.prices)
    stack.push_async_callback(made.close)
    return made


def _problem(called: str, settings: ModelSettings, providers: Mapping[str, Provider]) -> str | None:
    """Why no server can be asked for the reranking model, as a sentence with the remedy; None if one can."""
    name = called.partition(":")[0]
    found = _reranking_providers(settings, providers).get(name)
    if found is None and name in settings.servers:
        return f"The server {name} has no reranking models: set models.servers.{name}.rerank to its protocol."
    if found is None:
        known = ", ".join(sorted({*_reranking_providers(settings, providers), ONNX}))
        return (
            f"The providers of reranking models are {known}; a server of your own is declared by the settings models.servers.{name}.url "
            f"and models.servers.{name}.rerank."
        )
    if found.needs_key and not found.server.api_key.get_secret_value():
        return f"The provider {name} has no key: set {found.needs_key}, or put it into a secret file of that name."
    return None


def _reranking_providers(
    settings: ModelSettings, providers: Mapping[str, Provider]
) -> Mapping[str, Provider]:
    """The providers that have reranking models, by name. providers: all providers of language models; their limits are shared."""
    vendors = {
        name: Provider(
            CompatibleSettings.model_validate({**dict(section), "rerank": name}),
            needs_key=f"{name.upper()}_API_KEY",
        )
        for name, section in settings.reranking_vendors.items()
    }
    own = {name: providers[name] for name, server in settings.servers.items() if server.rerank is not None}
    return vendors | own
