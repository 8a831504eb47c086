"""An OpenAI-compatible model server that speaks the script in the question, word by word, at its pace, over a real socket."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final, cast

from responsa_lab.testing.loopback import Exchange, LoopbackServer, as_json
from responsa_lab.testing.script import (
    TOOL_CALL_TOKENS,
    TOOLS,
    Script,
    answer_tokens,
    opening_tokens,
    parse,
    read_tokens,
    tool_arguments,
)
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.models import PromptMessage, Role
from responsa_server.domain.tools import Effect

_MOST_DISCONNECTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A client that left before its answer's end. label: as its request was labelled (the turn's name); at: seconds since the epoch; pieces: sent until then."""

    label: str
    at: float
    pieces: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """A parsed request. counting: whether every chunk reports usage."""

    script: Script
    read: int
    decides: bool
    label: str
    model: str
    counting: bool


class ModelServer:
    """POST /v1/chat/completions, GET /v1/models, GET /stats, GET /requests (how many were started, by label). Used once: start, then close.

    A request that offers tools is a decision: the model says its opening and asks for the script's tool. One that offers none is answered with the text.
    """

    def __init__(self) -> None:
        self._server = LoopbackServer(self._handle)
        self.requests: Counter[str] = Counter()
        """Completions that were begun, by label."""
        self.disconnects: deque[Disconnect] = deque(maxlen=_MOST_DISCONNECTS)
        self.streaming = 0
        """Completions being sent now."""
        self.finished = 0
        """Completions that were sent to their end."""
        self._left = asyncio.Event()

    @property
    def root(self) -> str:
        """`http://127.0.0.1:PORT`"""
        return self._server.url

    @property
    def url(self) -> str:
        """What an OpenAI client takes for its base: with `/v1`."""
        return f"{self.root}/v1"

    async def start(self, port: int = 0) -> None:
        """Listen; port 0 takes any that is free."""
        await self._server.start(port)

    async def close(self) -> None:
        """Cut the open completions and stop listening."""
        await self._server.close()

    async def left(self, times: int = 1) -> Sequence[Disconnect]:
        """Wait until so many clients have left early, and return them all."""
        while len(self.disconnects) < times:
            self._left.clear()
            await self._left.wait()
        return list(self.disconnects)

    def stats(self) -> Mapping[str, object]:
        """The body of GET /stats."""
        return {
            "started": self.requests.total(),
            "streaming": self.streaming,
            "finished": self.finished,
            "sockets": self._server.open_sockets,
            "disconnects": [asdict(one) for one in self.disconnects],
        }

    async def _handle(self, exchange: Exchange) -> None:
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

    async def _complete(self, exchange: Exchange) -> None:
        try:
            asked = _understood(exchange)
        except (InvalidRequest, ValueError, KeyError, TypeError, IndexError) as error:
            await exchange.reply(HTTPStatus.BAD_REQUEST, _error(str(error)))
            return
        self.requests[asked.label] += 1
        self.streaming += 1
        sent = _Sent(exchange, asked)
        try:
            await self._speak(exchange, asked, sent)
        finally:
            self.streaming -= 1
            if exchange.left_at is not None:
                self.disconnects.append(Disconnect(asked.label, exchange.left_at, sent.pieces))
                self._left.set()

    async def _speak(self, exchange: Exchange, asked: _Asked, sent: _Sent) -> None:
        script = asked.script
        await exchange.begin("text/event-stream")
        await sent.chunk({"role": "assistant", "content": ""})
        tokens = opening_tokens(script) if asked.decides else answer_tokens(script)
        due = time.monotonic() + script.first_ms / 1000
        for place, text in enumerate(tokens):
            if not asked.decides and place == script.fail_after:
                exchange.cut()
                return
            if not asked.decides and place == script.stall_after:
                await asyncio.Event().wait()
            # By a timetable, so that what one word is late does not add to the next.
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            due += script.pace_ms / 1000
            await sent.chunk({"content": text}, tokens=1)
        reason = "stop"
        if asked.decides and script.tool is not Effect.NONE:
            reason = "tool_calls"
            function = {"name": TOOLS[script.tool], "arguments": json.dumps(tool_arguments(script))}
            call = {"index": 0, "id": "call-1", "type": "function", "function": function}
            await sent.chunk({"tool_calls": [call]}, tokens=TOOL_CALL_TOKENS)
        await sent.chunk({}, reason=reason)
        await sent.end()
        await exchange.end()
        self.finished += 1


class _Sent:
    """Makes the chunks of one completion and counts what they cost."""

    def __init__(self, exchange: Exchange, asked: _Asked) -> None:
        self.pieces = 0
        self._exchange = exchange
        self._asked = asked
        self._tokens = 0
        self._frame: dict[str, Any] = {
            "id": "chatcmpl-scripted",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": asked.model,
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


def _understood(exchange: Exchange) -> _Asked:
    found = json.loads(exchange.request.body)
    if not isinstance(found, dict):
        raise TypeError("the body is no object")
    body = cast("dict[str, Any]", found)
    if body.get("stream") is not True:
        raise ValueError("only streams are served")
    messages = [
        PromptMessage(Role(one["role"]), str(one.get("content") or ""))
        for one in cast("list[dict[str, Any]]", body["messages"])
    ]
    question = [one.text for one in messages if one.role is Role.USER][-1]
    options = cast("dict[str, Any]", body.get("stream_options") or {})
    return _Asked(
        script=parse(question),
        read=read_tokens(messages),
        decides=bool(body.get("tools")),
        label=exchange.request.headers.get("x-client-request-id", ""),
        model=str(body.get("model", "scripted")),
        counting=bool(options.get("continuous_usage_stats")),
    )


def _error(message: str) -> bytes:
    return as_json({"error": {"message": message, "type": "invalid_request_error"}})
