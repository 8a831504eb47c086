"""How the pools connect."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import pkgutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from uuid_utils.compat import uuid7

from responsa_local.embedded import LocalLayout, throwaway_postgres
from responsa_server.calls.status import Code, code
from responsa_server.domain.errors import StorageFull, Unavailable
from responsa_server.domain.parts import Health
from responsa_server.domain.people import Reader
from responsa_server.domain.turns import OnBusy
from responsa_server.stores import postgres
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    PostgresPart,
    conninfo,
    unavailable,
)
from responsa_server.stores.postgres.pool import Pool
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.turns.runtime import retry
from tests.conftest import DatabaseUrls
from tests.contract.cut_database import opened
from tests.contract.turn_steps import Store, cancelled, locked, new_turn, until_somebody_waits
from tests.disks import small_disk
from tests.instance import PATIENCE
from tests.plain_codec import PlainCodec
from tests.raising import raises


def test_what_a_url_says_stands() -> None:
    made = conninfo_to_dict(
        conninfo("postgresql://ann@db:5433/x?options=-c%20role%3Dr&tcp_user_timeout=1", "-c a=b")
    )
    assert (made["host"], made["port"], made["user"], made["dbname"]) == ("db", "5433", "ann", "x")
    assert made["options"] == "-c role=r -c a=b"
    assert made["tcp_user_timeout"] == "1"
    assert made["connect_timeout"] == "5"


async def test_a_statement_has_its_time_and_each_role_its_plans(database_urls: DatabaseUrls) -> None:
    async with opened(Database(database_urls.app, database_urls.log, size=1)) as database:
        for connected, plans in (
            (database.no_tenant(), "force_custom_plan"),
            (database.log(), "force_custom_plan"),
            (database.writer(), "force_generic_plan"),
        ):
            async with connected as connection:
                cursor = await connection.execute(
                    "SELECT current_setting('statement_timeout'), current_setting('plan_cache_mode')"
                )
                assert await cursor.fetchone() == ("30s", plans)
        # If a session stops while it holds a lock for which others wait, PostgreSQL ends that session.
        limit: LiteralString = "SELECT current_setting('transaction_timeout') AS limit"
        ((together,),) = await database.together("acme", [(limit, {})])
        limits = [together["limit"]]
        for connected in (
            database.log(),
            database.writer(),
            database.locking("acme"),
            database.tenant("acme"),
        ):
            async with connected as connection:
                row = await (await connection.execute(limit)).fetchone()
                assert row is not None
                limits.append(row[0])
        assert limits == ["5s", "5s", "5s", "5s", "0"]


class Impatient(Database):
    """A database with a short time limit for transactions whose locks block others."""

    @asynccontextmanager
    async def locking(self, reader: Reader | str, seconds: int = 5) -> AsyncGenerator[Connection]:
        async with super().locking(reader, min(seconds, 1)) as connection:
            yield connection


async def test_whoever_locks_a_conversation_and_then_its_turn_has_a_limit(store: Store) -> None:
    new = await store.make(watched=True)
    newer = new_turn(conversation=new.conversation_id, on_busy=OnBusy.INTERRUPT)
    database = Impatient(store.urls.app, store.urls.log, size=10)
    await database.open()
    turns, conversations = PostgresTurnStore(database, PlainCodec()), PostgresConversationStore(database)
    who, place = store.ann, new.conversation_id
    kept: dict[str, Sequence[Callable[[], Awaitable[object]]]] = {
        "turn": (
            lambda: turns.accept(who, newer, cancelled),
            lambda: turns.cancel(who, new.id, True, cancelled),
            lambda: turns.cancel_unfollowed(who, new.id, cancelled),
        ),
        "conversation": (
            lambda: conversations.update(who, place, title="Nile", labels=None, etag=""),
            lambda: conversations.delete(who, place, ""),
        ),
    }
    try:
        for table, calls in kept.items():
            for call in calls:
                async with locked(store.urls, table, {"turn": new.id, "conversation": place}[table]):
                    # Without the limit, the waiting session would wait until the statement timeout.
                    with pytest.raises(Unavailable, match="took too long"):
                        async with asyncio.timeout(10):
                            await call()
    finally:
        await database.close()


async def test_a_full_disk_is_refused_as_what_it_is(database: Database, database_urls: DatabaseUrls) -> None:
    async def full() -> None:
        async with database.tenant("acme") as connection:
            await connection.execute("DO $$ BEGIN RAISE EXCEPTION SQLSTATE '53100'; END $$")

    raised = await raises(StorageFull, full())
    assert code(raised) is Code.RESOURCE_EXHAUSTED
    # A caller hears it at once; an answer that is being written waits for room.
    await raises(StorageFull, retry(full, patience_seconds=60))
    room: list[bool] = []

    async def until_there_is_room() -> None:
        if len(room) < 2:
            room.append(True)
            await full()

    await retry(until_there_is_room, patience_seconds=60, waits_for_disk=True)
    # PostgreSQL has stopped, because it cannot write its log.
    stopped = Database(database_urls.app, database_urls.log, size=2, full=lambda: True)
    with pytest.raises(StorageFull):
        async with stopped.tenant("acme"):
            pass


@pytest.fixture
def disk(layout: LocalLayout) -> Iterator[Path]:
    """A folder of PostgreSQL's account with a disk of its own, of 4 MiB."""
    folder = Path(tempfile.mkdtemp(prefix="rsf-"))
    folder.chmod(0o755)
    place = folder / "small"
    place.mkdir()
    account = layout.account
    owner = f"uid={account.uid},gid={account.gid}" if account else f"uid={os.getuid()}"
    with small_disk(place, "4m", "mode=700", owner):
        yield place
    place.rmdir()
    folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
