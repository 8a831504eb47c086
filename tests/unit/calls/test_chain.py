"""What the chain keeps of a call and for how long, and what its caller hears of an end within."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import structlog
from google.protobuf.message import Message
from opentelemetry.sdk.trace import TracerProvider

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa_server.calls.call import Call, Interceptor
from responsa_server.calls.chain import Calls, Method
from responsa_server.calls.interceptors.limits import CallAdmission
from responsa_server.calls.interceptors.reporting import Errors
from responsa_server.domain.errors import CallCancelled, InvalidRequest
from responsa_server.telemetry.stages import OFF, Traces
from responsa_server.transports.grpc.server import RpcServer

# Refused requests are freed at once: the garbage collector of a server runs seldom, and a message may have megabytes.
ME = "/responsa.auth.v1.AuthService/GetMe"
REFUSED = "/responsa.auth.v1.AuthService/UpdateMe"
# No other test calls these.
ONE = "/test.Service/One"
STREAM = "/test.Service/Stream"


class Large:
    """Stands for a large message."""


class Refusing(Interceptor[None]):
    """Replaces messages, and refuses those of the method `REFUSED`."""

    def __init__(self) -> None:
        self.seen: list[weakref.ref[Large]] = []

    async def on_start(self, call: Call) -> None:
        """Do nothing."""

    def on_request(self, call: Call, message: object) -> object:
        """Raises InvalidRequest."""
        large = Large()
        self.seen.append(weakref.ref(large))
        if call.method == REFUSED:
            raise InvalidRequest.of_field("name", "rule", "is refused")
        return large


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def refuses(request: object) -> None:
    del request
    raise InvalidRequest.of_field("name", "rule", "is refused by the method")


async def refuses_with_a_variable(request: object) -> None:
    error = InvalidRequest.of_field("name", "rule", "is refused by the method")
    if request:
        raise error


async def refuses_with_a_cause(request: object) -> None:
    try:
        raise KeyError(request)
    except KeyError as cause:
        raise InvalidRequest.of_field("name", "rule", "is refused by the method") from cause


async def refuses_a_stream(requests: AsyncIterator[object]) -> None:
    async for _ in requests:
        pass
    raise InvalidRequest.of_field("name", "rule", "is refused by the method")


async def refuses_to_stream(request: object) -> AsyncGenerator[Message, None]:
    await refuses(request)
    yield auth.GetMeRequest()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(
    "method",
    [
        Method(REFUSED, auth.GetMeRequest, refuses),
        Method(ME, auth.GetMeRequest, refuses),
        Method(ME, auth.GetMeRequest, refuses_with_a_variable),
        Method(ME, auth.GetMeRequest, refuses_with_a_cause),
        Method(ME, auth.GetMeRequest, refuses_a_stream, client_streaming=True),
    ],
    ids=["by an interceptor", "by the method", "with a variable", "with a cause", "a stream"],
)
async def test_a_refused_request_is_freed_without_the_garbage_collector(method: Method) -> None:
    admission, refusing, messages = CallAdmission(4), Refusing(), [b""]

    async def read() -> bytes | None:
        return messages.pop() if messages else None

    async def send(_: object) -> None:
        raise AssertionError("there is no response")

    calls = Calls((admission, refusing), admission, structlog.get_logger("test"))
    calls.add((method,))
    with pytest.raises(InvalidRequest) as raised:
        await calls.serve(Call(method.name, {}, "test"), read, send)
    del raised
    (seen,) = refusing.seen
    assert seen() is None


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(
    "traces", [OFF, Traces(provider=TracerProvider(shutdown_on_exit=False))], ids=["untraced", "traced"]
)
async def test_a_call_that_was_refused_over_grpc_is_freed_without_the_garbage_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traces: Traces
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    refusing = Refusing()
    calls = Calls((refusing,), CallAdmission(4), structlog.get_logger("test"))
    calls.add(
        (
            Method(ONE, auth.GetMeRequest, refuses),
            Method(STREAM, auth.GetMeRequest, refuses_to_stream, server_streaming=True),
        )
    )
    server = RpcServer(calls, (), "unix:server", traces=traces)
    await server.start()
    async with grpc.aio.insecure_channel("unix:server") as channel:
        for method in (ONE, STREAM) * 5:
            refused: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            assert await refused(b"").code() is grpc.StatusCode.INVALID_ARGUMENT
    await server.drain(0)
    assert len(refusing.seen) == 10
    left = gc.get_objects()
    assert not [one for one in left if type(one) is Call and one.method in (ONE, STREAM)]
    # gRPC itself keeps the errors of the last calls.
    assert sum(type(one) is grpc.aio.AbortError for one in left) < 5  # `isinstance` asks dead proxies


async def test_only_the_cancellation_of_the_call_itself_is_passed_on() -> None:
    errors, call = Errors(structlog.get_logger()), Call(ME, {}, "test")

    async def left() -> BaseException | None:
        try:
            return await asyncio.Future()
        except asyncio.CancelledError as error:
            return await errors.on_end(call, None, error)

    calling = asyncio.create_task(left())
    await asyncio.sleep(0)
    calling.cancel()
    assert type(await calling) is asyncio.CancelledError
    assert type(await errors.on_end(call, None, asyncio.CancelledError())) is CallCancelled
