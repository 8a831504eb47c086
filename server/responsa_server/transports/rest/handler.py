"""Serves the calls of the contract over REST: finds the call of a path, makes its message, and writes its response as
the JSON of protobuf."""

from __future__ import annotations

import asyncio
import re
import zlib
from hashlib import blake2b
from typing import Any, ClassVar, Final, cast

from google.protobuf.message import Message
from starlette.datastructures import Headers, URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from responsa.chat.v1.chat_service_pb2 import ResumeTurnRequest
from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, deadline_in, wait_disconnect
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import call_of, check_json
from responsa_server.calls.json_types import to_json
from responsa_server.calls.methods import CHAT
from responsa_server.calls.negotiation import negotiate
from responsa_server.domain.errors import (
    CallCancelled,
    DeadlinePassed,
    InvalidRequest,
    Reason,
    ResponsaError,
)
from responsa_server.transports.rest.requests import MAX_BODY, check_size, message_of
from responsa_server.transports.rest.routes import Binding, PathMatch, Paths, bindings_of
from responsa_server.transports.rest.streams import EVENTS, LINES, Stream, StreamForm

_RESUME: Final = CHAT + "ResumeTurn"
EVENT_STREAMS: Final = (CHAT + "Ask", _RESUME)
"""The calls that also answer as server-sent events."""
_SEQ: Final = re.compile(r"[0-9]{1,18}")
_TIMEOUT: Final = re.compile(r"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_LARGE_SECONDS: Final = 30.0
"""How long a body may take to arrive that is larger than most calls allow."""
_LEAST_COMPRESSED: Final = 1024
"""A smaller response is not compressed, because that would save nothing."""
_QUICKEST: Final = 1
GZIP: Final = 31  # zlib's code for the format of gzip


class Exchange:
    """One request and its response."""

    bindings: ClassVar = staticmethod(bindings_of)
    _transport: ClassVar = "rest"
    describe: ClassVar = staticmethod(status.as_json)
    _kind = "application/json"

    def __init__(
        self, calls: Calls, binding: Binding, route: PathMatch, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._calls = calls
        self._binding = binding
        self._segments = route.segments
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = Headers(scope=scope)
        self._call = call_of(scope, binding.method.name, self._transport)
        self._last: str | None = None
        self._asked = False
        self._arrived = asyncio.Event()

    async def serve(self) -> None:
        """Make the call, and write its response or its error."""
        try:
            self._call.deadline = deadline_in(_timeout(self._timeout()))
            await (self._stream() if self._binding.method.server_streaming else self._single())
        except ResponsaError as error:
            rpc_status = status.of(error)
            wait = status.retry_after(error)
            more = {} if wait is None else {"retry-after": wait}
            await self._respond(status.http_status(rpc_status), self.describe(rpc_status), more)

    def _timeout(self) -> str | None:
        return self._headers.get("grpc-timeout")

    async def _single(self) -> None:
        replies: list[Message | bytes] = []

        async def keep(message: Message | bytes) -> None:
            replies.append(message)

        if not self._binding.method.dropped:
            # Such a call runs to its end also without its caller, so nothing watches for the caller to leave.
            await self._calls.serve(self._call, self._read, keep)
        elif not await self._calls.serve_until(self._await_end(), self._call, self._read, keep):
            return
        (reply,) = replies
        message = self._binding.response.FromString(reply) if isinstance(reply, bytes) else reply
        body = message.SerializeToString() if self._kind.endswith("proto") else to_json(message)
        if self._binding.verb != "GET":
            await self._respond(200, body, {"content-type": self._kind})
            return
        # The tag is weak, because the same content may come compressed and plain. Not the resource's own etag: that
        # stays the same while counters change.
        tag = f'W/"{blake2b(body, digest_size=12).hexdigest()}"'
        known = ",".join(self._headers.getlist("if-none-match"))
        if known and (known.strip() == "*" or tag.removeprefix("W/") in known):
            await self._respond(304, b"", {"etag": tag})
        else:
            await self._respond(200, body, {"etag": tag})

    def _form(self) -> StreamForm:
        method = self._call.method
        wants_events = negotiate(self._headers.getlist("accept"), [EVENTS.media_type])
        written = EVENTS if wants_events and method in EVENT_STREAMS else LINES
        if written is EVENTS and method == _RESUME:
            self._last = self._headers.get("last-event-id")
        return written

    async def _stream(self) -> None:
        stream = Stream(self._call, self._binding.response, self._form(), self._send)
        try:
            if not await self._calls.serve_until(self._await_end(), self._call, self._read, stream.message):
                return
        except ResponsaError as error:
            await stream.end(error)
        else:
            await stream.end()

    async def _read(self) -> bytes | None:
        """The message of the request, once."""
        if self._asked:
            return None
        self._asked = True
        body = await self._body()
        self._arrived.set()
        return self._message(body)

    def _message(self, body: bytes) -> bytes:
        if body:
            check_json(self._headers)
        message = message_of(self._binding, self._segments, self._scope["query_string"], body)
        if self._last is not None:
            cast("ResumeTurnRequest", message).after_seq = _seq(self._last)
        return message.SerializeToString()

    async def _body(self) -> bytes:
        announced = self._headers.get("content-length")
        if announced is None or (size := int(announced)) <= MAX_BODY:
            return await self._whole_body(announced=announced is not None)
        check_size(self._call.method, size, announced=True)
        with self._calls.arriving_large(self._call):
            try:
                async with asyncio.timeout(_LARGE_SECONDS):
                    return await self._whole_body(announced=True)
            except TimeoutError as error:
                raise DeadlinePassed(
                    Reason.DEADLINE_EXCEEDED, f"The body did not arrive within {_LARGE_SECONDS:g} s."
                ) from error

    async def _whole_body(self, *, announced: bool) -> bytes:
        body = bytearray()
        while True:
            piece, more = await self._piece()
            body += piece
            check_size(self._call.method, len(body), announced=announced)
            if not more:
                return bytes(body)

    async def _piece(self) -> tuple[bytes, bool]:
        """The next bytes of the body, and whether there may be more."""
        piece = await self._receive()
        if piece["type"] == "http.disconnect":
            raise CallCancelled(Reason.CANCELLED, "The caller ended the call.")
        return piece.get("body", b""), piece.get("more_body", False)

    async def _await_end(self) -> None:
        """Return once the caller has left. Until the body has arrived, reading it shows that."""
        await self._arrived.wait()
        await wait_disconnect(self._receive)

    async def _respond(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        if self._call.id:
            headers[CALL_ID] = self._call.id
        if code == 200 and len(body) >= _LEAST_COMPRESSED:
            headers["vary"] = "accept-encoding"
            if negotiate(self._headers.getlist("accept-encoding"), ["gzip"]):
                headers["content-encoding"] = "gzip"
                body = zlib.compress(body, _QUICKEST, GZIP)
        await _respond(self._send, code, body, headers)


class Rest(BaseRoute):
    """The paths of all calls that `calls` serves. It also answers other HTTP methods of these paths, with 405 and the header Allow."""

    def __init__(self, calls: Calls, exchange: type[Exchange] = Exchange) -> None:
        """calls: with all their methods. exchange: how a request is served."""
        self._calls = calls
        self._exchange = exchange
        self._paths = Paths(exchange.bindings(calls.methods()))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path belongs to a call."""
        match = self._paths.find(scope["raw_path"]) if scope["type"] == "http" else None
        return (Match.NONE, {}) if match is None else (Match.FULL, {"rest": match})

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Raises NoMatchFound: no path has a name."""
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = cast("PathMatch", scope["rest"])
        binding = route.binding(scope["method"])
        if binding is None:
            refused = self._exchange.describe(status.no_method(scope["method"], route.allowed))
            await _respond(send, 405, refused, {"allow": ", ".join(route.allowed)})
            return
        await self._exchange(self._calls, binding, route, scope, receive, send).serve()


async def _respond(send: Send, code: int, body: bytes, headers: dict[str, str]) -> None:
    headers["cache-control"] = "no-store"
    if code != 304:
        headers.setdefault("content-type", "application/json")
        headers["content-length"] = str(len(body))
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": code, "headers": pairs})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _seq(last: str) -> int:
    if not _SEQ.fullmatch(last):
        raise InvalidRequest.of_field(
            "last-event-id", "int64", "must be the seq of an event: a whole number, 0 or more"
        )
    return int(last)


def _timeout(timeout: str | None) -> float | None:
    """The seconds of a grpc-timeout, which REST accepts as gRPC does; None without one. Raises InvalidRequest."""
    if timeout is None:
        return None
    if (match := _TIMEOUT.fullmatch(timeout)) is None:
        raise InvalidRequest.of_field(
            "grpc-timeout",
            "timeout",
            "must be at most 8 digits and one of the units H, M, S, m, u and n, such as 30S",
        )
    return int(match[1]) * _SECONDS[match[2]]
