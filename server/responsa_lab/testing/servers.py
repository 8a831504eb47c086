"""The servers that the testing agent calls over real sockets: an OpenAI-compatible model server that follows the script
in the question, and a tool that counts its calls."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any, Final, cast

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer, as_json
from responsa_lab.testing.script import (
    TOOL_CALL_TOKENS,
    TOOLS,
    Script,
    ScriptedCut,
    ToolFailure,
    parse,
    read_tokens,
    speak,
    tool_arguments,
    tool_body,
)
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.models import PromptMessage, Role
from responsa_server.domain.tools import Effect

_MOST_DISCONNECTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A client that disconnected before the end of its response. label: the label of the request: the turn's
    name. at: the time in seconds since the epoch. pieces: the number of pieces that were sent before the client disconnected.
    """

    label: str
    at: float
    pieces: int


@dataclass(frozen=True, slots=True)
class _ModelRequest:
    """A parsed request. counting: whether every chunk must report usage."""

    script: Script
    read: int
    decides: bool
    label: str
    model: str
    counting: bool


class ModelServer:
    """Serves POST /v1/chat/completions, GET /v1/models, GET /stats and GET /requests (the number of started requests,
    by label). Each object can be started and closed only once.

    If a request offers tools, the model sends its opening and requests the script's tool. If a request offers no
    tools, the model sends the answer.
    """

    def __init__(self) -> None:
        self._server = LoopbackServer(self._handle)
        self.requests: Counter[str] = Counter()
        """The number of started completions, by label."""
        self.disconnects: deque[Disconnect] = deque(maxlen=_MOST_DISCONNECTS)
        self.streaming = 0
        """The number of completions that are being sent now."""
        self.finished = 0
        """The number of completions that were sent to the end."""

    @property
    def root(self) -> str:
        """`http://127.0.0.1:PORT`"""
        return self._server.url

    @property
    def url(self) -> str:
        """The base URL for an OpenAI client, with `/v1`."""
        return f"{self.root}/v1"

    async def start(self, port: int = 0) -> None:
        """Listens. If `port` is 0, any free port is used."""
        await self._server.start(port)

    async def close(self) -> None:
        await self._server.close()

    def stats(self) -> Mapping[str, object]:
        return {
            "started": self.requests.total(),
            "streaming": self.streaming,
            "finished": self.finished,
            "sockets": self._server.open_sockets,
            "disconnects": [asdict(disconnect) for disconnect in self.disconnects],
        }

    async def _handle(self, exchange: LoopbackExchange) -> None:
        match exchange.request.method, exchange.request.path:
            case "POST", "/v1/chat/completions":
                await self._complete(exchange)
            case "GET", "/v1/models":
                await exchange.reply(
                    HTTPStatus.OK,
                    as_json({"object": "list", "data": [{"id": "scripted", "object": "model"}]}),
                )
            case "GET", "/stats":
                await exchange.reply(HTTPStatus.OK, as_json(self.stats()))
            case "GET", "/requests":
                await exchange.reply(HTTPStatus.OK, as_json(self.requests))
            case _:
                await exchange.reply(HTTPStatus.NOT_FOUND, _error("there is no such path"))

    async def _complete(self, exchange: LoopbackExchange) -> None:
        try:
            request = _parse(exchange)
        except (InvalidRequest, ValueError, KeyError, TypeError, IndexError) as error:
            await exchange.reply(HTTPStatus.BAD_REQUEST, _error(str(error)))
            return
        self.requests[request.label] += 1
        self.streaming += 1
        sent = _Sent(exchange, request)
        try:
            await self._speak(exchange, request, sent)
        finally:
            self.streaming -= 1
            if exchange.left_at is not None:
                self.disconnects.append(Disconnect(request.label, exchange.left_at, sent.pieces))

    async def _speak(self, exchange: LoopbackExchange, request: _ModelRequest, sent: _Sent) -> None:
        script = request.script
        await exchange.begin("text/event-stream")
        await sent.chunk({"role": "assistant", "content": ""})
        try:
            async for text in speak(script, decides=request.decides):
                await sent.chunk({"content": text}, tokens=1)
        except ScriptedCut:
            exchange.cut()
            return
        reason = "stop"
        if request.decides and script.tool is not Effect.NONE:
            reason = "tool_calls"
            function = {"name": TOOLS[script.tool], "arguments": json.dumps(tool_arguments(script))}
            call = {"index": 0, "id": "call-1", "type": "function", "function": function}
            await sent.chunk({"tool_calls": [call]}, tokens=TOOL_CALL_TOKENS)
        await sent.chunk({}, reason=reason)
        await sent.end()
        await exchange.end()
        self.finished += 1


