"""What servers refuse: the adapter does without it, and learns it only from what an error names."""

from __future__ import annotations

import html
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from responsa_lab.testing.loopback import LoopbackExchange, as_json
from responsa_server.domain.models import (
    ModelError,
    ModelFault,
    ModelPrompt,
    PromptMessage,
    Provenance,
    Role,
    Stop,
    TextPiece,
    ToolCard,
    ToolRequest,
)
from responsa_server.providers.learned import Learned, shorten
from responsa_server.providers.openai_chat import OpenAiChat
from tests.raising import raises
from tests.unit.providers.openai_serving import answer, served
from tests.wire.anthropic import Anthropic
from tests.wire.gemini import Gemini
from tests.wire.refusing import LAKE, NAMELESS, REFUSALS, Refusal, RefusingServer, roles, tokens, window
from tests.wire.speaking import Scene, WireServer, speaking

CARD = ToolCard("look_up", "Looks a word up.")
PASSAGES = "\n\n".join(f"[{number}]\n{'The lake is 12 km long. ' * 60}" for number in range(1, 21))
PROMPT = ModelPrompt(
    [
        PromptMessage(Role.SYSTEM, "You answer from passages. Instructions are long. " * 20),
        PromptMessage(Role.ASSISTANT, "Hello.", history=True),
        PromptMessage(Role.USER, "How deep is the lake in its wide middle?", history=True),
        PromptMessage(Role.ASSISTANT, "Nine fathoms.", history=True),
        PromptMessage(Role.USER, PASSAGES, place=Provenance.RETRIEVED),
        PromptMessage(Role.USER, "How long is the lake?"),
    ],
    "turns/1",
    [CARD],
    max_tokens=1200,
    temperature=0.2,
)
LONG = replace(PROMPT.messages[4], text=f"{PASSAGES}\n\n[21]\n{PASSAGES}")
SCHEMA = {"type": "object", "properties": {"lake": {"type": "string"}}, "required": ["lake"]}


@asynccontextmanager
async def refusing(server: RefusingServer, **options: Any) -> AsyncGenerator[OpenAiChat]:
    async with served(server.handle, **options) as model:
        yield model


async def text_of(model: OpenAiChat, prompt: ModelPrompt = PROMPT) -> str:
    return "".join(piece.text for piece in await answer(model, prompt) if isinstance(piece, TextPiece))


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_a_server_refuses_is_learned_at_the_first_answer(name: str) -> None:
    refusal = REFUSALS[name]
    server = RefusingServer(refusal)
    prompt = replace(PROMPT, schema=SCHEMA) if "schema" in name else PROMPT
    if "window" in name:
        prompt = replace(prompt, messages=[*prompt.messages[:4], LONG, prompt.messages[-1]])
    async with refusing(server) as model:
        assert await text_of(model, prompt) == LAKE
        assert server.refused == (1 if refusal.learned else 0)
        assert model.learned.of(model.key) == refusal.learned
        await text_of(model, prompt)
        assert server.refused == (1 if refusal.learned else 0)
        assert roles(server.bodies[-1])[-1] == "user"
        assert "How long is the lake?" in server.bodies[-1]["messages"][-1]["content"]


async def test_four_refusals_of_one_call_are_cured() -> None:
    named = [
        each
        for name, each in REFUSALS.items()
        if name.split(":")[0] in ("OpenAI", "Mistral", "Ollama") and "window" not in name
    ]
    server = RefusingServer(*named)
    async with refusing(server) as model:
        assert await text_of(model) == LAKE
        assert len(server.bodies) == 5
    fifth = RefusingServer(*named, REFUSALS["llama.cpp: a template without a system role"])
    async with refusing(fifth) as model:
        error = await raises(ModelError, answer(model, PROMPT))
        assert (error.status, len(fifth.bodies), model.learned.of(model.key)) == (500, 5, {})


async def test_a_setting_that_is_given_wins() -> None:
    for options, name in (
        ({"tools": True}, "Ollama: a model without tools"),
        ({"window": 65536}, "LM Studio: a window of 4,096"),
    ):
        server = RefusingServer(REFUSALS[name])
        async with refusing(server, **options) as model:
            if "tools" in options:
                assert (await raises(ModelError, answer(model, PROMPT))).fault is ModelFault.REFUSED
            else:
                # A shorter prompt of this call alone.
                assert await text_of(model) == LAKE
                assert len(server.bodies) == 3
            assert model.learned.of(model.key) == {}


async def test_what_an_error_does_not_name_or_only_repeats_holds_for_one_call() -> None:
    nameless = Refusal(lambda body: "tools" in body, NAMELESS, {})
    async with refusing(server := RefusingServer(nameless)) as model:
        assert await text_of(model) == LAKE
        # The prompt is long, so a half of it is tried first.
        assert (len(server.bodies), model.learned.of(model.key)) == (3, {})
    # The user's own words come back in the error, in another notation.
    words = "Please, the\ntools are not supported by this model & “or” are they?"
    said = html.escape(words).encode("unicode_escape").decode()
    echo = Refusal(lambda body: "tools" in body, (400, {"error": {"message": f"Cannot read: {said}"}}), {})
    async with refusing(RefusingServer(echo)) as model:
        followed = replace(PROMPT, messages=[*PROMPT.messages[:-1], PromptMessage(Role.USER, words)])
        assert await text_of(model, followed) == LAKE
        assert model.learned.of(model.key) == {}


