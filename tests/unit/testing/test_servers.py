"""The scripted model's server and the counting tool, over their sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx2
import pytest

from responsa_lab.testing.script import tool_body
from responsa_lab.testing.servers import ModelServer, ToolSink
from responsa_server.domain.tools import Effect
from tests.instance import ROOT, plain_environment


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    server = ModelServer()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def sink() -> AsyncIterator[ToolSink]:
    sink = ToolSink()
    await sink.start()
    yield sink
    await sink.close()


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        yield client


async def test_the_server_tells_its_numbers_and_refuses_nonsense(
    server: ModelServer, http: httpx2.AsyncClient
) -> None:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    for wrong in (body, body | {"stream": False}, {"stream": True}, [1]):
        refused = await http.post(f"{server.url}/chat/completions", json=wrong)
        assert refused.status_code == httpx2.codes.BAD_REQUEST
        assert refused.json()["error"]["type"] == "invalid_request_error"
    assert (await http.get(f"{server.url}/models")).json()["data"][0]["id"] == "scripted"
    assert (await http.get(f"{server.root}/nothing")).status_code == httpx2.codes.NOT_FOUND
    stats = (await http.get(f"{server.root}/stats")).json()
    assert (stats["started"], stats["sockets"]) == (0, 1)
    assert (await http.get(f"{server.root}/requests")).json() == {}


async def call(
    http: httpx2.AsyncClient, sink: ToolSink, effect: Effect, key: str, **arguments: Any
) -> httpx2.Response:
    return await http.post(sink.endpoint(effect), json=arguments, headers={"idempotency-key": key})


async def test_the_sink_counts_calls_and_effects_by_key(sink: ToolSink, http: httpx2.AsyncClient) -> None:
    for effect in (Effect.ONCE, Effect.IDEMPOTENT):
        for key in ("a", "a", "b"):
            answer = await call(http, sink, effect, f"{effect}/{key}", note="x")
            assert (answer.status_code, answer.content) == (200, tool_body({"note": "x"}))
    counted = (await http.get(f"{sink.url}/calls")).json()["calls"]
    assert {key: (one["calls"], one["effects"], one["finished"]) for key, one in counted.items()} == {
        "once/a": (2, 2, 2),
        "once/b": (1, 1, 1),
        "idempotent/a": (2, 1, 2),
        "idempotent/b": (1, 1, 1),
    }


async def test_the_sink_fails_as_it_is_told_after_the_effect(
    sink: ToolSink, http: httpx2.AsyncClient
) -> None:
    assert (await call(http, sink, Effect.ONCE, "a", note="x", fail="error")).status_code == 500
    with pytest.raises(httpx2.TransportError):
        await call(http, sink, Effect.ONCE, "b", note="x", fail="cut")
    assert (await http.post(sink.endpoint(Effect.ONCE), content=b"{")).status_code == 400
    assert (await http.get(f"{sink.url}/other")).status_code == 404
    assert [(one.calls, one.effects, one.finished) for one in sink.calls.values()] == [(1, 1, 1), (1, 1, 0)]


@pytest.mark.parametrize("ending", ["signal", "eof"])
async def test_both_are_served_by_a_process_that_prints_where(http: httpx2.AsyncClient, ending: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "responsa_lab.testing",
        *(["--until-eof"] if ending == "eof" else []),
        cwd=ROOT,
        env=plain_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    lines = [cast("dict[str, str]", json.loads(await process.stdout.readline())) for _ in range(2)]
    assert [line["part"] for line in lines] == ["model", "tool"]
    assert (await http.get(lines[0]["stats_url"])).json()["started"] == 0
    assert (await http.get(lines[1]["stats_url"])).json() == {"calls": {}}
    if ending == "eof":
        process.stdin.close()
    else:
        process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