class _Sent:
    def __init__(self, exchange: LoopbackExchange, request: _ModelRequest) -> None:
        self.pieces = 0
        self._exchange = exchange
        self._asked = request
        self._tokens = 0
        self._frame: dict[str, Any] = {
            "id": "chatcmpl-scripted",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": request.model,
        }

    async def chunk(self, delta: Mapping[str, object], *, tokens: int = 0, reason: str | None = None) -> None:
        self._tokens += tokens
        frame = self._frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        if self._asked.counting:
            frame["usage"] = self._usage()
        await self._exchange.piece(b"data: %b\n\n" % as_json(frame))
        self.pieces += bool(tokens)

    async def end(self) -> None:
        frame: dict[str, Any] = {**self._frame, "choices": [], "usage": self._usage()}
        await self._exchange.piece(b"data: %b\n\ndata: [DONE]\n\n" % as_json(frame))

    def _usage(self) -> Mapping[str, int]:
        read, written = self._asked.read, self._tokens
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _parse(exchange: LoopbackExchange) -> _ModelRequest:
    content = json.loads(exchange.request.body)
    if not isinstance(content, dict):
        raise TypeError("the body is not an object")
    body = cast("dict[str, Any]", content)
    if body.get("stream") is not True:
        raise ValueError("only streams are served")
    messages = [
        PromptMessage(Role(message["role"]), str(message.get("content") or ""))
        for message in cast("list[dict[str, Any]]", body["messages"])
    ]
    question = [message.text for message in messages if message.role is Role.USER][-1]
    options = cast("dict[str, Any]", body.get("stream_options") or {})
    return _ModelRequest(
        script=parse(question),
        read=read_tokens(messages),
        decides=bool(body.get("tools")),
        label=exchange.request.headers.get("x-client-request-id", ""),
        model=str(body.get("model", "scripted")),
        counting=bool(options.get("continuous_usage_stats")),
    )


def _error(message: str) -> bytes:
    return as_json({"error": {"message": message, "type": "invalid_request_error"}})


@dataclass(slots=True)
class KeyedCalls:
    """The calls with one idempotency key. effects: the number of calls that had an effect. finished: the number of
    calls that got a response. at: the times of the calls, in seconds since the epoch.
    """

    calls: int = 0
    effects: int = 0
    finished: int = 0
    at: list[float] = field(default_factory=list[float])


class ToolSink:
    """Serves POST /once and POST /idempotent, which need an `Idempotency-Key`, and GET /calls. Each object can be
    started and closed only once.

    In a call, the effect comes first, then the pause, then the response. Therefore a call has had its effect even if
    the client is killed before the response. The counts are kept after a client has ended.
    """

    def __init__(self) -> None:
        self._server = LoopbackServer(self._handle)
        self.calls: dict[str, KeyedCalls] = {}
        """For each idempotency key, the calls with this key."""

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`"""
        return self._server.url

    def endpoint(self, effect: Effect) -> str:
        """The URL for calls with this effect, ONCE or IDEMPOTENT."""
        return endpoint(self.url, effect)

    async def start(self, port: int = 0) -> None:
        """Listens. If `port` is 0, any free port is used."""
        await self._server.start(port)

    async def close(self) -> None:
        await self._server.close()

    def stats(self) -> Mapping[str, object]:
        return {"calls": {key: asdict(call) for key, call in self.calls.items()}}

    async def _handle(self, exchange: LoopbackExchange) -> None:
        match exchange.request.method, exchange.request.path:
            case "POST", "/once":
                await self._call(exchange, Effect.ONCE)
            case "POST", "/idempotent":
                await self._call(exchange, Effect.IDEMPOTENT)
            case "GET", "/calls":
                await exchange.reply(HTTPStatus.OK, as_json(self.stats()))
            case _:
                await exchange.reply(HTTPStatus.NOT_FOUND, as_json({"error": "there is no such path"}))

    async def _call(self, exchange: LoopbackExchange, effect: Effect) -> None:
        try:
            arguments = cast("dict[str, Any]", json.loads(exchange.request.body))
            key = exchange.request.headers["idempotency-key"]
            pause = float(arguments.get("pause_ms", 0)) / 1000
            failure = ToolFailure(arguments.get("fail", "none"))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            await exchange.reply(HTTPStatus.BAD_REQUEST, as_json({"error": repr(error)}))
            return
        calls = self.calls.setdefault(key, KeyedCalls())
        calls.calls += 1
        calls.at.append(time.time())
        if effect is Effect.ONCE or calls.effects == 0:
            calls.effects += 1
        if pause > 0:
            await asyncio.sleep(pause)
        if failure is ToolFailure.CUT:
            exchange.cut()
            return
        status = HTTPStatus.OK if failure is ToolFailure.NONE else HTTPStatus.INTERNAL_SERVER_ERROR
        await exchange.reply(status, tool_body(arguments))
        calls.finished += 1


def endpoint(url: str, effect: Effect) -> str:
    """The URL of the sink's endpoint for calls with this effect. url: the URL of the sink."""
    return f"{url}/{effect.value}"
