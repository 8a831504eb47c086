"""HTTP clients that reach only what a declaration allows.

A client looks a host up, checks all of its addresses, and connects to one of these addresses, so that a second look-up
cannot lead elsewhere (DNS rebinding). TLS certificates are still checked against the host's name. Redirects are not
followed, and neither proxies nor other settings come from the environment.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

import httpx2

from responsa_server.outbound.addresses import (
    Allowed,
    IpAddress,
    OutboundError,
    UrlOrigin,
    is_never,
    origin_of,
)
from responsa_server.outbound.authorities import create_trust
from responsa_server.telemetry.requests import request as recorded_request

USER_AGENT: Final = "responsa"
_MOST_ADDRESSES: Final = 4
_LOGGER: Final = logging.getLogger(__name__)

Resolve = Callable[[str, int], Awaitable[Sequence[IpAddress]]]
"""Looks a host up. Raises OSError if it has no address."""


class ForbiddenRequest(httpx2.TransportError):
    """The server's own rules do not allow this request. Nothing was sent. The message names the rule, and no address
    that a name stands for."""


class TooLarge(httpx2.TransportError):
    """The response has more bytes than the declaration allows."""


class Unreadable(httpx2.TransportError):
    """The response arrived in an encoding that was not requested."""


@dataclass(frozen=True, slots=True)
class ReachableHosts:
    """What a client may reach. origins: the only origins that requests may go to; None for any. allowed: the addresses
    beyond the public ones."""

    origins: frozenset[UrlOrigin] | None
    allowed: Allowed = field(default_factory=Allowed)


@dataclass(frozen=True, slots=True)
class Times:
    """Time limits in seconds. connect: for the look-up and for each attempt to connect. all: for a whole request with its response."""

    connect: float = 5.0
    all: float = 30.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request. headers: beyond those that every request has. body: None for a request without a body."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. media_type: in lower case, without parameters; "" if the response has no type. charset: "" if the
    response has no charset."""

    status: int
    media_type: str
    charset: str
    headers: Mapping[str, str]
    body: bytes


async def look_up(host: str, port: int) -> Sequence[IpAddress]:
    """Look a host up as the system does. Raises OSError."""
    loop = asyncio.get_running_loop()
    entries = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(ip_address(entry[4][0]) for entry in entries))


async def reachable_addresses(
    origin: UrlOrigin, allowed: Allowed, resolve: Resolve = look_up, seconds: float = 5.0
) -> Sequence[IpAddress]:
    """The addresses of a host. One address that is not allowed refuses them all, because nobody knows which one the
    host's owner means. seconds: for the look-up. Raises ForbiddenRequest, ConnectError, ConnectTimeout."""
    try:
        addresses: Sequence[IpAddress] = [ip_address(origin.host)]
    except ValueError:
        try:
            async with asyncio.timeout(seconds):
                addresses = await resolve(origin.host, origin.port)
        except TimeoutError as error:
            raise httpx2.ConnectTimeout("the host's name was not looked up in time") from error
        except (OSError, UnicodeError, ValueError) as error:
            raise httpx2.ConnectError("the host's name cannot be looked up") from error
    for address in addresses:
        if not allowed.may_reach(origin.host, address):
            remedy = (
                "no declaration can allow it"
                if is_never(address)
                else "if it is the organisation's own, name the host or the address in the declaration's key allow_private"
            )
            _LOGGER.warning(
                "refused a connection to %s: its address %s is not allowed; %s", origin, address, remedy
            )
            raise ForbiddenRequest(
                f"the address of {origin.host} is not public; if it is the organisation's own, name it in allow_private"
            )
    return addresses[:_MOST_ADDRESSES]


