"""Hints over a real Redis that may stop and restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from responsa_local.embedded import EmbeddedRedis, LocalLayout, purge
from responsa_server.domain.parts import Health
from responsa_server.domain.relay import Committed, EpochAdvanced, Hint, Interest, Reload, Work
from responsa_server.domain.turns import LogRow
from responsa_server.stores import redis_relay
from responsa_server.stores.redis import RedisPart
from responsa_server.stores.redis_relay import RedisRelay, decode, encode
from tests.contract.turn_harness import RELAY_KEY

SEQS = st.integers(1, 2**62)
ROWS = st.builds(LogRow, SEQS, SEQS, st.booleans(), st.binary(max_size=300))
HINTS = st.one_of(
    st.builds(Committed, st.uuids(), st.lists(ROWS, max_size=5), st.booleans()),
    st.builds(Interest, st.uuids(), st.lists(st.uuids(), max_size=5)),
    st.builds(EpochAdvanced, st.uuids(), SEQS),
    st.just(Work()),
    st.just(Reload()),
)


@given(st.uuids(), HINTS)
def test_a_hint_is_what_it_was_after_its_way(sender: UUID, hint: Hint) -> None:
    assert decode(encode(sender, hint)) == (sender, hint)


@given(st.binary(max_size=100), st.sampled_from([b"", b"c", b"i", b"t", b"w", b"r", b"?"]))
def test_what_nobody_understands_is_passed_over(noise: bytes, kind: bytes) -> None:
    decode(kind + noise)  # must not raise an error
    assert decode(b"?" + bytes(16)) is None


@given(st.uuids(), HINTS, st.data())
def test_a_part_of_a_message_is_no_other_message(sender: UUID, hint: Hint, data: st.DataObject) -> None:
    message = encode(sender, hint)
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    understood = decode(cut)
    # The encoding of a list of turns does not contain the length of the list, so a shortened list is also valid.
    assert understood is None or isinstance(understood[1], Interest)


class Ear:
    """A process that listens for hints, and the hints that it has received."""

    def __init__(self, url: str, key: bytes = RELAY_KEY) -> None:
        self.relay = RedisRelay(url, key)
        self.process = uuid7()
        self.heard: list[Hint] = []
        self._news = asyncio.Event()

    def hear(self, hint: Hint) -> None:
        self.heard.append(hint)
        self._news.set()

    async def until(self, hint: Hint) -> None:
        while hint not in self.heard:
            self._news.clear()
            await self._news.wait()


@asynccontextmanager
async def ears(url: str, *, heard: bool = True) -> AsyncGenerator[tuple[Ear, Ear]]:
    pair = (Ear(url), Ear(url))
    for relay in pair:
        await relay.relay.start(relay.process, relay.hear)
        if heard:
            await relay.relay.listening.wait()
    try:
        yield pair
    finally:
        for relay in pair:
            await relay.relay.close()


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    """A Redis for this test only. It is not started yet."""
    layout = LocalLayout.of(tmp_path / "home").prepare()
    part = EmbeddedRedis(layout)
    yield part
    await asyncio.to_thread(part.stop)
    purge(layout)


async def test_one_hears_what_is_sent_to_it_or_to_all_and_nobody_hears_himself(redis_url: str) -> None:
    async with ears(redis_url) as (ann, bob):
        row = LogRow(3, 4, True, b"\x00frame")
        committed = Committed(uuid7(), [row], ended=True)
        ann.relay.tell(bob.process, committed)
        ann.relay.tell_all(EpochAdvanced(committed.turn_id, 7))
        ann.relay.tell(uuid7(), Work())
        bob.relay.tell_all(Work())
        await bob.until(EpochAdvanced(committed.turn_id, 7))
        await ann.until(Work())
        assert bob.heard == [committed, EpochAdvanced(committed.turn_id, 7)]
        assert ann.heard == [Work()]


async def test_it_works_without_redis_and_from_when_it_comes(own_redis: EmbeddedRedis) -> None:
    async with ears(own_redis.url, heard=False) as (ann, bob):
        for _ in range(5000):  # no call waits, raises an error or makes a queue grow
            ann.relay.tell_all(Work())
        await asyncio.to_thread(own_redis.start)
        await ann.relay.listening.wait()
        await bob.relay.listening.wait()
        await told_until_heard(ann, bob)


async def told_until_heard(speaker: Ear, listener: Ear) -> None:
    """Send hints until one arrives. Hints that are sent while Redis is unavailable are lost by design."""
    turn_id = uuid7()
    hearing = asyncio.create_task(listener.until(EpochAdvanced(turn_id, 1)))
    while not hearing.done():
        speaker.relay.tell_all(EpochAdvanced(turn_id, 1))
        await asyncio.wait({hearing}, timeout=0.02)


async def test_it_comes_back_after_a_flush_and_a_restart(own_redis: EmbeddedRedis) -> None:
    await asyncio.to_thread(own_redis.start)
    async with ears(own_redis.url) as (ann, bob):
        await told_until_heard(ann, bob)
        client = Redis.from_url(own_redis.url)
        await cast("Awaitable[object]", client.flushall())
        await client.aclose()
        await told_until_heard(ann, bob)
        for _ in range(2):
            await asyncio.to_thread(own_redis.stop)
            ann.relay.tell_all(Work())
            await asyncio.to_thread(own_redis.start)
            await told_until_heard(ann, bob)
            await told_until_heard(bob, ann)


class Stumbles(RedisRelay):
    """A relay that raises an unexpected error when it sends the next round of hints."""

    stumbles = True

    async def _send_round(self, client: Redis) -> None:
        if self.stumbles:
            self.stumbles = False
            raise RuntimeError("unforeseen")
        await super()._send_round(client)


async def test_what_nobody_foresaw_does_not_end_the_sending(redis_url: str) -> None:
    async with ears(redis_url) as (_, bob):
        ann = Ear(redis_url)
        ann.relay = Stumbles(redis_url, RELAY_KEY)
        await ann.relay.start(ann.process, ann.hear)
        with capture_logs() as logs:
            await told_until_heard(ann, bob)
        await ann.relay.close()
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["relay_not_sent"]


class Mute:
    """A proxy between a process and Redis. When muted, it holds back everything that Redis sends but closes no connection."""

    def __init__(self, redis_url: str) -> None:
        self._redis = urlsplit(redis_url)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.silent = False

    async def start(self, path: Path) -> str:
        self._server = await asyncio.start_unix_server(self._connected, path)
        return self._redis._replace(path=str(path)).geturl()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_unix_connection(self._redis.path)
        for source, target, muted in ((reader, to_redis, False), (from_redis, writer, True)):
            task = asyncio.create_task(self._pass_on(source, target, muted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, muted: bool) -> None:
        try:
            while piece := await source.read(65_536):
                if not (muted and self.silent):
                    target.write(piece)
                    await target.drain()
        finally:
            target.close()


async def test_a_redis_that_says_nothing_any_more_is_known_to_be_away_and_found_again(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_relay, "_CHECK_SECONDS", 0.1)
    mute = Mute(redis_url)
    # The path of a socket must be short.
    with TemporaryDirectory() as folder:
        relay = RedisRelay(await mute.start(Path(folder) / "redis.sock"), RELAY_KEY)
        with capture_logs() as logs:
            await relay.start(uuid7(), lambda _: None)
            await relay.listening.wait()
            mute.silent = True
            async with asyncio.timeout(60):
                while relay.listening.is_set():  # noqa: ASYNC110  no event reports that the relay stops listening
                    await asyncio.sleep(0)
            mute.silent = False
            await relay.listening.wait()
        await relay.close()
        await mute.close()
    assert [log["event"] for log in logs] == ["relay_away", "relay_back"]


async def test_a_redis_that_refuses_the_password_is_reported_with_its_reason(redis_url: str) -> None:
    password = urlsplit(redis_url).password
    assert password
    wrong = redis_url.replace(password, "not-the-password")
    report = await RedisPart(wrong).check()
    assert report.health is Health.DEGRADED
    assert "invalid username-password pair" in report.detail
    assert "REDIS_URL" in report.detail
    relay = RedisRelay(wrong, RELAY_KEY)
    with capture_logs() as logs:
        await relay.start(uuid7(), lambda _: None)
        async with asyncio.timeout(60):
            while not logs:  # noqa: ASYNC110  no event reports that the relay has logged
                await asyncio.sleep(0)
        await relay.close()
    assert (logs[0]["event"], "invalid username-password pair" in logs[0]["reason"]) == ("relay_away", True)
    assert "not-the-password" not in f"{report}{logs}"


async def test_a_redis_that_does_not_answer_is_reported_as_unreachable(tmp_path: Path) -> None:
    report = await RedisPart(f"unix://:not-the-password@{tmp_path}/none").check()
    assert report.health is Health.DEGRADED
    assert report.detail.startswith("Redis cannot be reached")


async def test_messages_of_other_programs_on_the_same_redis_are_dropped(redis_url: str) -> None:
    forged = EpochAdvanced(uuid7(), 7)
    async with ears(redis_url) as (ann, bob):
        stranger = Ear(redis_url, b"another installation")
        await stranger.relay.start(stranger.process, stranger.hear)
        await stranger.relay.listening.wait()
        client: Any = Redis.from_url(redis_url)
        async with client.pubsub() as spy:
            await spy.subscribe(f"responsa:turns:{ann.process}")
            bob.relay.tell(ann.process, Work())
            await ann.until(Work())
            while (message := await spy.get_message(timeout=5)) is not None and message["type"] != "message":
                pass
            assert message is not None
            genuine = cast("bytes", message["data"])
        altered = bytes([*genuine[:-1], genuine[-1] ^ 1])
        # Without a code, with an altered or foreign content, with another installation's key, and copied to another channel.
        plain = encode(uuid7(), forged)
        for channel, sent in (
            (ann.process, plain),
            (ann.process, bytes(16) + plain),
            (ann.process, genuine[:16] + plain),
            (ann.process, altered),
            (ann.process, b""),
            ("all", genuine),
        ):
            await client.publish(f"responsa:turns:{channel}", sent)
        stranger.relay.tell_all(forged)
        stranger.relay.tell(ann.process, forged)
        await stranger.relay.close()
        await client.aclose()
        bob.relay.tell(ann.process, Reload())
        await ann.until(Reload())
        assert ann.heard == [Work(), Reload()]
        assert bob.heard == []
