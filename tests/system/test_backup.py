"""`responsa backup` on a running instance, `responsa restore` into an empty place, and what the restored instance has."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import psycopg
import pytest
from obstore.store import S3Store
from psycopg import sql

from responsa_client import CitationVerdict, Responsa
from responsa_local.commands.archive import BackupMember, parse_header, read, writing
from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from responsa_server.search.settings import RetrievalSettings
from responsa_server.stores.postgres.vectors import fit_index
from tests.callers import Credential, Tenant
from tests.conftest import DatabaseUrls, urls_of
from tests.forked import responsa
from tests.instance import Instance, eventually, free_port, short_folder
from tests.system.test_journey import answer, ingest
from tests.tied import tied
from tests.transports import Json, Ways

CITED = "SELECT count(*) FROM responsa.citation WHERE tenant_id = %s"
UNFOUNDED = """
    SELECT count(*) FROM responsa.citation c LEFT JOIN responsa.document_version v USING (tenant_id, document_id, version)
    CROSS JOIN LATERAL (
        SELECT substring(coalesce(v.canonical, v.original) FROM c.source_start::int + 1
            FOR (c.source_end - c.source_start)::int) AS text) source
    WHERE c.document_id IS NOT NULL AND c.tenant_id = %s
        AND NOT coalesce(sha256(source.text) = c.sha256 AND starts_with(convert_from(source.text, 'UTF8'), c.quote), false)"""
TURNS = int(os.environ.get("RESPONSA_SOAK_COUNT") or 10_000)
BLOCK = 90_000
"""By how many bytes the original of each copied document is longer, so that ten thousand of them take a gigabyte."""
COPY_ID = """CREATE FUNCTION pg_temp.copy_of(id uuid, number int) RETURNS uuid IMMUTABLE LANGUAGE sql
    AS $$ SELECT overlay(id::text PLACING right(md5(id::text || number), 12) FROM 25)::uuid $$"""
COPIED: Mapping[str, Mapping[str, str]] = {
    "document": {"id": "copy_of", "source_key": "source_key || n"},
    "document_version": {
        "document_id": "copy_of",
        "original": "original || convert_to(%(block)s || n, 'UTF8')",
    },
    "passage": {"id": "copy_of", "document_id": "copy_of"},
    "passage_vector": {
        "passage_id": "copy_of",
        "embedding": "(SELECT array_agg(random() - 0.5) FROM generate_series(1, 384) WHERE n > 0)::real[]::halfvec",
    },
    "conversation": {"id": "copy_of", "request_id": "NULL"},
    "turn": {"id": "copy_of", "conversation_id": "copy_of", "request_id": "NULL"},
    "turn_event": {"turn_id": "copy_of"},
    "message": {"id": "copy_of", "conversation_id": "copy_of", "turn_id": "copy_of"},
    "citation": {"message_id": "copy_of", "passage_id": "copy_of", "document_id": "copy_of"},
}
"""The columns of a copied row that differ from the row's, by the table."""
KEPT = {
    "citation",
    "conversation",
    "document",
    "document_version",
    "message",
    "turn",
    "turn_event",
}
"""Tables that nobody writes while nobody asks or uploads. Passages of other tests may still be analysed."""


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as found:
        yield found


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
        "SELECT relnamespace::regnamespace::text, relname FROM pg_class WHERE "
        "relnamespace::regnamespace::text IN ('responsa', 'procrastinate') AND relkind IN ('r', "
        "'p')"
    ).fetchall()
    digests: dict[str, tuple[int, str]] = {}
    for schema, name in tables:
        digest = connection.execute(
            sql.SQL(
                "SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {} t"
            ).format(sql.Identifier(schema, name))
        ).fetchone()
        assert digest is not None
        digests[name] = (digest[0], digest[1])
    return digests


def live(home: Path) -> psycopg.Connection:
    return psycopg.connect(EmbeddedPostgres(LocalLayout.of(home)).dsn("superuser"))


