"""The models in the status of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.app import default_model
from responsa_server.app.default_model import ModelsPart
from responsa_server.app.models import model_table
from responsa_server.domain.models import ModelError, ModelFault, ModelPrompt, PromptMessage, Role
from responsa_server.domain.parts import Health, PartReport
from responsa_server.providers.learned import Learned
from responsa_server.providers.settings import ModelSettings

FAILING = "The model lab:m has failed three times in a row: its server {}"
AWAY = "The model lab:m does not answer: {}. Check its address, and that it runs."


@dataclass
class Chosen:
    in_use: Sequence[str] = ("lab:m", "passages")
    problem: str = ""


async def test_a_server_of_models_is_asked_until_it_has_answered_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(default_model, "_AWAY_SECONDS", 0.0)
    monkeypatch.setattr(default_model, "_ANSWER_SECONDS", 0.05)
    requests: list[str] = []
    silent = True

    async def handle(exchange: LoopbackExchange) -> None:
        requests.append(exchange.request.method)
        if silent:
            await asyncio.Event().wait()
        await exchange.reply(404, b"")

    server = LoopbackServer(handle)
    await server.start()
    url = server.url
    await server.close()
    models = model_table(ModelSettings.model_validate({"servers": {"lab": {"url": f"{url}/v1"}}}))
    chosen: Any = Chosen()
    part = ModelsPart(chosen, models, models.breakers)
    assert await part.check() == PartReport(
        Health.DEGRADED, detail=AWAY.format("its server cannot be reached")
    )
    await server.start(urlsplit(url).port or 0)
    assert (await part.check()).detail == AWAY.format("its server has sent nothing for 0.05 s")
    silent = False
    assert [await part.check() for _ in range(2)] == [PartReport(Health.OK)] * 2
    assert requests == ["GET", "GET"]
    chosen.problem = "Paste the key again."
    assert await part.check() == PartReport(Health.DEGRADED, detail="The default model: Paste the key again.")
    chosen.problem = ""
    models.breakers.open("model:lab:m", ModelFault.TIMEOUT)
    assert (await part.check()).detail.startswith("The model lab:m has failed.")
    await models.close()
    await server.close()


async def test_a_model_that_fails_three_times_for_one_cause_is_told_until_it_answers() -> None:
    status = 503

    async def handle(exchange: LoopbackExchange) -> None:
        choice = {"message": {"content": "ok"}, "finish_reason": "stop"}
        await exchange.reply(status, json.dumps({"choices": [choice]}).encode())

    server = LoopbackServer(handle)
    await server.start()
    lab = {"servers": {"lab": {"url": f"{server.url}/v1"}}, "retries": 0}
    models = model_table(ModelSettings.model_validate(lab))
    chosen: Any = Chosen()
    part = ModelsPart(chosen, models, models.breakers)

    async def ask() -> str:
        """What the status says after a question."""
        chain = models.chain(["lab:m"])
        assert chain is not None
        try:
            async with aclosing(chain.stream(ModelPrompt([PromptMessage(Role.USER, "Why?")], ""))) as pieces:
                assert [piece async for piece in pieces]
        except ModelError:
            assert status != 200
        return (await part.check()).detail

    busy = FAILING.format(
        "is overloaded, or answers with errors (HTTP 5xx). Read its log, or add a second model."
    )
    assert [await ask() for _ in range(4)] == ["", "", busy, busy]
    # Every process sees what is stored.
    other = Learned()
    other.replace(models.learned.take_new(), {})
    assert other.list_failing() == {"lab:m": ModelFault.OVERLOADED}
    status = 200
    assert await ask() == ""
    status = 503
    assert [await ask() for _ in range(2)] == ["", ""]
    status = 401
    # The circuit of the key is open after the first one, so the other calls are not made; they count.
    key = FAILING.format("rejected the key. Check its key, and the credit of its account.")
    assert [key in await ask() for _ in range(3)] == [False, False, True]
    await models.close()
    await server.close()
