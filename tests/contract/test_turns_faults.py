"""Real connections are cut while a turn writes."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import Delta, Usage
from responsa_server.domain.turns import ClaimedTurn, OnBusy, Question, TurnState
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.people import People
from tests.contract.turn_harness import SEARCHING, Line, Script, Services, answer, citation
from tests.contract.turn_steps import (
    STARTED,
    Store,
    answered,
    append_of,
    cancelled,
    checkpoint,
    claim_of,
    new_turn,
    row,
)
from tests.faults.postgres_proxy import PostgresProxy, When, Write
from tests.instance import PATIENCE
from tests.plain_codec import events_of
from tests.raising import raises

_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@dataclass
class Cut:
    """A store whose connections go through a proxy. The proxy cuts a connection before or after the next commit of a
    given kind reaches the server."""

    store: Store
    proxy: PostgresProxy

    async def next(self, write: Write, when: When, work: Callable[[], Awaitable[object]]) -> None:
        """Run a call, and cut its connection before or after its commit."""
        left = [when]

        def decide(kind: Write) -> When | None:
            return left.pop() if left and kind is write else None

        decided, self.proxy.decide = self.proxy.decide, decide
        await raises(Unavailable, work())
        self.proxy.decide = decided
        assert left == [], f"nothing that looks like {write} was committed"


@pytest.fixture
async def cut(database_urls: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Cut]:
    folder = Path(tempfile.mkdtemp(prefix="cut", dir="/tmp"))
    target = Path(str(conninfo_to_dict(database_urls.app)["host"])) / ".s.PGSQL.5432"
    try:
        async with PostgresProxy(folder, target) as proxy:
            urls = [make_conninfo(url, host=str(folder)) for url in (database_urls.app, database_urls.log)]
            pools = Database(*urls, size=10)
            await pools.open()
            try:
                yield Cut(Store(database_urls, pools), proxy)
            finally:
                await pools.close()
    finally:
        shutil.rmtree(folder)


async def _claimed(store: Store, owner: UUID) -> ClaimedTurn:
    """Claim the only turn. A claim passes over it while the backend of a cut connection still holds its lock."""
    async with asyncio.timeout(PATIENCE):
        while not (claimed := await store.claim_all(owner)):
            pass
    (turn,) = claimed
    return turn


@pytest.mark.parametrize("when", When)
async def test_every_write_whose_commit_is_cut_is_done_once_by_its_repetition(cut: Cut, when: When) -> None:
    store, owner = cut.store, uuid7()
    new = new_turn(request_id=uuid7())
    await cut.next(Write.ACCEPT, when, lambda: store.take(new))
    assert (await store.take(new)).turn_id == new.id
    waits = await store.make(conversation=new.conversation_id, on_busy=OnBusy.QUEUE)

    batch = [append_of(claim_of(new), row(2, 4), checkpoint=checkpoint(3))]
    await cut.next(Write.APPEND, when, lambda: store.append(batch))
    assert await store.append(batch) == {}
    assert await store.rows(new) == [STARTED, row(2, 4)]

    conclusion = answered(citation())
    await cut.next(Write.FINISH, when, lambda: store.finish(claim_of(new), [row(5)], conclusion))
    assert await store.finish(claim_of(new), [row(5)], conclusion)
    assert store.count() == {"conversation": 1, "turn": 2, "turn_event": 3, "message": 2, "citation": 1}

    await cut.next(Write.CLAIM, when, lambda: store.claim_all(owner))
    claimed = await _claimed(store, owner)
    assert (claimed.claim.turn_id, claimed.claim.epoch, claimed.attempt) == (waits.id, 2, 1)

    await cut.next(Write.OTHER, when, lambda: store.renew([claimed.claim]))
    assert await store.renew([claimed.claim]) == []
    await cut.next(Write.OTHER, when, lambda: store.release([claimed.claim]))
    await store.release([claimed.claim])
    again = await _claimed(store, owner)
    assert (again.claim.epoch, again.attempt, again.losses) == (3, 2, 0)

    await cut.next(Write.OTHER, when, lambda: store.cancel(store.ann, waits.id, True, cancelled))
    done = await store.cancel(store.ann, waits.id, True, cancelled)
    assert (done.turn.state, done.turn.epoch, done.turn.last_seq) == (TurnState.CANCELLED, 4, 2)
    assert len(await store.rows(waits)) == 2
    await cut.next(Write.OTHER, when, lambda: store.record_usage(again.claim, Usage(1, 2, 3)))
    await store.record_usage(again.claim, Usage(1, 2, 3))
    assert (await store.get(store.ann, waits.id)).usage == Usage(1, 2, 3)


async def test_a_turn_comes_through_whole_though_all_connections_are_cut_again_and_again(
    database: Database, people: People, database_urls: DatabaseUrls
) -> None:
    harness = Services(database)
    gates = [asyncio.Event() for _ in range(6)]
    steps: list[Line] = []
    for place, gate in enumerate(gates):
        steps.extend([Delta("ab", 2 * place), SEARCHING, gate])
    async with harness.turns(Script([*steps, answer()])) as turns:
        accepted = await turns.accept(people.ann, Question("How long?"), None)
        async with await psycopg.AsyncConnection.connect(database_urls.superuser, autocommit=True) as knife:
            for gate in gates:
                await knife.execute(_END)
                gate.set()
                await asyncio.sleep(0)
            while True:
                try:
                    turn = await turns.wait(people.ann, accepted.turn_id)
                    break
                except Unavailable:
                    continue
    assert turn.state is TurnState.ANSWERED
    store = PostgresTurnStore(database, harness.codec)
    backlog = await store.backlog(people.ann, accepted.turn_id, 0, 100)
    events = events_of(backlog.rows)
    assert [event["seq"] for event in events] == list(range(1, turn.last_seq + 1))
    assert "".join(event["text"] for event in events if event["kind"] == "delta") == "ab" * 6
    assert backlog.end_seq == turn.last_seq
    assert len(await harness.conversations.history(people.ann, accepted.conversation_id, 10)) == 2
