"""An OpenAI-compatible server with scripted responses on a real socket, and a client of this server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.domain.models import ModelPiece, ModelPrompt
from responsa_server.providers.openai_chat import OpenAiChat
from responsa_server.providers.settings import CompatibleSettings
from tests.unit.providers.told import PROMPT
from tests.wire.speaking import Handler

STOP = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def text(content: str) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]})


@asynccontextmanager
async def served(handler: Handler, **options: Any) -> AsyncGenerator[OpenAiChat]:
    server = LoopbackServer(handler)
    await server.start()
    # The settings are not validated, because tests use shorter times than the settings allow.
    model = OpenAiChat(CompatibleSettings.model_construct(url=f"{server.url}/v1", **options), "m")
    try:
        yield model
    finally:
        await model.close()
        await server.close()


def telling(*data: str, done: bool = True, seen: list[LoopbackExchange] | None = None) -> Handler:
    """The handler of a server whose response has these events. seen: gets the requests."""

    async def handle(exchange: LoopbackExchange) -> None:
        if seen is not None:
            seen.append(exchange)
        await exchange.begin("text/event-stream")
        for one in [*data, *(["[DONE]"] if done else [])]:
            await exchange.piece(f"data: {one}\n\n".encode())
        await exchange.end()

    return handle


async def answer(model: OpenAiChat, prompt: ModelPrompt = PROMPT) -> list[ModelPiece]:
    async with aclosing(model.stream(prompt)) as pieces:
        return [piece async for piece in pieces]
