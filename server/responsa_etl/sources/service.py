"""What administrators can do with sources, and who may read the profiles of persons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from responsa_etl.domain import (
    FILE,
    ConnectedFolder,
    DatabaseFault,
    Databases,
    FolderKind,
    MadeRow,
    NewSource,
    Profile,
    Source,
    SourceChange,
    SourceConnection,
    WebConnection,
)
from responsa_etl.sources.budget import Budget, BudgetLimits, BudgetSpent
from responsa_etl.sources.crawling import Crawler
from responsa_etl.sources.declarations import DeclaredConnections
from responsa_etl.sources.folders import FolderProblem, FolderReader, mapping_of
from responsa_etl.sources.mapping import ScheduleProblem, SourceMapping
from responsa_etl.sources.reading import PREVIEW_BYTES, RowSelection, read_rows, unreadable
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_etl.stores.deliveries import PostgresDeliveries
from responsa_etl.stores.profiles import PostgresProfiles
from responsa_etl.stores.source_runs import PostgresSourceRuns
from responsa_etl.stores.sources import PostgresSources
from responsa_server.agents.config.problems import Problem, closest, quote
from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, NotFound, Reason
from responsa_server.domain.formatting import counted
from responsa_server.domain.knowledge import Operation
from responsa_server.domain.parts import NOT_PAUSED, Health, PartReport, Pause
from responsa_server.domain.people import Principal, Role, owner_required
from responsa_server.library.library import Library

# The number of violations that a status describes.
_MOST_MISTAKES: Final = 16
_MOST_SHOWN: Final = 3
_SHOWN_BYTES: Final = 16 * 1024
_VALUE_BYTES: Final = 256
_PREVIEW_SECONDS: Final = 60
_PREVIEW: Final = BudgetLimits(seconds=_PREVIEW_SECONDS, requests=200, entries=100_000, size=256 << 20)
_SLOW_PREVIEW: Final = (
    f"The preview took longer than {_PREVIEW_SECONDS} seconds. Other previews of your tenant "
    "count too, because one reads at a time; ask for fewer rows, make the queries faster, or "
    "simplify the templates."
)
_PATHS_OF_OWNERS: Final = (
    "Only an owner of the installation may connect a folder of the server, unless the setting sources.paths "
    "(RESPONSA_SOURCES__PATHS) names folders for all administrators."
)
_PAUSED: Final = (
    "This instance was restored from a backup and is paused, so it reads no source. "
    "`responsa activate` ends the pause; ask the operator."
)


class SourceAdministration:
    """Creates, changes and previews sources. Calls that need no check go directly to `sources`, `runs` and `deliveries`."""

    def __init__(
        self,
        sources: PostgresSources,
        runs: PostgresSourceRuns,
        connections: DeclaredConnections,
        databases: Databases,
        crawler: Crawler,
        folders: FolderReader,
        sandboxes: SourceSandboxes,
        library: Library,
        deliveries: PostgresDeliveries,
        pause: Pause = NOT_PAUSED,
    ) -> None:
        self.sources = sources
        self.runs = runs
        self.deliveries = deliveries
        self._connections = connections
        self._databases = databases
        self._crawler = crawler
        self._folders = folders
        self._sandboxes = sandboxes
        self._library = library
        self._pause = pause

    async def create(self, caller: Principal, source: NewSource, *, validate_only: bool = False) -> Source:
        """Create a source. validate_only: store nothing, but return it as it would be. Raises InvalidRequest for a
        mapping with mistakes or a folder that cannot be read, NotFound for what they name, AlreadyExists."""
        if source.folder is not None and source.mapping:
            raise _wrong("source.mapping", "must be empty beside a folder")
        folder = source.folder and self._folders.seal(caller.tenant_id, source.folder, None)
        mapping = await self._check_source(caller, source.mapping, folder)
        first = _next_run_time(mapping)
        return await self.sources.create(
            caller,
            replace(source, folder=folder),
            mapping.connection,
            mapping.collection,
            first,
            validate_only=validate_only,
        )

    async def update(self, caller: Principal, source_id: str, change: SourceChange, etag: str) -> Source:
        """Update a source. Raises InvalidRequest as `create` does, NotFound, Conflict."""
        named = next_run_time = None
        if change.mapping is not None or change.folder is not None:
            stored = await self.sources.get(caller, source_id)
            wrong = "mapping" if stored.folder is not None else "folder"
            if getattr(change, wrong) is not None:
                raise _wrong(f"source.{wrong}", "cannot be set: the source is of the other kind")
            if change.folder is not None:
                sealed = self._folders.seal(caller.tenant_id, change.folder, stored.folder)
                change = replace(change, folder=sealed)
            mapping = await self._check_source(caller, change.mapping or "", change.folder)
            named, next_run_time = (mapping.connection, mapping.collection), _next_run_time(mapping)
        return await self.sources.update(caller, source_id, change, named, etag, next_run_time)

    async def delete(self, caller: Principal, source_id: str, etag: str, *, documents: bool) -> None:
        """Delete a source. documents: whether to delete those that it made, too. Raises NotFound, Conflict."""
        if documents:
            document_ids = await self.sources.documents(caller, source_id, etag)
            await self._end_runs(caller, source_id)
            for document_id in document_ids:
                with suppress(NotFound):  # somebody else may have deleted it
                    await self._library.delete_document(caller, document_id)
        await self.sources.delete(caller, source_id, etag)
        await self._end_runs(caller, source_id)

    async def _end_runs(self, caller: Principal, source_id: str) -> None:
        """End the runs of a source that is deleted."""
        error = NotFound.of("source", names.source(source_id))
        self._library.watching.report_end(await self.runs.fail_all(caller.tenant_id, source_id, error))

    async def notify(
        self, caller: Principal, subject: str, sources: Sequence[str], cause: str, request_id: UUID | None
    ) -> Sequence[Operation]:
        """Add a run for a subject to these sources or, if there are none, to all sources with a query for one subject.
        Raises as `PostgresSourceRuns.notify`."""
        chosen = sources or await self._of_one_subject(caller.tenant_id, await self.sources.mappings(caller))
        return await self.runs.notify(caller, subject, chosen, cause, request_id, named=bool(sources))

    async def preview(self, caller: Principal, text: str, rows: int, subject: str) -> Sequence[MadeRow]:
        """The first rows of each query of a mapping, or its first pages, and what they make, up to `PREVIEW_BYTES`; of
        each text its first 16 KiB. Raises InvalidRequest for a mapping with mistakes, NotFound for what it names,
        Precondition (SOURCE_UNREADABLE)."""
        mapping, connection = await self._check_mapping(caller, text, "mapping")
        if await self._pause.still():
            raise unreadable(connection.name, "", DatabaseFault.PAUSED, _PAUSED)
        if isinstance(connection, WebConnection):
            budget = Budget(_PREVIEW)
            read = self._crawler.preview(caller.tenant_id, connection, mapping, rows, budget)
        else:
            sandbox, asked = self._sandboxes.of(caller.tenant_id), RowSelection(subject, rows)
            read = read_rows(self._databases, caller.tenant_id, sandbox, connection, mapping, asked)
        return await collect_preview(connection.name, read)

    async def connections(self, caller: Principal) -> Sequence[str]:
        """The names of the connections that are granted to the tenant, in their order."""
        return sorted(await self._connections.list_granted(caller.tenant_id))

    def folder_paths(self, caller: Principal) -> Sequence[str]:
        """The folders of the server below which the caller may connect folders."""
        paths = self._folders.paths
        return [str(path) for path in paths.list_allowed(caller.tenant_id)] if paths.may_name(caller) else []

    async def _check_source(
        self, caller: Principal, text: str, folder: ConnectedFolder | None
    ) -> SourceMapping:
        """The mapping of a source, or what stands for it for a folder, which is listed. Raises InvalidRequest, NotFound."""
        if folder is None:
            return (await self._check_mapping(caller, text, "source.mapping"))[0]
        if folder.kind is FolderKind.PATH:
            if not self._folders.paths.may_name(caller):
                raise owner_required(_PATHS_OF_OWNERS)
            for field in ("user", "password_stored"):
                if getattr(folder, field):
                    name = field.removesuffix("_stored")
                    raise _wrong(f"source.folder.{name}", "must be empty for a folder of the server")
        mapping = mapping_of(folder)
        try:
            _ = mapping.schedule
        except ScheduleProblem as error:
            raise _wrong(f"source.folder.{error.field}", str(error)) from None
        await self._library.collections.get(caller, folder.collection)
        if await self._pause.still():
            raise unreadable(folder.kind.value, FILE, DatabaseFault.PAUSED, _PAUSED)
        try:
            await self._folders.check(caller.tenant_id, folder)
        except FolderProblem as problem:
            raise _wrong(f"source.folder.{problem.field}", problem.message) from None
        return mapping

    async def _of_one_subject(self, tenant_id: str, mappings: Mapping[str, str]) -> Sequence[str]:
        """Those sources that have a query for one subject. mappings: the texts, by source."""
        some = {source: text for source, text in mappings.items() if "one_subject" in text}
        read = await self._sandboxes.of(tenant_id).mappings(list(some.values()))
        return [
            source
            for source, (mapping, _) in zip(some, read, strict=True)
            if mapping is not None and any(query.one_subject for query in mapping.queries)
        ]

    async def _check_mapping(
        self, caller: Principal, text: str, field: str
    ) -> tuple[SourceMapping, SourceConnection]:
        """The mapping and its connection. Raises InvalidRequest, NotFound."""
        mapping, problems = await self._sandboxes.of(caller.tenant_id).mapping(text)
        if mapping is None:
            raise _mistakes(field, problems)
        connection = await self._connections.find(caller.tenant_id, mapping.connection)
        if connection is None:
            granted = await self._connections.list_granted(caller.tenant_id)
            known = f"there are {quote(granted)}" if granted else "no connection is granted to this tenant"
            message = f"there is no connection “{mapping.connection}”; {known}. The owner of the installation declares connections"
            suggestion = closest(mapping.connection, granted)
            raise _missing(mapping.problem(message, ("connection",), suggestion), mapping.connection)
        if (misfit := mapping.find_misfit(connection)) is not None:
            raise _mistakes(field, [misfit])
        try:
            await self._library.collections.get(caller, mapping.collection)
        except NotFound as error:
            message = f"there is no collection “{mapping.collection}”; create it first"
            raise _missing(mapping.problem(message, ("collection",)), mapping.collection) from error
        return mapping, connection


class SourcesPart:
    """The connections of the sources of whoever asks. Nobody learns about the sources of another tenant. Implements `ReportedPart`."""

    name = "sources"

    def __init__(
        self,
        sources: PostgresSources,
        connections: DeclaredConnections,
        folders: FolderReader,
        asking: Callable[[], Principal | None],
    ) -> None:
        """asking: returns who asks; None for a health check and for the metrics, for which all sources are well."""
        self._sources = sources
        self._connections = connections
        self._folders = folders
        self._asking = asking

    async def check(self) -> PartReport:
        """Report sources as DEGRADED whose connections are gone, or whose passwords this server cannot decrypt, each in a line."""
        if (caller := self._asking()) is None:
            return PartReport(Health.OK)
        used, granted = await asyncio.gather(
            self._sources.connections(caller.tenant_id), self._connections.list_granted(caller.tenant_id)
        )
        gone = [(source, name) for source, name in used.items() if name not in granted]
        lines = list[str]()
        for source, folder in (await self._sources.folders(caller.tenant_id)).items():
            try:
                self._folders.unseal(caller.tenant_id, folder)
            except FolderProblem as problem:
                lines.append(f"The source {source} cannot be read: {problem.message}")
        lines += [
            f"The source {source} cannot be read: its connection “{name}” is gone, has mistakes, or is not granted to "
            "its tenant. `responsa sources check` checks connections."
            for source, name in gone[:_MOST_SHOWN]
        ]
        if (more := len(gone) - _MOST_SHOWN) > 0:
            lines.append(f"{counted(more, 'further source')} without a connection.")
        return PartReport(Health.DEGRADED, detail="\n".join(lines)) if lines else PartReport(Health.OK)


def _next_run_time(mapping: SourceMapping) -> datetime | None:
    return None if mapping.schedule is None else mapping.schedule.after(datetime.now(UTC))


def _wrong(field: str, description: str) -> InvalidRequest:
    return InvalidRequest.of_field(field, field, description)


def _missing(problem: Problem, named: str) -> NotFound:
    """The error for a connection or a collection that does not exist. problem: its key says which of the two."""
    kind = problem.path
    return NotFound(
        Reason.RESOURCE_NOT_FOUND,
        _describe(problem),
        {"resource_type": kind, "resource_name": f"{kind}s/{named}"},
    )


def _mistakes(field: str, problems: Sequence[Problem]) -> InvalidRequest:
    described = [
        FieldViolation(field, "source.mapping", _describe(problem)) for problem in problems[:_MOST_MISTAKES]
    ]
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidRequest(
        Reason.INVALID_FIELD,
        f"{field}: {described[0].description}{more}",
        {"violations": str(len(problems))},
        tuple(described),
    )


def _describe(problem: Problem) -> str:
    """A problem as one sentence: line, key, message and suggestion."""
    line = f"line {problem.line}: " if problem.line else ""
    meant = f" Did you mean “{problem.suggestion}”?" if problem.suggestion else ""
    return f"{line}{f'{problem.path}: ' if problem.key else ''}{problem.message.rstrip('.')}.{meant}"


async def collect_preview(connection: str, rows: AsyncGenerator[MadeRow]) -> Sequence[MadeRow]:
    """What a preview shows: the first rows, `PREVIEW_BYTES` or a little more together. Raises Precondition
    (SOURCE_UNREADABLE) after 60 seconds."""
    first_rows, size = list[MadeRow](), 0
    try:
        async with asyncio.timeout(_PREVIEW_SECONDS), aclosing(rows) as previewed:
            async for row in previewed:
                first_rows.append(_shorten_row(row))
                size += _size(first_rows[-1])
                if size >= PREVIEW_BYTES:
                    break
    except (TimeoutError, BudgetSpent):
        raise unreadable(connection, "", DatabaseFault.TIMEOUT, _SLOW_PREVIEW) from None
    return first_rows


def _shorten_row(made_row: MadeRow) -> MadeRow:
    """A row without what a preview does not show: all but the first 16 KiB of each text, and the document of a row with a problem."""
    row = {name: _shorten(value) if isinstance(value, str) else value for name, value in made_row.row.items()}
    document = None if made_row.problem else made_row.document
    return replace(
        made_row, row=row, document=document and replace(document, text=_shorten(document.text), page=None)
    )


def _shorten(text: str) -> str:
    """The text, or its first 16 KiB."""
    first = text[:_SHOWN_BYTES]
    return (
        text if first.isascii() and first == text else first.encode()[:_SHOWN_BYTES].decode(errors="ignore")
    )


def _size(shown: MadeRow) -> int:
    """About how many bytes a row takes in the answer."""
    texts = [text for text in shown.row.values() if isinstance(text, str)]
    if shown.document is not None:
        texts += [shown.document.text, *map(str, shown.document.metadata.values())]
    return sum(len(text.encode()) for text in texts) + _VALUE_BYTES * (len(texts) + len(shown.row) + 8)


class SubjectProfiles:
    """The profiles that a caller may read: that of the caller and, for administrators and services, those of all persons of the tenant."""

    def __init__(self, profiles: PostgresProfiles) -> None:
        self._profiles = profiles

    async def get(self, caller: Principal, subject: str, *, documents: bool = True) -> Profile:
        """The profile of a subject; "" for the caller. documents: whether more than the person is needed. Raises
        NotFound, which is the same for a subject that does not exist and for one that the caller may not see."""
        own = names.user(caller.user_id)
        person = await self._profiles.person(caller, subject or own)
        may_read_all = caller.role in (Role.ADMIN, Role.SERVICE)
        if person is None or not (may_read_all or person.user_id == caller.user_id):
            raise NotFound.of("subject", subject)
        if person.user_id is not None and not documents:
            return Profile(person, (), 0)
        profile = await self._profiles.profile(caller, person)
        if person.user_id is None and not profile.parts:
            raise NotFound.of("subject", subject)
        return profile
