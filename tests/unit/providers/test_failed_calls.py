"""The log lines of failed calls. They distinguish causes, say what came instead of an answer, and contain no secret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.app.models import model_table
from responsa_server.domain.models import ModelError
from responsa_server.providers.settings import ModelSettings
from tests.unit.providers.told import gathered
from tests.wire.anthropic import Anthropic
from tests.wire.gemini import Gemini
from tests.wire.openai import OpenAi
from tests.wire.speaking import KEY, Complaint, Handler, WireServer, complaining, telling

WIRES: dict[str, WireServer] = {"openai": OpenAi(), "anthropic": Anthropic(), "gemini": Gemini()}


async def lines(handler: Handler, wire: str = "openai", calls: int = 1) -> Sequence[dict[str, Any]]:
    """The log lines for a server with this response."""
    server = LoopbackServer(handler)
    await server.start()
    lab = {"url": f"{server.url}{WIRES[wire].root}", "api_key": KEY, "wire": wire}
    models = model_table(ModelSettings.model_validate({"servers": {"lab": lab}, "retries": 1}))
    chain = models.chain(["lab:m-1"])
    assert chain is not None
    with capture_logs() as logs:
        for _ in range(calls):
            assert isinstance((await gathered(chain))[1], ModelError)
    await models.close()
    await server.close()
    return [dict(log) for log in logs if log["event"] == "model_call_failed"]


@pytest.mark.parametrize("wire", list(WIRES))
@pytest.mark.parametrize(
    ("status", "cause", "attempts"),
    [(401, "credential", 1), (403, "credential", 1), (400, "refused", 1), (503, "overloaded", 2)],
)
async def test_each_try_that_fails_is_a_line(wire: str, status: int, cause: str, attempts: int) -> None:
    complaint = WIRES[wire].complaint(status, KEY)
    records = await lines(complaining(complaint), wire)
    assert [one["attempt"] for one in records] == list(range(1, attempts + 1))
    for one in records:
        assert (one["log_level"], one["model"]) == ("warning", "lab:m-1")
        assert (one["cause"], one["http_status"]) == (cause, status)
        assert one["provider_error"] in json.dumps(complaint.body)
    assert KEY not in repr(records)


async def test_a_quota_is_told_from_a_wrong_key_and_a_key_left_alone_is_no_call() -> None:
    body = {"error": {"code": "insufficient_quota", "message": "You have spent all."}}
    (record,) = await lines(complaining(Complaint(429, body)), calls=2)
    assert record["received"] == "HTTP 429: insufficient_quota: You have spent all."
    assert (record["cause"], record["http_status"], record["provider_error"]) == (
        "credential",
        429,
        "insufficient_quota",
    )


async def test_a_page_instead_of_an_answer_is_told_with_its_type_and_without_keys() -> None:
    async def page(exchange: LoopbackExchange) -> None:
        body = f"<html>Sign in, {KEY} {'x' * 900}".encode()
        await exchange.reply(200, body, {"content-type": "text/html"})

    (one,) = await lines(page)
    assert one["received"].startswith("HTTP 200, text/html: <html>Sign in, [key] x")
    assert len(one["received"]) < 240


async def test_an_answer_that_breaks_off_has_no_status() -> None:
    (one,) = await lines(telling(WIRES["openai"], WIRES["openai"].unfinished("secret words")))
    assert (one["cause"], one["http_status"], one["provider_error"]) == ("cut", None, None)
    assert "secret" not in repr(one)


@pytest.mark.parametrize("kind", [KEY, f"x-{KEY}", "you asked: Why?", "x" * 65, {"Why?": 1}, 7])
async def test_a_word_that_is_no_word_for_an_error_is_left_out(kind: object) -> None:
    (one,) = await lines(complaining(Complaint(400, {"error": {"type": kind, "message": "no"}})))
    assert one["provider_error"] is None
