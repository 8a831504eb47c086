"""Workers are killed in the midst of the runs of two sources, PostgreSQL and MariaDB, whose rows change all the time.
At the end, the documents are the rows.

All rows of a person change in one transaction, and each states how many rows the person has and which state of the
person it belongs to. So all that is searchable about a person at any moment must state the same, and be as much as it
states. The campaign looks at it all the time.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import threading
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from responsa_client.aio.client import AsyncResponsa
from tests.faults.cluster import Cluster, Replica
from tests.faults.forms import Form, Report, forms
from tests.faults.guards import Guard
from tests.instance import PATIENCE, eventually
from tests.system.test_mariadb import Maria, running

PERSONS = 12
MOST_ROWS = 4
PLACES = (
    None,
    "find_documents",
    "store_plan",
    None,
    "_publish_subject",
    "publish",
    None,
    "settle",
    "_release",
    "wait",
    "end",
)
"""The methods of the store after which a worker is killed; None for a random moment. The moments stand among the
methods, so that a few kills in this order are of both sorts. `_publish_subject` is within a transaction."""
CANCELLED = 0.12
"""The share of runs that are cancelled."""
RANDOM_SECONDS, MOST_SECONDS = 2.0, 5.0
"""The times after which a worker is killed at the latest: at a random moment, and if it never reaches its place."""
READER = "reader"
TABLE = "CREATE TABLE note (id int PRIMARY KEY, person varchar(20) NOT NULL, body varchar(200) NOT NULL)"
MAPPING = """connection = "{name}"
collection = "{name}"
[queries.notes]
sql = "SELECT id, person, body FROM note"
one_subject = "SELECT id, person, body FROM note WHERE person = :subject"
columns = {{ id = "integer", person = "text", body = "text" }}
[documents.note]
query = "notes"
key = "{{{{ id }}}}"
subject = "{{{{ person }}}}"
text = "# Note {{{{ id }}}}\\n\\n{{{{ body }}}}"
"""
STATES = """SELECT d.source_key, d.subject, convert_from(v.original, 'UTF8') FROM responsa.document AS d
    JOIN responsa.collection AS c ON c.tenant_id = d.tenant_id AND c.id = d.collection_id
    JOIN responsa.document_version AS v ON v.tenant_id = d.tenant_id AND v.document_id = d.id AND v.version = d.version
    WHERE d.tenant_id = %(tenant)s AND c.slug = %(collection)s"""
LEFT = """SELECT 'operation', id::text FROM responsa.operation WHERE tenant_id = %(tenant)s AND stage <> 'done'
    UNION ALL SELECT 'document', source_key FROM responsa.document WHERE tenant_id = %(tenant)s AND (state <> 'ready' OR version = 0)
    UNION ALL SELECT 'failure', problem FROM responsa.source_failure WHERE tenant_id = %(tenant)s
    UNION ALL SELECT 'row', key FROM responsa.source_document
        WHERE tenant_id = %(tenant)s AND (operation_id IS NOT NULL OR next_digest IS NOT NULL OR gone)
    UNION ALL SELECT 'passage', p.id::text FROM responsa.passage AS p
        JOIN responsa.document AS d ON d.tenant_id = p.tenant_id AND d.id = p.document_id
        WHERE p.tenant_id = %(tenant)s AND p.live <> (p.version = d.version)
    UNION ALL SELECT 'unsearchable', d.source_key FROM responsa.document AS d WHERE d.tenant_id = %(tenant)s AND NOT EXISTS (
        SELECT FROM responsa.passage AS p JOIN responsa.passage_vector AS v ON v.passage_id = p.id WHERE p.document_id = d.id AND p.live)"""


@dataclass
class SourceDatabase:
    """A database that a source reads. connect: a connection that may write. ending: set once transactions no longer stay open."""

    name: str
    connect: Callable[[], AbstractContextManager[Any]]
    people: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    states: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    ending: threading.Event = field(default_factory=threading.Event)

    def change(self, dice: random.Random, report: Report, *, late: bool) -> None:
        """Change all rows of some persons in one transaction. late: whether it stays open for a while, so that runs
        read what was before."""
        with self.connect() as connection, connection.cursor() as cursor:
            for person in dice.sample(range(PERSONS), dice.randrange(1, 3)):
                self._change_person(f"p{person}", cursor, dice, report)
            if late:
                self.ending.wait(dice.random() * 1.5)  # other sessions cannot see the changes yet
                report.count("late commits")
            connection.commit()

    def _change_person(self, person: str, cursor: Any, dice: random.Random, report: Report) -> None:
        rows = self.people[person]
        for one in [row for row in rows if dice.random() < 0.2]:
            cursor.execute("DELETE FROM note WHERE id = %s", (one,))
            rows.remove(one)
            report.count("deletions")
        more = 0 if dice.random() < 0.05 else dice.randrange(MOST_ROWS + 1 - len(rows))
        state = f"State {next(self.states)} of {len(rows) + more} notes."
        for row in rows:
            cursor.execute("UPDATE note SET body = %s WHERE id = %s", (state, row))
            report.count("updates")
        for _ in range(more):
            rows.append(next(self.numbers))
            cursor.execute("INSERT INTO note VALUES (%s, %s, %s)", (rows[-1], person, state))
            report.count("inserts")

    def rows(self) -> dict[str, tuple[str, str]]:
        """The documents that the rows make: the subject and the text, by the key."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id, person, body FROM note")
            return {
                f"{self.name}/note/{id_}.md": (person, f"# Note {id_}\n\n{body}")
                for id_, person, body in cursor.fetchall()
            }


