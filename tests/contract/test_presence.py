"""Processes notice at once that another one has ended, and let go of nothing that a living one owns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest

from responsa_server.domain.turns import NewTurn
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People, new_turn
from tests.contract.turn_steps import append, cancelled, claim_all, claim_of, row
from tests.instance import eventually
from tests.plain_codec import PlainCodec

_HOLDERS = (
    "FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND "
    "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
Begin = Callable[[], Awaitable[Database]]


@pytest.fixture
async def begin(database_urls: DatabaseUrls) -> AsyncIterator[Begin]:
    """Opens the database as another process."""
    async with AsyncExitStack() as stack:

        async def opened() -> Database:
            database = Database(database_urls.app, database_urls.log, size=1)
            await database.open()
            stack.push_async_callback(database.close)
            return database

        yield opened


def store_of(database: Database) -> PostgresTurnStore:
    return PostgresTurnStore(database, PlainCodec())


async def accepted(database: Database, people: People, owner: UUID | None = None) -> NewTurn:
    """A turn that this process runs, or another owner."""
    new = replace(new_turn(), owner=owner or database.presence.worker)
    await store_of(database).accept(people.ann, new, cancelled)
    return new


async def lose_connections(urls: DatabaseUrls, database: Database) -> None:
    """End the connection on which this process writes to the log, and wait until its lock is released."""
    async with database.writer() as connection:
        pid = connection.info.backend_pid
    urls.ask("SELECT pg_terminate_backend(%s)", pid)
    await asyncio.to_thread(
        eventually,
        lambda: not urls.value(f"SELECT count(*) {_HOLDERS} AND pid = %s", pid),
        "the release of the lock",
    )


async def close(urls: DatabaseUrls, database: Database) -> None:
    """End this process, and wait until its lock is released."""
    holders = urls.value(f"SELECT count(*) {_HOLDERS}")
    await database.close()
    await asyncio.to_thread(
        eventually, lambda: urls.value(f"SELECT count(*) {_HOLDERS}") < holders, "the release of the lock"
    )


async def test_turns_of_a_process_that_has_ended_are_taken_at_once(
    begin: Begin, people: People, database_urls: DatabaseUrls
) -> None:
    ended, living, mine = await begin(), await begin(), await begin()
    unregistered = new_turn().owner
    lost = await accepted(ended, people)
    for owner in (living.presence.worker, mine.presence.worker, unregistered):
        await accepted(mine, people, owner)
    assert await store_of(mine).expire_lost(60.0, 0.0) == (2, 0)
    await close(database_urls, ended)
    assert (await store_of(mine).expire_lost(60.0, 3600.0))[1] == 0
    assert (await store_of(mine).expire_lost(60.0, 0.0))[1] == 1
    (claimed,) = await claim_all(store_of(mine), mine.presence.worker)
    assert (claimed.claim.turn_id, claimed.attempt, claimed.losses) == (lost.id, 2, 1)


async def test_a_process_that_lost_its_connection_holds_its_lock_again_as_soon_as_it_looks(
    begin: Begin, people: People, database_urls: DatabaseUrls
) -> None:
    cut, other = await begin(), await begin()
    turn = await accepted(cut, people)
    await lose_connections(database_urls, cut)
    assert (await store_of(other).expire_lost(60.0, 0.0))[1] == 1
    await append(store_of(cut), claim_of(turn), row(2))  # renews the lease that was let go of
    assert await claim_all(store_of(other)) == []
    await lose_connections(database_urls, cut)
    await store_of(cut).expire_lost(60.0, 0.0)
    assert (await store_of(other).expire_lost(60.0, 0.0))[1] == 0


async def test_a_process_that_lost_its_own_connection_lets_go_of_nothing_for_a_lease(
    begin: Begin, people: People, database_urls: DatabaseUrls
) -> None:
    ended, cut = await begin(), await begin()
    await accepted(ended, people)
    await close(database_urls, ended)
    await lose_connections(database_urls, cut)
    assert (await store_of(cut).expire_lost(3600.0, 0.0))[1] == 0
    assert (await store_of(cut).expire_lost(0.0, 0.0))[1] == 1


async def test_behind_a_pooler_a_process_holds_no_lock_and_only_its_lease_counts(
    begin: Begin, people: People, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct, ended = await begin(), await begin()
    await accepted(ended, people)
    with monkeypatch.context() as patch:
        # A pooler invents the id of the backend in its handshake.
        patch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
        pooled = await begin()
    assert database_urls.value(f"SELECT count(*) {_HOLDERS}") == 2
    await accepted(pooled, people)
    await close(database_urls, ended)
    assert (await store_of(pooled).expire_lost(0.0, 0.0))[1] == 0
    assert (await store_of(direct).expire_lost(60.0, 0.0))[1] == 1
