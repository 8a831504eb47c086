from __future__ import annotations

import asyncio
import re
from pathlib import Path

import psycopg
import pytest
import typer
from psycopg import sql

from responsa_local.commands.admin import migrate as migrate_command
from responsa_local.commands.preparing import prepare_database
from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from responsa_server.app.settings import load as settings_of
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.locks import Lock
from responsa_server.stores.postgres.migrate import (
    ForeignSchema,
    Ledger,
    Migration,
    MigrationError,
    PostgresMigrations,
    check_fit,
    load,
    mark_url,
    migrate,
    read_ledger,
)
from tests.conftest import DatabaseUrls, urls_of
from tools.baseline import MERGED, ROOT, hashes


def _next(statements: str) -> Migration:
    """A migration behind all others."""
    number = len(load()) + 1
    return Migration(number, f"{number:04}_pre_more", statements)


async def test_all_migrations_are_applied_in_order_and_applying_again_does_nothing(
    database_urls: DatabaseUrls,
) -> None:
    assert list(await migrate(database_urls.owner)) == []
    async with await psycopg.AsyncConnection.connect(database_urls.app) as connection:
        assert [name for name, _ in await read_ledger(connection)] == [one.name for one in load()]


async def test_a_database_that_is_ahead_is_refused_if_this_version_does_not_work_with_it(
    database_urls: DatabaseUrls,
) -> None:
    known = load()
    assert await migrate(database_urls.owner, known[:1]) == []
    number = len(known) + 1
    await migrate(database_urls.owner, [*known, Migration(number, f"{number:04}_post_more", "SELECT 1")])
    with pytest.raises(MigrationError, match=f"has the migration {number:04}_post_more, after which this"):
        await migrate(database_urls.owner)


async def test_a_migration_that_fails_leaves_nothing_and_says_which(database_urls: DatabaseUrls) -> None:
    known = load()
    broken = _next("CREATE TABLE responsa.half (); SELECT 1/0;")
    with pytest.raises(MigrationError, match=f"{broken.name} failed: division by zero"):
        await migrate(database_urls.owner, [*known, broken])
    async with await psycopg.AsyncConnection.connect(database_urls.owner) as connection:
        cursor = await connection.execute(sql.SQL("SELECT to_regclass('responsa.half')"))
        assert await cursor.fetchone() == (None,)
        assert len(await read_ledger(connection)) == len(known)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["0001_pre_a.sql", "0003_pre_b.sql"], "is missing"),
        (["0001_pre_a.sql", "0001_post_b.sql"], "occurs twice"),
        (["0001_a.sql"], "is not named"),
    ],
)
def test_files_must_be_named_and_numbered(tmp_path: Path, names: list[str], complaint: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=complaint):
        load(tmp_path)


def test_the_real_files_are_loaded_in_order() -> None:
    assert [one.number for one in load()] == list(range(1, len(load()) + 1))
    assert load()[0].name == "0001_pre_identity"


