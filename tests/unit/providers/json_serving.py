"""Clients of servers on real sockets that answer with JSON, and what these servers answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import SecretStr

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.providers.chain import KeyLimits, RetryPolicy
from responsa_server.providers.json_server import JsonServer, RequestOptions
from responsa_server.providers.settings import CompatibleSettings
from tests.wire.recording import RecordingServer
from tests.wire.speaking import KEY

Before = Callable[[LoopbackExchange], Awaitable[bool]]
Client = TypeVar("Client", bound=JsonServer)


@dataclass
class Served(Generic[Client]):
    """A client that is connected to a running server. pauses: the pauses before repeated requests, which the test does not wait for."""

    server: RecordingServer
    client: Client
    pauses: list[float]


@asynccontextmanager
async def connected(
    server: RecordingServer, make: Callable[[CompatibleSettings, RequestOptions], Client], **options: Any
) -> AsyncGenerator[Served[Client]]:
    await server.start()
    pauses: list[float] = []

    async def no_sleep(seconds: float) -> None:
        pauses.append(seconds)

    # The settings are not validated, because tests use shorter times than the settings allow.
    given: dict[str, Any] = {"api_key": SecretStr(KEY), **options}
    client = make(
        CompatibleSettings.model_construct(url=server.url, **given),
        RequestOptions(KeyLimits(4, 0, 5.0), RetryPolicy(retries=2), sleep=no_sleep, chance=lambda: 0.0),
    )
    try:
        yield Served(server, client, pauses)
    finally:
        await client.close()
        await server.close()


def replying(body: bytes, status: int = 200, times: int = 1 << 30, **headers: str) -> Before:
    """Answers the first requests with this body. The names of headers have "_" for "-"."""
    left = times

    async def before(exchange: LoopbackExchange) -> bool:
        nonlocal left
        left -= 1
        if left >= 0:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            await exchange.reply(status, body, {"content-type": "application/json", **named})
        return left >= 0

    return before
