"""The scripted model's server and the counting tool, over their sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import httpx2
import pytest

from responsa_lab.testing.script import Script, answer_tokens, opening_tokens, tool_arguments, tool_body
from responsa_lab.testing.servers import ModelServer, ToolSink
from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    PromptMessage,
    Role,
    Spent,
    TextPiece,
    ToolRequest,
)
from responsa_server.domain.tools import Effect, ToolCard
from responsa_server.providers.openai_chat import OpenAiChat
from responsa_server.providers.settings import CompatibleSettings
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


def prompt(script: Script, *, decides: bool = False) -> ModelPrompt:
    tools = [ToolCard("record-once", "Counts.")] if decides else []
    return ModelPrompt([PromptMessage(Role.USER, script.question)], "turns/1", tools)


async def said(model: OpenAiChat, asked: ModelPrompt) -> list[ModelPiece]:
    async with aclosing(model.stream(asked)) as pieces:
        return [piece async for piece in pieces if not isinstance(piece, Spent)]


@pytest.fixture
async def model(server: ModelServer) -> AsyncIterator[OpenAiChat]:
    model = OpenAiChat(CompatibleSettings(url=server.url, continuous_usage=True), "scripted")
    yield model
    await model.close()


async def test_an_answer_is_the_scripts_words_one_a_chunk(server: ModelServer, model: OpenAiChat) -> None:
    script = Script(tokens=40, pace_ms=0, seed=5)
    pieces = await said(model, prompt(script))
    assert pieces == [*map(TextPiece, answer_tokens(script)), Ended(complete=True)]
    assert server.stats() == {"started": 1, "streaming": 0, "finished": 1, "sockets": 1, "disconnects": []}
    assert server.requests == {"turns/1": 1}


async def test_a_decision_is_the_opening_and_the_tool_that_the_script_names(model: OpenAiChat) -> None:
    script = Script(tokens=5, opening=3, tool=Effect.ONCE, pace_ms=0)
    assert await said(model, prompt(script, decides=True)) == [
        *map(TextPiece, opening_tokens(script)),
        ToolRequest("call-1", "record-once", tool_arguments(script)),
        Ended(complete=True),
    ]
    assert await said(model, prompt(Script(tokens=5, pace_ms=0), decides=True)) == [Ended(complete=True)]


async def test_tokens_are_told_with_every_chunk(model: OpenAiChat) -> None:
    script = Script(tokens=2, pace_ms=0)
    async with aclosing(model.stream(prompt(script))) as pieces:
        told = [piece.usage async for piece in pieces if isinstance(piece, Spent)]
    assert told[0] == Usage(input_tokens=2, output_tokens=0)
    assert [one.output_tokens for one in told] == [0, 1, 2, 2, 2]


async def test_a_client_that_leaves_is_noticed_and_counted(server: ModelServer, model: OpenAiChat) -> None:
    script = Script(tokens=2000, pace_ms=1)
    async with aclosing(model.stream(prompt(script))) as pieces:
        async for piece in pieces:
            if isinstance(piece, TextPiece):
                assert server.streaming == 1
                break
    (left,) = await server.left()
    assert left.label == "turns/1"
    assert 1 <= left.pieces < 2000
    assert (server.streaming, server.finished) == (0, 0)


async def test_a_script_can_make_the_server_cut_and_stall(server: ModelServer, model: OpenAiChat) -> None:
    with pytest.raises(ModelError) as caught:
        await said(model, prompt(Script(tokens=9, pace_ms=0, fail_after=2)))
    assert caught.value.fault is ModelFault.CUT
    async with aclosing(model.stream(prompt(Script(tokens=9, pace_ms=0, stall_after=2)))) as pieces:
        texts = 0
        async for piece in pieces:
            texts += isinstance(piece, TextPiece)
            if texts == 2:
                break
    (left,) = await server.left()
    assert left.pieces == 2


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


async def test_a_call_whose_client_died_is_counted(sink: ToolSink, http: httpx2.AsyncClient) -> None:
    calling = asyncio.create_task(call(http, sink, Effect.ONCE, "a", note="x", pause_ms=60_000))
    await sink.called()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (await http.get(f"{sink.url}/calls")).json()["calls"]["a"]["calls"] == 1


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
    assert [one["part"] for one in lines] == ["model", "tool"]
    assert (await http.get(lines[0]["stats_url"])).json()["started"] == 0
    assert (await http.get(lines[1]["stats_url"])).json() == {"calls": {}}
    if ending == "eof":
        process.stdin.close()
    else:
        process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
