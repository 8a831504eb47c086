from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from uuid_utils.compat import uuid7

from responsa_server.domain.events import Usage
from responsa_server.domain.kinds import kind_of
from responsa_server.domain.turns import Checkpoint
from responsa_server.embedded import EmbeddedPostgres
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.migrate import Migration, MigrationError, applied, load, migrate
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls, urls_of
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
    SELECT %(turn)s, 'acme', user_id, id, '[null, "How long?", [], "", "reject"]', sha256('x'), %(version)s, CASE WHEN %(ended)s THEN 'failed' ELSE 'running' END,
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
    with pytest.raises(MigrationError, match="applied with different content"):
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


@dataclass(frozen=True, slots=True)
class Older:
    """Each role's URL for a database that has only the first migrations. The database holds two turns, one running and one ended."""

    urls: DatabaseUrls
    running: UUID
    ended: UUID


@pytest.fixture
def older(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Older]:
    """A database as an older release left it. The test gives the number of the last migration."""
    name, last = "upgraded", int(request.param)
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER responsa_owner TEMPLATE template0".encode())
    try:
        made = Older(urls_of(postgres, name), uuid7(), uuid7())
        with psycopg.connect(made.urls.superuser, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
            asyncio.run(migrate(made.urls.owner, load()[:last]))
            connection.execute(_OLDER.encode())
            for turn, agent in ((made.running, "default"), (made.ended, "elder")):
                connection.execute(
                    _OLDER_TURN.encode(),
                    {"turn": turn, "ended": turn == made.ended, "version": f"agents/{agent}/versions/1"},
                )
        yield made
    finally:
        with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


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


@pytest.mark.parametrize("older", [5, 6], indirect=True)
async def test_turns_of_an_older_version_are_taken_over_after_the_migration(older: Older) -> None:
    """One turn was running when the server was replaced. The ended turn stays unchanged."""
    async with await psycopg.AsyncConnection.connect(older.urls.superuser) as connection:
        present = len(await applied(connection))
    assert list(await migrate(older.urls.owner)) == [one.name for one in load()[present:]]
    database = Database(older.urls.app, older.urls.log, size=2)
    await database.open()
    try:
        store = PostgresTurnStore(database, PlainCodec())
        (claimed,) = await store.claim(uuid7(), ["agents/default/versions/1"], 6.0, 9)
    finally:
        await database.close()
    assert (claimed.claim.turn_id, claimed.claim.epoch, claimed.attempt) == (older.running, 2, 2)
    assert claimed.age_seconds == 0


@pytest.mark.parametrize("older", [6], indirect=True)
async def test_a_turn_goes_on_from_its_older_checkpoint_and_numbers_of_agents_are_not_given_again(
    older: Older,
) -> None:
    with psycopg.connect(older.urls.superuser) as connection:
        connection.execute(
            """INSERT INTO responsa.turn_checkpoint (turn_id, tenant_id, epoch, last_seq, text_bytes, embedding_tokens, input_tokens, output_tokens, state)
            VALUES (%s, 'acme', 1, 1, 0, 7, 8, 9, 'state')""",
            (older.running,),
        )
    await migrate(older.urls.owner)
    database = Database(older.urls.app, older.urls.log, size=2)
    await database.open()
    try:
        store = PostgresTurnStore(database, PlainCodec())
        (claimed,) = await store.claim(uuid7(), ["agents/default/versions/1"], 6.0, 9)
    finally:
        await database.close()
    assert claimed.checkpoint == Checkpoint(1, 0, Usage(7, 8, 9), b"state")
    with psycopg.connect(older.urls.app) as connection:
        taken = connection.execute("SELECT agent_id, version, engine FROM responsa.agent_version ORDER BY 1")
        assert taken.fetchall() == [("default", 1, 0), ("elder", 1, 0)]
    with psycopg.connect(older.urls.superuser) as connection:
        forced = connection.execute(
            "SELECT relforcerowsecurity FROM pg_class WHERE oid = 'responsa.turn'::regclass"
        )
        assert forced.fetchone() == (True,)


@pytest.mark.parametrize("older", [5, 6], indirect=True)
async def test_the_default_agents_first_number_is_taken_where_an_older_version_was(older: Older) -> None:
    """Servers of the old release may still run, and may write the first turn after the migration."""
    with psycopg.connect(older.urls.superuser) as connection:
        connection.execute("DELETE FROM responsa.turn")
    await migrate(older.urls.owner)
    with psycopg.connect(older.urls.app) as connection:
        taken = connection.execute("SELECT agent_id, version, engine, content FROM responsa.agent_version")
        assert taken.fetchall() == [("default", 1, 0, b"")]


async def test_in_a_fresh_database_no_agent_has_a_number(database_urls: DatabaseUrls) -> None:
    with psycopg.connect(database_urls.app) as connection:
        assert connection.execute("SELECT FROM responsa.agent_version").fetchall() == []


@pytest.mark.parametrize("older", [6], indirect=True)
async def test_constraints_on_large_tables_are_checked_while_these_are_used(older: Older) -> None:
    unchecked = "SELECT conname FROM pg_constraint WHERE NOT convalidated ORDER BY 1"
    await migrate(older.urls.owner, load()[:7])
    with psycopg.connect(older.urls.superuser) as connection:
        assert connection.execute(unchecked).fetchall() == [
            ("message_refusal_check",),
            ("turn_cost_micros_check",),
            ("turn_unpriced_tokens_check",),
        ]
    await migrate(older.urls.owner)
    with psycopg.connect(older.urls.superuser) as connection:
        assert connection.execute(unchecked).fetchall() == []


@pytest.mark.parametrize("older", [10], indirect=True)
async def test_collections_of_an_older_version_get_their_kinds(older: Older) -> None:
    with psycopg.connect(older.urls.superuser) as connection:
        connection.execute(
            """INSERT INTO responsa.collection (tenant_id, id, owner_id, max_tokens, overlap_tokens, embedding)
            SELECT tenant_id, unnest(ARRAY['chat', 'handbook', 'responsa-docs', 'tutor']), id, 500, 50, 'x' FROM responsa.app_user"""
        )
    await migrate(older.urls.owner)
    with psycopg.connect(older.urls.superuser) as connection:
        kinds = connection.execute("SELECT id, kind FROM responsa.collection ORDER BY id").fetchall()
    assert kinds == [(one, kind_of(one).value) for one in ("chat", "handbook", "responsa-docs", "tutor")]
    assert dict(kinds) == {"chat": "sample", "handbook": "own", "responsa-docs": "docs", "tutor": "sample"}


_PEOPLE = """
    INSERT INTO responsa.tenant (id, display_name, create_time) VALUES ('default', 'x', now() + interval '1 s');
    INSERT INTO responsa.app_user (id, tenant_id, display_name, role, create_time, disable_time)
    SELECT uuidv7(), tenant, name, role, now() + number * interval '1 s', CASE WHEN disabled THEN now() END FROM (VALUES
        ('acme', 'elder', 'admin', 0, false), ('default', 'reader', 'user', 1, false), ('default', 'gone', 'admin', 2, true),
        ('default', 'first', 'admin', 3, false), ('default', 'second', 'admin', 4, false)
    ) AS people (tenant, name, role, number, disabled);
"""


@pytest.mark.parametrize("older", [21], indirect=True)
@pytest.mark.parametrize("with_default", [True, False])
async def test_an_installation_that_stands_gets_its_owner(older: Older, with_default: bool) -> None:
    with psycopg.connect(older.urls.superuser) as connection:
        connection.execute(_PEOPLE.encode())
        if not with_default:
            connection.execute("DELETE FROM responsa.app_user WHERE tenant_id = 'default'")
            connection.execute("DELETE FROM responsa.tenant WHERE id = 'default'")
    await migrate(older.urls.owner)
    with psycopg.connect(older.urls.superuser) as connection:
        homes = connection.execute("SELECT id FROM responsa.tenant WHERE home").fetchall()
        owners = connection.execute("SELECT display_name FROM responsa.app_user WHERE owner").fetchall()
    assert homes == [("default" if with_default else "acme",)]
    assert owners == [("first" if with_default else "elder",)]


@pytest.mark.parametrize("older", [52], indirect=True)
async def test_what_was_audited_before_names_the_affected_user_and_the_last_sign_in(older: Older) -> None:
    ann, bob = uuid7(), uuid7()
    key = uuid7()
    when = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    with psycopg.connect(older.urls.superuser) as connection:
        for one in (ann, bob):
            connection.execute(
                "INSERT INTO responsa.app_user (id, tenant_id, display_name, role) SELECT %s, id, 'x', 'user' FROM responsa.tenant",
                (one,),
            )
        connection.execute(
            "INSERT INTO responsa.api_key (id, tenant_id, user_id, display_name, prefix, secret_sha256) SELECT %s, id, %s, 'x', 'rsp', sha256('x') FROM responsa.tenant",
            (key, bob),
        )
        for actor, action, resource in (
            (ann, "user.disable", f"users/{bob}"),
            (ann, "api_key.revoke", f"apiKeys/{key}"),
            (bob, "user.update", f"users/{bob}"),
            (bob, "session.create", f"users/{bob}"),
            (ann, "agents.reload", ""),
        ):
            connection.execute(
                """INSERT INTO responsa.audit_event (id, tenant_id, actor, action, resource_name, outcome, create_time)
                SELECT uuidv7(), id, %s, %s, %s, 'OK', %s FROM responsa.tenant""",
                (f"users/{actor}", action, resource, when),
            )
    await migrate(older.urls.owner)
    with psycopg.connect(older.urls.superuser) as connection:
        affected = connection.execute(
            "SELECT action, affected_user FROM responsa.audit_event ORDER BY action"
        ).fetchall()
        signed_in = connection.execute("SELECT id, last_sign_in_time FROM responsa.app_user").fetchall()
    assert affected == [
        ("agents.reload", None),
        ("api_key.revoke", bob),
        ("session.create", None),
        ("user.disable", bob),
        ("user.update", None),
    ]
    assert (dict(signed_in)[bob], dict(signed_in)[ann]) == (when, None)


@pytest.mark.parametrize("older", [6], indirect=True)
async def test_a_migration_does_not_hold_all_up_behind_one_that_has_a_table(older: Older) -> None:
    seventh = next(one for one in load() if one.number == 7)
    hasty = Migration(seventh.number, seventh.name, seventh.sql.replace("'10s'", "'10ms'"))
    assert hasty.sql != seventh.sql
    with psycopg.connect(older.urls.superuser) as connection:
        connection.execute("SELECT FROM responsa.turn")
        with pytest.raises(MigrationError, match="lock timeout"):
            await migrate(older.urls.owner, [*load()[:6], hasty])


@pytest.mark.parametrize("older", [5], indirect=True)
async def test_a_migration_does_not_wait_long_for_a_lock(
    older: Older, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All later calls on the table would wait behind it. Migration 6 sets no limit, so the limit is the connection's."""
    monkeypatch.setattr("responsa_server.stores.postgres.migrate.LOCK_SECONDS", 1)
    with psycopg.connect(older.urls.superuser) as holder:
        holder.execute("LOCK TABLE responsa.turn IN ACCESS SHARE MODE")
        async with asyncio.timeout(20):
            with pytest.raises(MigrationError, match="other sessions hold a lock on its tables: try again"):
                await migrate(older.urls.owner)
        holder.rollback()
    assert (await migrate(older.urls.owner))[-1] == load()[-1].name
