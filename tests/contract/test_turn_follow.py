"""Followers receive the whole log and each event once, wherever the turn runs and whichever connections are lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

import pytest

from responsa_server.domain.agents import Barrier
from responsa_server.domain.errors import InvalidRequest, NotFound, Reason
from responsa_server.domain.events import Delta
from responsa_server.domain.turns import Backlog, Followed, Heartbeat, LogRow, Snapshot, TurnState
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.redis_relay import RedisRelay
from tests.contract.people import People
from tests.contract.turn_harness import (
    IDLE,
    NO_REDIS,
    QUICK,
    RELAY_KEY,
    RIVER,
    SEARCHING,
    Line,
    Script,
    Services,
    answer,
    follow_all,
    followed,
    seen,
)
from tests.contract.turn_partition import Link
from tests.plain_codec import events_of
from tests.raising import raises

# The interval is longer than any test, so that polling the log finds nothing, and all news arrives as hints through Redis.
NEVER_POLLS = replace(QUICK, poll_seconds=3600.0)


def stepwise(count: int) -> tuple[list[asyncio.Event], list[Line]]:
    """The pieces of an answer, and one gate for each piece. A piece waits until its gate opens."""
    gates = [asyncio.Event() for _ in range(count)]
    lines: list[Line] = [SEARCHING]
    for place, gate in enumerate(gates):
        lines.extend([Delta("ab", 2 * place), gate])
    return gates, [*lines, answer("ab" * count)]


@pytest.mark.parametrize("with_redis", [True, False])
async def test_two_processes_show_the_same_stream_whenever_one_comes(
    database: Database, redis_url: str, people: People, with_redis: bool
) -> None:
    services = Services(database, redis_url if with_redis else NO_REDIS)
    gates, lines = stepwise(10)
    async with services.turns(Script(lines), QUICK) as turns, services.turns(options=IDLE) as other:
        accepted = await turns.accept(people.ann, RIVER, None)
        followers: list[asyncio.Task[list[LogRow]]] = []
        chance = random.Random(7)
        for gate in gates:
            for place in (turns, other):
                followers.append(asyncio.create_task(followed(place, people.ann, accepted.turn_id)))
            for _ in range(chance.randrange(8)):
                await asyncio.sleep(0)
            gate.set()
        assert (await other.wait(people.ann, accepted.turn_id)).state is TurnState.ANSWERED
        seen = await asyncio.gather(*followers)
        log = await followed(turns, people.ann, accepted.turn_id)
        assert all(rows == log for rows in seen)
        text = "".join(event["text"] for event in events_of(log) if event["kind"] == "delta")
        assert text == "ab" * len(gates)
        for after in range(1, log[-1].last_seq):
            expected = [row for row in log if row.last_seq > after]
            assert await followed(other, people.ann, accepted.turn_id, after) == expected


async def test_redis_alone_carries_a_turn_from_its_first_event_to_its_last(
    database: Database, redis_url: str, people: People
) -> None:
    services = Services(database, redis_url)
    gates, lines = stepwise(5)
    script = Script(lines)
    rpc_only = replace(NEVER_POLLS, works=False)
    async with (
        services.turns(options=rpc_only) as accepting,
        services.turns(script, replace(NEVER_POLLS, sweep_seconds=3600)),
    ):
        accepted = await accepting.accept(people.ann, RIVER, None)
        assert accepted.state is TurnState.PENDING
        rows: list[LogRow] = []
        waiting = list(gates)
        async with aclosing(accepting.follow(people.ann, accepted.turn_id)) as news:
            async for one in news:
                assert isinstance(one, LogRow) or one == Heartbeat(0)
                if isinstance(one, LogRow):
                    rows.append(one)
                    if waiting and any(event["kind"] == "delta" for event in events_of([one])):
                        waiting.pop(0).set()  # only after the follower has received the previous piece
        events = events_of(rows)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert "".join(event["text"] for event in events if event["kind"] == "delta") == "ab" * 5


async def test_what_is_committed_while_a_reader_reads_the_log_is_not_missed(services: Services) -> None:
    gates, lines = stepwise(3)
    link = Link()
    async with (
        services.turns(Script(lines), QUICK) as turns,
        services.turns(options=IDLE, store=link.on) as other,
    ):
        accepted = await turns.accept(services.ann, RIVER, None)
        link.held = asyncio.Event()
        following = asyncio.create_task(followed(other, services.ann, accepted.turn_id))
        await link.reading.wait()  # this read has an old snapshot, and the result is held back
        for gate in gates:
            gate.set()
        await turns.wait(services.ann, accepted.turn_id)
        link.held.set()
        link.held = None
        assert await following == await followed(turns, services.ann, accepted.turn_id)


async def test_all_followers_of_a_process_share_one_question_to_the_log(services: Services) -> None:
    gates = [asyncio.Event() for _ in range(3)]
    script = Script([SEARCHING, *gates, answer()])
    link = Link()
    async with services.turns(script, QUICK) as turns, services.turns(options=IDLE, store=link.on) as other:
        accepted = [await turns.accept(services.ann, RIVER, None) for _ in range(3)]
        await asyncio.gather(*(seen(turns, services.ann, one.turn_id, 2) for one in accepted))
        following = [
            asyncio.create_task(followed(other, services.ann, one.turn_id))
            for one in accepted
            for _ in range(8)
        ]
        # A follower that is still reading while the log grows may read it once more, because another follower has read more of it.
        while link.backlogs_read < len(following) or not link.polls or len(link.polls[-1]) < 3:  # noqa: ASYNC110  only the store shows this
            await asyncio.sleep(0)
        assert all(len({cursor.turn_id for cursor in cursors}) == len(cursors) <= 3 for cursors in link.polls)
        read = link.backlogs
        for gate in gates:
            gate.set()
        await asyncio.gather(*following)
        # Each follower read the log once, at the beginning. After that, one query read the log for all followers.
        assert read == link.backlogs == len(following)


async def test_a_reader_that_left_too_much_lying_reads_the_log(services: Services) -> None:
    # The agent begins when there is a reader, who would otherwise find the rows in the log at once.
    link, gate = Link(), asyncio.Event()
    lines: list[Line] = [gate]
    for place in range(200):
        lines.extend([SEARCHING, Delta("x" * 100, 100 * place)])
    async with services.turns(Script([*lines, Barrier(), answer()]), QUICK, store=link.on) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        async with aclosing(turns.follow(services.ann, accepted.turn_id)) as news:
            rows: list[Any] = [await anext(news)]
            gate.set()
            await turns.wait(services.ann, accepted.turn_id)
            before = link.backlogs
            rows.extend([one async for one in news])
        assert link.backlogs > before
        assert rows == await followed(turns, services.ann, accepted.turn_id)
        events = events_of(rows)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


async def test_a_cursor_is_checked_on_every_process(services: Services) -> None:
    gate = asyncio.Event()
    async with (
        services.turns(Script([gate, answer()]), QUICK) as turns,
        services.turns(options=IDLE) as other,
    ):
        accepted = await turns.accept(services.ann, RIVER, None)
        for place in (turns, other):
            caught = await raises(InvalidRequest, followed(place, services.ann, accepted.turn_id, 5))
            assert caught.reason is Reason.AFTER_SEQ_BEYOND_END
            for who in (services.bob, services.eve):
                await raises(NotFound, followed(place, who, accepted.turn_id))
                await raises(NotFound, place.wait(who, accepted.turn_id))
        gate.set()
        await turns.wait(services.ann, accepted.turn_id)


async def test_when_the_log_was_pruned_its_end_stands_for_it(services: Services) -> None:
    async with services.turns(Script([SEARCHING, Delta("It is.", 0), answer()]), QUICK) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        turn = await turns.wait(services.ann, accepted.turn_id)
        services.urls.ask("TRUNCATE responsa.turn_event")
        for after in (0, 2):
            (only,) = await follow_all(turns, services.ann, accepted.turn_id, after)
            assert only == Snapshot(turn.last_seq, turn.terminal or b"")
        assert await follow_all(turns, services.ann, accepted.turn_id, turn.last_seq) == []


async def test_a_turn_that_is_taken_from_its_process_is_followed_by_the_log(
    database: Database, redis_url: str, people: People
) -> None:
    services = Services(database, redis_url)
    gate = asyncio.Event()
    first = Script([SEARCHING, asyncio.Event()])
    second = Script([SEARCHING, gate, answer()])
    link = Link()
    async with services.turns(first, NEVER_POLLS, store=link.on) as old:
        accepted = await old.accept(people.ann, RIVER, None)
        following = asyncio.create_task(followed(old, people.ann, accepted.turn_id))
        await first.waiting.wait()
        await link.sever()
        await services.expire(accepted.turn_id)
        async with services.turns(second, NEVER_POLLS) as new:
            await second.waiting.wait()
            await first.closed.wait()  # the hint came through Redis; the worker's store is still unavailable
            link.cut = False
            gate.set()
            await new.wait(people.ann, accepted.turn_id)
            assert await following == await followed(new, people.ann, accepted.turn_id)


async def test_one_process_alone_tells_nobody(database: Database, redis_url: str, people: People) -> None:
    relay = Counted(redis_url, RELAY_KEY)
    services = Services(database, redis_url)
    async with services.turns(Script(), QUICK, relay=relay) as turns:
        accepted = await turns.accept(people.ann, RIVER, None)
        await followed(turns, people.ann, accepted.turn_id)
    assert relay.told == 0


class Counted(RedisRelay):
    """A relay that counts the messages passed to it."""

    told = 0

    def _put(self, channel: str, hint: Any) -> None:
        self.told += 1
        super()._put(channel, hint)


async def test_who_follows_a_turn_that_is_deleted_is_told(services: Services) -> None:
    gate = asyncio.Event()
    script = Script([SEARCHING, gate, answer()])
    link = Link()
    async with services.turns(script, QUICK) as turns, services.turns(options=IDLE, store=link.on) as other:
        accepted = await turns.accept(services.ann, RIVER, None)
        following = asyncio.create_task(followed(other, services.ann, accepted.turn_id))
        waiting = asyncio.create_task(other.wait(services.ann, accepted.turn_id))
        while not link.polls:  # noqa: ASYNC110  only the store shows this
            await asyncio.sleep(0)
        await link.sever()  # the process does not learn of the end
        gate.set()
        await turns.wait(services.ann, accepted.turn_id)
        await services.conversations.delete(services.ann, accepted.conversation_id, "")
        link.cut = False
        for one in (following, waiting):
            await raises(NotFound, one)


async def row_of(news: AsyncGenerator[Followed, None]) -> LogRow:
    one = await anext(news)
    assert isinstance(one, LogRow)
    return one


async def test_of_two_readers_the_one_with_the_older_picture_reads_on(services: Services) -> None:
    gate, end = asyncio.Event(), asyncio.Event()
    script = Script([SEARCHING, gate, Delta("It ", 0), end, answer("It ")])
    link = Link()
    async with services.turns(script, QUICK) as turns, services.turns(options=IDLE, store=link.on) as other:
        accepted = await turns.accept(services.ann, RIVER, None)
        near, old, new = (place.follow(services.ann, accepted.turn_id) for place in (turns, other, other))
        async with aclosing(near), aclosing(old), aclosing(new):
            assert [(await row_of(near)).last_seq for _ in range(2)] == [1, 2]
            hold = link.held = asyncio.Event()
            begun = asyncio.create_task(row_of(old))
            await link.reading.wait()  # the snapshot of this read ends at seq 2, and the result is held back
            link.held = None
            gate.set()
            assert (await row_of(near)).last_seq == 3
            assert [(await row_of(new)).last_seq for _ in range(3)] == [1, 2, 3]
            hold.set()
            assert (await begun).last_seq == 1
            # There is no further commit that would make the follower read the log.
            async with asyncio.timeout(60):
                assert [(await row_of(old)).last_seq for _ in range(2)] == [2, 3]
            end.set()
            await turns.wait(services.ann, accepted.turn_id)


async def test_a_stream_that_waits_holds_nothing_of_what_it_has_read(services: Services) -> None:
    script = Script([SEARCHING, asyncio.Event()])
    async with services.turns(script, QUICK) as turns, services.turns(options=IDLE) as other:
        accepted = await turns.accept(services.ann, RIVER, None)
        await script.waiting.wait()
        async with aclosing(other.follow(services.ann, accepted.turn_id)) as news:
            assert [(await row_of(news)).last_seq for _ in range(2)] == [1, 2]
            more = asyncio.create_task(row_of(news))
            held: dict[str, Any] = {}
            while "subscription" not in held or held["subscription"]._waiter is None:
                await asyncio.sleep(0)
                held = dict(cast("Any", news).ag_frame.f_locals)
            kinds = (LogRow, Backlog, list, tuple)
            assert [name for name, one in held.items() if isinstance(one, kinds)] == []
            more.cancel()
            await asyncio.wait({more})
        await turns.cancel(services.ann, accepted.turn_id)
