"""Readers of `/ws/chat` that never give up: they ask, lose their socket, and resume on another socket after the last
seq that they received.

They rely only on docs/streams.md.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from responsa_server.transports.ws.html import of_markdown
from tests.faults.askers import Ask, answer_to
from tests.faults.golden import Differs
from tests.faults.readers import PASSING, PATIENCE, Unserved

Json = dict[str, Any]
GONE_ELSEWHERE = 1012
MOST_REPLAYS = 16
"""The close code of a server that is shutting down."""


@dataclass
class SocketSeen:
    """The results of a reader. frames: the turn's frames in order, without repetitions. doubled: the number of frames
    whose seq did not increase."""

    text: str
    request_id: str = field(default_factory=lambda: str(uuid4()))
    turn: str = ""
    seq: int = 0
    frames: list[Json] = field(default_factory=list[Json])
    doubled: int = 0
    cuts: int = 0
    reconnects: int = 0
    reasons: list[str] = field(default_factory=list[str])
    gaps: list[float] = field(default_factory=list[float])
    _cut_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the last frame of the turn has arrived."""
        return bool(self.frames) and _is_last(self.frames[-1])

    @property
    def outcome(self) -> str:
        """How the turn ended: `answer`, `error`, or another outcome that the last message names."""
        last = self.frames[-1]
        return "error" if last["type"] == "error" else last["metadata"].get("outcome", "answer")

    def take(self, frame: Json) -> None:
        """Add a frame to the results. Raises Unserved."""
        if frame["type"] == "heartbeat":
            return
        if frame["type"] == "error" and "seq" not in frame:
            reason = next((one["reason"] for one in frame["status"]["details"] if "reason" in one), "")
            self.reasons.append(f"{reason}: {frame['message']}")
            if reason not in PASSING:
                raise Unserved(f"{self.turn or 'asking'} after {self.seq}: {reason} {frame['message']}")
            return
        self.turn = self.turn or frame["turn"]
        assert frame["turn"] == self.turn, "a frame of another turn"
        if frame["seq"] <= self.seq:
            self.doubled += 1
            return
        self.seq = frame["seq"]
        self.frames.append(frame)
        if self._cut_at is not None:
            self.gaps.append(time.monotonic() - self._cut_at)
            self._cut_at = None

    def was_cut(self) -> None:
        """Record that the socket closed before the turn ended."""
        self.cuts += 1
        self._cut_at = self._cut_at or time.monotonic()

    def request(self) -> Json:
        """The next message to send: the question, or a request to resume."""
        if self.turn:
            return {"type": "resume", "turn": self.turn, "after_seq": self.seq, "deltas": True}
        return {"content": self.text, "agent": "testing", "request_id": self.request_id, "deltas": True}

    def plain(self) -> Sequence[Json]:
        """The frames without their seqs and with joined deltas, because the server joins pieces that wait to be sent."""
        result: list[Json] = []
        for frame in self.frames:
            bare = {name: value for name, value in frame.items() if name != "seq"}
            if bare["type"] == "delta" and result and result[-1]["type"] == "delta":
                result[-1]["text"] += bare["text"]
            else:
                result.append(bare)
        return result

    def markdown(self) -> str:
        """The text of the deltas that were not withdrawn."""
        text = b""
        for frame in self.frames:
            if frame["type"] == "restarted":
                text = text[: frame["keep_bytes"]]
            elif frame["type"] == "delta":
                text += frame["text"].encode()
        return text.decode()

    def check(self) -> None:
        """Compare the frames with the question's script. Raises Differs."""
        wanted = answer_to(self.text)
        if self.doubled:
            raise Differs(f"{self.turn}: {self.doubled} frames came twice")
        if self.outcome != "answer":
            raise Differs(f"{self.turn} ended with {self.frames[-1]}")
        if self.markdown() != wanted:
            raise Differs(f"{self.turn}: the deltas are {self.markdown()[:60]!r}…, not {wanted[:60]!r}…")
        if self.frames[-1]["content"] != of_markdown(wanted):
            raise Differs(f"{self.turn}: the answer is {self.frames[-1]['content'][:60]!r}…")


def _is_last(frame: Json) -> bool:
    return frame["type"] in ("message", "error")


async def follow_on_sockets(
    target: str,
    key: str,
    seen: SocketSeen,
    *,
    until: Callable[[SocketSeen], bool] = lambda seen: seen.ended,
) -> SocketSeen:
    """Ask the question or resume its turn, over as many sockets as necessary, until the turn has ended. target: the
    host and port. Raises Unserved."""
    moved = time.monotonic()
    while not until(seen):
        before = seen.seq
        try:
            async with connect(
                f"ws://{target}/ws/chat",
                subprotocols=["responsa.v1", f"bearer.{key}"],
                proxy=None,
                open_timeout=PATIENCE,
                close_timeout=1,
                max_size=None,
            ) as socket:
                await _read(socket, seen, until)
        except TimeoutError:
            raise Unserved(f"{seen.turn or 'asking'} after {seen.seq}: silence") from None
        except (WebSocketException, OSError, EOFError) as error:
            code = getattr(getattr(error, "rcvd", None), "code", None)
            seen.reconnects += code == GONE_ELSEWHERE
            seen.reasons.append(f"{type(error).__name__} {code or ''}")
        if until(seen):
            return seen
        seen.was_cut()
        if seen.seq > before:
            moved = time.monotonic()
        else:
            # No new frame arrived, so the server may be down. Wait before the next try.
            await asyncio.sleep(0.02)
        if time.monotonic() - moved > PATIENCE:
            raise Unserved(f"{seen.turn or 'asking'}: nothing after {seen.seq} for {PATIENCE:g} s")
    return seen


async def _read(socket: ClientConnection, seen: SocketSeen, until: Callable[[SocketSeen], bool]) -> None:
    await socket.send(json.dumps(seen.request()))
    while not until(seen):
        async with asyncio.timeout(PATIENCE):
            frame = json.loads(await socket.recv())
        seen.take(frame)
        if frame["type"] == "error" and "seq" not in frame:
            return


async def keep_asking_on_sockets(
    target: str,
    key: str,
    ask: Ask,
    dice: random.Random,
    seen: list[SocketSeen],
    enough: Callable[[], bool],
) -> None:
    """Ask one question after another, follow each to its end, and append them to `seen`."""
    while not enough():
        reader = SocketSeen(ask(dice))
        seen.append(reader)
        await follow_on_sockets(target, key, reader)


async def as_golden_on_sockets(target: str, key: str, seen: Sequence[SocketSeen]) -> None:
    """Compare the frames from many sockets with the question's script, and with the frames from one socket that replays
    the whole turn. Raises Differs."""
    # Behind Envoy, a socket takes a second to close.
    room = asyncio.Semaphore(MOST_REPLAYS)

    async def compare(reader: SocketSeen) -> None:
        reader.check()
        whole = SocketSeen(reader.text, reader.request_id, reader.turn)
        async with room:
            await follow_on_sockets(target, key, whole)
        if whole.cuts or whole.plain() != reader.plain():
            raise Differs(f"{reader.turn}: many sockets gave {reader.plain()}, one gave {whole.plain()}")

    await asyncio.gather(*map(compare, seen))