async def test_a_database_without_pgvector_is_told_who_has_to_do_what(postgres: EmbeddedPostgres) -> None:
    name = "without_vectors"
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER responsa_owner TEMPLATE template0".encode())
        try:
            urls = urls_of(postgres, name)
            with pytest.raises(
                MigrationError, match=r"a superuser must run CREATE EXTENSION vector in it once"
            ):
                await migrate(urls.owner)
            with psycopg.connect(urls.superuser, autocommit=True) as superuser:
                superuser.execute("CREATE EXTENSION vector")
            assert (await migrate(urls.owner))[-1] == load()[-1].name
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def test_a_database_that_cannot_store_every_character_is_refused(postgres: EmbeddedPostgres) -> None:
    name = "ascii"
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        made = (
            f"CREATE DATABASE {name} OWNER responsa_owner TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        )
        connection.execute(made.encode())
        try:
            with pytest.raises(
                MigrationError, match="has the encoding SQL_ASCII, and Responsa needs UTF8; name one"
            ):
                await migrate(urls_of(postgres, name).owner)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


async def test_in_a_fresh_database_no_agent_has_a_number(database_urls: DatabaseUrls) -> None:
    with psycopg.connect(database_urls.app) as connection:
        assert connection.execute("SELECT FROM responsa.agent_version").fetchall() == []


async def test_a_migration_does_not_wait_long_for_a_lock(
    database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All later calls on the table would wait behind it."""
    monkeypatch.setattr("responsa_server.stores.postgres.migrate.LOCK_SECONDS", 1)
    wanted = [*load(), _next("ALTER TABLE responsa.turn ADD COLUMN more int")]
    with psycopg.connect(database_urls.superuser) as holder:
        holder.execute("LOCK TABLE responsa.turn IN ACCESS SHARE MODE")
        async with asyncio.timeout(20):
            with pytest.raises(MigrationError, match="other sessions hold a lock on its tables: try again"):
                await migrate(database_urls.owner, wanted)
        holder.rollback()
    assert list(await migrate(database_urls.owner, wanted)) == [wanted[-1].name]


@pytest.mark.parametrize("index", [0, -1], ids=["first", "last"])
async def test_tables_of_another_form_are_refused_by_each_command_and_stay(
    database_urls: DatabaseUrls,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    index: int,
) -> None:
    """Restoring such a backup is in tests/local/commands/test_backup.py."""
    name = load()[index].name
    with psycopg.connect(database_urls.owner) as connection:
        connection.execute("UPDATE responsa.migration SET sha256 = '\\x00' WHERE name = %s", [name])
    async with await psycopg.AsyncConnection.connect(database_urls.app) as connection:
        before = await read_ledger(connection)
        what = (
            f"migration {name} was applied with the SHA-256 00…, .* none of their documents, accounts, "
            "conversations, keys and feedback; .*GET /v1/documents/ID:original"
        )
        with pytest.raises(ForeignSchema, match=what):
            await PostgresMigrations(database).check()  # `serve`
        for name, url in zip(
            ("", "APP_", "LOG_"), (database_urls.owner, database_urls.app, database_urls.log), strict=True
        ):
            monkeypatch.setenv(f"DATABASE_{name}URL", url)
        monkeypatch.setenv("RESPONSA_HOME", str(tmp_path / "home"))
        settings = settings_of()
        with pytest.raises(ForeignSchema, match=what):
            await asyncio.to_thread(
                prepare_database, settings, LocalLayout.of(settings.home).prepare()
            )  # `up`
        with pytest.raises(typer.Exit) as caught:
            await asyncio.to_thread(migrate_command)
        assert caught.value.exit_code == 1
        assert re.search(what, capsys.readouterr().err)
        assert await read_ledger(connection) == before


def test_the_list_of_migrations_is_complete() -> None:
    assert [*hashes()] == (ROOT / MERGED).read_text(encoding="utf-8").splitlines(), "make baseline"


async def test_what_older_servers_do_not_bear_waits_until_they_have_ended(
    database_urls: DatabaseUrls,
) -> None:
    """The server of the release before is connected as every server is."""
    known = load()
    number = len(known)
    pre = Migration(number + 1, f"{number + 1:04}_pre_column", "CREATE TABLE responsa.later ()")
    post = Migration(number + 2, f"{number + 2:04}_post_column", "DROP TABLE responsa.later")
    async with await psycopg.AsyncConnection.connect(mark_url(database_urls.log)):
        assert await migrate(database_urls.owner, [*known, pre, post]) == [pre.name]
        assert await migrate(database_urls.owner, [*known, pre, post]) == []
    # PostgreSQL may notice the end of the connection a moment later.
    async with asyncio.timeout(30):
        while not (done := await migrate(database_urls.owner, [*known, pre, post])):
            pass
    assert done == [post.name]


async def test_up_says_which_migration_waits(
    database_urls: DatabaseUrls,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known, old = load(), mark_url(database_urls.log)
    post = Migration(len(known) + 1, f"{len(known) + 1:04}_post_column", "CREATE TABLE responsa.later ()")
    monkeypatch.setattr("responsa_server.stores.postgres.migrate.load", lambda: [*known, post])
    settings = settings_of(
        home=tmp_path / "home",
        DATABASE_URL=database_urls.owner,
        DATABASE_APP_URL=database_urls.app,
        DATABASE_LOG_URL=database_urls.log,
    )
    async with await psycopg.AsyncConnection.connect(old) as server:
        # As a server does that works on jobs: nobody waits for its end.
        await server.execute("SELECT pg_advisory_lock_shared(%s)", [Lock.JOB_WORKERS])
        await asyncio.to_thread(prepare_database, settings, LocalLayout.of(settings.home).prepare())
    assert capsys.readouterr().out.startswith(f"{post.name} waits until no server of an earlier release runs")
    migrations = PostgresMigrations(database)
    await migrations.check()
    assert await migrations.missing() == [post.name]


def test_a_server_works_with_the_database_of_the_release_before_and_after_it() -> None:
    first = Migration(1, "0001_pre_a", "")
    pre, post = Migration(2, "0002_pre_b", ""), Migration(3, "0003_post_b", "")
    old, new = [first], [first, pre, post]

    def after(*migrations: Migration) -> Ledger:
        return [(one.name, one.sha256) for one in migrations]

    check_fit(after(first, pre), old)
    check_fit(after(first, pre), new)
    with pytest.raises(MigrationError, match="lacks migrations of this version, such as 0002_pre_b"):
        check_fit(after(first), new)
    with pytest.raises(MigrationError, match="has the migration 0003_post_b"):
        check_fit(after(*new), old)
