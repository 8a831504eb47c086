"""Reads of logs: one turn's log for its user, and many turns' logs at once for a process. Also how the log's weekly partitions are created
and dropped.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import NotFound
from responsa_server.domain.events import Usage
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.turns import Cursor, LogRow, News, OnBusy, TurnState
from responsa_server.stores.postgres import turns as turns_module
from tests.conftest import DatabaseUrls
from tests.contract.turn_steps import FAILED, STARTED, Store, cancelled, claim_of, end, new_turn, row
from tests.raising import raises


async def test_one_query_reads_many_logs_each_from_its_cursor(store: Store) -> None:
    long, quiet, ended, foreign = (new_turn() for _ in range(4))
    for who, new in ((store.ann, long), (store.bob, quiet), (store.ann, ended), (store.eve, foreign)):
        await store.take(new, who)
    await store.write(long, row(2, 5, deltas=True), row(6), row(7, 9, deltas=True))
    await store.finish(claim_of(ended), [row(2), row(3)], FAILED)
    waits = await store.make(conversation=long.conversation_id, on_busy=OnBusy.QUEUE)
    cursors = [
        Cursor(long.id, 3),
        Cursor(quiet.id, 1),
        Cursor(ended.id, 0),
        Cursor(foreign.id, 0),
        Cursor(waits.id, 1),
        Cursor(uuid7(), 0),
    ]
    news = {one.turn_id: one for one in await store.poll(cursors, 3)}
    assert news == {
        long.id: News(long.id, [row(2, 5, deltas=True), row(6), row(7, 9, deltas=True)], None, 0),
        quiet.id: News(quiet.id, [], None, 0),
        ended.id: News(ended.id, [STARTED, row(2), end(ended.id, 3)], 3, 0),
        foreign.id: News(foreign.id, [STARTED], None, 0),
        waits.id: News(waits.id, [], None, 1),
    }
    (rest,) = await store.poll([Cursor(long.id, 6)], 9)
    assert rest.rows == [row(7, 9, deltas=True)]
    assert await store.poll([], 9) == []


async def test_a_turn_that_has_had_no_worker_for_a_minute_is_orphaned(store: Store) -> None:
    new = await store.make()

    async def orphaned() -> bool:
        (news,) = await store.poll([Cursor(new.id, 0)], 9)
        return news.orphaned

    assert not await orphaned()
    for seconds, expected in ((50, False), (61, True)):
        store.urls.ask("UPDATE responsa.turn SET lease_until = now() - make_interval(secs => %s)", seconds)
        assert await orphaned() is expected
    await store.release([claim_of(new)])
    assert not await orphaned(), "it waits for the next worker"
    await store.claim_all()
    assert not await orphaned()


async def test_a_backlog_comes_in_pieces_that_join(store: Store) -> None:
    new = await store.make()
    rows = [row(first, first + 2, deltas=bool(first % 2)) for first in range(2, 32, 3)]
    await store.write(new, *rows)
    await store.finish(claim_of(new), [row(32)], FAILED)
    read: list[LogRow] = []
    cursor = 0
    while cursor < 32:
        backlog = await store.backlog(store.ann, new.id, cursor, 4)
        assert (backlog.last_seq, backlog.end_seq, backlog.terminal) == (32, 32, b"failed")
        read.extend(backlog.rows)
        cursor = backlog.rows[-1].last_seq
    assert read == [STARTED, *rows, end(new.id, 32)]
    for after in range(33):
        backlog = await store.backlog(store.ann, new.id, after, 100)
        assert backlog.rows == [one for one in read if one.last_seq > after]


async def test_a_list_sums_up_what_was_spent_and_finds_every_state(store: Store) -> None:
    running, pending, gone = new_turn(), new_turn(pending=True), new_turn()
    await store.take_all(running, pending, gone)
    queued = await store.make(conversation=running.conversation_id, on_busy=OnBusy.QUEUE)
    await store.cancel(store.ann, gone.id, True, cancelled)
    await store.record_usage(claim_of(gone), Usage(1, 2, 3, 4, 5))
    await store.record_usage(claim_of(gone, epoch=2), Usage(1, 2, 3, 4, 5))
    page = await store.list(store.ann, ListQuery(10, Order("create_time")))
    assert [(item.id, item.state) for item in page.items] == [
        (running.id, TurnState.RUNNING),
        (pending.id, TurnState.PENDING),
        (gone.id, TurnState.CANCELLED),
        (queued.id, TurnState.QUEUED),
    ]
    assert page.items[2].usage == Usage(2, 4, 6, 8, 10)
    down = await store.list(store.ann, ListQuery(2, Order("create_time", descending=True)))
    assert [item.id for item in down.items] == [queued.id, gone.id]


def old_id(days: int) -> UUID:
    """A UUIDv7 from `days` days ago."""
    milliseconds = int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000)
    return UUID(int=(milliseconds << 80) | (uuid7().int & ((1 << 80) - 1)))


def weeks(urls: DatabaseUrls) -> list[str]:
    """The log's partitions."""
    return urls.value(
        """SELECT array_agg(c.relname ORDER BY c.relname) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'responsa.turn_event'::regclass""",
    )


def week_of(days: int) -> tuple[str, datetime]:
    """The name and the Monday of the week that was `days` days ago."""
    day = (datetime.now(UTC) - timedelta(days=days)).date()
    monday = day - timedelta(days=day.weekday())
    return f"turn_event_{monday:%Y%m%d}", datetime(monday.year, monday.month, monday.day, tzinfo=UTC)