@contextmanager
def read_meanwhile(ways: Ways, headers: Mapping[str, str]) -> Generator[None]:
    """Ask the instance again and again during the block; it must answer."""
    done = threading.Event()
    answers: list[Json] = []

    def read() -> None:
        while not done.is_set():
            answers.append(ways.call("ChatService/ListConversations", {}, headers).message)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        done.set()
        reader.join()
    assert answers


@pytest.fixture
def outside(maintenance: psycopg.Connection, postgres: EmbeddedPostgres) -> Iterator[DatabaseUrls]:
    """An empty database in another PostgreSQL than the instance's."""
    maintenance.execute("CREATE DATABASE outside OWNER responsa_owner")
    urls = urls_of(postgres, "outside")
    with psycopg.connect(urls.superuser) as connection:
        connection.execute("CREATE EXTENSION vector")
    yield urls
    maintenance.execute("DROP DATABASE outside WITH (FORCE)")


def test_a_dump_in_an_outside_database_is_paused_before_a_server_can_start(
    instance: Instance, answered: Tenant, folder: Path, outside: DatabaseUrls
) -> None:
    (archive,) = instance.run("backup", str(folder / "b"), "--dump").stdout.split()
    there = {
        "RESPONSA_HOME": str(folder / "home"),
        "DATABASE_URL": outside.owner,
        "DATABASE_APP_URL": outside.app,
        "DATABASE_LOG_URL": outside.log,
    }
    instance.run("restore", archive, **there)
    with psycopg.connect(outside.superuser, autocommit=True) as connection:
        # What a restore has before it ends.
        held = connection.execute("SELECT turns FROM responsa.pause").fetchone()
        connection.execute("UPDATE responsa.pause SET turns = NULL")
        refused = instance.run("serve", check=False, **there)
        assert refused.returncode == 1
        assert "is being restored" in refused.stderr
        assert "is being restored" in instance.run("activate", "--yes", check=False, **there).stderr
        connection.execute("UPDATE responsa.pause SET turns = %s", held)
        assert "0 turns of the backup will continue" in instance.run("activate", "--yes", **there).stdout
        assert connection.execute("SELECT count(*) FROM responsa.pause").fetchone() == (0,)
        assert connection.execute(CITED, [answered.name]).fetchone() != (0,)
    # As in a container: the data folder is empty, and backups are told apart by their database.
    (folder / "empty").mkdir()
    there |= {"RESPONSA_HOME": str(folder / "empty"), "DATABASE_URL": outside.superuser}
    kept = folder / "b"
    first, second = [
        instance.run("backup", str(kept), "--keep", "1", **there).stdout.strip() for _ in range(2)
    ]
    assert first != second
    assert {str(path) for path in kept.iterdir()} == {archive, second}


@contextmanager
def restoring(
    instance: Instance, archive: Path, home: Path, *options: str
) -> Generator[subprocess.Popen[bytes]]:
    """A restore that is killed at the end of the block."""
    command = tied(*instance.command("restore", str(archive), *options))
    with subprocess.Popen(command, env={**instance.environment, "RESPONSA_HOME": str(home)}) as process:
        try:
            yield process
            assert process.poll() is None, "it ended before it was killed"
        finally:
            process.kill()


def killed_when(
    condition: Callable[[], bool], instance: Instance, archive: Path, home: Path, *options: str
) -> None:
    with restoring(instance, archive, home, *options) as process:
        eventually(lambda: condition() or process.poll() is not None, "the stage")


