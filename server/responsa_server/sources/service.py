"""What administrators can do with sources, and who may read the profiles of persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from responsa_server.agents.config.problems import Problem, closest, quoted
from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, NotFound, Reason
from responsa_server.domain.knowledge import Operation
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.sources import (
    Databases,
    MadeRow,
    NewSource,
    Person,
    Profile,
    Source,
    SourceChange,
    SourceConnection,
    WebConnection,
)
from responsa_server.sources.crawling import Crawler
from responsa_server.sources.declarations import DeclaredConnections
from responsa_server.sources.mapping import SourceMapping
from responsa_server.sources.reading import RowSelection, read_rows
from responsa_server.sources.sandbox import SourceSandbox
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.deliveries import PostgresDeliveries
from responsa_server.stores.postgres.profiles import PostgresProfiles
from responsa_server.stores.postgres.source_runs import PostgresSourceRuns
from responsa_server.stores.postgres.sources import PostgresSources

# The number of violations that a status describes.
_MOST_MISTAKES: Final = 16


class SourceAdministration:
    """Creates, changes and previews sources. Calls that need no check go directly to `sources`, `runs` and `deliveries`."""

    def __init__(
        self,
        sources: PostgresSources,
        runs: PostgresSourceRuns,
        connections: DeclaredConnections,
        databases: Databases,
        crawler: Crawler,
        sandbox: SourceSandbox,
        collections: CollectionStore,
        deliveries: PostgresDeliveries,
    ) -> None:
        self.sources = sources
        self.runs = runs
        self.deliveries = deliveries
        self._connections = connections
        self._databases = databases
        self._crawler = crawler
        self._sandbox = sandbox
        self._collections = collections

    async def create(self, who: Principal, source: NewSource, *, validate_only: bool = False) -> Source:
        """Create a source. validate_only: store nothing, but return it as it would be. Raises InvalidRequest for a mapping with mistakes, NotFound for what it names, AlreadyExists."""
        mapping, _ = await self._checked(who, source.mapping, "source.mapping")
        first = _next_run_time(mapping)
        return await self.sources.create(
            who, source, mapping.connection, mapping.collection, first, validate_only=validate_only
        )

    async def update(self, who: Principal, source_id: str, change: SourceChange, etag: str) -> Source:
        """Update a source. Raises InvalidRequest for a mapping with mistakes, NotFound, Conflict."""
        named = next_run_time = None
        if change.mapping is not None:
            await self.sources.get(who, source_id)
            mapping, _ = await self._checked(who, change.mapping, "source.mapping")
            named, next_run_time = (mapping.connection, mapping.collection), _next_run_time(mapping)
        return await self.sources.update(who, source_id, change, named, etag, next_run_time)

    async def notify(
        self, who: Principal, subject: str, sources: Sequence[str], cause: str, request_id: UUID | None
    ) -> Sequence[Operation]:
        """Add a run for a subject to these sources or, if there are none, to all sources with a query for one subject. Raises as `PostgresSourceRuns.notify`."""
        chosen = sources or await self._of_one_subject(await self.sources.mappings(who))
        return await self.runs.notify(who, subject, chosen, cause, request_id, named=bool(sources))

    async def preview(self, who: Principal, text: str, rows: int, subject: str) -> Sequence[MadeRow]:
        """The first rows of each query of a mapping, or its first pages, and what they make. Raises InvalidRequest for a mapping with mistakes, NotFound for what it names, Precondition (SOURCE_UNREADABLE)."""
        mapping, connection = await self._checked(who, text, "mapping")
        if isinstance(connection, WebConnection):
            found = self._crawler.preview(connection, mapping, rows)
        else:
            found = read_rows(
                self._databases, self._sandbox, connection, mapping, RowSelection(subject, rows)
            )
        async with aclosing(found) as made:
            return [one async for one in made]

    async def connections(self, who: Principal) -> Sequence[str]:
        """The names of the connections that are granted to the tenant, in their order."""
        return sorted(await self._connections.granted(who.tenant_id))

    async def _of_one_subject(self, mappings: Mapping[str, str]) -> Sequence[str]:
        """Those sources that have a query for one subject. mappings: the texts, by source."""
        some = {source: text for source, text in mappings.items() if "one_subject" in text}
        read = await self._sandbox.mappings(list(some.values()))
        return [
            source
            for source, (mapping, _) in zip(some, read, strict=True)
            if mapping is not None and any(query.one_subject for query in mapping.queries)
        ]

    async def _checked(self, who: Principal, text: str, field: str) -> tuple[SourceMapping, SourceConnection]:
        """The mapping and its connection. Raises InvalidRequest, NotFound."""
        mapping, problems = await self._sandbox.mapping(text)
        if mapping is None:
            raise _mistakes(field, problems)
        connection = await self._connections.named(who.tenant_id, mapping.connection)
        if connection is None:
            granted = await self._connections.granted(who.tenant_id)
            known = f"there are {quoted(granted)}" if granted else "no connection is granted to this tenant"
            message = f"there is no connection “{mapping.connection}”; {known}. The owner of the installation declares connections"
            suggestion = closest(mapping.connection, granted)
            raise _missing(mapping.problem(message, ("connection",), suggestion), mapping.connection)
        if (unfit := mapping.unfit(connection)) is not None:
            raise _mistakes(field, [unfit])
        try:
            await self._collections.get(who, mapping.collection)
        except NotFound as error:
            message = f"there is no collection “{mapping.collection}”; create it first"
            raise _missing(mapping.problem(message, ("collection",)), mapping.collection) from error
        return mapping, connection


def _next_run_time(mapping: SourceMapping) -> datetime | None:
    return None if mapping.schedule is None else mapping.schedule.after(datetime.now(UTC))


def _missing(problem: Problem, named: str) -> NotFound:
    """The error for a connection or a collection that does not exist. problem: its key says which of the two."""
    kind = problem.path
    return NotFound(
        Reason.RESOURCE_NOT_FOUND,
        _described(problem),
        {"resource_type": kind, "resource_name": f"{kind}s/{named}"},
    )


def _mistakes(field: str, problems: Sequence[Problem]) -> InvalidRequest:
    described = [
        FieldViolation(field, "source.mapping", _described(problem)) for problem in problems[:_MOST_MISTAKES]
    ]
    more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidRequest(
        Reason.INVALID_FIELD,
        f"{field}: {described[0].description}{more}",
        {"violations": str(len(problems))},
        tuple(described),
    )


def _described(one: Problem) -> str:
    """A problem as one sentence: line, key, message and suggestion."""
    line = f"line {one.line}: " if one.line else ""
    meant = f" Did you mean “{one.suggestion}”?" if one.suggestion else ""
    return f"{line}{f'{one.path}: ' if one.key else ''}{one.message.rstrip('.')}.{meant}"


class SubjectProfiles:
    """The profiles that a caller may read: that of the caller and, for administrators and services, those of all persons of the tenant."""

    def __init__(self, profiles: PostgresProfiles) -> None:
        self._profiles = profiles

    async def get(self, who: Principal, subject: str, *, documents: bool = True) -> Profile:
        """The profile of a subject; "" for the caller. documents: whether more than the person is needed. Raises NotFound, which is the same for a subject that does not exist and for one that the caller may not see."""
        own = names.user(who.user_id)
        person = await self._profiles.person(who, subject or own)
        if person is None or not _may_read(who, person):
            raise NotFound.of("subject", subject)
        if person.user_id is not None and not documents:
            return Profile(person, (), 0)
        found = await self._profiles.profile(who, person)
        if person.user_id is None and not found.parts:
            raise NotFound.of("subject", subject)
        return found


def _may_read(who: Principal, person: Person) -> bool:
    return person.user_id == who.user_id or who.role in (Role.ADMIN, Role.SERVICE)
