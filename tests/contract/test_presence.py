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
from tests.conftest import DatabaseUrls
from tests.contract.cut_database import opened
from tests.contract.turn_steps import Store, new_turn, row
from tests.instance import eventually

_HOLDERS = (
    "FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND "
    "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
Begin = Callable[[], Awaitable[Store]]


@pytest.fixture
async def begin(database_urls: DatabaseUrls) -> AsyncIterator[Begin]:
    """The store of another process."""
    async with AsyncExitStack() as stack:

        async def begun() -> Store:
            pools = opened(Database(database_urls.app, database_urls.log, size=1))
            return Store(database_urls, await stack.enter_async_context(pools))

        yield begun


async def accepted(store: Store, owner: UUID | None = None) -> NewTurn:
    """A turn that this process runs, or another owner."""
    new = replace(new_turn(), owner=owner or store.database.presence.worker)
    await store.take(new)
    return new


async def lose_connections(urls: DatabaseUrls, store: Store) -> None:
    """End the connection on which this process writes to the log, and wait until its lock is released."""
    async with store.database.writer() as connection:
        pid = connection.info.backend_pid
    urls.ask("SELECT pg_terminate_backend(%s)", pid)
    await asyncio.to_thread(
        eventually,
        lambda: not urls.value(f"SELECT count(*) {_HOLDERS} AND pid = %s", pid),
        "the release of the lock",
    )


async def close(urls: DatabaseUrls, store: Store) -> None:
    """End this process, and wait until its lock is released."""
    holders = urls.value(f"SELECT count(*) {_HOLDERS}")
    await store.database.close()
    await asyncio.to_thread(
        eventually, lambda: urls.value(f"SELECT count(*) {_HOLDERS}") < holders, "the release of the lock"
    )


async def test_turns_of_a_process_that_has_ended_are_taken_at_once(
    begin: Begin, database_urls: DatabaseUrls
) -> None:
    ended, living, mine = await begin(), await begin(), await begin()
    unregistered = new_turn().owner
    lost = await accepted(ended)
    for owner in (living.database.presence.worker, mine.database.presence.worker, unregistered):
        await accepted(mine, owner)
    assert await mine.expire_lost(60.0, 0.0) == (2, 0)
    await close(database_urls, ended)
    assert (await mine.expire_lost(60.0, 3600.0))[1] == 0
    assert (await mine.expire_lost(60.0, 0.0))[1] == 1
    (claimed,) = await mine.claim_all(mine.database.presence.worker)
    assert (claimed.claim.turn_id, claimed.attempt, claimed.losses) == (lost.id, 2, 1)


async def test_a_process_that_lost_its_connection_holds_its_lock_again_as_soon_as_it_looks(
    begin: Begin, database_urls: DatabaseUrls
) -> None:
    cut, other = await begin(), await begin()
    turn = await accepted(cut)
    await lose_connections(database_urls, cut)
    assert (await other.expire_lost(60.0, 0.0))[1] == 1
    await cut.write(turn, row(2))  # renews the lease that was let go of
    assert await other.claim_all() == []
    await lose_connections(database_urls, cut)
    await cut.expire_lost(60.0, 0.0)
    assert (await other.expire_lost(60.0, 0.0))[1] == 0


async def test_a_process_that_lost_its_own_connection_lets_go_of_nothing_for_a_lease(
    begin: Begin, database_urls: DatabaseUrls
) -> None:
    ended, cut = await begin(), await begin()
    await accepted(ended)
    await close(database_urls, ended)
    await lose_connections(database_urls, cut)
    assert (await cut.expire_lost(3600.0, 0.0))[1] == 0
    assert (await cut.expire_lost(0.0, 0.0))[1] == 1


async def test_behind_a_pooler_a_process_holds_no_lock_and_only_its_lease_counts(
    begin: Begin, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct, ended = await begin(), await begin()
    await accepted(ended)
    with monkeypatch.context() as patch:
        # A pooler invents the id of the backend in its handshake.
        patch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
        pooled = await begin()
    assert database_urls.value(f"SELECT count(*) {_HOLDERS}") == 2
    await accepted(pooled)
    await close(database_urls, ended)
    assert (await pooled.expire_lost(0.0, 0.0))[1] == 0
    assert (await direct.expire_lost(60.0, 0.0))[1] == 1