def killed_half_way(instance: Instance, archive: Path, home: Path) -> None:
    """Kill a restore that has read the whole backup once, and then half of it again."""
    content, pipe = archive.read_bytes(), home.with_name("pipe")
    os.mkfifo(pipe)
    with restoring(instance, pipe, home):
        with pipe.open("wb") as checked:
            checked.write(content)
        # The restore writes this file when it has closed the pipe and checked what it has read.
        eventually((home / "state.json").exists, "the end of the check")
        written = os.open(pipe, os.O_WRONLY)
        fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, 4096)
        with os.fdopen(written, "wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            assert (home / "restoring").exists()
    pipe.unlink()


def with_settings(archive: Path, text: str) -> Path:
    """The same backup with another settings file."""
    forged = archive.with_suffix(".forged")
    with archive.open("rb") as file:
        header = parse_header(file.readline())

    with forged.open("wb") as file, writing(file, header, None) as writer:

        def copy(member: BackupMember) -> None:
            if member.content is None:
                writer.folder(member.name)
            elif member.name != "home/responsa.toml":
                writer.file(member.name, member.content, member.size)

        writer.bytes("home/responsa.toml", text.encode())
        read(lambda: archive.open("rb"), None, copy)
    return forged


@pytest.mark.parametrize("dump", [False, True], ids=["base", "dump"])
def test_a_restore_that_was_killed_is_no_instance_and_has_all_rows_and_citations_when_it_is_repeated(
    instance: Instance, ways: Ways, answered: Tenant, folder: Path, dump: bool
) -> None:
    """The base backup is sealed with a key. The dump is not, so that the test can change a file in it."""
    key = folder / "key"
    key.write_text(secrets.token_hex(32))
    sealed = () if dump else ("--key-file", str(key))
    (instance.home / "agents" / "mine").mkdir(parents=True)
    (instance.home / "agents" / "mine" / "notes.md").write_text("not an agent yet")
    with live(instance.home) as connection:
        before = rows(connection)
    try:
        with read_meanwhile(ways, answered.headers(Credential.ADMIN)):
            options = ("--dump",) if dump else sealed
            archive = Path(instance.run("backup", str(folder / "b"), *options).stdout.strip())
    finally:
        shutil.rmtree(instance.home / "agents")
    with live(instance.home) as connection:
        after = rows(connection)
    said = json.loads((instance.home / "last-backup.json").read_text())
    assert (said["file"], said["bytes"]) == (str(archive), archive.stat().st_size)

    home = folder / "home"
    layout = LocalLayout.of(home)

    def run(*arguments: str, code: int = 0) -> str:
        done = instance.run(*arguments, check=False, RESPONSA_HOME=str(home))
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def refuses(*arguments: str) -> None:
        assert f"A restore into {home} has not finished" in run(*arguments, code=1)

    if dump:
        killed_half_way(instance, archive, home)
        refuses("up")
    else:
        killed_when((layout.cluster / "postmaster.pid").exists, instance, archive, home, *sealed)
        for command in ("up", "serve", f"backup {folder / 'b'}"):
            refuses(*command.split())
    if dump:
        # No setting of the backup counts for the command: nothing listens there.
        archive = with_settings(archive, 'database_url = "postgresql://nobody@127.0.0.1:1/nothing"\n')
    run("restore", str(archive), *sealed)
    assert not layout.restoring.exists()
    assert (home / "agents" / "mine" / "notes.md").read_text() == "not an agent yet"
    if not dump:  # the dump's settings name a database
        with subprocess.Popen(
            [*responsa(), "backup", str(folder / "b"), "--every", "1"],
            env={**instance.environment, "RESPONSA_HOME": str(home)}, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stderr is not None
            # It must not keep an `up` that begins meanwhile from the database.
            assert any("The instance does not run" in line for line in process.stderr)
            process.kill()
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    try:
        with live(home) as connection:
            restored = rows(connection)
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
    # A restore makes a new key that signs tokens and a pause, and events of questions may come and go during the backup.
    assert differ <= {"signing_key", "question_event", "pause"}
    assert restored["pause"][0] == 1


def test_a_backup_without_room_leaves_nothing(instance: Instance, folder: Path) -> None:
    place = folder / "b"
    first = instance.run("backup", str(place)).stdout.strip()
    # The limit of the process stands for a disk that fills up.
    full = subprocess.run(
        ["prlimit", "--fsize=100000", *instance.command("backup", str(place), "--keep", "1")],
        env=instance.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert [str(path) for path in place.iterdir()] == [first]
    assert json.loads((instance.home / "last-backup.json").read_text())["file"] == first


def answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def bucket() -> Iterator[tuple[S3Store, Mapping[str, str]]]:
    """A bucket in a server with S3's protocol, and the variables with which it is reached."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    variables = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "backups",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        "AWS_REGION": "us-east-1",
    }
    config = {name.lower(): value for name, value in variables.items()}
    command = tied(sys.executable, "-m", "moto.server", "--port", str(port))
    moto = {**os.environ, "PYTHONPATH": str(Path(sys.prefix) / "moto")}
    with subprocess.Popen(command, env=moto, stderr=subprocess.DEVNULL) as server:
        try:
            eventually(partial(answers, address), "the server of buckets")
            httpx.put(f"{address}/kept").raise_for_status()
            yield S3Store("kept", config=cast("Any", config)), variables
        finally:
            server.kill()


def test_backups_in_a_bucket_are_made_again_and_again_and_checked(
    instance: Instance, ways: Ways, answered: Tenant, folder: Path, bucket: tuple[S3Store, Mapping[str, str]]
) -> None:
    store, variables = bucket
    # A citation outlives its document, and is not missed then.
    headers = answered.headers(Credential.ADMIN)
    document = ingest(ways, headers, "tower", "The tower beside the well has nine floors.")
    assert answer(ways, headers, "How many floors has the tower?")["terminalEvent"]["answer"]["citations"]
    ways.call("KnowledgeService/DeleteDocument", {"name": document["name"]}, headers)
    key = folder / "key"
    key.write_text(secrets.token_hex(32))
    seen: set[str] = set()

    def names() -> set[str]:
        kept = {entry["path"] for batch in store.list("here") for entry in batch}
        seen.update(kept)
        return kept

    options = ("--dump", "--keep", "2", "--every", "0.0001", "--key-file", str(key))
    command = (*responsa(), "backup", "s3://kept/here", *options)
    with subprocess.Popen(command, env={**instance.environment, **variables}) as process:
        eventually(lambda: len(names() and seen) > 2, "three backups")
        process.kill()
    assert len(names()) <= 3, "two, and one whose older ones were about to go"

    newest = f"s3://kept/{max(names())}"
    check = ("restore", newest, "--key-file", str(key), "--check")
    with live(instance.home) as connection:
        cited = connection.execute(
            "SELECT count(*) FROM responsa.citation c JOIN responsa.document d ON d.id = c.document_id"
        ).fetchone()
    assert cited is not None
    said = instance.run(*check, **variables).stdout
    assert f"{cited[0]} of {cited[0]} citation" in said
    place = instance.home.with_name(f"{instance.home.name}.check")
    assert not place.exists()

    name = max(names())
    sealed = bytearray(bytes(store.get(name).bytes()))
    sealed[-1] ^= 1
    store.put(name, bytes(sealed))
    refused = instance.run(*check, check=False, **variables)
    assert refused.returncode == 1
    assert "truncated or altered" in refused.stderr
    store.delete(name)
    assert "has no such bucket or backup" in instance.run(*check, check=False, **variables).stderr
    lost = instance.run("backup", "s3://lost/here", check=False, **variables)
    assert "s3://lost/here has no such bucket or backup" in lost.stderr
    nowhere = {**variables, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    unreachable = instance.run("backup", "s3://kept/here", check=False, **nowhere)
    assert "The store of s3://kept/here refused" in unreachable.stderr


def copied(home: Path, tenant: str) -> tuple[int, int]:
    """Copy the tenant's document and its answer TURNS times. Returns the number of the tenant's citations and the size
    of the database in bytes."""
    with live(home) as connection:
        connection.execute("SET session_replication_role = replica")
        # Entering ten thousand vectors into the graph takes far longer than building it.
        connection.execute("DROP INDEX responsa.passage_vector_embedding")
        connection.execute(COPY_ID)
        for table, changed in COPIED.items():
            columns = connection.execute(
                (
                    "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND "
                    "NOT attisdropped AND attgenerated = ''"
                ),
                [f"responsa.{table}"],
            ).fetchall()
            values = {name: changed.get(name, name) for (name,) in columns}
            values.update(
                {name: f"pg_temp.copy_of({name}, n)" for name in changed if changed[name] == "copy_of"}
            )
            connection.execute(
                f"INSERT INTO responsa.{table} ({', '.join(values)}) SELECT {', '.join(values.values())} "  # pyright: ignore
                f"FROM responsa.{table} CROSS JOIN generate_series(1, {TURNS}) n WHERE tenant_id = %(tenant)s",
                {"tenant": tenant, "block": secrets.token_hex(BLOCK // 2)},
            )
        connection.execute("SET session_replication_role = DEFAULT")
    options = RetrievalSettings()
    owner = EmbeddedPostgres(LocalLayout.of(home)).dsn("owner")
    asyncio.run(fit_index(owner, m=options.hnsw_m, ef_construction=options.hnsw_ef_construction))
    with live(home) as connection:
        cited = connection.execute(CITED, [tenant]).fetchone()
        size = connection.execute("SELECT pg_database_size('responsa')").fetchone()
    assert cited is not None
    assert size is not None
    return cited[0], size[0]


def verified(instance: Instance, key: str, tenant: str) -> int:
    """The number of citations of the tenant's turns that VerifyCitations confirms; all must be confirmed."""
    with live(instance.home) as connection:
        turns = connection.execute("SELECT id FROM responsa.turn WHERE tenant_id = %s", [tenant]).fetchall()
    with Responsa(instance.url, key) as client, ThreadPoolExecutor(8) as pool:
        checks = [
            check
            for found in pool.map(lambda row: client.verify_citations(f"turns/{row[0]}"), turns)
            for check in found
        ]
    assert all(check.verdict == CitationVerdict.CITATION_VERDICT_VALID for check in checks)
    return len(checks)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_gigabyte_is_restored_with_all_citations(
    instance: Instance, answered: Tenant, folder: Path
) -> None:
    """`up` answers from the restored place, once from the files of the database and once from the rows of its tables."""
    cited, size = copied(instance.home, answered.name)
    assert cited > TURNS
    for options, limit in (((), 60), (("--dump",), 300)):
        began = time.monotonic()
        done = subprocess.run(
            instance.command("backup", str(folder / "b"), *options),
            env=instance.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        archive = Path(done.stdout.strip())
        written = time.monotonic()
        restored = Instance(folder / "home", free_port(), instance.settings)
        subprocess.run(restored.command("restore", str(archive)), env=restored.environment, check=True)
        in_place = time.monotonic()
        try:
            restored.start().until_ready()
            with Ways(restored.target) as ways:
                found = answer(ways, answered.headers(Credential.ADMIN), "How deep is the well in the yard?")
            assert found["terminalEvent"]["answer"]["citations"]
            answering = time.monotonic()
            checked = verified(restored, answered.key(Credential.ADMIN), answered.name)
            assert checked > cited
            with live(restored.home) as connection:
                assert connection.execute(UNFOUNDED, [answered.name]).fetchone() == (0,)
        finally:
            restored.end()
        print(
            f"\n{options or 'files'}: {size >> 20} MiB of database, {archive.stat().st_size >> 20} "
            f"MiB of backup, written in {written - began:.0f} s; "
            f"restored in {in_place - written:.0f} s, answers after {answering - written:.0f} s (at "
            f"most {limit}); {checked} citations verified"
        )
        archive.unlink()
