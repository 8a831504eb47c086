"""The responses of a model server, independent of a vendor's protocol. Every protocol plays the same scenes, over real sockets.

The protocols were written from the types that the vendors' client libraries publish (openai 3.52.0, anthropic 2.11.0,
google-genai 3.4.0; read on 2026-11-20), not from the live services.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import SecretStr

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer, as_json
from responsa_server.domain.models import Stop, ToolRequest
from responsa_server.providers.http_model import HttpModel as Adapter
from responsa_server.providers.settings import CompatibleSettings

KEY = "sk-test-9f8e7d6c5b4a-secret"


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole response. usage: the numbers of tokens that were read, read from the cache, written to the cache, and generated."""

    texts: Sequence[str] = ()
    calls: Sequence[ToolRequest] = ()
    stop: Stop = Stop.END
    usage: tuple[int, int, int, int] = (7, 0, 0, 3)


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error in a vendor's form. reply: the headers of the response."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class WireServer(Protocol):
    """A vendor's protocol, on the server's side."""

    @property
    def root(self) -> str:
        """The path that follows the server's address in a provider's URL."""
        ...

    def model(self, server: CompatibleSettings, model: str = "m-1") -> Adapter:
        """The adapter under test."""
        ...

    def events(self, scene: Scene) -> Sequence[bytes]:
        """The scene as server-sent events. The last events say that the response has finished."""
        ...

    def unfinished(self, *texts: str) -> Sequence[bytes]:
        """Events of a response that has not finished."""
        ...

    def strange(self) -> Sequence[bytes]:
        """Events of unknown kinds, which may exist in the future."""
        ...

    def failing(self) -> bytes:
        """The event that reports an overloaded server in the middle of a stream."""
        ...

    def complaint(self, status: int, key: str = "") -> Complaint:
        """An error's body for a status: 400, 401, 403, 404, 429, 500, 503 or 529."""
        ...

    def check(self, exchange: LoopbackExchange) -> Mapping[str, Any]:
        """The request's body, after a check that the request's path and headers are as the vendor requires."""
        ...


Handler = Callable[[LoopbackExchange], Awaitable[None]]


def sse(data: object, event: str = "") -> bytes:
    """A server-sent event with JSON, or with a plain word."""
    text = data.encode() if isinstance(data, str) else as_json(data)
    return (f"event: {event}\n".encode() if event else b"") + b"data: " + text + b"\n\n"


@asynccontextmanager
async def speaking(wire: WireServer, handler: Handler, **options: Any) -> AsyncGenerator[Adapter]:
    """An adapter that is connected to a running server."""
    server = LoopbackServer(handler)
    await server.start()
    # The settings are not validated, because tests use shorter times than the settings allow.
    given: dict[str, Any] = {"api_key": SecretStr(KEY), **options}
    model = wire.model(CompatibleSettings.model_construct(url=f"{server.url}{wire.root}", **given))
    try:
        yield model
    finally:
        await model.close()
        await server.close()


def telling(wire: WireServer, events: Sequence[bytes], *, cut: bool = False, by: int = 0) -> Handler:
    """A handler that responds with these events. cut: whether it closes the socket after the last event. by: the
    number of bytes that it sends at a time; 0 means one event at a time.
    """

    async def handle(exchange: LoopbackExchange) -> None:
        wire.check(exchange)
        await exchange.begin("text/event-stream")
        whole = b"".join(events)
        for piece in [whole[at : at + by] for at in range(0, len(whole), by)] if by else events:
            await exchange.piece(piece)
        if cut:
            exchange.cut()
        else:
            await exchange.end()

    return handle


def complaining(complaint: Complaint) -> Handler:
    """A handler that responds with an error."""

    async def handle(exchange: LoopbackExchange) -> None:
        await exchange.reply(complaint.status, as_json(complaint.body), complaint.headers)

    return handle


class Staying:
    """A handler that sends a few events and then nothing more. It notices when its client leaves."""

    def __init__(self, events: Sequence[bytes]) -> None:
        self._events = events
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def handle(self, exchange: LoopbackExchange) -> None:
        self.asked.set()
        try:
            if self._events:
                await exchange.begin("text/event-stream")
                for event in self._events:
                    await exchange.piece(event)
            await asyncio.Event().wait()
        finally:
            if exchange.left_at is not None:
                self.left.set()
