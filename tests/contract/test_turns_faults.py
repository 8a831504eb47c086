"""Real connections that are cut while a turn writes."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.turns import Delta, Event, Question, TurnState
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People, new_turn
from tests.contract.test_turns_log import claim_of, row, rows_of
from tests.contract.turn_house import SEARCHING, House, Script, answer
from tests.plain_codec import events_of

_WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


async def test_an_append_whose_connection_is_cut_before_its_commit_is_written_by_its_repetition(
    turn_store: PostgresTurnStore, people: People, database_urls: DatabaseUrls
) -> None:
    new = new_turn()
    await turn_store.accept(people.ann, new)
    async with (
        await psycopg.AsyncConnection.connect(database_urls.superuser) as holder,
        await psycopg.AsyncConnection.connect(database_urls.superuser, autocommit=True) as watch,
    ):
        await holder.execute("SELECT FROM responsa.turn WHERE id = %s FOR UPDATE", (new.id,))
        appending = asyncio.create_task(turn_store.append(claim_of(new), [row(2, 3)]))
        while (waiting := await (await watch.execute(_WAITING)).fetchone()) is None:
            assert not appending.done()
        await watch.execute("SELECT pg_terminate_backend(%s)", waiting)
        with pytest.raises(Unavailable):
            await appending
    await turn_store.append(claim_of(new), [row(2, 3)])
    assert [one.last_seq for one in await rows_of(turn_store, people.ann, new)] == [1, 3]


async def test_a_turn_comes_through_whole_though_all_connections_are_cut_again_and_again(
    database: Database, people: People, database_urls: DatabaseUrls
) -> None:
    house = House(database)
    gates = [asyncio.Event() for _ in range(6)]
    steps: list[Event | asyncio.Event | Exception] = []
    for place, gate in enumerate(gates):
        steps.extend([Delta("ab", 2 * place), SEARCHING, gate])
    async with house.turns(Script([*steps, answer()])) as turns:
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
    store = PostgresTurnStore(database, house.codec)
    backlog = await store.backlog(people.ann, accepted.turn_id, 0, 100)
    events = events_of(backlog.rows)
    assert [one["seq"] for one in events] == list(range(1, turn.last_seq + 1))
    assert "".join(one["text"] for one in events if one["kind"] == "delta") == "ab" * 6
    assert backlog.end_seq == turn.last_seq
    assert len(await house.conversations.history(people.ann, accepted.conversation_id, 10)) == 2
