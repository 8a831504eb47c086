"""A source with its database, and an administrator who runs it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_etl.databases.reading import SqlDatabases
from responsa_etl.domain import FolderKind, NewSource
from responsa_etl.sources.budget import BudgetLimits
from responsa_etl.sources.crawling import Crawler
from responsa_etl.sources.declarations import DeclaredConnections
from responsa_etl.sources.folders import FolderLimits, FolderReader
from responsa_etl.sources.git_folder import GitFolders
from responsa_etl.sources.local_folder import LocalFolders
from responsa_etl.sources.notifying import Notifier
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_etl.sources.service import SourceAdministration, SubjectProfiles
from responsa_etl.sources.syncing import Sync
from responsa_etl.sources.web_folders import WebFolders
from responsa_etl.sources.webhooks import DeclaredWebhooks
from responsa_etl.stores.deliveries import PostgresDeliveries
from responsa_etl.stores.profiles import PostgresProfiles
from responsa_etl.stores.source_runs import PostgresSourceRuns
from responsa_etl.stores.sources import PostgresSources
from responsa_server.domain.knowledge import Chunking, CollectionFields, Operation
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.notifications import NotifiedEvent
from responsa_server.domain.people import Principal, Role
from responsa_server.identity.tokens import Secret
from responsa_server.outbound.addresses import read_allowed
from responsa_server.outbound.connector import Connector
from responsa_server.stores.postgres.mail import Outbox
from tests.contract.library_harness import Harness
from tests.raising import raises

MAPPING = """connection = "staff"
collection = "people"
[queries.notes]
sql = "SELECT id, mail, note FROM note ORDER BY id"
columns = { id = "integer", mail = "text", note = "text" }
[documents.note]
query = "notes"
key = "{{ id }}"
subject = "{{ mail }}"
text = "# Note {{ id }}\\n\\n{{ note }}"
"""


LIMITS = BudgetLimits(seconds=600, requests=200, entries=200, size=1 << 30)


@dataclass
class Office:
    """A source with its database, and an administrator."""

    harness: Harness
    principal: Principal
    folder: Path
    runs: PostgresSourceRuns
    limits: BudgetLimits = LIMITS
    files: int = 10
    administration: SourceAdministration = field(init=False)

    def sync(self) -> Sync:
        databases = SqlDatabases(lambda place: place.env)
        return Sync(
            self.runs,
            DeclaredConnections(self.folder),
            databases,
            Crawler(Connector(), self.sandboxes),
            self.folders,
            self.sandboxes,
            self.harness.library,
            self.harness.library.watching.report_end,
            self.notifier(),
            self.limits,
        )

    @property
    def folders(self) -> FolderReader:
        local = LocalFolders([self.folder], self.folder / "home", owners_only=False)
        allowed = read_allowed(["127.0.0.1", "git.example"])
        web = WebFolders(Connector(), allowed, self.sandboxes)
        openers = {
            FolderKind.PATH: local,
            FolderKind.GIT: GitFolders(allowed),
            FolderKind.WEBDAV: web,
            FolderKind.S3: web,
        }
        return FolderReader(local, openers, FolderLimits(self.files, 1000), Secret(bytes(32)))

    @property
    def sandboxes(self) -> SourceSandboxes:
        return SourceSandboxes(self.harness.parser)

    def notifier(self) -> Notifier:
        mails = {NotifiedEvent.FAILED, NotifiedEvent.CONFIRMATION_WANTED}
        return Notifier(self.deliveries, DeclaredWebhooks(self.folder / "webhooks"), mails=mails)

    @property
    def deliveries(self) -> PostgresDeliveries:
        outbox = Outbox(self.harness.queue, uuid7)
        return PostgresDeliveries(self.harness.database, self.harness.queue, uuid7, outbox)

    def change(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.folder / "staff.db")) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    async def run(
        self, subject: str = "", *, source: str = "notes", confirmed: bool = False, retry: bool = False
    ) -> Operation:
        operation = await self.runs.start(self.principal, source, subject, confirmed=confirmed, retry=retry)
        return await self.finish(operation)

    async def finish(self, operation: Operation) -> Operation:
        """Work on a run as the queue does, until it has ended."""
        sync = self.sync()
        # This stands for the queue, which pauses too.
        while (pause := await sync.work("acme", operation.id, 0)) is not None:  # noqa: ASYNC110
            await asyncio.sleep(pause)
        return await self.harness.operations.get(self.principal, operation.id)

    async def begin(
        self, monkeypatch: pytest.MonkeyPatch, documents: int, *, retry: bool = False
    ) -> Operation:
        """Begin a run in a process that is killed once it has made so many documents, and wait until they are indexed."""
        operation = await self.runs.start(self.principal, "notes", "", confirmed=False, retry=retry)
        upload, left = self.harness.library.upload, iter(range(documents))

        async def dying(*arguments: Any, **named: Any) -> Operation:
            if next(left, None) is None:
                raise asyncio.CancelledError
            return await upload(*arguments, **named)

        with monkeypatch.context() as patched:
            patched.setattr(self.harness.library, "upload", dying)
            await raises(asyncio.CancelledError, self.sync().work("acme", operation.id, 0))
        await self.harness.until(
            lambda: (
                self.harness.ask(
                    "SELECT count(*)::int FROM responsa.operation WHERE indexed AND stage <> 'done'"
                )
                == [(documents,)]
            )
        )
        return operation

    def published(self) -> list[tuple[str, int]]:
        """Each subject, and in how many transactions its documents were published."""
        return self.harness.ask(
            "SELECT subject, count(DISTINCT xmin::text)::int FROM responsa.document GROUP BY 1 ORDER BY 1"
        )

    def documents(self) -> dict[str, tuple[str, str]]:
        """The subject and the text of each document that can be searched, by the end of its key."""
        found = self.harness.ask(
            "SELECT d.source_key, d.subject, v.original FROM responsa.document AS d JOIN responsa.document_version AS v"
            " ON v.document_id = d.id AND v.version = d.version"
        )
        return {
            key.removeprefix("notes/note/").removesuffix(".md"): (
                subject,
                bytes(data).decode().split("\n\n")[1],
            )
            for key, subject, data in found
        }

    async def record(self, subject: str) -> tuple[list[str], int, UUID | None]:
        """What a person's profile shows of the source: the ends of the documents' keys, the number of failed rows, and the newest run."""
        profiles = SubjectProfiles(PostgresProfiles(self.harness.database, self.harness.documents))
        (part,) = (await profiles.get(self.principal, subject)).parts
        keys = [document.source_key.rpartition("/")[2].removesuffix(".md") for _, document in part.documents]
        return sorted(keys), part.failed_rows, part.newest_run_id

    async def failed(self, source: str = "notes") -> Sequence[tuple[str, str]]:
        page = await self.runs.list_failed_rows(self.principal, source, ListQuery(50, Order("create_time")))
        return [(item.key, item.problem) for item in page.items]


@pytest.fixture
async def office(harness: Harness, tmp_path: Path) -> AsyncIterator[Office]:
    caller = replace(harness.ann, role=Role.ADMIN)
    harness.ask("UPDATE responsa.app_user SET role = 'admin' WHERE id = %s", caller.user_id)
    runs = PostgresSourceRuns(harness.database, harness.queue, uuid7)
    made = Office(harness, caller, tmp_path, runs)
    made.change(
        "CREATE TABLE note (id integer, mail text, note text)",
        *(f"INSERT INTO note VALUES ({n}, 'p{n % 4}', 'The heron number {n} fishes.')" for n in range(8)),
    )
    (tmp_path / "staff.toml").write_text('kind = "sqlite"\nfile = "staff.db"\ntenants = ["acme"]\n')
    await harness.library.create_collection(caller, "people", CollectionFields(""), Chunking())
    connections, databases = DeclaredConnections(tmp_path), SqlDatabases(lambda place: place.env)
    made.administration = SourceAdministration(
        PostgresSources(harness.database, harness.queue, uuid7),
        runs,
        connections,
        databases,
        Crawler(Connector(), made.sandboxes),
        made.folders,
        made.sandboxes,
        harness.library,
        made.deliveries,
    )
    await made.administration.create(caller, NewSource("notes", "", MAPPING))
    async with harness.working():
        yield made
