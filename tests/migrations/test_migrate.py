from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from responsa_server.app.settings import load as settings_of
from responsa_server.cli.local.preparing import prepare_database
from responsa_server.domain.parts import MigrationState
from responsa_server.embedded import EmbeddedPostgres, Layout
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.locks import Lock
from responsa_server.stores.postgres.migrate import (
    SQUASHED_AT,
    Migration,
    MigrationError,
    PostgresMigrations,
    applied,
    load,
    marked,
    migrate,
    unfit,
)
from tests.conftest import DatabaseUrls, urls_of

RECORDED = Path(__file__).parent / "at_c6fb5430" / "dump.sql.gz"
MERGED = dict(line.split() for line in (Path(__file__).parent / "merged").read_text().splitlines())
"""The hashes of the merged migrations, which `make baseline` adds."""


def _next(statements: str) -> Migration:
    """A migration behind all others."""
    number = len(load()) + 1
    return Migration(number, f"{number:04}_pre_more", statements)


async def test_all_migrations_are_applied_in_order_and_applying_again_does_nothing(
    database_urls: DatabaseUrls,
) -> None:
    assert list(await migrate(database_urls.owner)) == []
    async with await psycopg.AsyncConnection.connect(database_urls.app) as connection:
        assert [name for name, _ in await applied(connection)] == [one.name for one in load()]


async def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    database_urls: DatabaseUrls,
) -> None:
    first, *rest = load()
    changed = [Migration(first.number, first.name, first.sql + "\n-- changed"), *rest]
    with pytest.raises(
        MigrationError,
        match=r"0001_pre_identity was applied with different content.* continue with the version",
    ):
        await migrate(database_urls.owner, changed)


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
        assert len(await applied(connection)) == len(known)


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


def test_a_merged_migration_is_never_changed() -> None:
    """Databases have applied it."""
    assert {migration.name: migration.sha256.hex() for migration in load()} == MERGED, "make baseline"


# What the ledger of a database of commit c6fb5430 holds: number, name and hash of each migration.
OLD = [
    (int(number), name, bytes.fromhex(digest))
    for number, name, digest in re.findall(
        r"\((\d+), '(\d{4}_\w+)', '\\x([0-9a-f]{64})'", gzip.decompress(RECORDED.read_bytes()).decode()
    )
]


def test_the_ledger_of_the_last_version_with_63_migrations_is_known() -> None:
    assert [number for number, _, _ in OLD] == list(range(1, 64))
    assert RECORDED.parent.name == f"at_{SQUASHED_AT}"


def _enter(urls: DatabaseUrls, ledger: Sequence[tuple[int, str, bytes]]) -> None:
    """Replace the ledger."""
    with psycopg.connect(urls.owner) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM responsa.migration")
        cursor.executemany(
            "INSERT INTO responsa.migration (number, name, sha256) VALUES (%s, %s, %s)", ledger
        )


async def test_the_ledger_before_the_squash_becomes_todays_and_newer_migrations_follow(
    database_urls: DatabaseUrls, database: Database
) -> None:
    _enter(database_urls, OLD)
    state = PostgresMigrations(database).state
    assert await state() == MigrationState("0063_pre_guessed_charset", pending=True)
    squashed = load()[:8]
    newer = Migration(9, "0009_pre_more", "CREATE TABLE responsa.more ()")
    assert list(await migrate(database_urls.owner, [*squashed, newer])) == [newer.name]
    async with await psycopg.AsyncConnection.connect(database_urls.app) as connection:
        assert list(await applied(connection)) == [(one.name, one.sha256) for one in [*squashed, newer]]


@pytest.mark.parametrize(
    "ledger",
    [
        pytest.param(OLD[:30], id="older"),
        pytest.param(OLD[:40] + OLD[41:], id="partial"),
        pytest.param([*OLD[:62], (*OLD[62][:2], bytes(32))], id="changed"),
        pytest.param([*OLD, (64, "0064_pre_more", bytes(32))], id="longer"),
    ],
)
async def test_another_ledger_before_the_squash_is_refused_and_stays(
    database_urls: DatabaseUrls, ledger: Sequence[tuple[int, str, bytes]]
) -> None:
    _enter(database_urls, ledger)
    with pytest.raises(
        MigrationError,
        match=f"the last one is {ledger[-1][1]}; run `responsa migrate` of commit {SQUASHED_AT} ",
    ):
        await migrate(database_urls.owner)
    async with await psycopg.AsyncConnection.connect(database_urls.app) as connection:
        assert list(await applied(connection)) == [(name, digest) for _, name, digest in ledger]


async def test_what_older_servers_do_not_bear_waits_until_they_have_ended(
    database_urls: DatabaseUrls,
) -> None:
    """The server of the release before is connected as every server is."""
    known = load()
    number = len(known)
    pre = Migration(number + 1, f"{number + 1:04}_pre_column", "CREATE TABLE responsa.later ()")
    post = Migration(number + 2, f"{number + 2:04}_post_column", "DROP TABLE responsa.later")
    async with await psycopg.AsyncConnection.connect(marked(database_urls.log)):
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
    known, old = load(), marked(database_urls.log)
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
        await asyncio.to_thread(prepare_database, settings, Layout.of(settings.home).prepare())
    assert capsys.readouterr().out.startswith(f"{post.name} waits until no server of an earlier release runs")
    migrations = PostgresMigrations(database)
    assert (await migrations.unfit(), await migrations.missing()) == (("", ""), [post.name])


def test_a_server_works_with_the_database_of_the_release_before_and_after_it() -> None:
    first = Migration(1, "0001_pre_a", "")
    pre, post = Migration(2, "0002_pre_b", ""), Migration(3, "0003_post_b", "")
    old, new = [first], [first, pre, post]
    assert unfit(["0001_pre_a", "0002_pre_b"], old) == ("", "")
    assert unfit(["0001_pre_a", "0002_pre_b"], new) == ("", "")
    assert "lacks migrations of this version, such as 0002_pre_b" in unfit(["0001_pre_a"], new)[0]
    assert "has the migration 0003_post_b" in unfit([one.name for one in new], old)[0]
