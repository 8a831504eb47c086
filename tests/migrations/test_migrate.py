from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from uuid_utils.compat import uuid7

from responsa_server.embedded import EmbeddedPostgres
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.migrate import Migration, MigrationError, applied, load, migrate
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.plain_codec import PlainCodec

_OLDER = """
    INSERT INTO responsa.tenant (id, display_name) VALUES ('acme', 'x');
    INSERT INTO responsa.app_user (id, tenant_id, display_name, role) VALUES ('00000000-0000-7000-8000-000000000001', 'acme', 'x', 'user');
"""
_OLDER_TURN = """
    WITH place AS (
        INSERT INTO responsa.conversation (id, tenant_id, user_id, title, titled)
        VALUES (uuidv7(), 'acme', '00000000-0000-7000-8000-000000000001', 'x', true) RETURNING id, user_id
    )
    INSERT INTO responsa.turn (id, tenant_id, user_id, conversation_id, request, request_sha256, agent_version, state, owner, lease_until, last_seq, terminal, end_time)
    SELECT %(turn)s, 'acme', user_id, id, '[null, "How long?", [], "", "reject"]', sha256('x'), 'a', CASE WHEN %(ended)s THEN 'failed' ELSE 'running' END,
        uuidv7(), now() - interval '1 s', 1, CASE WHEN %(ended)s THEN 'x'::bytea END, CASE WHEN %(ended)s THEN now() END
    FROM place
"""


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
    with pytest.raises(MigrationError, match="applied in another form"):
        await migrate(database_urls.owner, changed)


async def test_a_database_that_is_ahead_is_refused(database_urls: DatabaseUrls) -> None:
    with pytest.raises(MigrationError, match="does not know"):
        await migrate(database_urls.owner, load()[:1])


async def test_a_migration_that_fails_leaves_nothing_and_says_which(database_urls: DatabaseUrls) -> None:
    known = load()
    broken = Migration(
        len(known) + 1, f"{len(known) + 1:04}_pre_broken", "CREATE TABLE responsa.half (); SELECT 1/0;"
    )
    with pytest.raises(MigrationError, match=f"{broken.name} failed: division by zero"):
        await migrate(database_urls.owner, [*known, broken])
    async with await psycopg.AsyncConnection.connect(database_urls.owner) as connection:
        cursor = await connection.execute(sql.SQL("SELECT to_regclass('responsa.half')"))
        assert await cursor.fetchone() == (None,)
        assert len(await applied(connection)) == len(known)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["0001_pre_a.sql", "0003_pre_b.sql"], "gap"),
        (["0001_pre_a.sql", "0001_post_b.sql"], "stand twice"),
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


async def test_turns_of_an_older_version_are_taken_over_after_the_migration(
    postgres: EmbeddedPostgres,
) -> None:
    """One that ran while the server was exchanged, and one that had ended."""
    name, known = "upgraded", load()
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER responsa_owner TEMPLATE template0".encode())
    try:
        url = postgres.dsn("superuser", database=name)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
        owner = postgres.dsn("owner", database=name)
        await migrate(owner, known[:5])
        running, ended = uuid7(), uuid7()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_OLDER.encode())
            for turn in (running, ended):
                connection.execute(_OLDER_TURN.encode(), {"turn": turn, "ended": turn == ended})
        assert list(await migrate(owner)) == [one.name for one in known[5:]]
        database = Database(postgres.dsn("app", database=name), postgres.dsn("log", database=name))
        await database.open()
        try:
            (claimed,) = await PostgresTurnStore(database, PlainCodec()).claim(uuid7(), ["a"], 6.0, 9)
        finally:
            await database.close()
        assert (claimed.claim.turn_id, claimed.claim.epoch, claimed.attempt) == (running, 2, 2)
        assert claimed.age_seconds == 0
    finally:
        with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
