"""How the server starts, which limits it has, and how it shuts down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import psycopg
import pytest
from grpc._cython import cygrpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_server.calls.contract import health_calls
from responsa_server.calls.interceptors.limits import MAX_PUBLIC_CALLS
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.turns import TurnState
from responsa_server.transports.grpc.health import Health
from responsa_server.transports.grpc.server import OPTIONS, RpcServer
from tests.raising import raises
from tests.rpc.served import Failure, Serve, Served, failed, spied

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_more_calls_than_it_takes_on(serve: Serve) -> None:
    async with serve(max_calls=1) as served:
        waiting = served.chat.Ask(chat.AskRequest(text="wait"), metadata=served.bob.metadata)
        await waiting.read()
        for stub, request in (
            (served.auth.GetMe, auth.GetMeRequest()),
            (served.chat.Ask, chat.AskRequest(text="Why?")),
        ):
            error = await failed(stub(request, metadata=served.bob.metadata))
            assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            assert error.metadata == {"limit": "1"}
            assert error.retry_after == 1.0
        health = health_pb2_grpc.HealthStub(served.channel)
        assert (
            await health.Check(health_pb2.HealthCheckRequest())
        ).status == health_pb2.HealthCheckResponse.SERVING
        waiting.cancel()
        await served.lines.call("CANCELLED")
        assert (await served.auth.GetMe(auth.GetMeRequest(), metadata=served.bob.metadata)).name


async def test_why_a_part_failed_stands_in_the_log_alone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise Unavailable(
            Reason.PART_UNAVAILABLE, "Try again.", {"part": "postgresql"}
        ) from psycopg.errors.DiskFull("a secret text")

    monkeypatch.setattr(served.turns.store, "get", broken)
    request = chat.GetTurnRequest(name="turns/0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10")
    error = await failed(served.chat.GetTurn(request, metadata=served.bob.metadata))
    assert (error.reason, error.message) == ("PART_UNAVAILABLE", "Try again.")
    (logged,) = served.lines.of("a part failed")
    assert "psycopg.errors.DiskFull (53100)" in logged["causes"][1]
    assert "a secret text" not in str(served.lines.kept)
    assert "53100" not in str(error.status)


async def test_a_drain_lets_calls_end_and_takes_no_new_ones(served: Served) -> None:
    call = served.chat.Answer(chat.AnswerRequest(text="wait"), metadata=served.bob.metadata)
    answering = asyncio.ensure_future(call)
    await served.agent.begun.wait()
    health = health_pb2_grpc.HealthStub(served.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING

    draining = asyncio.create_task(served.server.drain(30.0))
    assert (await watch.read()).status == NOT_SERVING
    error = await failed(served.auth.GetMe(auth.GetMeRequest(), metadata=served.bob.metadata))
    assert (error.code, error.reason, error.retry_after) == (grpc.StatusCode.UNAVAILABLE, "DRAINING", 1.0)
    assert not draining.done()
    served.agent.gate.set()
    turn = await answering
    assert turn.terminal_event.answer.text
    await draining


async def test_a_drain_does_not_wait_for_ever(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    left = spied(served, monkeypatch)
    ending: list[asyncio.Task[Failure]] = []
    # A call is sent when it is made, so the second call must not be made before `begun` is cleared for it.
    for call in (
        lambda: served.chat.Ask(chat.AskRequest(text="wait"), metadata=served.bob.metadata),
        lambda: served.chat.Answer(chat.AnswerRequest(text="wait"), metadata=served.ann.metadata),
    ):
        served.agent.begun.clear()
        ending.append(asyncio.create_task(failed(call())))
        await served.agent.begun.wait()
    await served.server.drain(0.1)
    for error in await asyncio.gather(*ending):
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    # The server ended the call, but the turn continues, because nobody has left it.
    assert left.empty()
    (turn,) = (await served.turns.store.list(served.bob.who, ListQuery(10, Order("create_time")))).items
    assert turn.state is TurnState.RUNNING


async def test_calls_that_arrive_while_the_server_stops_learn_the_reason(served: Served) -> None:
    calls = [
        asyncio.create_task(failed(served.auth.GetMe(auth.GetMeRequest(), metadata=served.bob.metadata)))
        for _ in range(50)  # a loaded machine refuses so many well within MAX_QUIET_SECONDS
    ]
    # No turn runs, so the drain does not wait. The calls have been sent, but the server has not received them yet.
    await served.server.drain(5.0)
    assert {(one.code, one.reason) for one in await asyncio.gather(*calls)} == {
        (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    }


async def test_a_drain_ends_health_watches_with_a_reason(served: Served) -> None:
    watch = aiter(health_pb2_grpc.HealthStub(served.channel).Watch(health_pb2.HealthCheckRequest()))
    await anext(watch)
    ending = asyncio.create_task(failed(watch))
    async with asyncio.timeout(20):
        await served.server.drain(60.0)
    error = await ending
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


def test_grpc_knows_each_option_of_the_server() -> None:
    """gRPC ignores an option with a wrong name and gives no notice."""
    library = Path(cygrpc.__file__).read_bytes()
    assert [name for name in OPTIONS if name.encode() not in library] == []


async def test_an_address_that_is_taken_and_reflection_that_is_off() -> None:
    calls = health_calls()
    first = RpcServer(calls, (), "127.0.0.1:0", reflects=False)
    taken = await first.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{taken}") as channel:
        error = await failed(channel.unary_stream(REFLECTION)(b""))
        assert error.code is grpc.StatusCode.UNIMPLEMENTED
    second = RpcServer(calls, (), f"127.0.0.1:{taken}")
    await raises(OSError, second.start(), "cannot listen")
    await first.drain(0)


async def test_health_before_it_is_ready() -> None:
    health = Health(("a.b.C",))
    response = await health.Check(health_pb2.HealthCheckRequest(service="a.b.C"))
    assert response.status == NOT_SERVING
    health.drain()
    health.serving()
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING


async def test_health_of_an_unknown_service_is_refused_and_not_kept(served: Served) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    # A longer name is refused because of the message's size, before it is read.
    for name in ("nothing", "x" * 200_000):
        request = health_pb2.HealthCheckRequest(service=name)
        for call in (stub.Check(request), stub.Watch(request)):
            error = await failed(call)
            assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
            assert len(error.message) < 500
            assert error.metadata["resource_name"] == name[:64]


async def test_calls_without_a_credential_have_a_cap_of_their_own(served: Served) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(MAX_PUBLIC_CALLS)]
    for watch in watches:
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    error = await failed(stub.Check(health_pb2.HealthCheckRequest()))
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert error.metadata == {"limit": str(MAX_PUBLIC_CALLS)}
    # Calls with a credential do not wait for calls without a credential. When a call ends, another call can take its place.
    assert (await served.auth.GetMe(auth.GetMeRequest(), metadata=served.bob.metadata)).name
    served.lines.kept.clear()
    watches[0].cancel()
    await served.lines.call("CANCELLED")
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_process_that_takes_no_calls_tells_of_its_health_alone(folder: Path) -> None:
    server = RpcServer(health_calls(), (), f"unix:{folder}/h", reflects=False)
    await server.start()
    await server.ready()
    async with grpc.aio.insecure_channel(f"unix:{folder}/h") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        error = await failed(channel.unary_unary("/responsa.auth.v1.AuthService/GetMe")(b""))
        assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "ROUTE_NOT_FOUND")
    await server.drain(0)


async def test_pings_of_clients_are_borne(served: Served) -> None:
    options = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_permit_without_calls", 1))
    async with grpc.aio.insecure_channel(served.address, options=options) as channel:
        await channel.channel_ready()
        assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"