async def test_the_health_of_a_database_says_that_its_disk_is_full_even_when_it_has_stopped(
    database: Database, database_urls: DatabaseUrls, maintenance: psycopg.Connection, disk: Path
) -> None:
    name = str(conninfo_to_dict(database_urls.superuser)["dbname"])
    accepts = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    part = PostgresPart(database)
    maintenance.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(disk))))
    try:
        database_urls.ask("CREATE TABLE responsa.filler (line text) TABLESPACE small")
        database_urls.ask("GRANT ALL ON responsa.filler TO responsa_app")
        assert (await part.check()).health is Health.OK
        with pytest.raises(StorageFull, match="disk of the database is full"):
            async with database.tenant("acme") as connection:
                await connection.execute(
                    "INSERT INTO responsa.filler SELECT repeat(md5(place::text), 40) FROM generate_series(1, 9000) AS place"
                )
        report = await part.check()
        assert report.health is Health.DOWN
        assert "its disk is full" in report.detail
        # PostgreSQL stops when it cannot write its log.
        maintenance.execute(accepts.format(sql.Identifier(name), sql.SQL("false")))
        maintenance.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        for call in (part.check, partial(database.together, "acme", [])):
            await raises(StorageFull, call(), "disk of the database is full")
    finally:
        maintenance.execute(accepts.format(sql.Identifier(name), sql.SQL("true")))
        database_urls.ask("DROP TABLE IF EXISTS responsa.filler")
        maintenance.execute("DROP TABLESPACE small")


async def test_an_error_says_that_the_database_was_slow_or_that_another_call_was_in_the_way(
    database: Database,
) -> None:
    async def bounded() -> None:
        async with database.tenant("acme") as connection:
            await connection.execute("SET LOCAL lock_timeout = 1")
            await connection.execute("SELECT pg_advisory_xact_lock(3)")

    async def ended() -> None:
        async with database.tenant("acme") as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    async with database.tenant("acme") as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(3)")
        await raises(Unavailable, bounded(), "took too long")
    await raises(Unavailable, ended(), "connection to the database was lost")
    both = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> None:
        async with database.tenant("acme") as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [first])
            await both.wait()
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [second])

    ended = await asyncio.gather(lock(1, 2), lock(2, 1), return_exceptions=True)
    (refused,) = [one for one in ended if one is not None]
    assert isinstance(refused, Unavailable)
    assert "Another call" in refused.message


async def test_a_cancelled_caller_does_not_cut_a_transaction_and_closing_awaits_it(store: Store) -> None:
    principal, identity = store.ann, uuid7()
    await store.conversations.create(principal, identity, "before", {}, None)
    database = Database(store.urls.app, store.urls.log, size=10)
    await database.open()
    conversations = PostgresConversationStore(database)
    for title, ends in (("drained", database.background.drain), ("closed", database.close)):
        async with locked(store.urls, "conversation", identity):
            update = conversations.update(principal, identity, title=title, labels=None, etag="")
            caller: asyncio.Task[object] = asyncio.create_task(update)
            await until_somebody_waits(store.urls, caller)
            caller.cancel()
            await asyncio.wait({caller})
            assert (caller.cancelled(), len(database.background)) == (True, 1)
            ending = asyncio.create_task(ends())
        await ending
        assert len(database.background) == 0
        assert (await store.conversations.get(principal, identity)).title == title