@pytest.fixture
async def aged(store: Store) -> list[UUID]:
    """Turns with events from 100, 60 and 20 days ago and from today. All these turns except the second have ended."""
    for days in (100, 60, 20):
        name, monday = week_of(days)
        bounds = (monday, monday + timedelta(days=7))
        with psycopg.connect(store.urls.owner, autocommit=True) as owner:
            owner.execute(f"CREATE TABLE responsa.{name} (LIKE responsa.turn_event INCLUDING ALL)".encode())
            first, last = owner.execute(
                "SELECT responsa.first_uuid7(%s), responsa.first_uuid7(%s)", bounds
            ).fetchone() or (None, None)
            owner.execute(
                f"ALTER TABLE responsa.turn_event ATTACH PARTITION responsa.{name} FOR VALUES FROM ('{first}') TO ('{last}')".encode()
            )
    ids: list[UUID] = []
    for days in (100, 60, 20, 0):
        new = await store.make()
        if days != 60:
            await store.finish(claim_of(new), [row(2)], FAILED)
        ids.append(old_id(days))
        for table, column in (("turn", "id"), ("turn_event", "turn_id")):
            store.urls.ask(
                f"UPDATE responsa.{table} SET {column} = %s WHERE {column} = %s",
                ids[-1],
                new.id,
            )
    return ids


async def test_weeks_that_are_old_and_over_are_dropped_and_their_turns_tell_how_they_ended(
    store: Store, aged: list[UUID]
) -> None:
    before = weeks(store.urls)
    assert await store.prune(30) == 1
    assert set(before) - set(weeks(store.urls)) == {week_of(100)[0]}
    assert store.urls.value("SELECT to_regclass(%s)::text", f"responsa.{week_of(100)[0]}") is None
    gone, running, recent, today = aged
    backlog = await store.backlog(store.ann, gone, 0, 9)
    assert (backlog.rows, backlog.last_seq, backlog.end_seq) == ([], 2, 2)
    assert backlog.terminal == (await store.get(store.ann, gone)).terminal == b"failed"
    (news,) = await store.poll([Cursor(gone, 0)], 9)
    assert (news.rows, news.end_seq) == ([], 2)
    assert [len(await store.rows(turn)) for turn in (running, recent, today)] == [
        1,
        2,
        2,
    ]
    assert await store.prune(30) == 0
    # When the last turn of a week has ended, the partition of that week is dropped too.
    await store.cancel(store.ann, running, True, cancelled)
    assert await store.prune(30) == 1
    # Even with a short retention, the partitions of this week and the previous week stay. Otherwise they would be created again.
    await store.prune(1)
    assert await store.make_partitions(7) == 0
    assert len(await store.rows(today)) == 2
    await store.take(new_turn())


async def test_a_log_that_is_being_read_is_left_for_the_next_time(store: Store, aged: list[UUID]) -> None:
    name = week_of(100)[0]
    with psycopg.connect(store.urls.superuser) as reader:
        reader.execute("SELECT count(*) FROM responsa.turn_event")
        assert await store.prune(30) == 0
        # The prune gave up, so no session waits for it.
        await store.take(new_turn())
    assert name in weeks(store.urls)
    assert await store.prune(30) == 1


async def test_what_was_taken_out_and_not_dropped_is_dropped_the_next_time(
    store: Store, aged: list[UUID]
) -> None:
    name = week_of(100)[0]
    with psycopg.connect(store.urls.log, autocommit=True) as log:
        assert log.execute("SELECT responsa.detach_turn_events('30 days')").fetchone() == (name,)
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            log.execute("SELECT responsa.detach_turn_events('0 days')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            log.execute(f"SELECT count(*) FROM responsa.{name}".encode())
    assert store.urls.value("SELECT to_regclass(%s)::text", f"responsa.{name}") is not None
    assert await store.prune(30) == 1
    assert store.urls.value("SELECT to_regclass(%s)::text", f"responsa.{name}") is None


async def test_room_is_made_once(store: Store) -> None:
    made = await store.make_partitions(60)
    assert made > 4
    assert await store.make_partitions(60) == 0
    await raises(NotFound, store.backlog(store.ann, uuid7(), 0, 1))


async def test_the_ledger_goes_with_the_log_and_followers_when_they_are_believed_no_more(
    store: Store, aged: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "_MOST_PRUNED", 2)
    gone, running, recent, today = aged
    for turn in aged:
        for call in range(5):
            store.urls.ask(
                (
                    "INSERT INTO responsa.turn_tool (turn_id, call_id, tenant_id, epoch, tool, arguments) "
                    "VALUES (%s, %s, 'acme', 1, 'note', '{}')"
                ),
                turn,
                str(call),
            )
    for turn, ago in ((gone, "1 h"), (today, "1 s"), (running, "-5 s")):
        store.urls.ask(
            "INSERT INTO responsa.turn_follower (turn_id, process, tenant_id, until) VALUES (%s, uuidv7(), 'acme', now() - %s::interval)",
            turn,
            ago,
        )
    assert await store.prune(30) == 1
    ledger = "SELECT array_agg(turn_id ORDER BY turn_id) FROM responsa.turn_tool"
    assert store.urls.value(ledger) == [turn for turn in (running, recent, today) for _ in range(5)]
    followers = "SELECT array_agg(turn_id ORDER BY turn_id) FROM responsa.turn_follower"
    assert store.urls.value(followers) == [running, today]
    await store.cancel(store.ann, running, True, cancelled)
    await store.prune(30)
    assert store.urls.value(ledger) == [turn for turn in (recent, today) for _ in range(5)]