@dataclass
class Documents:
    """What is searchable, in the database of the installation."""

    dsn: str
    tenant: str
    looks: int = 0

    def of(self, database: SourceDatabase) -> list[tuple[str, str, str]]:
        with psycopg.connect(self.dsn) as connection:
            values = {"tenant": self.tenant, "collection": database.name}
            return connection.execute(STATES, values).fetchall()

    def left(self) -> list[tuple[str, str]]:
        """What must not be left after the last run."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(LEFT, {"tenant": self.tenant}).fetchall()

    def look(self, database: SourceDatabase) -> None:
        """Check that all that is known about a person is of one state."""
        self.looks += 1
        states, counts = defaultdict[str, set[str]](set), defaultdict[str, int](int)
        for _, subject, text in self.of(database):
            states[subject].add(text.split("\n\n")[1])
            counts[subject] += 1
        for subject, found in states.items():
            assert len(found) == 1, f"{database.name} {subject}: documents of several states: {sorted(found)}"
            stated = re.search(r"of (\d+) notes", next(iter(found)))
            assert stated is not None
            assert int(stated[1]) == counts[subject], f"{database.name} {subject}: {counts[subject]}, {found}"


@contextmanager
def postgres(cluster: Cluster, name: str) -> Generator[Callable[[], AbstractContextManager[Any]]]:
    """Another database in the cluster's PostgreSQL, with a user that may read."""
    with psycopg.connect(cluster.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        connection.execute(f"CREATE USER {name}_{READER} PASSWORD 'good'".encode())
    dsn = make_conninfo(cluster.dsn, dbname=name)
    with psycopg.connect(dsn) as connection:
        connection.execute(TABLE.encode())
        connection.execute(f"GRANT SELECT ON note TO {name}_{READER}".encode())
    yield lambda: psycopg.connect(dsn)


@contextmanager
def maria(server: Maria) -> Generator[Callable[[], AbstractContextManager[Any]]]:
    """A database in MariaDB, with a user that may read."""
    server.ask(
        "CREATE DATABASE office",
        "USE office",
        TABLE,
        f"CREATE USER {READER} IDENTIFIED BY 'good'",
        f"GRANT SELECT ON office.note TO {READER}",
    )

    @contextmanager
    def connect() -> Generator[Any]:
        opened: Any = server.root()  # some of its methods have no types
        with opened as connection:
            connection.autocommit(False)
            connection.select_db("office")
            yield connection

    yield connect


async def mutate(
    database: SourceDatabase, dice: random.Random, report: Report, enough: asyncio.Event
) -> None:
    while not enough.is_set():
        await asyncio.to_thread(database.change, dice, report, late=dice.random() < 0.4)
        with suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), dice.random())


