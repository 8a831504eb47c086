"""Streams that are resumed, cancelled, left and redirected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import grpc
import pytest

from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1 import turn_pb2
from responsa_server.turns.settings import TurnOptions
from tests.rpc.served import Sender, Serve, Served, failed, spied
from tests.rpc.streams import asking, events, kinds, resumed

# The intervals are short, because these tests do not check times, and longer intervals would only slow them down.
QUICK = TurnOptions(lease_seconds=2.0, sweep_seconds=0.05, poll_seconds=0.05, disconnect_seconds=0.05)
Opening = Callable[..., Any]


@pytest.fixture
def opening(serve: Serve) -> Opening:
    """Return a function that starts a replica with the given name on the test's database. Without a name, the replica is called s."""

    def open_replica(replica: str = "s", **options: Any) -> AbstractAsyncContextManager[Served]:
        return serve(replica=replica, turn_options=replace(QUICK, **options))

    return open_replica


async def started(sender: Sender, text: str = "wait", **fields: object) -> turn_pb2.Turn:
    return await sender.StartTurn(text=text, **fields)


async def cancelled(sender: Sender, turn: str) -> turn_pb2.Turn:
    return await sender.CancelTurn(name=turn)


async def got(sender: Sender, turn: str) -> turn_pb2.Turn:
    return await sender.GetTurn(name=turn)


# Resuming.


@pytest.mark.parametrize("deltas", [True, False])
async def test_whoever_resumes_sees_what_the_first_saw(served: Served, deltas: bool) -> None:
    whole = await asking(served.bob, "How long is it?", include_deltas=deltas)
    told = events(whole)
    end = whole[-1].through_seq
    for after_seq in range(end):
        again = await resumed(served.bob, whole[0].turn, after_seq, include_deltas=deltas)
        assert events(again, after_seq) == [one for one in told if one.seq > after_seq]
        assert again[-1].through_seq == end
    # At the end there are no more events, and this is not an error.
    assert await resumed(served.bob, whole[0].turn, end, include_deltas=deltas) == []


async def test_a_deadline_ends_the_following_and_not_the_turn(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = spied(served, monkeypatch)
    turn = await started(served.bob)
    call = served.chat.ResumeTurn(
        pb.ResumeTurnRequest(turn=turn.name), metadata=served.bob.metadata, timeout=0.4
    )
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await served.lines.call("DEADLINE_EXCEEDED")
    assert left.empty()
    served.agent.gate.set()
    assert kinds(await resumed(served.bob, turn.name))[-1] == "answer"


# Clients that go away.


@pytest.mark.parametrize("method", ["Ask", "ResumeTurn"])
async def test_it_is_known_whose_client_has_left(
    served: Served, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    left = spied(served, monkeypatch)
    turn = await started(served.bob, request_id=(request_id := str(uuid4())))
    request = (
        pb.AskRequest(text="wait", request_id=request_id)
        if method == "Ask"
        else pb.ResumeTurnRequest(turn=turn.name)
    )
    # A long deadline makes no difference.
    for timeout in (None, 60.0):
        call = getattr(served.chat, method)(request, metadata=served.bob.metadata, timeout=timeout)
        await call.read()
        call.cancel()
        await served.lines.call("CANCELLED")
        served.lines.kept.clear()
        assert await left.get() == turn.name
    served.agent.gate.set()
    # A caller that reads to the end does not count as a client that left.
    async for _ in getattr(served.chat, method)(request, metadata=served.bob.metadata):
        pass
    assert left.empty()


async def test_a_client_that_leaves_before_its_turn_is_known_has_left_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = spied(served, monkeypatch)
    accept, begun, gate = served.turns.accept, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **named: Any) -> Any:
        begun.set()
        await gate.wait()
        return await accept(*arguments, **named)

    monkeypatch.setattr(served.turns, "accept", slow)
    request = pb.AskRequest(text="wait", request_id=str(uuid4()), cancel_on_disconnect=True)
    call = served.bob.Ask(request)
    reading = asyncio.ensure_future(call.read())
    await begun.wait()
    call.cancel()
    await asyncio.wait((reading,))
    await served.lines.call("CANCELLED")
    gate.set()
    name = await left.get()
    assert (await got(served.bob, name)).request_id == request.request_id


# A server that shuts down.


async def test_a_drain_sends_readers_to_another_replica(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opening() as first, opening("t") as other:
        left = spied(first, monkeypatch)
        other.agent.gate.set()
        turn = await started(first.bob)
        calls = [
            first.bob.ResumeTurn(turn=turn.name),
            first.bob.Ask(text="wait for it"),
        ]
        streams = [aiter(call) for call in calls]
        for stream in streams:
            await anext(stream)
        first.agent.begun.clear()
        waiting = asyncio.create_task(failed(first.ann.Answer(text="wait")))
        await first.agent.begun.wait()
        draining = [asyncio.create_task(work) for work in (first.server.drain(3.0), first.turns.drain(1.5))]
        for call, stream in zip(calls, streams, strict=True):
            rest = [frame async for frame in stream]
            # The stream reports its position and ends without an error.
            assert await call.code() is grpc.StatusCode.OK
            last = rest[-1]
            assert [event.WhichOneof("event") for event in last.events] == ["reconnect"]
            assert last.after_seq == last.through_seq
            # Turns that did not end within the grace period are taken over by the remaining servers.
            found = await resumed(other.sending(first.bob.metadata), last.turn, last.through_seq)
            assert kinds(found, last.through_seq)[-1] == "answer"
        error = await waiting
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        await asyncio.gather(*draining)
        assert left.empty()


async def test_a_stream_that_does_not_end_is_cut_within_the_grace(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = spied(served, monkeypatch)
    call = served.bob.Ask(text="wait")
    stream = aiter(call)
    await anext(stream)
    # Only the server is drained, not its turns, so the reader gets no reconnect event.
    cut = asyncio.create_task(failed(stream))
    async with asyncio.timeout(30):
        await served.server.drain(1.0)
    error = await cut
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert left.empty()
