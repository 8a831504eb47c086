"""`responsa samples load aptitude`: a sample database, and the sources that turn its rows into documents.

The command puts the database and its declaration into the folder of connections on this machine, as the owner of the installation would do, and grants it to the caller's tenant. Then
it creates the sources over the API, and runs them. What exists already stays as it is, so a row that somebody has changed stays changed.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import Any

from responsa.admin.v1 import source_pb2
from responsa.auth.v1 import user_pb2
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import AlreadyExists, NotFound, error_of_status
from responsa_client.results import sync_result
from responsa_server.cli.ingest import ensure_collection
from responsa_server.cli.output import CommandFailed
from responsa_server.cli.progress import Progress, synced
from responsa_server.samples import SampleDatabase


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
    sources: list[LoadedSource] = field(default_factory=list[LoadedSource])

    @property
    def failed(self) -> bool:
        """Whether a row made no document."""
        return any(one.result.failed for one in self.sources)

    @property
    def lines(self) -> str:
        """The outcome, one line for each source."""
        return "\n".join(
            f"{self.name}: source {one.id}: {synced(one.result)}, in collection {one.collection}"
            for one in self.sources
        )

    @property
    def plain(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return {
            "database": self.name,
            "sources": [
                {
                    "source": one.id,
                    "collection": one.collection,
                    "created": one.result.created,
                    "updated": one.result.updated,
                    "deleted": one.result.deleted,
                    "unchanged": one.result.unchanged,
                    "failed": one.result.failed,
                }
                for one in self.sources
            ],
        }


async def load_database(client: AsyncResponsa, sample: SampleDatabase, progress: Progress) -> LoadedDatabase:
    """Load a sample database.

    Raises:
        CommandFailed: the caller is not an administrator, the folder of connections cannot be written, the server reads another folder, or another source
            has the id of one of the sample's sources.
        SettingsError: a setting is not valid.
        ResponsaError: a call failed, or a run.
    """
    # Imported late, because this module loads the settings of the server.
    from responsa_server.cli.local.sample_databases import declare

    me = await client.me()
    if me.role != user_pb2.USER_ROLE_ADMIN:
        raise CommandFailed(f"Loading the sample database {sample.name} needs the role ADMIN.")
    folder = declare(sample, me.tenant.removeprefix("tenants/"))
    loaded = LoadedDatabase(sample.name)
    for source in sample.sources:
        mapping = sample.mapping(source)
        collection = str(tomllib.loads(mapping)["collection"])
        await ensure_collection(client, collection)
        try:
            await client.create_source(source, mapping)
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
        operation = await client.sync_source(source)
        async for state in client.watch_operation(operation):
            operation = state.operation
        if operation.HasField("error"):
            raise error_of_status(operation.error)
        loaded.sources.append(LoadedSource(source, collection, sync_result(operation)))
        progress.advance()
    return loaded
