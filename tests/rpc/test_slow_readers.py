"""Readers that read almost nothing: their queues are limited, and the server can disconnect them."""

from __future__ import annotations

import asyncio

import pytest

from responsa.chat.v1 import chat_service_pb2 as pb
from tests.rpc.served import Served, spied
from tests.rpc.slow import SlowReader
from tests.rpc.streams import asking, events, resumed

ASK = "/responsa.chat.v1.ChatService/Ask"
RESUME = "/responsa.chat.v1.ChatService/ResumeTurn"


@pytest.fixture
def left(served: Served, monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[str]:
    """The turns whose clients are reported as gone."""
    return spied(served, monkeypatch)


@pytest.mark.parametrize("window", [0, 40])
async def test_one_that_leaves_while_a_frame_waits_for_it_has_left(
    served: Served, left: asyncio.Queue[str], window: int
) -> None:
    async with SlowReader(served.address.removeprefix("unix:"), window) as reader:
        reader.ask(ASK, pb.AskRequest(text="How long is it?"), served.bob.secret)
        await served.agent.ended.wait()
        await reader.received(window)
    turn = await left.get()
    assert (await served.lines.call())["code"] == "CANCELLED"
    # The reader missed all hints, but loses no event.
    assert events(await resumed(served.bob, turn))[-1].answer.text
    assert not served.lines.of("unexpected error")


async def test_one_that_leaves_with_the_last_message_has_cancelled_nothing(served: Served) -> None:
    turn = (await asking(served.bob, "How long is it?"))[0].turn
    frames = await resumed(served.bob, turn)
    most = sum(len(frame.SerializeToString()) + 5 for frame in frames) - 1
    served.lines.kept.clear()
    async with SlowReader(served.address.removeprefix("unix:"), most) as reader:
        reader.ask(RESUME, pb.ResumeTurnRequest(turn=turn), served.bob.secret)
        await reader.received(most)
    assert (await served.lines.call())["code"] == "OK"


async def test_one_whose_time_is_up_has_not(served: Served, left: asyncio.Queue[str]) -> None:
    async with SlowReader(served.address.removeprefix("unix:"), 0) as reader:
        reader.ask(ASK, pb.AskRequest(text="How long is it?"), served.bob.secret, timeout="500m")
        ended = await served.lines.call()
        assert ended["code"] in ("CANCELLED", "DEADLINE_EXCEEDED")
    assert left.empty()
    assert not served.lines.of("unexpected error")


async def test_one_holds_up_neither_its_turn_nor_others_nor_a_drain(
    served: Served, left: asyncio.Queue[str]
) -> None:
    async with SlowReader(served.address.removeprefix("unix:"), 0) as reader:
        for _ in range(50):
            reader.ask(ASK, pb.AskRequest(text="How long is it?"), served.bob.secret)
        await served.agent.ended.wait()
        assert events(await asking(served.bob, "How long is it?"))[-1].answer.text
        async with asyncio.timeout(60):
            await asyncio.gather(served.server.drain(2.0), served.turns.drain(1.0))
    assert left.empty()
    assert not served.lines.of("unexpected error")