async def look(database: SourceDatabase, documents: Documents, enough: asyncio.Event) -> None:
    while not enough.is_set():
        await asyncio.to_thread(documents.look, database)
        with suppress(TimeoutError):
            await asyncio.wait_for(enough.wait(), 0.05)


async def sync(
    client: AsyncResponsa,
    database: SourceDatabase,
    dice: random.Random,
    report: Report,
    enough: asyncio.Event,
) -> None:
    """Run the source again and again, often for one person, and cancel some runs."""
    while not enough.is_set():
        subject = f"p{dice.randrange(PERSONS)}" if dice.random() < 0.4 else ""
        run = await client.sync_source(database.name, subject, allow_deletions=True)
        if dice.random() < CANCELLED:
            with suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), dice.random() * 2)
            await client.cancel_operation(run.name)
        ended = await until_done(client, run.name)
        report.count("runs for one person" if subject else "runs")
        report.count(f"ended {ended}")


async def until_done(client: AsyncResponsa, name: str) -> str:
    """Wait until a run ends. Returns the beginning of its error, by which the report counts the ends."""
    async for state in client.watch_operation(name):
        if state.operation.done:
            return state.operation.error.message[:60]
    raise AssertionError("the stream ended before the run")


async def lose_workers(
    cluster: Cluster, settings: dict[str, str], dice: random.Random, form: Form, report: Report
) -> None:
    places = itertools.cycle(PLACES)
    while report.counts.get("kills", 0) < form.count:
        place = next(places)
        # How often the worker passes the place before.
        deaths = {} if place is None else {place: dice.randrange(3)}
        worker: Replica = await cluster.soon("worker", sync_deaths=deaths, **settings)
        seconds = dice.uniform(0.2, RANDOM_SECONDS) if place is None else MOST_SECONDS
        until = time.monotonic() + seconds
        await asyncio.to_thread(
            _until, lambda worker=worker, until=until: not worker.alive or time.monotonic() > until
        )
        report.count("at a random moment" if worker.alive else f"after {place}")
        await asyncio.to_thread(worker.kill)
        report.count("kills")


def _until(condition: Callable[[], bool]) -> None:
    eventually(condition, "a kill", PATIENCE)


@dataclass
class SyncedSources:
    """The two sources of a campaign. settings: those of every replica."""

    databases: Sequence[SourceDatabase]
    settings: dict[str, str]
    documents: Documents
    client: AsyncResponsa


@asynccontextmanager
async def synced(
    cluster: Cluster, folder: Path, dice: random.Random, report: Report, *, mariadb: bool = True
) -> AsyncGenerator[SyncedSources]:
    """Both databases with some rows, and their sources; without `mariadb` that in PostgreSQL alone."""
    caller = await cluster.caller()
    name = f"notes{caller.tenant.rpartition('-')[2]}"
    connections = folder / "connections"
    connections.mkdir()
    with ExitStack() as stack:
        databases = [SourceDatabase(name, stack.enter_context(postgres(cluster, name)))]
        (connections / "good").write_text("good")
        shared = f'database = "{{}}"\nuser = "{{}}"\npassword = {{{{ file = "good" }}}}\ntenants = ["{caller.tenant}"]\ntls = "{{}}"\n'
        (connections / f"{name}.toml").write_text(
            f'kind = "postgresql"\nhost = "{cluster.layout.postgres_run}"\n'
            + shared.format(name, f"{name}_{READER}", "off")
        )
        if mariadb:
            server = stack.enter_context(running(folder))
            databases.append(SourceDatabase("office", stack.enter_context(maria(server))))
            (connections / "office.toml").write_text(
                f'kind = "mysql"\nhost = "127.0.0.1"\nport = {server.port}\n'
                + shared.format("office", READER, "require")
            )
        settings = {"RESPONSA_SOURCES__FOLDER": str(connections)}
        cluster.admit(await cluster.soon("rpc", **settings))
        async with AsyncResponsa(f"http://{cluster.target}", caller.admin_key) as client:
            for database in databases:
                await asyncio.to_thread(database.change, dice, report, late=False)
                await client.create_collection(database.name)
                await client.create_source(database.name, MAPPING.format(name=database.name))
            yield SyncedSources(databases, settings, Documents(cluster.dsn, caller.tenant), client)


