"""Readers that never give up, over gRPC, gRPC-Web and event streams. They ask, lose the connection, and resume after
the last seq that they received.

They rely only on docs/streams.md, and are stricter than a client: they count every repeated or missing event.
"""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

import httpx2
from google.protobuf import json_format
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1 import chat_service_pb2_grpc
from tests.faults.golden import OUTSIDE, Event, is_terminal, kind
from tests.instance import pause

Frame = chat.AskResponse | chat.ResumeTurnResponse
PATIENCE = 180.0
"""The number of seconds without a new event after which a reader's test fails. On a machine with many other programs, a
minute was too short."""


class Unserved(AssertionError):
    """A reader cannot continue: it got an error other than a lost connection, or it waited too long for a new event."""


@dataclass
class Seen:
    """The results of a reader. events: the received events in order, without repetitions. doubled: the number of repeated
    frames and events. holes: the number of frames before which events are missing. gaps: the seconds between a cut and the next event.
    """

    request: chat.AskRequest
    turn: str = ""
    through: int = 0
    began: int = 0
    """The seq after which the reader began to read."""
    events: list[Event] = field(default_factory=list[Event])
    doubled: int = 0
    holes: int = 0
    cuts: int = 0
    reconnects: int = 0
    heartbeats: int = 0
    snapshot: Event | None = None
    reasons: list[str] = field(default_factory=list[str])
    """The description of each cut."""
    gaps: list[float] = field(default_factory=list[float])
    arrivals: list[float] = field(default_factory=list[float])
    _cut_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the terminal event has arrived."""
        return self.snapshot is not None or (bool(self.events) and is_terminal(self.events[-1]))

    @property
    def terminal(self) -> Event:
        """The terminal event."""
        assert self.ended, "the turn has not ended"
        return self.events[-1]

    @property
    def outcome(self) -> str:
        """The kind of the terminal event, such as "answer"."""
        return kind(self.terminal)

    @property
    def text(self) -> str:
        """The text of the answer."""
        return self.terminal.answer.text

    def take(self, frame: Frame) -> None:
        """Add a frame to the results."""
        now = time.monotonic()
        self.turn = self.turn or frame.turn
        assert frame.turn == self.turn, "a frame of another turn"
        if frame.after_seq < self.through:
            self.doubled += 1
        elif frame.after_seq > self.through:
            self.holes += 1
        for event in frame.events:
            what = kind(event)
            if what == "heartbeat":
                self.heartbeats += 1
            elif what == "reconnect":
                self.reconnects += 1
            elif what == "snapshot":
                self.snapshot = event
            elif self.events and event.seq <= self.events[-1].seq:
                self.doubled += 1
            else:
                self.events.append(event)
                self.arrivals.append(now)
        self.through = max(self.through, frame.through_seq)
        if self._cut_at is not None and any(kind(one) not in OUTSIDE for one in frame.events):
            self.gaps.append(now - self._cut_at)
            self._cut_at = None

    def was_cut(self) -> None:
        """Record that the stream ended without a terminal event."""
        self.cuts += 1
        if self._cut_at is None:
            self._cut_at = time.monotonic()


class Way(Protocol):
    """A way to reach a server. It opens streams of frames. A stream may raise `Cut`."""

    def ask(self, request: chat.AskRequest) -> AsyncGenerator[Frame]: ...

    def resume(self, request: chat.ResumeTurnRequest) -> AsyncGenerator[Frame]: ...


class Cut(Exception):
    """A stream ended with an error that Responsa did not send."""


class Refusal(Exception):
    """An error that Responsa sent, with its reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


PASSING = ("PART_UNAVAILABLE", "DRAINING", "OVERLOADED", "QUEUE_FULL")
"""The reasons after which the next try may succeed."""


def _told(code: int, message: str, details: bytes) -> Exception:
    status = Status.FromString(details)
    status.code, status.message = code, message
    return _error(status)


def _error(status: Status) -> Exception:
    for detail in status.details:
        info = ErrorInfo()
        if detail.Unpack(info) and info.domain == "responsa":
            return Refusal(info.reason, status.message)
    return Cut(f"{status.code} {status.message}")


def channel_to(target: str) -> aio.Channel:
    """A channel with a separate connection. After a cut, it reconnects at once."""
    return aio.insecure_channel(
        target,
        [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 20),
            ("grpc.min_reconnect_backoff_ms", 5000),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.enable_http_proxy", 0),
            ("grpc.default_authority", "localhost")
            if target.startswith("unix:")
            else ("grpc.enable_retries", 0),
        ],
    )


