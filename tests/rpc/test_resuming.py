"""Streams that their clients leave, and that a server that shuts down redirects."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import grpc
import pytest

from responsa.chat.v1 import chat_service_pb2 as pb
from tests.rpc.served import Serve, Served, failed, spied
from tests.rpc.streams import QUICK, kinds, resumed

# Clients that go away.


@pytest.mark.parametrize("method", ["Ask", "ResumeTurn"])
async def test_it_is_known_whose_client_has_left(
    served: Served, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    left = spied(served, monkeypatch)
    request_id = str(uuid4())
    turn = await served.bob.StartTurn(text="wait", request_id=request_id)
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
    assert (await served.bob.GetTurn(name=name)).request_id == request.request_id


# A server that shuts down.


async def test_a_drain_sends_readers_to_another_replica(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(turn_options=QUICK) as first, serve(replica="t", turn_options=QUICK) as other:
        left = spied(first, monkeypatch)
        other.agent.gate.set()
        turn = await first.bob.StartTurn(text="wait")
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