@forms(long=300)
async def test_documents_follow_the_rows_whatever_workers_are_killed(
    cluster: Cluster, form: Form, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report = Report("sync_kills", form)
    dice = form.dice()
    async with synced(cluster, tmp_path, dice, report) as sources:
        stop_changing, stop_looking = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            moving = list[asyncio.Task[None]]()
            for database in sources.databases:
                rows, runs = form.dice(f"rows {database.name}"), form.dice(f"runs {database.name}")
                moving.append(group.create_task(mutate(database, rows, report, stop_changing)))
                moving.append(group.create_task(sync(sources.client, database, runs, report, stop_changing)))
                group.create_task(look(database, sources.documents, stop_looking))
            await lose_workers(cluster, sources.settings, dice, form, report)
            stop_changing.set()
            for database in sources.databases:
                database.ending.set()
            await cluster.soon("worker", **sources.settings)
            await asyncio.gather(*moving)
            for database in sources.databases:
                run = await sources.client.sync_source(database.name, allow_deletions=True)
                assert await until_done(sources.client, run.name) == ""
            stop_looking.set()
        report.count("looks", sources.documents.looks)
        report.tell(request)
        for database in sources.databases:
            found = sources.documents.of(database)
            assert len({key for key, _, _ in found}) == len(found)
            assert {key: (subject, text) for key, subject, text in found} == database.rows()
        assert sources.documents.left() == []


async def test_a_run_that_stops_its_workers_is_given_up(cluster: Cluster, tmp_path: Path) -> None:
    form = Form(1, limits=False, seed=1)
    report = Report("sync_kills", form)
    async with synced(cluster, tmp_path, form.dice(), report, mariadb=False) as sources:
        settings: dict[str, Any] = {**sources.settings, "job_losses": 1}
        name = sources.databases[0].name
        poison = await sources.client.sync_source(name)
        for _ in range(2):
            worker = await cluster.soon("worker", sync_deaths={"find_documents": 0}, **settings)
            await asyncio.to_thread(worker.until_ended)
        await cluster.soon("worker", **settings)
        assert "The server stopped 2 times" in await until_done(sources.client, poison.name)
        error = (await sources.client.get_operation(poison.name)).error
        assert b"WORKER_LOST" in error.SerializeToString()
        # What is not the cause goes on, with the next run of the same source.
        assert await until_done(sources.client, (await sources.client.sync_source(name)).name) == ""


@pytest.mark.soak
async def test_without_the_common_publication_the_campaign_finds_mixed_states(
    cluster: Cluster, tmp_path: Path
) -> None:
    form = Form(1, limits=False, seed=1)
    report = Report("sync_kills", form)
    async with synced(cluster, tmp_path, form.dice(), report) as sources:
        await cluster.soon("worker", guards_out=[Guard.TOGETHER], **sources.settings)
        with pytest.raises(ExceptionGroup) as caught:
            await until_mixed(sources, form, report)
    assert caught.group_contains(AssertionError)


async def until_mixed(sources: SyncedSources, form: Form, report: Report) -> None:
    """Run one of the sources until a person's documents are of several states."""
    database, never = sources.databases[0], asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(mutate(database, form.dice("rows"), report, never))
        group.create_task(sync(sources.client, database, form.dice("runs"), report, never))
        group.create_task(look(database, sources.documents, never))
