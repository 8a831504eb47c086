"""The frames that wait to be sent over one socket. Their total size is bounded, and the outbox decides the order in which they are sent."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from responsa_server.transports.ws.frames import Frame, join_deltas

CONTROL_BYTES: Final = 65_536
"""The limit for pongs and errors. While this many bytes or more wait, the socket is not read."""
DELTA_BYTES: Final = 262_144
"""The limit for deltas. While turns' frames of this many bytes or more wait, no delta is accepted, so the turns' streams are not read."""
TURN_BYTES: Final = 524_288
"""The limit for all frames of turns. While turns' frames of this many bytes or more wait, no frame of a turn is accepted."""
_JOINED_CHARACTERS: Final = 32_768


@dataclass(slots=True)
class _QueuedFrame:
    """A frame and its approximate size in bytes. text: the encoded frame; None for a delta, which may still be joined
    with the next delta."""

    frame: Frame
    text: str | None
    size: int

    @classmethod
    def of(cls, frame: Frame) -> _QueuedFrame:
        if frame.text is not None:  # only a delta's frame has its text beside its message
            return cls(frame, None, 2 * len(frame.text) + 128)
        text = frame.encode()
        return cls(frame, text, len(text))


@dataclass(slots=True, eq=False)
class Lane:
    """The waiting frames of one follower, in order. urgent: the number of frames that are not deltas."""

    frames: deque[_QueuedFrame] = field(default_factory=deque[_QueuedFrame])
    urgent: int = 0


class FrameQueue:
    """The waiting frames of a socket. The socket's reader and followers add frames; its writer takes them.

    Frames of one lane keep their order. Pongs and errors go first, then the lanes in which a frame other than a delta
    waits (a status, the end of a turn), then the lanes with only deltas. Lanes of the same kind take turns. Deltas that
    wait together in a lane are joined.
    """

    def __init__(self) -> None:
        self._control: deque[_QueuedFrame] = deque()
        self._control_bytes = 0
        self._lanes: list[Lane] = []
        """The lanes with waiting frames; the one served last is at the end."""
        self._bytes = 0
        self._closed = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    @property
    def size(self) -> int:
        """Approximate number of waiting bytes."""
        return self._bytes + self._control_bytes

    async def control(self, frame: Frame) -> None:
        """Add a frame that does not belong to a turn. If too many bytes are waiting, this call waits for room."""
        while self._control_bytes >= CONTROL_BYTES and not self._closed:
            self._emptied.clear()
            await self._emptied.wait()
        waiting = _QueuedFrame.of(frame)
        self._control.append(waiting)
        self._control_bytes += waiting.size
        self._filled.set()

    async def put(self, lane: Lane, frame: Frame) -> None:
        """Add the next frame of a turn. If too many bytes are waiting, this call waits for room."""
        limit = TURN_BYTES if frame.text is None else DELTA_BYTES
        while self._bytes >= limit and not self._closed:
            self._emptied.clear()
            await self._emptied.wait()
        if not lane.frames:
            self._lanes.append(lane)
        self._add(lane, frame)
        self._filled.set()

    def close(self) -> None:
        """End the outbox. The frames that are waiting now are the last ones. Calls that wait for room return."""
        self._closed = True
        self._filled.set()
        self._emptied.set()

    async def next(self) -> str | None:
        """The next frame, encoded; None when the outbox is closed and empty. A cancelled call removes no frame."""
        while not self._control and not self._lanes:
            if self._closed:
                return None
            self._filled.clear()
            await self._filled.wait()
        self._emptied.set()
        return self._take()

    def _add(self, lane: Lane, frame: Frame) -> None:
        last = lane.frames[-1].frame if lane.frames else None
        if frame.text is None:
            lane.urgent += 1
        elif (
            last is not None
            and last.text is not None
            and len(last.text) + len(frame.text) <= _JOINED_CHARACTERS
        ):
            self._bytes -= lane.frames.pop().size
            frame = join_deltas(last, frame)
        waiting = _QueuedFrame.of(frame)
        lane.frames.append(waiting)
        self._bytes += waiting.size

    def _take(self) -> str:
        if self._control:
            waiting = self._control.popleft()
            self._control_bytes -= waiting.size
        else:
            lane = next((lane for lane in self._lanes if lane.urgent), self._lanes[0])
            self._lanes.remove(lane)
            waiting = lane.frames.popleft()
            self._bytes -= waiting.size
            lane.urgent -= waiting.text is not None
            if lane.frames:
                self._lanes.append(lane)
        return waiting.frame.encode() if waiting.text is None else waiting.text
