"""The rules that every adapter keeps. For each adapter, a server on a real socket speaks the protocol of the adapter's
vendor.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import traceback
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    Alive,
    ChatModel,
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    PromptMessage,
    Provenance,
    Role,
    Spent,
    Stop,
    TextPiece,
    ToolRequest,
    Withdrawn,
)
from responsa_server.domain.tools import ToolCard
from responsa_server.providers.http_model import MAX_TOKENS
from responsa_server.providers.settings import CompatibleSettings
from tests.raising import raises
from tests.wire.anthropic import Anthropic
from tests.wire.gemini import Gemini
from tests.wire.openai import OpenAi
from tests.wire.speaking import (
    KEY,
    Complaint,
    Handler,
    Scene,
    Staying,
    WireServer,
    complaining,
    speaking,
    telling,
)

WIRES = {"openai": OpenAi(), "anthropic": Anthropic(), "gemini": Gemini()}
PROMPT = ModelPrompt([PromptMessage(Role.SYSTEM, "Be brief."), PromptMessage(Role.USER, "Why?")], "turns/1")
CARD = ToolCard("note", "Notes.", {"type": "object", "properties": {"text": {"type": "string"}}})
SCHEMA = {
    "type": "object",
    "properties": {"intent": {"enum": ["qa", "post"]}},
    "required": ["intent"],
    "additionalProperties": False,
}


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> WireServer:
    return WIRES[request.param]


async def answer(model: ChatModel, prompt: ModelPrompt = PROMPT) -> list[ModelPiece]:
    async with aclosing(model.stream(prompt)) as pieces:
        return [piece async for piece in pieces]


async def failure(wire: WireServer, handler: Handler, **options: Any) -> ModelError:
    async with speaking(wire, handler, **options) as model:
        return await raises(ModelError, answer(model, PROMPT))


def finds(error: ModelError) -> tuple[ModelFault, bool]:
    return error.fault, error.passing


def without_spending(pieces: list[ModelPiece]) -> list[ModelPiece]:
    """The pieces but for Spent and Alive. Successive texts are joined, since those that arrive together are one."""
    joined: list[ModelPiece] = []
    for piece in pieces:
        if isinstance(piece, TextPiece) and joined and isinstance(joined[-1], TextPiece):
            joined[-1] = TextPiece(joined[-1].text + piece.text)
        elif not isinstance(piece, (Spent, Alive)):
            joined.append(piece)
    return joined


@pytest.mark.parametrize("by", [0, 1, 7])
async def test_text_comes_whole_however_the_stream_is_cut(wire: WireServer, by: int) -> None:
    events = wire.events(Scene(texts=["Grö", "ße 東", "\n\ndata: 🌍"]))
    async with speaking(wire, telling(wire, events, by=by)) as model:
        assert without_spending(await answer(model)) == [
            TextPiece("Größe 東\n\ndata: 🌍"),
            Ended(complete=True),
        ]


async def test_the_end_names_the_model_as_the_provider_does(wire: WireServer) -> None:
    async with speaking(wire, telling(wire, wire.events(Scene(texts=["Yes."])))) as model:
        end = (await answer(model))[-1]
    assert isinstance(end, Ended)
    assert end.model == "m-1-2026-01-01"


LONE: Mapping[str, tuple[list[str], list[ModelPiece], list[ModelPiece]]] = {
    "in one piece": (["So, 7.</think>\n\nIt is 5."], [TextPiece("It is 5.")], [TextPiece("It is 5.")]),
    "in several pieces": (
        ["So, 7.", " No</th", "ink>", "\n", "It is 5."],
        [TextPiece("So, 7. No"), Withdrawn(0), TextPiece("It is 5.")],
        [TextPiece("It is 5.")],
    ),
    "a second end": (
        ["So.", "</think>It ends with </think>."],
        [TextPiece("So."), Withdrawn(0), TextPiece("It ends with </think>.")],
        [TextPiece("It ends with </think>.")],
    ),
    "in code": (
        ["It ends with `</think>`", "."],
        [TextPiece("It ends with `</think>`.")],
        [TextPiece("`.")],
    ),
    "with its beginning": (["<think>So.</think>", "Five."], [TextPiece("Five.")], [TextPiece("Five.")]),
}


@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("case", LONE)
async def test_what_stands_before_a_lone_end_of_reasoning_does_not_stay(
    wire: WireServer, case: str, *, begins: bool
) -> None:
    texts, *expected = LONE[case]
    handler = telling(wire, wire.events(Scene(texts=texts)))
    async with speaking(wire, handler, begins_with_reasoning=begins) as model:
        assert without_spending(await answer(model)) == [*expected[begins], Ended(complete=True)]


async def test_an_answer_that_never_leaves_its_reasoning_is_empty(wire: WireServer) -> None:
    handler = telling(wire, wire.events(Scene(texts=["So, ", "7."])))
    assert (await failure(wire, handler, begins_with_reasoning=True)).fault is ModelFault.EMPTY
    handler = telling(wire, wire.events(Scene(texts=["So.", "</think>"])))
    assert (await failure(wire, handler)).fault is ModelFault.EMPTY


async def test_usage_counts_all_that_was_read_and_all_that_was_said(wire: WireServer) -> None:
    written = 0 if isinstance(wire, Gemini) else 5
    scene = Scene(texts=["a"], usage=(100, 40, written, 9))
    async with speaking(wire, telling(wire, wire.events(scene))) as model:
        spent = [one for one in await answer(model) if isinstance(one, Spent)]
    assert spent[-1] == Spent(Usage(input_tokens=100, output_tokens=9), "", 40, written)


@pytest.mark.parametrize(
    ("count", "counted"),
    [
        ("-1" + "0" * 30, 0),
        ("-1", 0),
        ("1" + "0" * 40, MAX_TOKENS),
        ("1e400", MAX_TOKENS),
        ("-1e400", 0),
        ("NaN", 0),
        ('"7"', 0),
        ('{"a": [7]}', 0),
        ("7.9", 7),
    ],
)
async def test_hostile_counts_of_tokens_neither_end_an_answer_nor_give_anything_back(
    wire: WireServer, count: str, counted: int
) -> None:
    numbers = re.compile(rb'("\w*[tT]oken\w*":\s*)\d+')
    events = [
        numbers.sub(rb"\g<1>" + count.encode(), event)
        for event in wire.events(Scene(["So."], usage=(9, 8, 7, 6)))
    ]
    async with speaking(wire, telling(wire, events)) as model:
        pieces = await answer(model)
    assert without_spending(pieces) == [TextPiece("So."), Ended(complete=True)]
    spent = [one for one in pieces if isinstance(one, Spent)]
    twice = 2 if isinstance(wire, Gemini) else 1  # it counts thoughts besides
    assert spent[-1].usage.output_tokens == min(twice * counted, MAX_TOKENS)
    for report in spent:
        usage = report.usage
        for number in (
            usage.input_tokens,
            usage.output_tokens,
            report.cached_input_tokens,
            report.cache_write_tokens,
        ):
            assert isinstance(number, int)
            assert 0 <= number <= MAX_TOKENS


async def test_requests_of_tools_come_whole_after_the_text(wire: WireServer) -> None:
    signature = "c2ln" if isinstance(wire, Gemini) else ""
    calls = [
        ToolRequest("a", "note", {"text": "ü", "deep": {"n": [1, 2.5, None]}}, signature),
        ToolRequest("b", "note", {}),
    ]
    async with speaking(wire, telling(wire, wire.events(Scene(["So: "], calls)))) as model:
        pieces = without_spending(await answer(model, ModelPrompt(PROMPT.messages, "", [CARD])))
    assert pieces == [TextPiece("So: "), *calls, Ended(complete=True)]


async def test_arguments_that_no_event_can_carry_are_a_problem_or_malformed(wire: WireServer) -> None:
    deep: dict[str, object] = {}
    for _ in range(20):
        deep = {"a": deep}
    async with speaking(
        wire, telling(wire, wire.events(Scene(calls=[ToolRequest("a", "note", deep)])))
    ) as model:
        pieces = await answer(model, ModelPrompt(PROMPT.messages, "", [CARD]))
    (request,) = [piece for piece in pieces if isinstance(piece, ToolRequest)]
    assert (request.tool, request.arguments, request.problem[:15]) == ("note", {}, "they are nested")
    long = wire.events(Scene(calls=[ToolRequest("a", "note", {"a": "x" * (17 << 10)})]))
    assert (await failure(wire, telling(wire, long))).fault is ModelFault.MALFORMED
    many = wire.events(Scene(calls=[ToolRequest(str(place), "note", {}) for place in range(65)]))
    assert (await failure(wire, telling(wire, many))).fault is ModelFault.MALFORMED


@pytest.mark.parametrize(
    ("texts", "stop"),
    [(["a"], Stop.LIMIT), (["a"], Stop.UNSAFE), ([], Stop.UNSAFE)],
    ids=["limit", "unsafe", "no text"],
)
async def test_an_answer_that_was_stopped_says_why(wire: WireServer, texts: list[str], stop: Stop) -> None:
    async with speaking(wire, telling(wire, wire.events(Scene(texts, stop=stop)))) as model:
        assert without_spending(await answer(model)) == [
            *map(TextPiece, texts),
            Ended(complete=False, stop=stop),
        ]


@pytest.mark.parametrize("stop", [Stop.END, Stop.LIMIT])
async def test_an_answer_without_text_is_an_error(wire: WireServer, stop: Stop) -> None:
    assert finds(await failure(wire, telling(wire, wire.events(Scene(stop=stop))))) == (
        ModelFault.EMPTY,
        False,
    )


async def test_a_model_that_was_offered_tools_may_say_nothing(wire: WireServer) -> None:
    async with speaking(wire, telling(wire, wire.events(Scene()))) as model:
        pieces = await answer(model, ModelPrompt(PROMPT.messages, "", [CARD]))
    assert without_spending(pieces) == [Ended(complete=True)]


async def test_events_of_kinds_that_nobody_knows_are_passed_over(wire: WireServer) -> None:
    first, *others = wire.events(Scene(["a", "b"]))
    async with speaking(wire, telling(wire, [first, *wire.strange(), *others])) as model:
        assert without_spending(await answer(model)) == [
            TextPiece("ab"),
            Ended(complete=True),
        ]


async def test_texts_that_arrive_together_are_one_piece(wire: WireServer) -> None:
    tokens = [f"{number} " for number in range(50)]
    sent = b"".join(wire.events(Scene(tokens)))
    async with speaking(wire, telling(wire, [sent])) as model:
        texts = [piece.text for piece in await answer(model) if isinstance(piece, TextPiece)]
    assert texts == ["".join(tokens)]


@pytest.mark.parametrize("cut", [True, False])
async def test_a_stream_that_ends_before_its_finish_is_cut(wire: WireServer, cut: bool) -> None:
    handler = telling(wire, wire.unfinished("a", "b"), cut=cut)
    assert finds(await failure(wire, handler)) == (ModelFault.CUT, False)


@pytest.mark.parametrize(
    "broken",
    [
        [b"data: {\n\n"],
        [b"data: [1]\n\n"],
        [b"data: <html>\n\n"],
        pytest.param([b"data: ", *([b"x" * (1 << 20)] * 3)], id="without end"),
    ],
)
async def test_a_chunk_that_is_broken_is_malformed(wire: WireServer, broken: list[bytes]) -> None:
    error = await failure(wire, telling(wire, [*wire.unfinished("a"), *broken]))
    assert error.fault is ModelFault.MALFORMED


async def test_an_error_in_the_midst_of_a_stream_has_its_kind(wire: WireServer) -> None:
    handler = telling(wire, [*wire.unfinished("a"), wire.failing()])
    assert finds(await failure(wire, handler)) == (ModelFault.OVERLOADED, True)


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
async def test_an_answer_of_another_type_is_malformed(wire: WireServer, kind: str) -> None:
    async def handle(exchange: LoopbackExchange) -> None:
        await exchange.reply(200, b"<html>Sign in to the network</html>", {"content-type": kind})

    assert (await failure(wire, handle)).fault is ModelFault.MALFORMED


@pytest.mark.parametrize(
    ("status", "fault", "passing"),
    [
        (400, ModelFault.REFUSED, False),
        (401, ModelFault.CREDENTIAL, False),
        (403, ModelFault.CREDENTIAL, False),
        (404, ModelFault.REFUSED, False),
        (429, ModelFault.RATE_LIMITED, True),
        (503, ModelFault.OVERLOADED, True),
    ],
)
async def test_errors_are_told_apart(wire: WireServer, status: int, fault: ModelFault, passing: bool) -> None:
    error = await failure(wire, complaining(wire.complaint(status)))
    assert (error.fault, error.passing, error.retry_after) == (fault, passing, None)
    assert f"HTTP {status}" in error.detail
    # A request that is forbidden for one model may be allowed for another model.
    assert error.own is (status == 403)


@pytest.mark.parametrize(
    "body", ["a proxy's page", None, [], {"error": []}, {"error": {"code": [1]}}, {"error": None}]
)
async def test_an_error_with_any_body_has_the_fault_of_its_status(wire: WireServer, body: object) -> None:
    error = await failure(wire, complaining(Complaint(503, body)))
    assert finds(error) == (ModelFault.OVERLOADED, True)


@pytest.mark.parametrize("endless", [True, False])
async def test_an_errors_body_may_be_endless_or_broken_off(wire: WireServer, endless: bool) -> None:
    async def handle(exchange: LoopbackExchange) -> None:
        head = b"HTTP/1.1 503 Busy\r\ncontent-type: text/plain\r\ncontent-length: 999999\r\n\r\nbusy"
        await exchange.raw(head)
        while endless:
            await exchange.raw(b"x" * 1000)
        exchange.cut()

    error = await failure(wire, handle)
    assert finds(error) == (ModelFault.OVERLOADED, True)
    assert error.detail.startswith("HTTP 503: busy")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5),
        ({"retry-after": "100000000"}, 3600.0),
        ({"retry-after": "soon"}, None),
    ],
)
async def test_retry_after_is_heard(wire: WireServer, headers: dict[str, str], seconds: float | None) -> None:
    told = wire.complaint(429)
    error = await failure(wire, complaining(Complaint(told.status, told.body, headers)))
    assert error.retry_after == seconds


async def test_a_server_may_say_that_another_try_is_in_vain(wire: WireServer) -> None:
    told = wire.complaint(503)
    error = await failure(wire, complaining(Complaint(503, told.body, {"x-should-retry": "false"})))
    assert finds(error) == (ModelFault.OVERLOADED, False)


async def test_a_connection_that_is_closed_before_an_answer_is_worth_another_try(wire: WireServer) -> None:
    async def handle(exchange: LoopbackExchange) -> None:
        exchange.cut()

    assert finds(await failure(wire, handle)) == (ModelFault.UNREACHABLE, True)


async def test_a_server_that_is_not_there_or_silent(wire: WireServer) -> None:
    async def silent(exchange: LoopbackExchange) -> None:
        await asyncio.Event().wait()

    assert finds(await failure(wire, silent, idle_seconds=0.05)) == (ModelFault.TIMEOUT, True)
    begun = Staying(wire.unfinished("a"))
    assert finds(await failure(wire, begun.handle, idle_seconds=0.2)) == (ModelFault.TIMEOUT, False)
    gone = LoopbackServer(silent)
    await gone.start()
    model = wire.model(CompatibleSettings(url=gone.url), "m")
    await gone.close()
    caught = await raises(ModelError, answer(model))
    await model.close()
    assert finds(caught) == (ModelFault.UNREACHABLE, True)


async def test_a_server_that_falls_silent_is_left_and_a_ping_is_life(wire: WireServer) -> None:
    """Each byte begins another silence, whose limit is asked then."""
    begun, silences = asyncio.Semaphore(0), 0

    def silence_seconds() -> float:
        nonlocal silences
        silences += 1
        begun.release()
        return 0.05 if silences > 4 else 3600.0

    async def handle(exchange: LoopbackExchange) -> None:
        await exchange.begin("text/event-stream")
        # A comment is a ping, and an event of an unknown kind says nothing either.
        for piece in (b"".join(wire.unfinished("a")), b": ping\n\n", b"".join(wire.strange()), b": ping\n\n"):
            await begun.acquire()
            await exchange.piece(piece)
        await asyncio.Event().wait()

    async with speaking(wire, handle, idle_seconds=3600.0) as model:
        pieces = model.stream(replace(PROMPT, silence_seconds=silence_seconds))
        async with asyncio.timeout(60), aclosing(pieces):
            caught = await raises(ModelError, _read(pieces))
    assert (finds(caught), silences) == ((ModelFault.TIMEOUT, False), 5)


async def _read(pieces: AsyncGenerator[ModelPiece, None]) -> None:
    async for _ in pieces:
        pass


async def test_closing_the_iterator_closes_the_socket(wire: WireServer) -> None:
    staying = Staying(wire.unfinished("a"))
    async with speaking(wire, staying.handle) as model:
        async with aclosing(model.stream(PROMPT)) as pieces:
            async for piece in pieces:
                if piece == TextPiece("a"):
                    break
        await staying.left.wait()


@pytest.mark.parametrize("begun", [True, False])
async def test_cancelling_the_reader_closes_the_socket(wire: WireServer, begun: bool) -> None:
    staying = Staying(wire.unfinished("a") if begun else [])
    heard = asyncio.Event()

    async def read(model: ChatModel) -> None:
        async with aclosing(model.stream(PROMPT)) as pieces:
            async for piece in pieces:
                if piece == TextPiece("a"):
                    heard.set()

    async with speaking(wire, staying.handle) as model:
        reading = asyncio.create_task(read(model))
        await (heard if begun else staying.asked).wait()
        reading.cancel()
        await raises(asyncio.CancelledError, reading)
        await staying.left.wait()


@pytest.mark.parametrize(("keep_alive", "sockets"), [(True, 1), (False, 3)])
async def test_a_connection_is_used_again_unless_that_is_forbidden(
    wire: WireServer, keep_alive: bool, sockets: int
) -> None:
    seen: set[object] = set()

    async def handle(exchange: LoopbackExchange) -> None:
        seen.add(exchange.peer)
        await telling(wire, wire.events(Scene(["a"])))(exchange)

    async with speaking(wire, handle, keep_alive=keep_alive) as model:
        for _ in range(3):
            await answer(model)
    assert len(seen) == sockets


async def test_what_a_prompt_asks_for_reaches_the_server(wire: WireServer) -> None:
    seen: list[LoopbackExchange] = []

    async def handle(exchange: LoopbackExchange) -> None:
        seen.append(exchange)
        await telling(wire, wire.events(Scene(["{}"])))(exchange)

    request = ToolRequest("call-7", "note", {"text": "x"}, "c2ln" if isinstance(wire, Gemini) else "")
    messages = [
        PromptMessage(Role.SYSTEM, "Be brief."),
        PromptMessage(Role.USER, "Before?"),
        PromptMessage(Role.ASSISTANT, "Yes."),
        PromptMessage(Role.USER, "[1] Document", place=Provenance.RETRIEVED),
        PromptMessage(Role.USER, "Why?"),
        PromptMessage(Role.ASSISTANT, "", [request]),
        PromptMessage(Role.TOOL, "done", answers="call-7"),
    ]
    prompt = ModelPrompt(messages, "turns/1", [CARD], SCHEMA, 77, 0.5, "intent_classification")
    async with speaking(wire, handle) as model:
        await answer(model, prompt)
    body = wire.check(seen[0])
    expected = json.loads(EXPECTED[type(wire)])
    assert {key: body[key] for key in expected} == expected


EXPECTED: dict[type[object], str] = {
    OpenAi: """{"model": "m-1", "max_tokens": 77, "temperature": 0.5,
    "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": {"type": "object",
        "properties": {"intent": {"enum": ["qa", "post"]}}, "required": ["intent"], "additionalProperties": false}}},
    "tools": [{"type": "function", "function": {"name": "note", "description": "Notes.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}}}],
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Before?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "[1] Document\\n\\nWhy?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "call-7", "type": "function",
            "function": {"name": "note", "arguments": "{\\"text\\": \\"x\\"}"}}]},
        {"role": "tool", "content": "done", "tool_call_id": "call-7"}]}""",
    Anthropic: """{"model": "m-1", "max_tokens": 77, "system": [{"type": "text", "text": "Be brief."}],
    "output_config": {"format": {"type": "json_schema", "schema": {"type": "object",
        "properties": {"intent": {"enum": ["qa", "post"]}}, "required": ["intent"], "additionalProperties": false}}},
    "tools": [{"name": "note", "description": "Notes.", "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}}}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Before?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
        {"role": "user", "content": [{"type": "text", "text": "[1] Document"}, {"type": "text", "text": "Why?"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call-7", "name": "note", "input": {"text": "x"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call-7", "content": "done"}]}]}""",
    Gemini: """{"generationConfig": {"maxOutputTokens": 77, "temperature": 0.5, "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object",
        "properties": {"intent": {"enum": ["qa", "post"]}}, "required": ["intent"], "additionalProperties": false}},
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "tools": [{"functionDeclarations": [{"name": "note", "description": "Notes.",
        "parametersJsonSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}]}],
    "contents": [{"role": "user", "parts": [{"text": "Before?"}]}, {"role": "model", "parts": [{"text": "Yes."}]},
        {"role": "user", "parts": [{"text": "[1] Document"}, {"text": "Why?"}]},
        {"role": "model", "parts": [{"functionCall": {"id": "call-7", "name": "note", "args": {"text": "x"}}, "thoughtSignature": "c2ln"}]},
        {"role": "user", "parts": [{"functionResponse": {"id": "call-7", "name": "note", "response": {"result": "done"}}}]}]}""",
}


@pytest.mark.parametrize("status", [200, 401, 500])
async def test_keys_reach_neither_errors_nor_logs(
    wire: WireServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    handler = telling(wire, wire.unfinished("a"), cut=True)
    if status != 200:
        handler = complaining(wire.complaint(status, KEY))
    error = await failure(wire, handler)
    told = "".join(traceback.format_exception(error)) + repr(error) + error.detail + caplog.text
    assert KEY not in told
    assert KEY not in repr(CompatibleSettings(url="http://x", api_key=SecretStr(KEY)))
