"""`responsa samples load aptitude`: a sample database, and the sources that turn its rows into documents.

The command puts the database and its declaration into the folder of connections on this machine, as the owner of the
installation would do, and grants it to the caller's tenant. Then it creates the sources over the API, and runs them.
What exists already stays as it is, so a row that somebody has changed stays changed.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.longrunning import operations_proto_pb2 as operations_pb2

from responsa.admin.v1 import source_pb2
from responsa.auth.v1 import user_pb2
from responsa.knowledge.v1 import document_pb2
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import AlreadyExists, FailedPrecondition, NotFound, error_of_status
from responsa_client.results import sync_progress, sync_result
from responsa_server.cli.command import need
from responsa_server.cli.ingest import ensure_collection
from responsa_server.cli.output import CommandFailed
from responsa_server.cli.progress import Progress, running, synced
from responsa_server.samples import SampleDatabase, SamplePerson

_LONG_SECONDS: Final = 3.0
"""After this time, a command says what it waits for."""


@dataclass(slots=True)
class LoadedSource:
    """A source that was run."""

    id: str
    collection: str
    result: source_pb2.SyncResult


@dataclass(slots=True)
class LoadedDatabase:
    """The outcome of loading a sample database."""

    name: str
    sources: Sequence[LoadedSource]

    @property
    def failed(self) -> bool:
        return any(source.result.failed for source in self.sources)

    @property
    def lines(self) -> str:
        return "\n".join(
            f"{self.name}: source {source.id}: {synced(source.result)}, in collection {source.collection}"
            for source in self.sources
        )

    @property
    def plain(self) -> dict[str, Any]:
        return {
            "database": self.name,
            "sources": [
                {
                    "source": source.id,
                    "collection": source.collection,
                    "created": source.result.created,
                    "updated": source.result.updated,
                    "deleted": source.result.deleted,
                    "unchanged": source.result.unchanged,
                    "failed": source.result.failed,
                }
                for source in self.sources
            ],
        }


async def load_database(client: AsyncResponsa, sample: SampleDatabase) -> LoadedDatabase:
    """Load a sample database, and follow its runs to their ends. The runs continue if the command stops.

    Raises:
        CommandFailed: see `prepare`.
        SettingsError: a setting is not valid.
        ResponsaError: a call failed, or a run.
    """
    await prepare(client, sample, sample.sources)
    # All runs begin before the first is followed, so that the server finishes them without this command.
    runs = [await _begun(client, source) for source in sample.sources]
    with Progress(sample.name, 0) as progress:
        standing = _Standing(sample, progress)
        try:
            results = await asyncio.gather(*(_ended(client, run, standing.show) for run in runs))
        except asyncio.CancelledError:  # Ctrl-C
            progress.print_error(
                f"The server continues without this command; `responsa samples load {sample.name}` shows the progress."
            )
            raise
    return LoadedDatabase(
        sample.name,
        [
            LoadedSource(source, _collection(sample, source), result)
            for source, result in zip(sample.sources, results, strict=True)
        ],
    )


class _Standing:
    def __init__(self, sample: SampleDatabase, progress: Progress) -> None:
        self._sample = sample
        self._progress = progress
        self._runs: dict[str, source_pb2.SyncMetadata] = {}
        self._said = False

    def show(self, run: source_pb2.SyncMetadata) -> None:
        self._runs[run.source] = run
        runs = self._runs.values()
        done, total = sum(one.documents_done for one in runs), sum(one.documents_total for one in runs)
        self._progress.reach(done, total)
        at_work = any(
            one.stage == source_pb2.SYNC_STAGE_INDEXING and one.documents_done < one.documents_total
            for one in runs
        )
        if at_work and not self._said and len(runs) == len(self._sample.sources):
            self._said = True
            states = ", ".join(f"{one.source} is {running(one)}" for one in runs)
            self._progress.print_error(
                f"{self._sample.name}: {states}. This takes some minutes; what was loaded before can be used now. "
                "Ctrl-C stops this command; the server continues."
            )


async def prepare(client: AsyncResponsa, sample: SampleDatabase, sources: Sequence[str]) -> None:
    """Make the database on this machine, and these of its sources with their collections, as far as they are missing.

    Raises:
        CommandFailed: the caller is not an administrator, the folder of connections cannot be written, the server reads
            another folder, or another source
            has the id of one of the sample's sources.
        SettingsError: a setting is not valid.
        ResponsaError: a call failed.
    """
    need("samples load", "server")
    # Imported late, because this module loads the settings of the server.
    from responsa_server.cli.local.sample_databases import declare

    me = await client.me()
    if me.role != user_pb2.USER_ROLE_ADMIN:
        raise CommandFailed(f"Loading the sample database {sample.name} needs the role ADMIN.")
    folder = declare(sample, me.tenant.removeprefix("tenants/"))
    for source in sources:
        await ensure_collection(client, _collection(sample, source))
        try:
            await client.create_source(source, sample.mapping(source))
        except AlreadyExists:
            if (await client.source(source)).connection != sample.name:
                raise CommandFailed(
                    f"There is another source with the id {source}.",
                    "Delete it, or load the sample elsewhere.",
                ) from None
        except NotFound as error:
            if error.metadata.get("resource_type") != "connection":
                raise
            raise CommandFailed(
                f"The server does not know the connection {sample.name}, which is declared in {folder}.",
                "Run the command on the server's machine and with the server's settings; in `tenants` of the declaration, add your tenant.",
            ) from None


async def load_person(client: AsyncResponsa, sample: SampleDatabase, person: SamplePerson) -> int:
    """Make the documents about a person, unless there are some. Returns their number, which is 0 for people without consent.

    Raises the errors of `load_database`. NotFound: nobody has this subject.
    """
    source = sample.about_people
    count = await _documents(client, source, person)
    if count == 0:
        await prepare(client, sample, [source])
        await _load_subject(client, source, person)
        count = await _documents(client, source, person)
    return count


async def _load_subject(client: AsyncResponsa, source: str, person: SamplePerson) -> None:
    """Run a source for one person. The run waits for others of the source, and the command says so."""
    stages = [source_pb2.SYNC_STAGE_QUEUED]
    with Progress(f"Documents about {person.name}", 0) as progress:

        def show(metadata: source_pb2.SyncMetadata) -> None:
            stages.append(metadata.stage)
            progress.detail(running(metadata))

        operation = await client.sync_source(source, person.address)
        ended = asyncio.create_task(_ended(client, operation, show))
        await asyncio.wait({ended}, timeout=_LONG_SECONDS)
        if not ended.done() and stages[-1] == source_pb2.SYNC_STAGE_QUEUED:
            progress.print_error(
                f"The documents about {person.name} wait until another run of the source {source} has "
                "finished, or until the server is less busy. "
                "Ctrl-C stops this command; the server continues."
            )
        await ended


def _collection(sample: SampleDatabase, source: str) -> str:
    return str(tomllib.loads(sample.mapping(source))["collection"])


async def _documents(client: AsyncResponsa, source: str, person: SamplePerson) -> int:
    profile = await client.subject_profile(person.address)
    parts = [one for one in profile.parts if one.source == f"sources/{source}"]
    return sum(
        document.document.state == document_pb2.DOCUMENT_STATE_READY
        for part in parts
        for document in part.documents
    )


async def _begun(client: AsyncResponsa, source: str) -> str:
    """Begin a run of a source. Returns its operation, or that of the run for all subjects that has not ended."""
    try:
        return (await client.sync_source(source)).name
    except FailedPrecondition as error:
        if error.reason != "SOURCE_RUNNING":
            raise
        return error.metadata["operation"]


async def _ended(
    client: AsyncResponsa,
    operation: operations_pb2.Operation | str,
    show: Callable[[source_pb2.SyncMetadata], None],
) -> source_pb2.SyncResult:
    """Follow a run to its end. Raises the run's error."""
    state: operations_pb2.Operation | None = None
    async for one in client.watch_operation(operation):
        state = one.operation
        if (metadata := sync_progress(state)) is not None:
            show(metadata)
    assert state is not None
    if state.HasField("error"):
        raise error_of_status(state.error)
    return sync_result(state)