class GrpcWay:
    """gRPC over one channel. If `fresh` is true, each stream uses a new connection."""

    def __init__(self, target: str, key: str, *, fresh: bool = False) -> None:
        self._target = target
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._fresh = fresh
        self._channel: aio.Channel | None = None

    async def __aenter__(self) -> GrpcWay:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._channel is not None:
            await self._channel.close()

    @property
    def stub(self) -> chat_service_pb2_grpc.ChatServiceStub:
        """The generated stub, which uses this way's channel."""
        if self._channel is None:
            self._channel = channel_to(self._target)
        return chat_service_pb2_grpc.ChatServiceStub(self._channel)

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """The metadata that authenticates the caller."""
        return self._metadata

    async def ask(self, request: chat.AskRequest) -> AsyncGenerator[Frame]:
        async with aclosing(self._stream(lambda stub: stub.Ask(request, metadata=self._metadata))) as frames:
            async for frame in frames:
                yield frame

    async def resume(self, request: chat.ResumeTurnRequest) -> AsyncGenerator[Frame]:
        async with aclosing(
            self._stream(lambda stub: stub.ResumeTurn(request, metadata=self._metadata))
        ) as frames:
            async for frame in frames:
                yield frame

    async def _stream(
        self, make: Callable[[chat_service_pb2_grpc.ChatServiceStub], aio.UnaryStreamCall[Any, Any]]
    ) -> AsyncGenerator[Frame]:
        own = channel_to(self._target) if self._fresh else None
        call = make(chat_service_pb2_grpc.ChatServiceStub(own) if own is not None else self.stub)
        try:
            while True:
                async with asyncio.timeout(PATIENCE):
                    frame = await call.read()
                if not isinstance(frame, Frame):
                    return
                yield frame
        except aio.AioRpcError as error:
            trailers: dict[str, Any] = dict(error.trailing_metadata())
            raise _told(
                error.code().value[0], error.details() or "", trailers.get("grpc-status-details-bin", b"")
            ) from None
        finally:
            call.cancel()
            if own is not None:
                await own.close()


class WebWay:
    """A hand-written client for gRPC-Web (binary), with one HTTP/1.1 connection for each stream."""

    def __init__(self, target: str, key: str, http: httpx2.AsyncClient) -> None:
        """http: any client. Its creator closes it."""
        self._url = f"http://{target}/responsa.chat.v1.ChatService"
        self._headers = {
            "content-type": "application/grpc-web+proto",
            "accept": "application/grpc-web+proto",
            "x-grpc-web": "1",
            "authorization": f"Bearer {key}",
        }
        self._http = http

    async def ask(self, request: chat.AskRequest) -> AsyncGenerator[Frame]:
        async with aclosing(self._stream("Ask", request.SerializeToString())) as frames:
            async for data in frames:
                yield chat.AskResponse.FromString(data)

    async def resume(self, request: chat.ResumeTurnRequest) -> AsyncGenerator[Frame]:
        async with aclosing(self._stream("ResumeTurn", request.SerializeToString())) as frames:
            async for data in frames:
                yield chat.ResumeTurnResponse.FromString(data)

    async def _stream(self, method: str, body: bytes) -> AsyncGenerator[bytes]:
        content = struct.pack(">BI", 0, len(body)) + body
        pending = b""
        trailers: Mapping[str, str] | None = None
        try:
            async with self._http.stream(
                "POST", f"{self._url}/{method}", content=content, headers=self._headers, timeout=PATIENCE
            ) as response:
                if response.status_code != 200:
                    raise Cut(f"HTTP {response.status_code}")
                if response.headers.get("grpc-status", "0") != "0":
                    trailers = response.headers
                async for data in response.aiter_raw():
                    pending += data
                    while len(pending) >= 5:
                        flag, size = struct.unpack(">BI", pending[:5])
                        if len(pending) < 5 + size:
                            break
                        piece, pending = pending[5 : 5 + size], pending[5 + size :]
                        if flag & 0x80:
                            trailers = _trailers(piece)
                        else:
                            yield piece
        except httpx2.HTTPError as error:
            raise Cut(type(error).__name__) from None
        if trailers is None:
            raise Cut("no trailers")
        if trailers["grpc-status"] != "0":
            text = trailers.get("grpc-status-details-bin", "")
            details = base64.b64decode(text + "=" * (-len(text) % 4))
            raise _told(int(trailers["grpc-status"]), trailers.get("grpc-message", ""), details)


