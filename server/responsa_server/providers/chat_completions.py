"""Language models behind servers that speak OpenAI's chat completions, streamed: OpenAI itself, vLLM, Ollama, llama.cpp and their kin."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, cast

import httpx
from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from responsa_server.domain.ports.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    PromptMessage,
    Spent,
    TextPiece,
    ToolRequest,
)
from responsa_server.domain.turns import Usage
from responsa_server.providers.connections import Connections
from responsa_server.providers.sse import EventTooLarge, SseReader

_DONE: Final = b"[DONE]"
_SHOWN_BYTES: Final = 500
# What a model may ask of tools in one answer: all of it is written down before anything is called.
_MOST_CALLS: Final = 64
_MOST_ARGUMENTS_BYTES: Final = 16 * 1024
_DEEPEST_ARGUMENTS: Final = 16
# For how long the end of the body is waited for once the answer has ended: a connection that was read to its end is used again.
_REST_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ModelServer:
    """Where a model is served and how long to wait for it.

    url: up to and with `/v1`. api_key: "" for none. connect_seconds: to reach it; idle_seconds: the longest silence within an answer. continuous_usage: ask for
    the tokens with every chunk (vLLM's `continuous_usage_stats`; others refuse to be asked), so that a call that is cut short is counted exactly.
    """

    url: str
    model: str
    api_key: str = field(default="", repr=False)
    connect_seconds: float = 5.0
    idle_seconds: float = 60.0
    continuous_usage: bool = False


class _Function(BaseModel):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(BaseModel):
    index: int
    id: str | None = None
    function: _Function = _Function()


class _Delta(BaseModel):
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class _Chunk(BaseModel):
    choices: list[_Choice]
    usage: _Usage | None = None


_ARGUMENTS: Final = TypeAdapter(dict[str, JsonValue])


@dataclass(slots=True)
class _Wanted:
    """A tool's call as it comes together."""

    call_id: str = ""
    tool: str = ""
    arguments: str = ""


class ChatCompletions:
    """A `ChatModel` over HTTP. One for all turns: it keeps connections open between calls. `close` it at the end."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        headers = {"accept": "text/event-stream", "accept-encoding": "identity"}
        if server.api_key:
            headers["authorization"] = f"Bearer {server.api_key}"
        # How many calls there may be at one time is the workers' limit: one here would make turns wait unseen.
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(server.idle_seconds, connect=server.connect_seconds),
            transport=Connections(tls=server.url.startswith("https:")),
            trust_env=False,
        )

    @property
    def name(self) -> str:
        """See `ChatModel.name`."""
        return self._server.model

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        """See `ChatModel.stream`."""
        try:
            async with self._client.stream(
                "POST",
                f"{self._server.url}/chat/completions",
                json=self._body(prompt),
                headers={"x-client-request-id": prompt.label} if prompt.label else None,
            ) as response:
                if response.status_code != HTTPStatus.OK:
                    told = (await response.aread())[:_SHOWN_BYTES].decode(errors="replace")
                    raise ModelError(ModelFault.REFUSED, f"HTTP {response.status_code}: {told}")
                async with aclosing(_pieces(response)) as pieces:
                    async for piece in pieces:
                        yield piece
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ModelError(ModelFault.UNREACHABLE, repr(error)) from error
        except httpx.TimeoutException as error:
            raise ModelError(ModelFault.TIMEOUT, repr(error)) from error
        except httpx.DecodingError as error:
            raise ModelError(ModelFault.MALFORMED, repr(error)) from error
        except httpx.RequestError as error:
            raise ModelError(ModelFault.CUT, repr(error)) from error
        except (ValidationError, EventTooLarge) as error:
            raise ModelError(ModelFault.MALFORMED, repr(error)[:_SHOWN_BYTES]) from error

    def _body(self, prompt: ModelPrompt) -> dict[str, Any]:
        usage: dict[str, bool] = {"include_usage": True}
        if self._server.continuous_usage:
            usage["continuous_usage_stats"] = True
        body: dict[str, Any] = {
            "model": self._server.model,
            "stream": True,
            "stream_options": usage,
            "messages": [_message(one) for one in prompt.messages],
        }
        if prompt.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": card.id,
                        "description": card.description,
                        "parameters": dict(card.parameters),
                    },
                }
                for card in prompt.tools
            ]
        return body


def _message(message: PromptMessage) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role.value, "content": message.text}
    if message.requests:
        plain["tool_calls"] = [
            {
                "id": one.call_id,
                "type": "function",
                "function": {"name": one.tool, "arguments": json.dumps(dict(one.arguments))},
            }
            for one in message.requests
        ]
    if message.answers:
        plain["tool_call_id"] = message.answers
    return plain


async def _pieces(response: httpx.Response) -> AsyncGenerator[ModelPiece, None]:
    """What the chunks hold. The end is a finish reason, and then `[DONE]`, the usage before it, or the end of the body, as servers differ."""
    reader, wanted, finish, done = SseReader(), dict[int, _Wanted](), "", False
    parts = response.aiter_bytes()
    async for part in parts:
        for data in reader.feed(part):
            if data == _DONE:
                done = True
                break
            chunk = _Chunk.model_validate_json(data)
            if chunk.usage is not None:
                yield Spent(
                    Usage(input_tokens=chunk.usage.prompt_tokens, output_tokens=chunk.usage.completion_tokens)
                )
            for choice in chunk.choices[:1]:
                if choice.delta.content:
                    yield TextPiece(choice.delta.content)
                for call in choice.delta.tool_calls or ():
                    _gather(wanted, call)
                finish = choice.finish_reason or finish
        if done:
            await _rest(parts)
            break
    if not finish:
        raise ModelError(ModelFault.CUT, "the stream ended without a finish reason")
    for request in _requests([wanted[place] for place in sorted(wanted)]):
        yield request
    yield Ended(complete=finish != "length")


async def _rest(parts: AsyncIterator[bytes]) -> None:
    """Read what follows an answer's end, if that ends soon. Whatever it is: the answer is whole."""
    with contextlib.suppress(TimeoutError, httpx.RequestError):
        async with asyncio.timeout(_REST_SECONDS):
            async for _ in parts:
                pass


def _gather(wanted: dict[int, _Wanted], call: _ToolCall) -> None:
    into = wanted.setdefault(call.index, _Wanted())
    into.call_id += call.id or ""
    into.tool += call.function.name or ""
    into.arguments += call.function.arguments or ""
    if len(wanted) > _MOST_CALLS:
        raise ModelError(ModelFault.MALFORMED, f"more than {_MOST_CALLS} calls of tools")
    if max(len(into.call_id), len(into.tool), len(into.arguments.encode())) > _MOST_ARGUMENTS_BYTES:
        raise ModelError(ModelFault.MALFORMED, f"a tool's call of more than {_MOST_ARGUMENTS_BYTES} bytes")


def _requests(wanted: Sequence[_Wanted]) -> Sequence[ToolRequest]:
    requests = [
        ToolRequest(one.call_id, one.tool, _ARGUMENTS.validate_json(one.arguments or "{}")) for one in wanted
    ]
    if not all(_sendable(dict(one.arguments), _DEEPEST_ARGUMENTS) for one in requests):
        raise ModelError(
            ModelFault.MALFORMED, "arguments of a tool that are too deep, or hold a number that is none"
        )
    return requests


def _sendable(value: object, depth: int) -> bool:
    """Whether a JSON value can be told in an event: numbers are finite doubles there, and readers go down only so far."""
    if isinstance(value, (int, float)):
        return abs(value) <= sys.float_info.max
    if isinstance(value, (dict, list)):
        inner = cast("dict[str, object] | list[object]", value)
        return depth > 0 and all(
            _sendable(one, depth - 1) for one in (inner.values() if isinstance(inner, dict) else inner)
        )
    return True