class Connector:
    """Makes clients. One object serves all declarations of a process. Call `close` at the end."""

    def __init__(self, resolve: Resolve = look_up, trust: ssl.SSLContext | None = None) -> None:
        """trust: the certificates to trust; None for the usual ones."""
        self._resolve = resolve
        self._trust = trust
        self._plain = httpx2.create_ssl_context(verify=False, trust_env=False)
        self._closing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait until the connections of requests that have ended are closed."""
        if self._closing:
            await asyncio.wait(self._closing)

    async def client(self, reach: ReachableHosts, times: Times) -> httpx2.AsyncClient:
        """Return a client. The caller closes it. The client's times between two pieces of a response are limited by
        `times.all`; the caller limits the whole request."""
        return httpx2.AsyncClient(
            transport=await self.transport(reach, times),
            timeout=httpx2.Timeout(times.all, connect=times.connect),
            headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
        )

    async def transport(
        self, reach: ReachableHosts, times: Times, *, traced: bool = False
    ) -> GuardedTransport:
        """Return the connections of a client. The caller closes them. traced: whether the servers get the header
        `traceparent`."""
        return GuardedTransport(
            reach, self._resolve, await self._load_trust(reach), times.connect, traced=traced
        )

    async def fetch(
        self,
        reach: ReachableHosts,
        outgoing: Outgoing,
        times: Times,
        limit: int,
        sent: Callable[[], Awaitable[None]] | None = None,
    ) -> Reply:
        """Make one request over its own connection, and read the response. Redirects are responses.

        limit: the largest body of a response, in bytes. sent: is awaited once the request may have been sent, before the response is read.

        Raises:
            Refused, TooLarge, Unreadable: see there.
            httpx2.ConnectError, httpx2.ConnectTimeout: nothing was sent.
            httpx2.RequestError: the response cannot be read.
            TimeoutError: the time for the request is over.
        """
        client = await self.client(reach, times)
        try:
            try:
                request = client.build_request(
                    outgoing.method, outgoing.url, headers=outgoing.headers, content=outgoing.body
                )
            except (httpx2.InvalidURL, ValueError) as error:
                raise ForbiddenRequest("the address or a header cannot be sent") from error
            if sent is not None:
                request.stream = _Announced(outgoing.body or b"", sent)
            async with asyncio.timeout(times.all):
                response = await client.send(request, stream=True)
                return await _read(response, limit)
        finally:
            # Close in a separate task, because a cancelled caller may be cancelled again, and the socket must still be closed.
            closing = asyncio.create_task(client.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)

    async def _load_trust(self, reach: ReachableHosts) -> ssl.SSLContext:
        if reach.origins is not None and all(origin.scheme == "http" for origin in reach.origins):
            return self._plain
        if self._trust is None:
            # Loading the certificates takes a while, so a thread does it, once.
            self._trust = await asyncio.to_thread(create_trust)
        return self._trust


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Connects to checked addresses only. Every request opens its own connection: if a request used a kept connection
    that the server had just closed, its outcome would be unknown."""

    def __init__(
        self,
        reach: ReachableHosts,
        resolve: Resolve,
        trust: ssl.SSLContext,
        connect_seconds: float,
        *,
        traced: bool = False,
    ) -> None:
        """traced: see `Connector.transport`."""
        self._traced = traced
        self._reach = reach
        self._resolve = resolve
        self._connect_seconds = connect_seconds
        self._inner = httpx2.AsyncHTTPTransport(
            verify=trust, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2.AsyncBaseTransport. Raises Refused."""
        try:
            origin = origin_of(request.url)
        except OutboundError as error:
            raise ForbiddenRequest(str(error)) from None
        if self._reach.origins is not None and origin not in self._reach.origins:
            raise ForbiddenRequest(f"{origin} is not an address that the declaration names")
        sent = recorded_request(request.method, origin.host, origin.port)
        with sent:
            if self._traced and sent.traceparent:
                request.headers["traceparent"] = sent.traceparent
            response = await self._send(request, origin)
            sent.add(**{"http.response.status_code": response.status_code})
            return response

    async def _send(self, request: httpx2.Request, origin: UrlOrigin) -> httpx2.Response:
        failed: httpx2.TransportError | None = None
        for address in await reachable_addresses(
            origin, self._reach.allowed, self._resolve, self._connect_seconds
        ):
            host = f"[{address}]" if address.version == 6 else str(address)
            checked = httpx2.Request(
                request.method,
                request.url.copy_with(host=host),
                headers=request.headers,
                stream=request.stream,
                # The name, so that the certificate is the one of the host and not the one of an address.
                extensions={**request.extensions, "sni_hostname": origin.host},
            )
            try:
                return await self._inner.handle_async_request(checked)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failed = error
        raise failed or httpx2.ConnectError("the host has no address")

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._inner.aclose()


class _Announced(httpx2.AsyncByteStream):
    """The body of a request, and then a call of `sent`."""

    def __init__(self, body: bytes, sent: Callable[[], Awaitable[None]]) -> None:
        self._body = body
        self._sent = sent

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        if self._body:
            yield self._body
        await self._sent()


async def _read(response: httpx2.Response, limit: int) -> Reply:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Raw bytes: a compressed response could become any size.
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Unreadable("the response is compressed, although this was not requested")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > limit:
            raise TooLarge(f"the response has more than {limit} bytes")
    return Reply(
        response.status_code, media_type, response.charset_encoding or "", dict(response.headers), bytes(body)
    )
