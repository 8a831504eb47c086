"""Which models are available, and why others are not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from pydantic import ValidationError

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.app.models import model_table
from responsa_server.domain.models import (
    Ended,
    ModelFault,
    Price,
    Switched,
    TextPiece,
)
from responsa_server.providers.chain import RetryPolicy
from responsa_server.providers.prices import Prices, load_shipped
from responsa_server.providers.settings import CompatibleSettings, ModelSettings
from responsa_server.providers.table import Provider, ProviderTable, TableOptions, providers
from tests.unit.providers.told import Told, gathered
from tests.wire.anthropic import Anthropic
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, Scene, complaining, telling

SETTINGS = ModelSettings.model_validate(
    {"vendors": {"openai": {"api_key": KEY}}, "servers": {"lab": {"url": "http://127.0.0.1:9/v1/"}}}
)
OPTIONS = TableOptions(SETTINGS.patience_seconds, RetryPolicy(SETTINGS.retries))
RETRYING = replace(OPTIONS, retry=RetryPolicy(retries=2, first_seconds=0))


def server_at(url: str, wire: str = "openai", **limits: float) -> CompatibleSettings:
    return CompatibleSettings.model_validate({"url": url, "wire": wire, "api_key": KEY, **limits})


def table(*default: str) -> ProviderTable:
    settings = SETTINGS.model_copy(update={"default": list(default)})
    made = {"toy:strong": Told([Ended(complete=True)])}
    return model_table(settings, extra=made)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("openai:gpt-4o", None),
        ("lab:qwen3:8b", None),
        ("toy:strong", None),
        ("passages", None),
        ("default", None),
        ("anthropic:claude-x", "set ANTHROPIC_API_KEY"),
        ("attic:m", "models.servers.attic.url"),
        ("toy:weak", 'no model "toy:weak", only toy:strong'),
        ("scripted:strong", "RESPONSA_MODELS__SCRIPTED"),
        ("embedded:smollm2", "responsa serve"),
        ("gpt-4o", "provider:model"),
        ("openai:a b", "provider:model"),
    ],
)
def test_a_name_can_be_had_or_there_is_a_reason_with_its_remedy(name: str, problem: str | None) -> None:
    found = table().problem(name)
    assert found is None if problem is None else problem in (found or "")
    assert KEY not in (found or "")


def test_default_cannot_stand_for_itself() -> None:
    for names in ("default", "lab:a,default", ["default"]):
        with pytest.raises(ValidationError, match="must not contain “default”"):
            ModelSettings.model_validate({"default": names})
    assert ModelSettings.model_validate({"default": "lab:a, passages"}).default == ["lab:a", "passages"]


def test_a_chain_holds_each_model_once_and_default_in_its_place() -> None:
    models = table("lab:a", "lab:b")
    assert models.resolve(["openai:x", "default", "lab:a", "passages"]) == ("openai:x", "lab:a", "lab:b")
    assert models.chain(["passages"]) is None
    assert models.chain([]) is None
    assert table().chain(["default"]) is None
    for names in (["passages", "openai:x"], ["attic:m"], ["openai:x", "anthropic:claude-x"]):
        with pytest.raises(KeyError):
            models.chain(names)


def test_prices_are_todays_and_what_is_run_at_home_costs_nothing() -> None:
    models = table()
    assert models.price("openai:gpt-4o") is not None
    assert models.price("openai:nobody-knows") is None
    assert models.price("lab:anything") == Price(*[Decimal(0)] * 4)
    assert load_shipped().as_of <= date.today()  # noqa: DTZ011  the date in the time zone of the tests


def test_the_models_of_a_small_provider_are_small_also_behind_default() -> None:
    declared = {
        "tiny": Provider(server_at("http://127.0.0.1:9/v1"), small=True),
        "lab": Provider(server_at("http://127.0.0.1:9/v1")),
    }
    models = ProviderTable(declared, Prices(load_shipped()), replace(OPTIONS, default=["tiny:m", "lab:m"]))
    assert models.small(["default", "tiny:n", "passages"]) == {"tiny:m", "tiny:n"}
    assert models.small(["lab:m"]) == frozenset()
    with pytest.raises(KeyError):
        models.small(["attic:m"])


async def test_models_behind_one_key_share_its_places_and_a_busy_server_is_asked_again() -> None:
    wire, calls, most, running = OpenAi(), 0, 0, 0

    async def handle(exchange: LoopbackExchange) -> None:
        nonlocal calls, most, running
        calls += 1
        running += 1
        most = max(most, running)
        try:
            whole = telling(wire, wire.events(Scene(["a"])))
            await (complaining(wire.complaint(503)) if calls <= 2 else whole)(exchange)
        finally:
            running -= 1

    server = LoopbackServer(handle)
    await server.start()
    lab = Provider(server_at(f"{server.url}/v1", concurrent=1, wait_seconds=300.0))
    models = ProviderTable({"lab": lab}, Prices(load_shipped()), RETRYING)
    chains = [models.chain([f"lab:m-{place % 2}"]) for place in range(6)]
    results = await asyncio.gather(*(gathered(chain) for chain in chains if chain is not None))
    await models.close()
    await server.close()
    assert [error for _, error in results] == [None] * 6
    assert (calls, most) == (8, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"vendors": {"openai": {"url": "ftp://x"}}},
        {"vendors": {"openai": {"url": "https://user:secret@x/v1"}}},
        {"servers": {"lab": {}}},
        {"vendors": {"openai": {"key": "secret"}}},
        {"servers": {"openai": {"url": "http://x/v1"}}},
    ],
)
def test_settings_that_are_wrong_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ModelSettings.model_validate(wrong)


def test_settings_do_not_show_keys() -> None:
    assert KEY not in repr(SETTINGS)
    assert KEY not in SETTINGS.model_dump_json()
    assert KEY not in repr(providers(SETTINGS))


async def test_a_wrong_key_is_tried_once_and_when_all_are_down_that_is_told() -> None:
    paths: list[str] = []
    wire = Anthropic()

    async def handle(exchange: LoopbackExchange) -> None:
        paths.append(exchange.request.path)
        await complaining(wire.complaint(401, KEY))(exchange)

    server, gone = LoopbackServer(handle), LoopbackServer(handle)
    await server.start()
    await gone.start()
    declared = {
        "anthropic": Provider(server_at(f"{server.url}/v1", "anthropic")),
        "lab": Provider(server_at(f"{gone.url}/v1")),
    }
    await gone.close()
    models = ProviderTable(declared, Prices(load_shipped()), RETRYING)
    chain = models.chain(["anthropic:m", "lab:m"])
    assert chain is not None
    for _ in range(2):
        pieces, error = await gathered(chain)
        assert pieces == [Switched("anthropic:m", "lab:m", ModelFault.CREDENTIAL)]
        assert error
        assert (error.fault, error.model) == (ModelFault.UNREACHABLE, "lab:m")
        assert KEY not in str(error)
    await models.close()
    await server.close()
    assert len(paths) == 1


async def test_a_chain_uses_the_key_and_the_address_that_its_provider_has_now() -> None:
    wire = OpenAi()
    servers = [LoopbackServer(telling(wire, wire.events(Scene([text])))) for text in ("old", "new")]
    for server in servers:
        await server.start()
    models = ProviderTable({}, Prices(load_shipped()), OPTIONS)
    models.use_provider("compatible", Provider(server_at(f"{servers[0].url}/v1")))
    models.use_default(["compatible:m"])
    chain = models.chain(["default"])
    assert chain is not None
    assert (await gathered(chain))[0][0] == TextPiece("old")
    models.use_provider("compatible", Provider(server_at(f"{servers[1].url}/v1")))
    assert (await gathered(chain))[0][0] == TextPiece("new")
    models.use_default([])
    assert models.chain(["default"]) is None
    await models.close()
    for server in servers:
        await server.close()
