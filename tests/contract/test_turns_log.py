"""Append, finish and sweep: fenced, packed, repeatable, atomic."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from responsa_server.domain.conversations import Speaker
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.turns import (
    Claim,
    Conclusion,
    Ending,
    LostTurn,
    NewMessage,
    NewTurn,
    TurnLost,
)
from responsa_server.domain.turns import (
    ByteRange,
    Citation,
    LogRow,
    RefusalReason,
    TurnState,
    Usage,
)
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Connection, Database, unavailable
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People, new_turn
from tests.contract.test_turns_accept import count
from tests.plain_codec import PlainCodec


def row(first: int, last: int | None = None, *, deltas: bool = False) -> LogRow:
    return LogRow(first, last or first, deltas, f"{first}-{last or first}".encode())


def claim_of(new: NewTurn, *, tenant: str = "acme", epoch: int = 1) -> Claim:
    return Claim(new.id, tenant, epoch, new.lease_seconds)


def citation(quote: str = "The Nile is 6,650 km long.") -> Citation:
    return Citation(
        passage_id=uuid7(),
        document_id=uuid7(),
        version=3,
        title="Rivers of Africa",
        uri="rivers.md",
        source=ByteRange(10, 10 + len(quote.encode())),
        quote=quote,
        sha256=hashlib.sha256(quote.encode()).digest(),
        answer=ByteRange(0, len(quote.encode())),
        score=0.75,
    )


def answered(*citations: Citation) -> Conclusion:
    messages = (
        NewMessage(uuid7(), Speaker.USER, "How long is the Nile?"),
        NewMessage(uuid7(), Speaker.ASSISTANT, "The Nile is 6,650 km long.", citations),
    )
    return Conclusion(TurnState.ANSWERED, b"answer", Usage(11), messages, "How long is the Nile?")


FAILED = Conclusion(TurnState.FAILED, b"failed", Usage())


def ending(lost: LostTurn) -> Ending:
    return Ending(LogRow(lost.last_seq + 1, lost.last_seq + 1, False, b"swept"), b"swept")


async def rows_of(store: PostgresTurnStore, who: Principal, new: NewTurn) -> list[LogRow]:
    return list((await store.backlog(who, new.id, 0, 1000)).rows)


class CutDatabase(Database):
    """Loses the connection after COMMIT came through, so that its outcome is unknown to the caller."""

    cut = 0

    @asynccontextmanager
    async def log(self) -> AsyncGenerator[Connection]:
        async with super().log() as connection:
            yield connection
        self._maybe_cut()

    @asynccontextmanager
    async def log_statements(self) -> AsyncGenerator[Connection]:
        async with super().log_statements() as connection:
            yield connection
        self._maybe_cut()

    @asynccontextmanager
    async def tenant(self, tenant_id: str) -> AsyncGenerator[Connection]:
        async with super().tenant(tenant_id) as connection:
            yield connection
        self._maybe_cut()

    def _maybe_cut(self) -> None:
        if self.cut:
            self.cut -= 1
            raise unavailable()


@pytest.fixture
async def cut_database(database_urls: DatabaseUrls) -> AsyncIterator[CutDatabase]:
    database = CutDatabase(database_urls.app, database_urls.log)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def test_rows_follow_each_other_and_renew_the_lease(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    new = new_turn()
    await turn_store.accept(people.ann, new)
    await turn_store.append(claim_of(new), [row(2), row(3, 7, deltas=True)])
    await turn_store.append(claim_of(new), [row(8, 9)])
    assert await rows_of(turn_store, people.ann, new) == [
        LogRow(1, 1, False, b"started"),
        row(2),
        row(3, 7, deltas=True),
        row(8, 9),
    ]
    assert (await turn_store.get(people.ann, new.id)).last_seq == 9
    backlog = await turn_store.backlog(people.ann, new.id, 3, 1)
    assert backlog.rows == [row(3, 7, deltas=True)]
    with psycopg.connect(database_urls.superuser) as connection:
        lease = "SELECT lease_until FROM responsa.turn"
        before = connection.execute(lease).fetchone()
        connection.commit()
        await turn_store.renew(claim_of(new))
        after = connection.execute(lease).fetchone()
    assert before is not None
    assert after is not None
    assert before[0] < after[0]


async def test_an_append_whose_commit_was_not_heard_of_is_repeated_without_doubling(
    cut_database: CutDatabase, people: People
) -> None:
    store = PostgresTurnStore(cut_database, PlainCodec())
    new = new_turn()
    await store.accept(people.ann, new)
    cut_database.cut = 1
    with pytest.raises(Unavailable):
        await store.append(claim_of(new), [row(2, 4)])
    await store.append(claim_of(new), [row(2, 4)])
    await store.append(claim_of(new), [row(5)])
    assert await rows_of(store, people.ann, new) == [LogRow(1, 1, False, b"started"), row(2, 4), row(5)]


async def test_an_accept_whose_commit_was_not_heard_of_is_repeated_without_doubling(
    cut_database: CutDatabase, people: People, database_urls: DatabaseUrls
) -> None:
    store = PostgresTurnStore(cut_database, PlainCodec())
    for new in (new_turn(), new_turn(request_id=uuid7())):
        cut_database.cut = 1
        with pytest.raises(Unavailable):
            await store.accept(people.ann, new)
        accepted = await store.accept(people.ann, new)
        assert (accepted.turn_id, accepted.attached) == (new.id, False)
    assert count(database_urls) == {
        "conversation": 2,
        "turn": 2,
        "turn_event": 2,
        "message": 0,
        "citation": 0,
    }


async def test_a_finish_whose_commit_was_not_heard_of_is_repeated_without_doubling(
    cut_database: CutDatabase, people: People, database_urls: DatabaseUrls
) -> None:
    store = PostgresTurnStore(cut_database, PlainCodec())
    new = new_turn()
    await store.accept(people.ann, new)
    conclusion = answered(citation())
    cut_database.cut = 1
    with pytest.raises(Unavailable):
        await store.finish(claim_of(new), [row(2, 5)], conclusion)
    await store.finish(claim_of(new), [row(2, 5)], conclusion)
    assert count(database_urls) == {
        "conversation": 1,
        "turn": 1,
        "turn_event": 2,
        "message": 2,
        "citation": 1,
    }
    conversation = await PostgresConversationStore(cut_database).get(people.ann, new.conversation_id)
    assert conversation.etag == "2"


async def test_an_older_epoch_writes_nothing(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    new = new_turn()
    await turn_store.accept(people.ann, new)
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute("UPDATE responsa.turn SET epoch = 2")
    before = count(database_urls)
    for write in (
        turn_store.append(claim_of(new), [row(2)]),
        turn_store.renew(claim_of(new)),
        turn_store.finish(claim_of(new), [row(2)], answered(citation())),
    ):
        with pytest.raises(TurnLost):
            await write
    assert count(database_urls) == before
    assert (await turn_store.get(people.ann, new.id)).state is TurnState.RUNNING
    await turn_store.append(claim_of(new, epoch=2), [row(2)])


async def test_rows_out_of_place_are_refused(turn_store: PostgresTurnStore, people: People) -> None:
    new = new_turn()
    await turn_store.accept(people.ann, new)
    for rows in ([row(3)], [row(1)]):
        with pytest.raises(TurnLost):
            await turn_store.append(claim_of(new), [*rows, row(9)])
    assert await rows_of(turn_store, people.ann, new) == [LogRow(1, 1, False, b"started")]


async def test_a_finish_writes_everything_at_once(
    turn_store: PostgresTurnStore, conversation_store: PostgresConversationStore, people: People
) -> None:
    new = new_turn("How long is the Nile?", request_id=uuid7())
    await turn_store.accept(people.ann, new)
    created = await conversation_store.get(people.ann, new.conversation_id)
    cited = citation()
    conclusion = answered(cited)
    await turn_store.finish(claim_of(new), [row(2, 3, deltas=True), row(4, 5)], conclusion)
    turn = await turn_store.get(people.ann, new.id)
    assert (turn.state, turn.last_seq, turn.terminal, turn.usage) == (
        TurnState.ANSWERED,
        5,
        b"answer",
        Usage(11),
    )
    assert turn.end_time is not None
    backlog = await turn_store.backlog(people.ann, new.id, 1, 10)
    assert (list(backlog.rows), backlog.end_seq) == ([row(2, 3, deltas=True), row(4, 5)], 5)
    conversation = await conversation_store.get(people.ann, new.conversation_id)
    assert conversation.title == "How long is the Nile?"
    assert conversation.active_turn is None
    assert conversation.update_time > created.update_time
    assert conversation.etag != created.etag
    asked, replied = await conversation_store.history(people.ann, new.conversation_id, 10)
    assert (asked.speaker, asked.text) == (Speaker.USER, "How long is the Nile?")
    assert (replied.speaker, list(replied.citations)) == (Speaker.ASSISTANT, [cited])
    assert await conversation_store.answer_of(people.ann, new.id) == replied
    again = await turn_store.accept(people.ann, new_turn("And now?", conversation=new.conversation_id))
    assert not again.attached


async def test_a_failure_leaves_no_message_and_the_conversation_as_it_was(
    turn_store: PostgresTurnStore, conversation_store: PostgresConversationStore, people: People
) -> None:
    new = new_turn()
    await turn_store.accept(people.ann, new)
    before = await conversation_store.get(people.ann, new.conversation_id)
    await turn_store.finish(claim_of(new), [row(2)], FAILED)
    after = await conversation_store.get(people.ann, new.conversation_id)
    assert (after.title, after.update_time, after.etag) == (before.title, before.update_time, before.etag)
    assert await conversation_store.history(people.ann, new.conversation_id, 10) == []
    assert await conversation_store.answer_of(people.ann, new.id) is None


async def test_a_refusal_leaves_the_question_and_the_typed_refusal(
    turn_store: PostgresTurnStore, conversation_store: PostgresConversationStore, people: People
) -> None:
    new = new_turn()
    await turn_store.accept(people.ann, new)
    messages = (
        NewMessage(uuid7(), Speaker.USER, "Who?"),
        NewMessage(uuid7(), Speaker.ASSISTANT, "Nobody says.", refusal=RefusalReason.NO_SUPPORT),
    )
    refused = Conclusion(TurnState.REFUSED, b"refused", Usage(3), messages, "Who?")
    await turn_store.finish(claim_of(new), [row(2)], refused)
    _, reply = await conversation_store.history(people.ann, new.conversation_id, 10)
    assert (reply.refusal, reply.text, reply.citations) == (RefusalReason.NO_SUPPORT, "Nobody says.", ())


async def test_a_finish_that_cannot_be_stored_leaves_nothing(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    new = new_turn()
    await turn_store.accept(people.ann, new)
    before = count(database_urls)
    with pytest.raises(psycopg.errors.CheckViolation):
        await turn_store.finish(claim_of(new), [row(2)], answered(*[citation() for _ in range(25)]))
    assert count(database_urls) == before
    assert (await turn_store.get(people.ann, new.id)).state is TurnState.RUNNING
    await turn_store.finish(claim_of(new), [row(2)], FAILED)


async def test_nothing_follows_a_terminal_event(turn_store: PostgresTurnStore, people: People) -> None:
    new = new_turn()
    await turn_store.accept(people.ann, new)
    await turn_store.finish(claim_of(new), [row(2)], FAILED)
    for write in (
        turn_store.append(claim_of(new), [row(3)]),
        turn_store.renew(claim_of(new)),
        turn_store.finish(claim_of(new), [row(3)], FAILED),
    ):
        with pytest.raises(TurnLost):
            await write


async def test_the_sweep_ends_what_was_lost_and_nothing_else(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    lost, foreign, alive, ended = new_turn(), new_turn(), new_turn(), new_turn()
    for who, new in ((people.ann, lost), (people.eve, foreign), (people.ann, alive), (people.ann, ended)):
        await turn_store.accept(who, new)
    await turn_store.append(claim_of(lost), [row(2, 4)])
    await turn_store.finish(claim_of(ended), [row(2)], FAILED)
    with psycopg.connect(database_urls.superuser) as connection:
        connection.execute(
            "UPDATE responsa.turn SET lease_until = now() - interval '1 s' WHERE state = 'running' AND id <> %s",
            (alive.id,),
        )
    swept = await asyncio.gather(*(turn_store.sweep(ending, 100) for _ in range(4)))
    assert {one.turn_id for part in swept for one, _ in part} == {lost.id, foreign.id}
    assert sum(len(part) for part in swept) == 2
    turn = await turn_store.get(people.ann, lost.id)
    assert (turn.state, turn.epoch, turn.last_seq, turn.terminal) == (TurnState.FAILED, 2, 5, b"swept")
    assert (await rows_of(turn_store, people.ann, lost))[-1] == LogRow(5, 5, False, b"swept")
    assert (await turn_store.get(people.eve, foreign.id)).state is TurnState.FAILED
    assert (await turn_store.get(people.ann, alive.id)).state is TurnState.RUNNING
    with pytest.raises(TurnLost):
        await turn_store.append(claim_of(lost), [row(5)])
    assert await turn_store.sweep(ending, 100) == []


async def test_a_sweep_takes_no_more_than_it_is_told(turn_store: PostgresTurnStore, people: People) -> None:
    for _ in range(5):
        await turn_store.accept(people.ann, new_turn(lease_seconds=-1))
    assert [len(await turn_store.sweep(ending, 2)) for _ in range(4)] == [2, 2, 1, 0]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), max_size=6),
    cuts=st.sets(st.integers(0, 6)),
)
async def test_the_log_is_contiguous_whatever_the_batches_and_cuts(
    cut_database: CutDatabase, people: People, batches: list[list[int]], cuts: set[int]
) -> None:
    store = PostgresTurnStore(cut_database, PlainCodec())
    new = new_turn()
    await store.accept(people.ann, new)
    last = 1
    for place, sizes in enumerate(batches):
        rows: list[LogRow] = []
        for size in sizes:
            rows.append(row(last + 1, last + size))
            last += size
        if place in cuts:
            cut_database.cut = 1
            with pytest.raises(Unavailable):
                await store.append(claim_of(new), rows)
        await store.append(claim_of(new), rows)
    found = await rows_of(store, people.ann, new)
    assert [one.first_seq for one in found] == [1, *(one.last_seq + 1 for one in found[:-1])]
    assert found[-1].last_seq == last == (await store.get(people.ann, new.id)).last_seq


async def test_the_log_has_partitions_for_today_and_the_days_ahead(
    turn_store: PostgresTurnStore, database_urls: DatabaseUrls
) -> None:
    assert await turn_store.make_partitions(14) == 0
    made = await asyncio.gather(*(turn_store.make_partitions(60) for _ in range(3)))
    assert sorted(made)[:2] == [0, 0]
    assert sum(made) >= 6
    with psycopg.connect(database_urls.owner) as connection:
        bounds = connection.execute(
            """SELECT responsa.first_uuid7('2026-11-20 08:00:00.123+00'),
                (SELECT count(*) FROM pg_inherits WHERE inhparent = 'responsa.turn_event'::regclass)"""
        ).fetchone()
    assert bounds is not None
    assert (
        str(bounds[0])
        == f"{1795161600123:012x}"[:8] + "-" + f"{1795161600123:012x}"[8:] + "-0000-0000-000000000000"
    )
    assert bounds[1] >= 10