@pytest.mark.parametrize(
    "error",
    [
        (400, {"error": "Range of input length should be [1, 4096]"}),
        (400, {"error": {"message": "输入内容过长：最多允许 4096 个 token"}}),
        (413, {"error": {"message": "Your input is too big for this model"}}),
        (400, {"error": {"message": "Prompt exceeds max length"}}),
        (413, {"error": {"message": "Request too large for model m: Limit 4096, Requested 7000"}}),
    ],
)
async def test_a_window_in_other_words_halves_the_prompt_of_one_call(error: tuple[int, object]) -> None:
    async with refusing(server := RefusingServer(window(6000, error))) as model:
        assert await text_of(model) == LAKE
        assert (len(server.bodies), model.learned.of(model.key)) == (2, {})
        assert "tools" in server.bodies[-1]
    # A prompt that is far too long gets shorter still, if the status speaks of its length.
    if error[0] == 413:
        async with refusing(server := RefusingServer(window(3600, error))) as model:
            assert await text_of(model) == LAKE
            assert (len(server.bodies), model.learned.of(model.key)) == (3, {})
    # A test of a window says that the window is another one.
    async with refusing(RefusingServer(window(2000, error)), window=8192) as model:
        await raises(ModelError, answer(model, replace(PROMPT, purpose="model_test")))


async def test_a_call_goes_back_with_what_gemini_signs_it_by() -> None:
    extra = {"google": {"thought_signature": "c2ln"}}
    server = RefusingServer(asks="look_up", reasons=True, extra=extra)
    async with refusing(server) as model:
        (request,) = (piece for piece in await answer(model, PROMPT) if isinstance(piece, ToolRequest))
        result = PromptMessage(Role.TOOL, "12 km", answers=request.call_id)
        followed = replace(
            PROMPT, messages=[*PROMPT.messages, PromptMessage(Role.ASSISTANT, "", [request]), result]
        )
        assert await text_of(model, followed) == LAKE
        (called,) = (message for message in server.bodies[-1]["messages"] if "tool_calls" in message)
        assert called["tool_calls"][0]["extra_content"] == extra
        assert (called["reasoning_content"], "extra_content" in called) == ("I search.", False)
    unsigned = (
        400,
        {"error": {"message": "Function call is missing a thought_signature in functionCall parts."}},
    )
    missing = Refusal(lambda body: "tool" in roles(body), unsigned, {})
    async with refusing(RefusingServer(missing)) as model:
        assert await text_of(model, followed) == LAKE
        assert model.learned.of(model.key) == {}


@pytest.mark.parametrize("size", [1024, 2048, 4096, 8192])
async def test_a_prompt_and_its_answer_fit_the_window_that_is_given(size: int) -> None:
    async with refusing(server := RefusingServer(window(size)), window=size) as model:
        assert await text_of(model) == LAKE
        assert (server.refused, len(server.bodies)) == (0, 1)
        [body] = server.bodies
        assert tokens(body) <= size
        assert body["max_tokens"] == min(1200, size // 4)
        whole = "".join(str(message["content"]) for message in body["messages"])
        assert all(part in whole for part in ("[1]\n", "How long is the lake?", "You answer from passages."))


async def test_results_of_tools_and_history_are_shortened_too() -> None:
    mark = "\n⟦end q1⟧"
    text = f"⟦data result q1⟧\n{'word ' * 4000}"
    results = [
        PromptMessage(Role.ASSISTANT, "", [ToolRequest("a", "look_up", {})]),
        PromptMessage(Role.TOOL, text + mark, answers="a"),
    ]
    shorter = shorten(replace(PROMPT, messages=[*PROMPT.messages, *results]), 0.3)
    assert shorter.messages[-1].text.endswith(mark)
    assert len(shorter.messages[-1].text) < 0.31 * len(text)
    assert [message.text for message in shorter.messages if message.history] == ["Nine fathoms."]


async def test_the_greatest_ratio_that_a_server_counts_corrects_the_estimate() -> None:
    server = RefusingServer(whole=True, text=LAKE)
    async with refusing(server, window=4096) as model:
        await text_of(model)
        first = tokens(server.bodies[0])
        ratio = model.learned.of(model.key)["ratio"]
        model.learned.note(model.key, {"ratio": 2.5})
        await text_of(model)
        assert ratio < 1
        assert tokens(server.bodies[1]) < 0.7 * first
        assert model.learned.of(model.key)["ratio"] == 2.5


async def test_reasoning_travels_back_with_its_calls_and_is_life() -> None:
    server = RefusingServer(asks="look_up", reasons=True)
    async with refusing(server) as model:
        (request,) = (piece for piece in await answer(model, PROMPT) if isinstance(piece, ToolRequest))
        followed = [*PROMPT.messages, PromptMessage(Role.ASSISTANT, "", [request])]
        results = [*followed, PromptMessage(Role.TOOL, "12 km", answers=request.call_id)]
        assert await text_of(model, replace(PROMPT, messages=results)) == LAKE
        (called,) = (message for message in server.bodies[-1]["messages"] if "tool_calls" in message)
        assert (called["reasoning_content"], server.refused) == ("I search.", 0)
    # Mistral's server, say, takes no reasoning of another one.
    mistral = Refusal(
        lambda body: "reasoning_content" in str(body["messages"]),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "messages", 3, "reasoning_content"]}]}),
        {"reasoning": 0},
    )
    async with refusing(RefusingServer(mistral)) as model:
        assert await text_of(model, replace(PROMPT, messages=results)) == LAKE
        assert model.learned.of(model.key) == {"reasoning": 0}
    # Another vendor's protocol does without it.
    seen: list[LoopbackExchange] = []
    for wire in (Anthropic(), Gemini()):
        async with speaking(wire, _noting(wire, seen)) as other:
            await answer(other, replace(PROMPT, messages=results))  # pyright: ignore[reportArgumentType] - any adapter
    assert all("I search." not in exchange.request.body.decode() for exchange in seen)


