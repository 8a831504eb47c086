"""HTTP connections for many long answers at a time.

httpx2's own pool looks at all its connections, with a system call for each idle one, whenever a request begins or ends: with hundreds of streams that is most of
what they cost. Here every connection is a pool of one, and the idle ones lie on a stack.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Final

import httpx2

_IDLE_SECONDS: Final = 30.0
# Beginning a connection costs the loop a while: of hundreds that are asked for at once only so many begin before everything else gets its turn.
_BEGUN_A_TICK: Final = 8


class Connections(httpx2.AsyncBaseTransport):
    """A transport that opens as many connections as there are requests, and keeps at most `most_idle` for the next ones, HTTP/1.1 each."""

    def __init__(self, *, tls: bool, most_idle: int = 64, uds: str = "") -> None:
        """tls: whether https is spoken; reading the certificates that it needs takes a while. uds: the path of a Unix socket to connect to, "" for TCP."""
        self._most_idle = most_idle
        self._uds = uds or None
        self._begun = 0
        self._tick = asyncio.Event()
        self._idle: list[httpx2.AsyncHTTPTransport] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._trust: ssl.SSLContext = httpx2.create_ssl_context(verify=tls, trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2.AsyncBaseTransport."""
        single = self._idle.pop() if self._idle else await self._made()
        try:
            response = await single.handle_async_request(request)
        except BaseException:
            await self.give_back(single, usable=False)
            raise
        if not isinstance(response.stream, httpx2.AsyncByteStream):
            raise TypeError("an asynchronous transport gave a synchronous body")
        return httpx2.Response(
            status_code=response.status_code,
            headers=response.headers,
            stream=_Borrowed(self, single, response.stream),
            extensions=response.extensions,
        )

    async def give_back(self, single: httpx2.AsyncHTTPTransport, *, usable: bool) -> None:
        """Take a connection that is not needed any more."""
        if usable and len(self._idle) < self._most_idle:
            self._idle.append(single)
            return
        # In a task of its own: whoever is cancelled may be cancelled again, and the socket must be closed all the same.
        closing = asyncio.create_task(single.aclose())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    async def aclose(self) -> None:
        """Close the idle connections; those in use close when their answers do."""
        self._most_idle = 0
        while self._idle:
            await self._idle.pop().aclose()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _made(self) -> httpx2.AsyncHTTPTransport:
        while self._begun >= _BEGUN_A_TICK:
            await self._tick.wait()
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_tick)
        self._begun += 1
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS)
        return httpx2.AsyncHTTPTransport(verify=self._trust, limits=limits, trust_env=False, uds=self._uds)

    def _next_tick(self) -> None:
        self._begun = 0
        self._tick.set()
        self._tick = asyncio.Event()


class _Borrowed(httpx2.AsyncByteStream):
    """An answer's body, whose connection goes back once it was read to its end."""

    def __init__(
        self, connections: Connections, single: httpx2.AsyncHTTPTransport, body: httpx2.AsyncByteStream
    ) -> None:
        self._connections = connections
        self._single = single
        self._body = body
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part
        self._whole = True

    async def aclose(self) -> None:
        usable = False
        try:
            await self._body.aclose()
            # A second cancellation may end that before its time: then nobody knows how the connection stands.
            usable = self._whole
        finally:
            await self._connections.give_back(self._single, usable=usable)
