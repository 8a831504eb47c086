from __future__ import annotations

import asyncio
import json
import signal
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NoReturn, cast

import grpc
import grpc.aio
import httpx2
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.types import Message, Receive, Scope, Send

from responsa_server.app.front import HealthFront
from responsa_server.app.gateway import GatewayServer
from responsa_server.app.resources import Addresses
from responsa_server.calls.health import ServerHealth
from responsa_server.calls.status import UNEXPECTED
from responsa_server.domain.addresses import UnixAddress
from responsa_server.domain.parts import NOT_PAUSED, Health, PartReport
from responsa_server.domain.people import Origin, Principal
from responsa_server.transports.doors import GatewaySettings, build_app
from responsa_server.transports.http.guard import AllowedCallers
from responsa_server.transports.http.problems import Unexpected
from responsa_server.transports.http.sessions import SessionExchange
from tests.gateway.in_process import calls_of
from tests.gateway.wire import at


@pytest.fixture
def folder() -> Iterator[Path]:
    """The path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="rgv") as name:
        yield Path(name)


class Slow:
    """An app that answers only when the test allows it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.cancelled = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.asked.set()
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def client(path: Path) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(path)), base_url="http://gateway")


async def test_it_serves_privately_and_leaves_signals_alone(folder: Path) -> None:
    path = folder / "g.sock"
    path.write_text("left by a killed process")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    app = Slow()
    app.let.set()
    server = GatewayServer(app, UnixAddress(path))
    await server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    async with client(path) as http:
        assert (await http.get("/")).text == "ok"
    await server.stop()
    await server.stop()
    assert not path.exists()


async def test_running_calls_end_within_the_grace(folder: Path) -> None:
    app = Slow()
    server = GatewayServer(app, UnixAddress(folder / "g.sock"))
    await server.start()
    async with client(folder / "g.sock") as http:
        call = asyncio.create_task(http.get("/"))
        await app.asked.wait()
        stopping = asyncio.create_task(server.stop(30))
        app.let.set()
        assert (await call).text == "ok"
    await stopping


async def test_calls_that_do_not_end_are_cancelled(folder: Path) -> None:
    app = Slow()
    server = GatewayServer(app, UnixAddress(folder / "g.sock"))
    await server.start()
    async with client(folder / "g.sock") as http:
        call = asyncio.create_task(http.get("/"))
        await app.asked.wait()
        await server.stop(1)
        assert (await call).status_code == 500
    assert app.cancelled


async def test_a_head_without_an_end_ends_the_connection(folder: Path) -> None:
    server = GatewayServer(Slow(), UnixAddress(folder / "g.sock"))
    await server.start()
    _, writer = await asyncio.open_unix_connection(folder / "g.sock")
    writer.write(b"GET / HTTP/1.1\r\nhost: gateway\r\nx-long: ")

    async def go_on() -> None:
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await go_on()
    writer.close()
    await server.stop(1)


async def test_a_socket_that_cannot_be_made_is_told(folder: Path) -> None:
    with pytest.raises(OSError, match=r"No such file|directory"):
        await GatewayServer(Slow(), UnixAddress(folder / "none" / "g.sock")).start()


async def test_health_tells_strangers_whether_it_can_answer(folder: Path) -> None:
    class Nobody:
        async def caller_of(self, token: str) -> Principal | None:
            raise AssertionError(token)

        async def exchange_code(
            self, code: str, origin: Origin, present: Principal | None = None
        ) -> tuple[str, datetime]:
            raise AssertionError(code)

        async def end_session(self, token: str, origin: Origin) -> None:
            raise AssertionError(token)

    async def lacking() -> Collection[str]:
        return away

    async def reports() -> Mapping[str, PartReport]:
        return {"postgresql": PartReport(Health.DOWN, "18.4", "at 10.0.0.7")}

    serving, away = True, ()
    app = build_app(
        GatewaySettings(folder, AllowedCallers((), ()), secure_cookie=False),
        calls_of(),
        Nobody(),
        health=ServerHealth(lambda: serving, lacking, reports),
    )
    server = GatewayServer(app, UnixAddress(folder / "g.sock"))
    await server.start()
    async with client(folder / "g.sock") as http:
        whole = {
            "status": "SERVING",
            "lacking": [],
            "paused": False,
            "parts": {"postgresql": "down"},
        }
        # Strangers learn neither versions nor reasons.
        assert (await http.get("/health")).json() == whole
        assert (await http.get("/health/ready")).status_code == 200
        serving = False
        leaving = await http.get("/health/ready")
        assert (leaving.status_code, leaving.json()) == (
            503,
            {"status": "NOT_SERVING", "lacking": ["server"], "paused": False},
        )
        assert (await http.get("/health")).status_code == 503
        assert (await http.get("/health/live")).status_code == 200
    await server.stop()


