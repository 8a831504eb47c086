"""The order of waiting frames, and the limits of the queue."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest

from responsa_server.transports.ws.frames import PONG, Frame, delta
from responsa_server.transports.ws.outbox import CONTROL_BYTES, DELTA_BYTES, TURN_BYTES, FrameQueue, Lane


def status(turn: str, seq: int, size: int = 0) -> Frame:
    return Frame({"type": "status", "step": "grading", "message": "x" * size, "turn": turn, "seq": seq})


def end(turn: str, seq: int) -> Frame:
    return Frame({"type": "message", "turn": turn, "seq": seq})


async def heard(outbox: FrameQueue) -> list[tuple[str, str, int]]:
    """All waiting frames: type, turn, seq."""
    outbox.close()
    found: list[tuple[str, str, int]] = []
    while (text := await outbox.next()) is not None:
        frame = cast("dict[str, Any]", json.loads(text))
        found.append((frame["type"], frame.get("turn", ""), frame.get("seq", 0)))
    return found


async def test_frames_of_one_turn_keep_their_order() -> None:
    outbox, lane = FrameQueue(), Lane()
    frames = [
        status("a", 2), delta("a", 3, "x"), status("a", 4), delta("a", 5, "y"), delta("a", 6, "z"), end("a", 7)
    ]  # fmt: skip
    for frame in frames:
        await outbox.put(lane, frame)
    assert await heard(outbox) == [
        ("status", "a", 2), ("delta", "a", 3), ("status", "a", 4), ("delta", "a", 6), ("message", "a", 7)
    ]  # fmt: skip


async def test_what_is_no_delta_overtakes_the_deltas_of_other_turns() -> None:
    outbox, first, second, third = FrameQueue(), Lane(), Lane(), Lane()
    for seq in (2, 3, 4):
        await outbox.put(first, delta("a", seq, "x" * 20_000))
    await outbox.put(second, delta("b", 8, "x"))
    await outbox.put(second, end("b", 9))
    await outbox.put(third, delta("c", 5, "x"))
    await outbox.put(third, status("c", 6))
    await outbox.control(PONG)
    assert await heard(outbox) == [
        ("pong", "", 0),
        # A turn's own deltas come before its end. Deltas of other turns may come later.
        ("delta", "b", 8), ("delta", "c", 5), ("message", "b", 9), ("status", "c", 6),
        ("delta", "a", 2), ("delta", "a", 3), ("delta", "a", 4),
    ]  # fmt: skip


async def test_turns_that_have_deltas_alone_take_turns() -> None:
    outbox, first, second = FrameQueue(), Lane(), Lane()
    for seq in (2, 3):
        await outbox.put(first, delta("a", seq, "x" * 20_000))
        await outbox.put(second, delta("b", seq, "x" * 20_000))
    assert await heard(outbox) == [("delta", "a", 2), ("delta", "b", 2), ("delta", "a", 3), ("delta", "b", 3)]


async def test_deltas_that_wait_are_joined_and_nothing_else_is() -> None:
    outbox, lane = FrameQueue(), Lane()
    for seq, text in enumerate(["Ä", "b", "c"], 2):
        await outbox.put(lane, delta("a", seq, text))
    assert json.loads(await outbox.next() or "") == {"type": "delta", "text": "Äbc", "turn": "a", "seq": 4}
    # A frame that was sent is no longer joined with later deltas.
    await outbox.put(lane, delta("a", 5, "d"))
    assert json.loads(await outbox.next() or "") == {"type": "delta", "text": "d", "turn": "a", "seq": 5}
    assert outbox.size == 0


@pytest.mark.parametrize("kind", ["delta", "status", "pong"])
async def test_too_much_waits_for_the_reader(kind: str) -> None:
    outbox, lane = FrameQueue(), Lane()
    most = {"delta": DELTA_BYTES, "status": TURN_BYTES, "pong": CONTROL_BYTES}[kind]

    async def fill() -> None:
        for seq in range(100_000):
            match kind:
                case "delta":
                    await outbox.put(lane, delta("a", seq, "x" * 1000))
                case "status":
                    await outbox.put(lane, status("a", seq, 1000))
                case _:
                    await outbox.control(PONG)

    filling = asyncio.create_task(fill())
    for _ in range(3):
        for _ in range(10_000):
            await asyncio.sleep(0)
        assert most <= outbox.size <= most + 70_000
        assert not filling.done()
        # Taking a frame frees only the space of that frame.
        await outbox.next()
    outbox.close()
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)


async def test_deltas_that_are_too_much_keep_no_other_frame_waiting() -> None:
    outbox, first, second = FrameQueue(), Lane(), Lane()
    while outbox.size < DELTA_BYTES:
        await outbox.put(first, delta("a", 2, "x" * 30_000))
    await outbox.put(second, end("b", 3))
    await outbox.control(PONG)
    assert json.loads(await outbox.next() or "")["type"] == "pong"
    assert json.loads(await outbox.next() or "")["type"] == "message"


async def test_a_wait_that_is_cancelled_takes_nothing_away() -> None:
    outbox = FrameQueue()
    for _ in range(3):
        waiting = asyncio.create_task(outbox.next())
        await asyncio.sleep(0)
        await outbox.control(PONG)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await outbox.next() == PONG.encode()
    outbox.close()
    assert await outbox.next() is None
