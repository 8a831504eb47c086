"""Resuming and stopping a turn by its name, and stopping a turn before the client knows its name."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from clients.conformance.server import Context
from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_client import (
    AsyncResponsa,
    Cancelled,
    OnBusy,
    Responsa,
    turn_error,
)
from tests.clients.conftest import Driver
from tests.clients.scripted import (
    ASK,
    CHAT,
    KEY,
    RESUME,
    TURN,
    Frames,
    Scripted,
    complete,
    frame,
    play_streams,
    seqs,
    whole_turn,
)

CANCEL = f"{CHAT}/CancelTurn"
START = f"{CHAT}/StartTurn"


def cancels(server: Scripted) -> asyncio.Event:
    """Let the server cancel turns. The returned event is set when the server has cancelled a turn."""
    cancelled = asyncio.Event()

    async def cancel(request: Any, __: Context) -> turn_pb2.Turn:
        cancelled.set()
        return turn_pb2.Turn(name=request.name, last_seq=3, terminal_event=stopped(3))

    server.on(CANCEL, cancel)
    return cancelled


def stopped(seq: int) -> turn_pb2.TurnEvent:
    made = turn_pb2.TurnCancelled(by=turn_pb2.CANCEL_CAUSE_OWNER)
    return turn_pb2.TurnEvent(seq=seq, attempt=1, cancelled=made)


async def test_a_turn_is_resumed_and_cancelled_by_its_name(server: Scripted, driver: Driver) -> None:
    play_streams(server, complete)
    assert seqs(await driver.call("resume", TURN, 2, True)) == [3, 4, 5, 6]
    assert seqs(await driver.call("resume", TURN.removeprefix("turns/"), include_deltas=True)) == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert {request.turn for request in server.requests[RESUME]} == {TURN}
    cancels(server)
    turn = await driver.call("cancel", TURN.removeprefix("turns/"))
    assert server.requests[CANCEL] == [chat_service_pb2.CancelTurnRequest(name=TURN)]
    error = turn_error(turn)
    assert isinstance(error, Cancelled)
    assert str(error) == "CANCELLED: The turn was cancelled by its owner."


async def test_stop_ends_the_turn_and_its_stream(server: Scripted) -> None:
    cancelled = cancels(server)

    async def until_cancelled(_: Any, __: Context) -> Frames:
        events = [*whole_turn()[:2], stopped(3)]
        yield frame(0, 2, events)
        await cancelled.wait()
        yield frame(2, 3, events)

    play_streams(server, until_cancelled)

    def blocking() -> list[int]:
        with Responsa(server.url, KEY) as client, client.ask("Who?") as stream:
            first = [next(stream).seq, next(stream).seq]
            threading.Thread(target=stream.stop).start()
            return [*first, *seqs(list(stream))]

    assert await asyncio.to_thread(blocking) == [1, 2, 3]
    cancelled.clear()
    async with AsyncResponsa(server.url, KEY) as client, client.ask("Who?") as stream:
        assert [(await anext(stream)).seq, (await anext(stream)).seq] == [1, 2]
        turn = await stream.stop()
        assert turn.terminal_event.WhichOneof("event") == "cancelled"
        assert [event.seq async for event in stream] == [3]
    assert START not in server.requests


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "asyncio"])
async def test_stop_before_the_turn_is_known_still_ends_it(server: Scripted, blocking: bool) -> None:
    """`stop` calls StartTurn with the same request_id, which attaches to the turn or creates it, and then cancels the turn."""
    arrived, cancelled = asyncio.Event(), cancels(server)

    async def slow(_: Any, __: Context) -> Frames:
        arrived.set()
        await cancelled.wait()
        yield frame(0, 3, [*whole_turn()[:2], stopped(3)])

    play_streams(server, slow)
    server.reply(START, turn_pb2.Turn(name=TURN))
    arguments: dict[str, Any] = {
        "agent": "testing",
        "on_busy": OnBusy.ON_BUSY_QUEUE,
        "include_deltas": True,
        "cancel_on_disconnect": True,
    }
    if blocking:
        with Responsa(server.url, KEY) as client:
            stream = client.ask("Who?", "", ["notes"], **arguments)
            reading = asyncio.create_task(asyncio.to_thread(lambda: list(stream)))
            await arrived.wait()
            await asyncio.to_thread(stream.stop)
            events = await reading
    else:
        async with AsyncResponsa(server.url, KEY) as client:
            following = client.ask("Who?", "", ["notes"], **arguments)

            async def read() -> list[turn_pb2.TurnEvent]:
                return [event async for event in following]

            reading = asyncio.create_task(read())
            await arrived.wait()
            await following.stop()
            events = await reading
    assert events[-1].WhichOneof("event") == "cancelled"
    (question,), (begun,) = server.requests[ASK], server.requests[START]
    assert (begun.request_id, begun.text, begun.agent) == (question.request_id, "Who?", "agents/testing")
    assert begun.options == chat_service_pb2.AskOptions(
        scope=question.options.scope, on_busy=OnBusy.ON_BUSY_QUEUE
    )
    assert server.requests[CANCEL] == [chat_service_pb2.CancelTurnRequest(name=TURN)]
