"""`migrate` and `serve` work without Redis, and with an external PostgreSQL that DATABASE_URL names. The owner of the database may create
roles, and needs no other privileges.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.embedded import EmbeddedPostgres, Layout, throwaway_postgres
from responsa_server.stores.postgres.migrate import MigrationError, migrate
from tests import seeds
from tests.forked import responsa
from tests.instance import eventually, plain_environment
from tests.tied import tied
from tests.transports import stub_of


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL without any Responsa data, and a user who may create roles."""
    with throwaway_postgres() as postgres:
        with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
            connection.execute("drop database responsa")
            for role in ("responsa_owner", "responsa_app", "responsa_log", "responsa_search"):
                connection.execute(f"drop role {role}")  # pyright: ignore
            connection.execute("create role house login createrole password 'open sesame'")
        yield postgres


@pytest.fixture
def outside(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database, with its owner as the user."""
    superuser = server.dsn("superuser", database="postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("create database house owner house")
        with psycopg.connect(server.dsn("superuser", database="house"), autocommit=True) as inside:
            inside.execute("create extension vector")
        yield make_conninfo(superuser, dbname="house", user="house", password="open sesame")
        connection.execute("drop database house with (force)")


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="rso-"))
    yield found
    shutil.rmtree(found)


def test_migrate_and_serve(outside: str, folder: Path) -> None:
    environment = plain_environment(
        DATABASE_URL=outside,
        RESPONSA_HOME=str(folder / "home"),
        RESPONSA_GRPC_LISTEN=f"unix:{folder / 'g'}",
        RESPONSA_HTTP_LISTEN=f"unix:{folder / 'h'}",
    )

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "responsa_server", *arguments],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    assert "0001" in run("migrate")
    assert run("migrate") == "The database is up to date."
    run("admin", "create-tenant", "house")
    user = run("admin", "create-user", "house", "Ann", "--role", "admin")
    key = run("admin", "create-key", "house", user)
    seeds.plant_model(Layout.of(folder / "home").prepare())
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        tied(sys.executable, "-m", "responsa_server", "serve"), env=environment, stdout=log, stderr=log
    )
    try:
        said = folder / "log"

        def ready() -> bool:
            assert server.poll() is None, said.read_text()
            return '"ready"' in said.read_text()

        eventually(ready, said.read_text)
        metadata = [("authorization", f"Bearer {key}")]
        with grpc.insecure_channel(
            f"unix:{folder / 'g'}", [("grpc.default_authority", "localhost")]
        ) as channel:
            create = knowledge.CreateDocumentRequest(text="The well in the yard is twelve feet deep.")
            create.metadata.source_key = "well.md"
            stub = stub_of(channel, "KnowledgeService")
            stub.CreateDocument(create, metadata=metadata, timeout=60)
            chats = stub_of(channel, "ChatService")

            def text() -> str:
                question = chat.AnswerRequest(text="How deep is the well in the yard?")
                return chats.Answer(question, metadata=metadata, timeout=60).terminal_event.answer.text

            eventually(lambda: "twelve feet" in text(), "an answer from the document")
    finally:
        server.terminate()
        code = server.wait(60)
        log.close()
    assert code == 0, (folder / "log").read_text()
    assert "open sesame" not in (folder / "log").read_text()
    with psycopg.connect(outside) as connection:
        kinds = connection.execute(
            "select rolname from pg_roles where rolname like 'responsa%' and (rolsuper or rolbypassrls)"
        ).fetchall()
    assert kinds == []


@pytest.mark.parametrize("command", [("migrate",), ("serve",), ("up",)], ids=" ".join)
def test_a_database_that_refuses_the_connection_is_reported_with_the_reason_and_without_the_password(
    command: Sequence[str], outside: str, folder: Path
) -> None:
    def said(url: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "responsa_server", *command],
            env=plain_environment(
                DATABASE_URL=url, RESPONSA_HOME=str(folder / "home"), RESPONSA_TURNZ__LEASE_SECONDS="6"
            ),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stdout + done.stderr
        # A misspelt variable is reported even if the start fails.
        assert ("RESPONSA_TURNZ__LEASE_SECONDS" in done.stdout + done.stderr) == (command != ("migrate",))
        return done.stderr

    assert 'database "barn" does not exist' in said(make_conninfo(outside, dbname="barn"))
    if command == ("migrate",):
        told = said("postgresql://house:open@sesame.invalid/house")
        assert "Name or service not known" in told or "name resolution" in told
        assert "sesame" not in told, "a part of a password that is not escaped counts as the host"


def test_doctor_examines_the_database_and_the_redis_that_the_settings_name(
    outside: str, folder: Path
) -> None:
    def found(**variables: str) -> Mapping[str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "responsa_server", "doctor"],
            env=plain_environment(RESPONSA_HOME=str(folder / "home"), **variables),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        lines = [line.partition(": ") for line in done.stdout.splitlines()]
        return {name: detail for name, _, detail in lines}

    good = found(DATABASE_URL=outside)
    assert "with pgvector" in good["ok    DATABASE_URL"]
    assert not {"ok    database", "ok    PostgreSQL"} & set(good)
    bad = found(
        DATABASE_URL=make_conninfo(outside, dbname="barn"),
        DATABASE_LOG_URL=make_conninfo(outside, dbname="postgres"),
        REDIS_URL=f"unix://{folder / 'none'}",
    )
    assert 'database "barn" does not exist' in bad["WRONG DATABASE_URL"]
    assert "CREATE EXTENSION vector" in bad["WRONG DATABASE_LOG_URL"]
    assert "Redis cannot be reached" in bad["WRONG REDIS_URL"]
    assert "ok    Redis" not in bad


def test_an_old_postgresql_is_refused_before_the_first_migration(
    outside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("responsa_server.stores.postgres.migrate.OLDEST_POSTGRES", 99)
    with pytest.raises(
        MigrationError, match=r"is in a PostgreSQL \d+, and Responsa needs PostgreSQL 99 or newer"
    ):
        asyncio.run(migrate(outside))
    with psycopg.connect(outside) as connection:
        assert connection.execute("select to_regnamespace('responsa')").fetchone() == (None,)


def test_a_dump_goes_into_an_empty_database(outside: str, server: EmbeddedPostgres, folder: Path) -> None:
    """The login reads all rows through a role that a superuser makes. The restored tables keep their policies, and functions their owners."""

    def run(home: str, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [*responsa(), *arguments],
            env=plain_environment(DATABASE_URL=outside, RESPONSA_HOME=str(folder / home)),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout.strip()

    def secured() -> Sequence[tuple[object, ...]]:
        with psycopg.connect(outside) as connection:
            return connection.execute(
                """SELECT relname::text, relrowsecurity, relforcerowsecurity, (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid), (SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid)
                    FROM pg_class c WHERE relnamespace = 'responsa'::regnamespace AND relkind IN ('r', 'p')
                UNION ALL SELECT proname || ' ' || proowner::regrole || ' ' || coalesce(proacl::text, ''), prosecdef, true, 0, 0 FROM pg_proc WHERE pronamespace = 'responsa'::regnamespace
                ORDER BY 1"""
            ).fetchall()

    Layout.of(folder / "old").prepare()
    run("old", "migrate")
    run("old", "admin", "create-tenant", "house")
    user = run("old", "admin", "create-user", "house", "Ann")
    assert "GRANT responsa_backup TO" in run("old", "backup", str(folder / "b"), code=1)
    assert not list((folder / "b").iterdir())
    superuser = server.dsn("superuser", database="postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("CREATE ROLE responsa_backup NOLOGIN BYPASSRLS")
        connection.execute("GRANT responsa_backup TO house")
    with psycopg.connect(outside) as connection:
        # A week of the turn log that no migration makes.
        connection.execute("SELECT responsa.make_turn_event_partitions(interval '100 days')")
    archive = run("old", "backup", str(folder / "b"))
    before = secured()
    assert "has tables of Responsa; name an empty database" in run("new", "restore", archive, code=1)
    with psycopg.connect(outside) as connection:
        connection.execute("DROP SCHEMA responsa, procrastinate CASCADE")
    run("new", "restore", archive)
    assert secured() == before
    assert run("new", "admin", "create-key", "house", user).startswith("rsp_")
    with psycopg.connect(server.dsn("superuser", database="house"), autocommit=True) as connection:
        connection.execute("DROP OWNED BY responsa_backup")
        connection.execute("DROP ROLE responsa_backup")