class SseWay:
    """A hand-written client for server-sent events that behaves like an `EventSource`: an event counts only after its empty
    line has arrived, and the client resumes after the last id.
    """

    def __init__(self, target: str, key: str, http: httpx2.AsyncClient) -> None:
        """http: any client. Its creator closes it."""
        self._url = f"http://{target}/v1"
        self._headers = {"accept": "text/event-stream", "authorization": f"Bearer {key}"}
        self._http = http

    async def ask(self, request: chat.AskRequest) -> AsyncGenerator[Frame]:
        json = {"content-type": "application/json"}
        stream = self._stream("POST", "turns:ask", json, json_format.MessageToJson(request))
        async with aclosing(stream) as frames:
            async for frame in frames:
                yield frame

    async def resume(self, request: chat.ResumeTurnRequest) -> AsyncGenerator[Frame]:
        path = f"{request.turn}/events?includeDeltas={json_of(request.include_deltas)}"
        last = {"last-event-id": str(request.after_seq)}
        async with aclosing(self._stream("GET", path, last, through=request.after_seq)) as frames:
            async for frame in frames:
                yield frame

    async def _stream(
        self, method: str, path: str, more: Mapping[str, str], body: str = "", *, through: int = 0
    ) -> AsyncGenerator[Frame]:
        turn, pending = "", b""
        try:
            async with self._http.stream(
                method,
                f"{self._url}/{path}",
                content=body,
                headers={**self._headers, **more},
                timeout=PATIENCE,
            ) as response:
                if response.status_code not in (200, 204):
                    raise _problem(await response.aread(), response.status_code)
                async for data in response.aiter_raw():
                    *events, pending = (pending + data).split(b"\n\n")
                    for event in events:
                        frame = _frame_of(event.decode(), turn, through)
                        if frame is not None:
                            turn, through = frame.turn, frame.through_seq
                            yield frame
        except httpx2.HTTPError as error:
            raise Cut(type(error).__name__) from None


def _problem(body: bytes, code: int) -> Exception:
    try:
        return _error(json_format.Parse(body, Status(), ignore_unknown_fields=True))
    except json_format.ParseError:
        return Cut(f"HTTP {code}")


def _frame_of(event: str, turn: str, through: int) -> Frame | None:
    """The frame of an event. A `retry` becomes a frame with a reconnect. A comment is a heartbeat and becomes None. Raises Refusal, Cut."""
    fields = dict(line.split(": ", 1) for line in event.splitlines() if not line.startswith(":"))
    if fields.get("event") == "error_status":
        raise _error(json_format.Parse(fields["data"], Status()))
    if "retry" in fields and "data" not in fields:
        frame = chat.AskResponse(turn=turn, after_seq=through, through_seq=through)
        frame.events.add().reconnect.after.FromMilliseconds(int(fields["retry"]))
        return frame
    if "data" not in fields:
        return None
    frame = json_format.Parse(fields["data"], chat.AskResponse())
    assert fields["id"] == str(frame.through_seq)
    return frame


def json_of(value: bool) -> str:
    """The value as a query parameter."""
    return "true" if value else "false"


def _trailers(piece: bytes) -> Mapping[str, str]:
    lines = (line.partition(":") for line in piece.decode().splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in lines}


def asking(
    text: str, *, deltas: bool = True, agent: str = "agents/testing", request_id: str = ""
) -> chat.AskRequest:
    """The request for a question. If no request_id is given, a new one is used."""
    request = chat.AskRequest(text=text, agent=agent, request_id=request_id or str(uuid4()))
    request.include_deltas = deltas
    return request


async def follow(way: Way, seen: Seen, *, until: Callable[[Seen], bool] = lambda seen: seen.ended) -> Seen:
    """Ask the question or resume its turn, over as many streams as necessary, until the turn has ended. Raises Unserved."""
    moved = time.monotonic()
    while not until(seen):
        stream = (
            way.resume(
                chat.ResumeTurnRequest(
                    turn=seen.turn, after_seq=seen.through, include_deltas=seen.request.include_deltas
                )
            )
            if seen.turn
            else way.ask(seen.request)
        )
        before = seen.through
        try:
            async with aclosing(stream) as frames:
                async for frame in frames:
                    seen.take(frame)
                    moved = time.monotonic()
                    if until(seen):
                        return seen
        except Cut as cut:
            seen.reasons.append(str(cut))
        except Refusal as refusal:
            seen.reasons.append(str(refusal))
            if refusal.reason not in PASSING:
                raise Unserved(f"{seen.turn or 'asking'} after {seen.through}: {refusal}") from refusal
        except TimeoutError:
            raise Unserved(f"{seen.turn or 'asking'} after {seen.through}: silence") from None
        seen.was_cut()
        if time.monotonic() - moved > PATIENCE:
            raise Unserved(f"{seen.turn or 'asking'}: nothing after {seen.through} for {PATIENCE:g} s")
        if seen.through == before:
            # No new event arrived, so the server may be down. Fifty readers that tried again at once would leave a
            # small machine no time for its start.
            await asyncio.sleep(pause(time.monotonic() - moved))
    return seen
