"""Carries hints between processes over Redis pub/sub. Redis does not store hints. Without Redis, a process reads the
log instead, at most half a second later.

A committed row in a hint goes to readers without another look at the log. Redis may be shared with other programs, so
every message carries a code that only holders of the installation's secret can make; messages with another code are
dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import random
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, assert_never, cast
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.relay import Committed, EpochAdvanced, Hint, Interest, Reload, Work
from responsa_server.domain.turns import LogRow
from responsa_server.stores.redis import PATIENCE, redis_client, refusal_of

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
# The maximum number of waiting hints. Beyond it the oldest hints are dropped, because readers need the newest hints
# most.
_MOST_WAITING: Final = 2048
_MOST_WAITING_BYTES: Final = 4 * 1024 * 1024
_A_ROUND: Final = 256
# After this many seconds of silence, a ping checks the connection to Redis.
_CHECK_SECONDS: Final = 2.0
# A round of hints may need a connection and replies, each within PATIENCE.
_ROUND_SECONDS: Final = 2 * PATIENCE
# Nobody waits for the replies to a subscription or a ping, so a short pause need not end the connection.
_SUBSCRIBER_SECONDS: Final = 4 * PATIENCE

# An encoded hint consists of a letter, the sender and the hint's fields. A row is (first, last, deltas, length), followed
# by the bytes of its frame. Numbers are big-endian.
_HEAD: Final = struct.Struct(">c16s")
_COMMITTED: Final = struct.Struct(">16s?H")
_ROW: Final = struct.Struct(">qq?I")
_EPOCH_ADVANCED: Final = struct.Struct(">16sq")
_UUID_BYTES: Final = 16
_CODE_BYTES: Final = 16


def encode(sender: UUID, hint: Hint) -> bytes:
    """Encode a hint as a message. The message begins with a letter for the hint's kind and the 16 bytes of the sender's id."""
    match hint:
        case Committed(turn_id=turn_id, rows=rows, ended=ended):
            parts = [_HEAD.pack(b"c", sender.bytes), _COMMITTED.pack(turn_id.bytes, ended, len(rows))]
            for row in rows:
                parts.append(_ROW.pack(row.first_seq, row.last_seq, row.deltas, len(row.frame)))
                parts.append(row.frame)
            return b"".join(parts)
        case Interest(process=process, turn_ids=turn_ids):
            ids = b"".join(id_.bytes for id_ in turn_ids)
            return _HEAD.pack(b"i", sender.bytes) + process.bytes + ids
        case EpochAdvanced(turn_id=turn_id, epoch=epoch):
            return _HEAD.pack(b"t", sender.bytes) + _EPOCH_ADVANCED.pack(turn_id.bytes, epoch)
        case Work():
            return _HEAD.pack(b"w", sender.bytes)
        case Reload():
            return _HEAD.pack(b"r", sender.bytes)
        case _:
            assert_never(hint)


def decode(message: bytes) -> tuple[UUID, Hint] | None:
    """Decode a message to its sender and its hint. Returns None for a hint that this release does not know."""
    try:
        kind, sender = _HEAD.unpack_from(message)
        hint = _decode(kind, message, _HEAD.size)
    except (struct.error, ValueError):
        return None
    return None if hint is None else (UUID(bytes=sender), hint)


def _decode(kind: bytes, message: bytes, at: int) -> Hint | None:
    if kind == b"c":
        turn, ended, count = _COMMITTED.unpack_from(message, at)
        at += _COMMITTED.size
        rows: list[LogRow] = []
        for _ in range(count):
            first, last, deltas, length = _ROW.unpack_from(message, at)
            at += _ROW.size
            frame = message[at : at + length]
            if len(frame) != length:
                return None
            rows.append(LogRow(first, last, deltas, frame))
            at += length
        return Committed(UUID(bytes=turn), rows, ended)
    if kind == b"i":
        ids = [
            UUID(bytes=message[first : first + _UUID_BYTES]) for first in range(at, len(message), _UUID_BYTES)
        ]
        return Interest(ids[0], ids[1:]) if ids else None
    if kind == b"t":
        turn, epoch = _EPOCH_ADVANCED.unpack_from(message, at)
        return EpochAdvanced(UUID(bytes=turn), epoch)
    if kind == b"r":
        return Reload()
    return Work() if kind == b"w" else None


class RedisRelay:
    """Implements `domain.relay.Relay`. Each process has a channel, and one channel reaches all processes. Channel names
    get a prefix, because other programs may share the Redis server.

    Redis may be absent, stopped, flushed or restarted at any time. While it is unavailable, hints are dropped.
    Afterwards, sending and receiving recover by themselves.
    """

    def __init__(self, url: str, key: bytes) -> None:
        """key: authenticates messages, up to 64 bytes; all processes on one database have the same."""
        self._url = url
        self._key = key
        self._log: FilteringBoundLogger = structlog.get_logger("responsa.relay")
        self._process: UUID | None = None
        self._heard: Callable[[Hint], None] | None = None
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._listening = asyncio.Event()
        self._resume = 0.0
        self._told_away = False
        self._pinged = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def listening(self) -> asyncio.Event:
        """An event that is set while this process receives hints, as far as the process knows."""
        return self._listening

    @property
    def away(self) -> bool:
        return not self._listening.is_set() or time.monotonic() < self._resume

    async def start(self, process: UUID, heard: Callable[[Hint], None]) -> None:
        self._process = process
        self._heard = heard
        self._tasks = [
            asyncio.create_task(self._listen(process), name="relay-listens"),
            asyncio.create_task(self._send(), name="relay-sends"),
        ]

    def tell(self, process: UUID, hint: Hint) -> None:
        self._put(self._channel(process), hint)

    def tell_all(self, hint: Hint) -> None:
        self._put(self._channel(None), hint)

    async def close(self) -> None:
        """See `Relay.close`. Waiting hints are sent first, if that is quick."""
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._idle.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def _channel(self, process: UUID | None) -> str:
        return f"responsa:turns:{'all' if process is None else process}"

    def _put(self, channel: str, hint: Hint) -> None:
        if self._process is None or time.monotonic() < self._resume:
            return
        encoded = encode(self._process, hint)
        message = self._code(channel.encode(), encoded) + encoded
        self._waiting.append((channel, message))
        self._waiting_bytes += len(message)
        while len(self._waiting) > _MOST_WAITING or self._waiting_bytes > _MOST_WAITING_BYTES:
            self._waiting_bytes -= len(self._waiting.popleft()[1])
        self._arrived.set()
        self._idle.clear()

    def _code(self, channel: bytes, encoded: bytes) -> bytes:
        """The code of a message on a channel. A message that is copied to another channel is refused, too. One that is
        sent to its own channel again is taken like a late one: known rows and older epochs change nothing; at worst, a
        circuit opens again.
        """
        return hashlib.blake2b(channel + b"\x00" + encoded, digest_size=_CODE_BYTES, key=self._key).digest()

    def _check(self, channel: object, message: bytes) -> bytes:
        """The encoded hint; nothing if the code is wrong."""
        code, encoded = message[:_CODE_BYTES], message[_CODE_BYTES:]
        good = isinstance(channel, bytes) and hmac.compare_digest(code, self._code(channel, encoded))
        return encoded if good else b""

    async def _send(self) -> None:
        pause = _FIRST_PAUSE
        client = redis_client(self._url, PATIENCE)
        try:
            while True:
                await self._arrived.wait()
                try:
                    async with asyncio.timeout(_ROUND_SECONDS):
                        await self._send_round(client)
                    pause = _FIRST_PAUSE
                # Catch any error, because losing a hint is better than losing the sender.
                except Exception as error:
                    if not isinstance(error, (RedisError, OSError, TimeoutError)):
                        self._log.exception("relay_not_sent")
                    # Drop all messages while Redis is unavailable, because followers then read the rows from the log.
                    self._waiting.clear()
                    self._waiting_bytes = 0
                    self._resume = time.monotonic() + pause
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                if not self._waiting:
                    self._arrived.clear()
                    self._idle.set()
        finally:
            await _await_closing(client.aclose())

    async def _send_round(self, client: Redis) -> None:
        if not self._waiting:
            return
        async with client.pipeline(transaction=False) as pipeline:
            for _ in range(min(len(self._waiting), _A_ROUND)):
                channel, message = self._waiting.popleft()
                self._waiting_bytes -= len(message)
                pipeline.publish(channel, message)  # pyright: ignore[reportUnknownMemberType]  # its extra arguments
            await pipeline.execute()

    async def _listen(self, process: UUID) -> None:
        pause = _FIRST_PAUSE
        while True:
            client = redis_client(self._url, None)
            self._pinged = False
            pubsub = client.pubsub()  # pyright: ignore[reportUnknownMemberType]  # its extra arguments
            try:
                async with asyncio.timeout(_SUBSCRIBER_SECONDS):
                    await pubsub.subscribe(self._channel(None), self._channel(process))
                while True:
                    await self._hear_next(pubsub, process)
                    if self._listening.is_set():
                        pause = _FIRST_PAUSE
            except (RedisError, OSError, TimeoutError) as error:
                self._listening.clear()
                if not self._told_away:
                    self._told_away = True
                    self._log.warning("relay_away", reason=refusal_of(error) or type(error).__name__)
            except Exception:  # losing hints is better than losing the listener; followers read the log
                self._listening.clear()
                self._log.exception("relay_failed")
            finally:
                await _await_closing(pubsub.aclose())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  # untyped there
                await _await_closing(client.aclose())
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads processes
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _hear_next(self, pubsub: PubSub, process: UUID) -> None:
        message = cast("dict[str, object] | None", await pubsub.get_message(timeout=_CHECK_SECONDS))
        if message is None:
            if self._pinged:
                raise TimeoutError("Redis has not answered the last ping")
            self._pinged = True
            async with asyncio.timeout(_SUBSCRIBER_SECONDS):
                await pubsub.ping()  # pyright: ignore[reportUnknownMemberType]  # untyped there
            return
        self._pinged = False
        data = message["data"]
        if message["type"] == "subscribe":
            if message["channel"] == self._channel(process).encode():
                self._listening.set()
                if self._told_away:
                    self._told_away = False
                    self._log.info("relay_back")
        elif message["type"] == "message" and isinstance(data, bytes):
            decoded = decode(self._check(message["channel"], data))
            if decoded is not None and decoded[0] != process and self._heard is not None:
                self._heard(decoded[1])


async def _await_closing(closing: Awaitable[object]) -> None:
    with contextlib.suppress(RedisError, OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await closing
