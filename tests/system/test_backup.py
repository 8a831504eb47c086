"""`responsa backup` on a running instance, `responsa restore` into an empty place, and what the restored instance has."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from responsa_server.embedded import EmbeddedPostgres, Layout, purge
from tests.callers import Credential, Tenant
from tests.instance import Instance
from tests.system.test_journey import answer, ingest
from tests.transports import Json, Ways

CITED = "SELECT count(*) FROM responsa.citation WHERE tenant_id = %s"
UNFOUNDED = """
    SELECT count(*) FROM responsa.citation c LEFT JOIN responsa.document_version v USING (tenant_id, document_id, version) CROSS JOIN LATERAL (
        SELECT substring(coalesce(v.canonical, v.original) FROM c.source_start::int + 1 FOR (c.source_end - c.source_start)::int) AS text) source
    WHERE c.document_id IS NOT NULL AND c.tenant_id = %s
        AND NOT coalesce(sha256(source.text) = c.sha256 AND starts_with(convert_from(source.text, 'UTF8'), c.quote), false)"""
KEPT = {
    "citation",
    "conversation",
    "document",
    "document_version",
    "message",
    "passage",
    "turn",
    "turn_event",
}
"""Tables that nobody writes while nobody asks or uploads."""


@pytest.fixture
def folder() -> Iterator[Path]:
    # Paths of sockets must stay short.
    found = Path(tempfile.mkdtemp(prefix="rsb-"))
    yield found
    for home in found.glob("*/.responsa-home"):
        purge(Layout.of(home.parent))
    shutil.rmtree(found)


@pytest.fixture
def answered(ways: Ways, tenant: Tenant) -> Tenant:
    """A tenant with a document and an answer that cites it."""
    headers = tenant.headers(Credential.ADMIN)
    ingest(ways, headers, "well", "The well in the yard is twelve feet deep.")
    assert answer(ways, headers, "How deep is the well in the yard?")["terminalEvent"]["answer"]["citations"]
    return tenant


def rows(connection: psycopg.Connection) -> Mapping[str, tuple[int, str]]:
    """The number and the digest of all rows, by the table."""
    tables = connection.execute(
        "SELECT relnamespace::regnamespace::text, relname FROM pg_class WHERE relnamespace::regnamespace::text IN ('responsa', 'procrastinate') AND relkind IN ('r', 'p')"
    ).fetchall()
    found: dict[str, tuple[int, str]] = {}
    for schema, name in tables:
        digest = connection.execute(
            sql.SQL(
                "SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {} t"
            ).format(sql.Identifier(schema, name))
        ).fetchone()
        assert digest is not None
        found[name] = (digest[0], digest[1])
    return found


def live(home: Path) -> psycopg.Connection:
    return psycopg.connect(EmbeddedPostgres(Layout.of(home)).dsn("superuser"))


@pytest.mark.parametrize("options", [(), ("--dump",)], ids=["base", "dump"])
def test_a_restored_instance_has_every_row_and_every_citation(
    instance: Instance, ways: Ways, answered: Tenant, folder: Path, options: tuple[str, ...]
) -> None:
    key = folder / "key"
    key.write_text(secrets.token_hex(32))
    (instance.home / "agents" / "mine").mkdir(parents=True)
    (instance.home / "agents" / "mine" / "notes.md").write_text("not an agent yet")
    done = threading.Event()
    answers: list[Json] = []
    headers = answered.headers(Credential.ADMIN)

    def read() -> None:
        while not done.is_set():
            answers.append(ways.call("ChatService/ListConversations", {}, headers).message)

    with live(instance.home) as connection:
        before = rows(connection)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        (archive,) = instance.run(
            "backup", str(folder / "b"), "--key-file", str(key), *options
        ).stdout.split()
    finally:
        done.set()
        reader.join()
        shutil.rmtree(instance.home / "agents")
    assert answers, "the instance answers during the backup"
    with live(instance.home) as connection:
        after = rows(connection)
    said = json.loads((instance.home / "last-backup.json").read_text())
    assert (said["file"], said["bytes"]) == (archive, Path(archive).stat().st_size)

    home = folder / "home"
    instance.run("restore", archive, "--key-file", str(key), RESPONSA_HOME=str(home))
    layout = Layout.of(home)
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    try:
        with live(home) as connection:
            restored = rows(connection)
            assert (home / "agents" / "mine" / "notes.md").read_text() == "not an agent yet"
            assert connection.execute(UNFOUNDED, [answered.name]).fetchone() == (0,)
            cited = connection.execute(CITED, [answered.name]).fetchone()
            assert cited is not None
            assert cited[0] > 0
        # The restored instance's own logins work.
        psycopg.connect(postgres.dsn("app")).close()
    finally:
        postgres.stop()
    still = {name for name, digest in before.items() if after[name] == digest}
    assert still >= KEPT
    differ = {name for name in still if restored[name] != before[name]}
    assert differ <= {"signing_key"}, "a restore makes a new key that signs tokens"


def test_a_backup_without_room_leaves_nothing_and_old_backups_go(instance: Instance, folder: Path) -> None:
    place = folder / "b"
    first = instance.run("backup", str(place)).stdout.strip()
    second = instance.run("backup", str(place), "--keep", "1").stdout.strip()
    assert first != second
    # The limit of the process stands for a disk that fills up.
    full = subprocess.run(
        ["prlimit", "--fsize=100000", *instance.command("backup", str(place), "--keep", "1")],
        env=instance.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert [str(path) for path in place.iterdir()] == [second]
    assert json.loads((instance.home / "last-backup.json").read_text())["file"] == second
