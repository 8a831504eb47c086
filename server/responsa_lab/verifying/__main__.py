"""python -m responsa_lab.verifying PROVIDER:MODEL [--embeddings]

Asks a live provider a few short questions and reports, line by line, what holds and what differs from what its adapter
assumes. The provider, its address and its key come from the settings, as for a server. Before it asks, it prints the
highest possible cost. Exit codes: 0 no difference that matters, 1 at least one difference that matters, 2 the model
cannot be asked with these settings.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pkgutil import resolve_name

from responsa_lab.verifying.suite import (
    PROMPT_TOKENS,
    SHAPES,
    Finding,
    Provider,
    verify,
    verify_embeddings,
)
from responsa_server.app.models import model_table
from responsa_server.app.settings import Settings, SettingsError, load
from responsa_server.domain.models import Price
from responsa_server.embedded.layout import Layout
from responsa_server.providers.chain import RetryPolicy
from responsa_server.providers.embedding import EMBEDDERS, described
from responsa_server.providers.json_server import Calling
from responsa_server.providers.settings import ADAPTERS, EmbeddingModelSettings

_DIFFERS = 1
_USAGE = 2


def most(price: Price | None) -> str:
    """The most that all shapes cost, as a sentence."""
    requests = sum(asked for _, asked, _ in SHAPES)
    written = sum(tokens for _, _, tokens in SHAPES)
    read = requests * PROMPT_TOKENS
    text = f"At most {requests} requests, {read:,} input tokens and {written:,} output tokens"
    if price is None:
        return f"{text}; the price of this model is not known."
    dollars = (read * price.input + written * price.output) / 1_000_000
    return f"{text}: at most {dollars:.3f} dollars."


async def chat(settings: Settings, name: str) -> int:
    """Verify a language model."""
    table = model_table(settings.language_models, Layout.of(settings.home))
    try:
        if (problem := table.problem(name)) is not None:
            print(problem, file=sys.stderr)
            return _USAGE
        called, _, model = name.partition(":")
        found = table.providers.get(called)
        if found is None:
            print(f"{name} speaks no protocol, so there is nothing to verify.", file=sys.stderr)
            return _USAGE
        print(most(table.price(name)), flush=True)
        to = Provider(found.server.wire, found.server, model, resolve_name(ADAPTERS[found.server.wire]))
        return 0 if await verify(to, _tell) else _DIFFERS
    finally:
        await table.close()


async def embeddings(settings: Settings, name: str) -> int:
    """Verify an embedding model."""
    table = model_table(settings.language_models, Layout.of(settings.home))
    try:
        called = name.partition(":")[0]
        provider = table.providers.get(called)
        problem = table.problem(name)
        if problem is None and (provider is None or provider.server.wire not in EMBEDDERS):
            problem = f'The provider "{called}" has no embedding models.'
        if problem is not None or provider is None:
            print(problem, file=sys.stderr)
            return _USAGE
        own = settings.models.embeddings.get(name, EmbeddingModelSettings())
        embedder = EMBEDDERS[provider.server.wire](
            provider.server, described(name, own), Calling(provider.limits, RetryPolicy(retries=0))
        )
        print("At most 3 requests and 200 input tokens.", flush=True)
        try:
            right = await verify_embeddings(embedder, provider.server.api_key.get_secret_value(), _tell)
        finally:
            await embedder.close()
        return 0 if right else _DIFFERS
    finally:
        await table.close()


def _tell(finding: Finding) -> None:
    print(finding, flush=True)


def main() -> None:
    """Read the arguments and verify."""
    parser = argparse.ArgumentParser(prog="python -m responsa_lab.verifying", description=__doc__)
    parser.add_argument("model", help="the model, as provider:model")
    parser.add_argument("--embeddings", action="store_true", help="the model is an embedding model")
    options = parser.parse_args()
    try:
        settings = load()
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(_USAGE)
    embeds = options.embeddings or "embed" in options.model.partition(":")[2]
    sys.exit(asyncio.run((embeddings if embeds else chat)(settings, options.model)))


if __name__ == "__main__":
    main()