async def test_a_process_without_calls_tells_its_health_where_it_is_asked_to(folder: Path) -> None:
    grpc_address, http = UnixAddress(folder / "h.sock"), UnixAddress(folder / "g.sock")
    silent = HealthFront(Addresses(grpc_address, http), NOT_PAUSED)
    await silent.start()
    channel = grpc.aio.insecure_channel(str(grpc_address), [("grpc.default_authority", "localhost")])
    try:
        async with channel, client(http.path) as browser:
            health = health_pb2_grpc.HealthStub(channel)
            told = await health.Check(health_pb2.HealthCheckRequest(), timeout=30)
            assert told.status == health_pb2.HealthCheckResponse.SERVING
            # Envoy asks for this service, so it never sends calls here.
            chat = health_pb2.HealthCheckRequest(service="responsa.chat.v1.ChatService")
            with pytest.raises(grpc.RpcError) as raised:
                await health.Check(chat, timeout=30)
            assert raised.value.code() is grpc.StatusCode.NOT_FOUND
            assert (await browser.get("/health/ready")).status_code == 200
            await silent.retire()
            assert (await browser.get("/health/ready")).status_code == 503
    finally:
        await silent.close()


async def test_an_error_that_leaves_a_door_is_typed_and_keeps_the_connection(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> NoReturn:
        raise RuntimeError("a secret")

    calls = calls_of()
    monkeypatch.setattr(calls, "answer", broken)
    app = build_app(
        GatewaySettings(folder, AllowedCallers(("gateway",), ()), secure_cookie=False),
        calls,
        cast("SessionExchange", None),
        metrics=broken,
    )
    server = GatewayServer(app, UnixAddress(folder / "g.sock"))
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(folder / "g.sock"))
    doors = {
        "GET /metrics": ("message", "details.0.reason"),
        "POST /auth/login": ("detail", "code"),
        "GET /v1/models": ("error.message", "error.code"),
        "POST /mcp": ("error.message", "error.data.reason"),
        "POST /a2a": ("error.message", "error.data.0.reason"),
    }
    for number, (door, places) in enumerate(doors.items(), 1):
        # All on one connection, as from Envoy.
        head = f"{door} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\nx-request-id: call-{number}\r\n"
        writer.write(f"{head}content-length: 2\r\n\r\n{{}}".encode())
        told = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert told.startswith("http/1.1 500 "), door
        assert f"x-request-id: call-{number}\r\n" in told, door
        size = told.partition("content-length: ")[2].partition("\r")[0]
        content = json.loads(await reader.readexactly(int(size)))
        assert [at(content, place) for place in places] == [UNEXPECTED, "INTERNAL"], door
    writer.close()
    groups = calls._errors.read()
    assert sum(group.count for group in groups) == len(doors)
    await server.stop()


async def test_an_error_behind_a_whole_response_keeps_the_connection() -> None:
    sent: list[Message] = []

    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": not whole})
        raise RuntimeError

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope: Scope = {"type": "http", "method": "GET", "headers": []}
    whole = True
    await Unexpected(app, calls_of())(scope, receive, send)
    assert len(sent) == 2
    whole = False
    with pytest.raises(RuntimeError):
        await Unexpected(app, calls_of())(scope, receive, send)
