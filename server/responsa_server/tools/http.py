"""A tool behind a declared HTTP endpoint. Its address is configuration, never an argument."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import httpx2

from responsa_server.domain.events import ToolFault, ToolOutcome
from responsa_server.domain.tools import MAX_RESULT_BYTES, Effect, Sent, ToolCall, ToolCard, ToolResult

_TRIES: Final = 3
UNREACHED_CONTENT: Final = "The tool could not be reached; it was not called."
LOST_CONTENT: Final = (
    "The connection to the tool was lost before it answered, so nobody knows whether it was done."
)


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """The endpoint of a tool. A call is a POST with the arguments as a JSON object and the call's key as `Idempotency-Key`.
    answer_seconds: the maximum time without data from the endpoint.
    """

    url: str
    effect: Effect
    connect_seconds: float = 5.0
    answer_seconds: float = 30.0


class HttpTool:
    """Implements `Tool`. A 2xx status of the endpoint means OK, and any other status means ERROR; redirects are not followed.
    Call `close` at the end.
    """

    def __init__(self, card: ToolCard, endpoint: HttpEndpoint) -> None:
        self._card = card
        self._endpoint = endpoint
        # Loading the certificates takes a while, so they are loaded only for an https address. An http address never leads to
        # https, because redirects are not followed.
        self._trust = httpx2.create_ssl_context(verify=endpoint.url.startswith("https:"), trust_env=False)
        self._timeout = httpx2.Timeout(endpoint.answer_seconds, connect=endpoint.connect_seconds)
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def card(self) -> ToolCard:
        """See `Tool.card`."""
        return self._card

    @property
    def effect(self) -> Effect:
        """See `Tool.effect`."""
        return self._endpoint.effect

    @property
    def timeout_seconds(self) -> float:
        """See `Tool.timeout_seconds`."""
        return self._endpoint.answer_seconds

    async def close(self) -> None:
        """Wait until the connections of calls that have ended are closed."""
        if self._closing:
            await asyncio.wait(self._closing)

    async def call(self, call: ToolCall) -> ToolResult:
        """See `Tool.call`. A call whose effect may happen twice is tried up to three times before its outcome counts as unknown."""
        body = json.dumps(dict(call.arguments)).encode()
        unknown = ToolResult(ToolOutcome.UNKNOWN, LOST_CONTENT, error=ToolFault.LOST)
        for place in range(1 if self._endpoint.effect is Effect.ONCE else _TRIES):
            try:
                return await self._once(call.key, body, call.sent)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                unreached = ToolResult(ToolOutcome.ERROR, UNREACHED_CONTENT, error=ToolFault.UNREACHABLE)
                return unknown if place else unreached
            except httpx2.RequestError:  # no readable answer; the effect may have happened
                continue
        return unknown

    async def _once(self, key: str, body: bytes, sent: Sent) -> ToolResult:
        async def content() -> AsyncGenerator[bytes, None]:
            yield body
            await sent()

        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "accept-encoding": "identity",
            "idempotency-key": key,
        }
        # Each call opens a new connection. If a call used a kept connection that the endpoint had just closed, the call's outcome
        # would be unknown.
        client = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(verify=self._trust, trust_env=False),
            timeout=self._timeout,
            trust_env=False,
        )
        read = bytearray()
        try:
            async with client.stream(
                "POST", self._endpoint.url, content=content(), headers=headers
            ) as response:
                async for part in response.aiter_bytes():
                    read += part
                    if len(read) > MAX_RESULT_BYTES:
                        break
        finally:
            # Close in a separate task, because a cancelled caller may be cancelled again, and the socket must still be closed.
            closing = asyncio.create_task(client.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)
        text = bytes(read[:MAX_RESULT_BYTES]).decode(errors="ignore")
        if response.is_success:
            return ToolResult(ToolOutcome.OK, text)
        failure = f"HTTP {response.status_code}: {text}"[:MAX_RESULT_BYTES]
        return ToolResult(ToolOutcome.ERROR, failure, error=ToolFault.STATUS)
