"""Refused requests are freed at once: the garbage collector of a server runs seldom, and a message may have megabytes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress

import pytest
import structlog

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa_server.calls.call import Call, Interceptor
from responsa_server.calls.chain import Calls, Method
from responsa_server.calls.interceptors.limits import Admission
from responsa_server.domain.errors import InvalidRequest
from responsa_server.transports.grpc import handlers

ME = "/responsa.auth.v1.AuthService/GetMe"
CREATE = "/responsa.auth.v1.AuthService/UpdateMe"


class Large:
    """Stands for a large message."""


class Refusing(Interceptor[None]):
    """Replaces messages, and refuses those of one method."""

    def __init__(self) -> None:
        self.seen: list[weakref.ref[Large]] = []

    async def on_start(self, call: Call) -> None:
        """Do nothing."""

    def on_request(self, call: Call, message: object) -> object:
        """Raises InvalidRequest."""
        large = Large()
        self.seen.append(weakref.ref(large))
        if call.method == ME:
            raise InvalidRequest.of_field("name", "rule", "is refused")
        return large


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("method", [ME, CREATE])
async def test_a_refused_request_is_freed_without_the_garbage_collector(method: str) -> None:
    admission, refusing = Admission(4), Refusing()

    async def handler(request: object) -> None:
        del request
        raise InvalidRequest.of_field("name", "rule", "is refused by the method")

    async def read() -> bytes:
        return b""

    async def send(_: object) -> None:
        raise AssertionError("there is no response")

    calls = Calls((admission, refusing), admission, structlog.get_logger("test"))
    calls.add([Method(one, auth.GetMeRequest, handler) for one in (ME, CREATE)])
    with suppress(InvalidRequest):
        await calls.serve(Call(method, {}, "test"), read, send)
    (seen,) = refusing.seen
    assert seen() is None


@pytest.mark.timeout(10)
def test_errors_that_are_among_their_own_causes_lose_their_frames() -> None:
    first, second = ValueError("first"), ValueError("second")
    for error in (first, second):
        with suppress(ValueError):
            raise error
    first.__cause__, second.__cause__ = second, first
    handlers._forget_frames(first)  # pyright: ignore[reportPrivateUsage]  # no error of a call has such causes yet
    assert first.__traceback__ is None
    assert second.__traceback__ is None