def test_every_public_method_of_a_store_runs_to_its_end() -> None:
    """No database call runs directly in a task that a caller may cancel (psycopg#1345, #1371)."""
    unprotected: list[str] = []
    methods = 0
    for module in pkgutil.iter_modules(postgres.__path__, postgres.__name__ + "."):
        if module.name.endswith((".database", ".jobs")):
            continue
        for name, made in vars(importlib.import_module(module.name)).items():
            if not inspect.isclass(made) or made.__module__ != module.name or "__init__" not in vars(made):
                continue
            if "database" not in inspect.signature(made).parameters:
                continue
            for method, function in inspect.getmembers(made, inspect.iscoroutinefunction):
                # A method that receives a connection is part of another store's transaction.
                if not method.startswith("_") and "connection" not in inspect.signature(function).parameters:
                    methods += 1
                    if not hasattr(function, "__wrapped__"):
                        unprotected.append(f"{name}.{method}")
    assert unprotected == []
    assert methods >= 70


async def test_a_cancellation_that_comes_with_the_connection_counts(database_urls: DatabaseUrls) -> None:
    """A loop that had to stop went on for ever, because the wait for its connection forgot the cancellation."""
    pool = Pool(conninfo(database_urls.app, ""), min_size=1, max_size=1, open=False)
    await pool.open(wait=True)
    try:
        for steps in range(8):
            held = await pool.getconn()
            waiting = asyncio.create_task(pool.getconn())
            while not pool.get_stats()["requests_waiting"]:  # noqa: ASYNC110  the pool sends no signal
                await asyncio.sleep(0)
            await pool.putconn(held)
            for _ in range(steps):
                await asyncio.sleep(0)
            if waiting.cancel():
                await raises(asyncio.CancelledError, waiting)
            else:
                await pool.putconn(await waiting)
            # No connection is lost either way.
            await pool.putconn(await pool.getconn())
    finally:
        await pool.close()


async def test_connections_that_nobody_needs_are_closed(
    database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("responsa_server.stores.postgres.pool._IDLE_SECONDS", 0.02)
    pool = Pool(conninfo(database_urls.app, ""), min_size=1, max_size=4, open=False)
    await pool.open(wait=True)
    try:
        for connection in [await pool.getconn() for _ in range(4)]:
            await pool.putconn(connection)
        async with asyncio.timeout(PATIENCE):
            while pool.get_stats()["pool_size"] > 1:  # noqa: ASYNC110  the pool sends no signal
                await asyncio.sleep(0)
        await pool.putconn(await pool.getconn())
    finally:
        await pool.close()


async def test_an_outage_fails_calls_at_once_and_ends_with_the_first_good_probe() -> None:
    async def asks() -> None:
        for connected in (database.no_tenant, database.log, database.writer):
            async with connected() as connection:
                await connection.execute("SELECT 1")

    async def all_closed() -> None:
        if database.away or not await database.answers():
            raise unavailable()

    with throwaway_postgres() as postgres:
        database = Database(postgres.dsn("app"), postgres.dsn("log"), size=2)
        await database.open()
        try:
            assert await database.answers()
            # While the event loop stalls, attempts to connect fail although the database answers.
            await database._on_lost(database._app)  # pyright: ignore[reportPrivateUsage] -- psycopg_pool calls it
            assert database.away == []
            postgres.stop()
            # The first calls find out; then their pool's circuit is open.
            assert (await raises(Unavailable, asyncio.gather(*(asks() for _ in range(4))))).retry_after
            assert "app" in database.away
            asked = database.pools()["app"]["requests_num"]
            await raises(Unavailable, database.no_tenant().__aenter__())
            assert database.pools()["app"]["requests_num"] - asked <= 1, "only a probe asks the pool"
            assert not await database.answers()
            postgres.start()
            await retry(asks, PATIENCE)
            await retry(all_closed, PATIENCE)
        finally:
            await database.close()