def _noting(wire: WireServer, seen: list[LoopbackExchange]) -> Any:
    async def handle(exchange: LoopbackExchange) -> None:
        seen.append(exchange)
        await exchange.begin("text/event-stream")
        for event in wire.events(Scene(["ok"], stop=Stop.END)):
            await exchange.piece(event)
        await exchange.end()

    return handle


WRITTEN = '{"name": "look_up", "arguments": {"query": "lake"}}'


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN,
        f"<tool_call>\n{WRITTEN}\n</tool_call>",
        f"```json\n{WRITTEN}\n```",
        f"[TOOL_CALLS][{WRITTEN}]",
    ],
)
async def test_a_call_that_is_the_whole_text_is_one_if_the_model_is_known_to_write_so(text: str) -> None:
    async with refusing(RefusingServer(text=text)) as model:
        assert await text_of(model) == text
        tested = replace(PROMPT, purpose="model_test")
        assert [piece for piece in await answer(model, tested) if isinstance(piece, ToolRequest)]
        assert model.learned.of(model.key) == {"text_calls": 1}
        (request,) = (piece for piece in await answer(model, PROMPT) if isinstance(piece, ToolRequest))
        assert (request.tool, request.arguments) == ("look_up", {"query": "lake"})
        # Not for a tool with an effect once, and not if the text stands in a passage.
        assert await text_of(model, replace(PROMPT, tools=[replace(CARD, written=False)])) == text
        quoted = [
            *PROMPT.messages,
            PromptMessage(Role.USER, f"It says {WRITTEN}", place=Provenance.RETRIEVED),
        ]
        assert await text_of(model, replace(PROMPT, messages=quoted)) == text
    async with refusing(RefusingServer(text=f"Write {WRITTEN} to look it up.")) as model:
        model.learned.note(model.key, {"text_calls": 1})
        assert "look it up" in await text_of(model)


@pytest.mark.parametrize(("whole", "mark"), [(True, b""), (True, b"\xef\xbb\xbf\n "), (False, b"")])
async def test_a_body_is_read_whatever_its_content_type_says(whole: bool, mark: bytes) -> None:
    async with refusing(RefusingServer(whole=whole, asks="look_up", mark=mark)) as model:
        assert [piece for piece in await answer(model, PROMPT) if isinstance(piece, ToolRequest)]
        assert await text_of(model, replace(PROMPT, tools=())) == LAKE


async def test_a_whole_answer_of_other_protocols_is_read() -> None:
    block = {"type": "tool_use", "id": "a", "name": "look_up", "input": {"query": "lake"}}
    message = {
        "type": "message",
        "content": [{"type": "text", "text": LAKE}, block],
        "stop_reason": "tool_use",
    }
    parts = {"parts": [{"text": LAKE}, {"functionCall": {"name": "look_up", "args": {"query": "lake"}}}]}
    chunk = {"candidates": [{"content": parts, "finishReason": "STOP"}]}
    for wire, body in ((Anthropic(), message), (Gemini(), [chunk])):

        async def handle(exchange: LoopbackExchange, body: object = body) -> None:
            await exchange.reply(200, as_json(body))

        async with speaking(wire, handle) as model:
            pieces = await answer(model, PROMPT)  # pyright: ignore[reportArgumentType] - any adapter
        assert TextPiece(LAKE) in pieces
        assert [piece.arguments for piece in pieces if isinstance(piece, ToolRequest)] == [{"query": "lake"}]


def test_new_facts_stay_until_they_are_stored() -> None:
    learned, key = Learned(), ("http://a", "m")
    learned.note(key, {"tools": 0})
    sent = learned.take_new()
    learned.note(key, {"window": 4096})
    learned.replace({key: {"tools": 0, "system": 0}}, sent)
    assert learned.of(key) == {"tools": 0, "system": 0, "window": 4096}
    learned.replace({}, learned.take_new())
    assert learned.of(key) == {}
    assert json.dumps(sent[key]) == '{"tools": 0}'
