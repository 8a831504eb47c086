"""The stores of resources that administrators keep for their tenant, among them teachers, registered programs, and the
addresses that others asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, LiteralString, TypeVar
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, Reason
from responsa_server.domain.listing import Field, ListQuery, ListRules, Order, Page
from responsa_server.domain.lists import CREATED, NEWEST, OLDEST
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.requests import CreationRequests, already_exists, check_etag
from responsa_server.stores.postgres.rows import one_row, to_row

Kept = TypeVar("Kept")
Id = TypeVar("Id")
_QUERIES: Final = Queries("resources.sql")


@dataclass(frozen=True, slots=True)
class ResourceKind(Generic[Kept, Id]):
    """noun: what errors call it, e.g. `teacher`, and its table, unless table names another one. name: the name of the resource with
    an id. rules: the rules of its list. built: makes a resource of a row. more: further columns to read, each after a
    comma. missing: the error for the name of a resource that does not exist; by default RESOURCE_NOT_FOUND.
    """

    noun: LiteralString
    name: Callable[[Id], str]
    rules: ListRules
    built: Callable[[Mapping[str, Any]], Kept]
    more: LiteralString = ""
    missing: Callable[[str], NotFound] | None = None
    table: LiteralString = ""

    def text(self, query: str) -> LiteralString:
        """A statement of `resources.sql` for the table."""
        return _QUERIES[query].replace("{table}", self.table or self.noun).replace("{more}", self.more)


class ResourceStore(Generic[Kept, Id]):
    """The base of a store of resources with an etag. Each call is for one tenant."""

    def __init__(self, database: Database, kind: ResourceKind[Kept, Id]) -> None:
        self._database = database
        self.kind = kind
        self._audit = AuditLog()
        self._list: SqlList[Kept] = SqlList(kind.rules)

    @shielded
    async def get(self, caller: Principal, identity: Id) -> Kept:
        """Return one resource. Raises NotFound."""
        async with self._database.tenant(caller.tenant_id) as connection:
            return self.kind.built(await self._row(connection, "get", caller, identity))

    @shielded
    async def list(self, caller: Principal, query: ListQuery) -> Page[Kept]:
        """Return a page of the tenant's resources."""
        async with self._database.tenant(caller.tenant_id) as connection:
            values = {"tenant": caller.tenant_id}
            return await self._list.read(connection, self.kind.text("list"), query, values, self.kind.built)

    @shielded
    async def delete(self, caller: Principal, identity: Id, etag: str) -> None:
        """Delete a resource. etag: the expected etag; "" accepts any revision. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        async with self._database.locking(caller.tenant_id) as connection:
            await self._lock(connection, caller, identity, etag)
            await connection.execute(self.kind.text("delete"), {"tenant": caller.tenant_id, "id": identity})
            await self._write(connection, caller, identity)

    async def _write(self, connection: Connection, caller: Principal, identity: Id) -> None:
        """Write an act to the audit log."""
        await self._audit.write(connection, AuditEvent.of_call(caller, self.kind.name(identity)))

    async def _lock(self, connection: Connection, caller: Principal, identity: Id, etag: str) -> Kept:
        """Lock a resource and return it. Raises as `_row` does, and Conflict (ETAG_MISMATCH)."""
        row = await self._row(connection, "lock", caller, identity)
        check_etag(etag, names.etag(row["create_time"], row["revision"]), self.kind.name(identity))
        return self.kind.built(row)

    async def _row(
        self, connection: Connection, query: str, caller: Principal, identity: Id
    ) -> Mapping[str, Any]:
        """Return the row of a resource. query: `get` or `lock`. Raises the error of a missing resource."""
        row = await one_row(connection, self.kind.text(query), {"tenant": caller.tenant_id, "id": identity})
        if row is None:
            name = self.kind.name(identity)
            raise NotFound.of(self.kind.noun, name) if self.kind.missing is None else self.kind.missing(name)
        return row


def resource_row(row: Mapping[str, Any]) -> Row:
    """The row of a resource, with its etag."""
    return to_row(row, etag=names.etag(row["create_time"], row["revision"]))


class ResourceTable(ResourceStore[Row, UUID]):
    """A store of resources that consist of the values that administrators give, each a column."""

    def __init__(self, database: Database, kind: ResourceKind[Row, UUID], new_id: Callable[[], UUID]) -> None:
        """new_id: a function that makes the ids that callers do not choose."""
        super().__init__(database, kind)
        self._new_id = new_id
        self._requests = CreationRequests()

    @shielded
    async def create(
        self,
        caller: Principal,
        values: Mapping[str, object],
        identity: UUID | None = None,
        request_id: UUID | None = None,
    ) -> Row:
        """Create a resource, or return the resource that this request_id created. values: the value of each column.
        identity: the id that the caller chose. Raises AlreadyExists (RESOURCE_ALREADY_EXISTS, REQUEST_ID_REUSED).
        """
        noun = self.kind.noun
        # If the server chooses the id, the body contains "" instead, so that a repeated call has an equal body.
        body = {f"{noun}_id": str(identity or ""), **{name: _digest(value) for name, value in values.items()}}
        async with self._database.tenant(caller.tenant_id) as connection:
            earlier = await self._requests.claim(connection, caller, request_id, noun, body)
            if earlier is not None:
                return self.kind.built(
                    await self._row(connection, "get", caller, UUID(earlier.rpartition("/")[2]))
                )
            chosen = identity or self._new_id()
            name = self.kind.name(chosen)
            row = await self._change(connection, "insert", caller, chosen, values)
            if row is None:
                raise already_exists(noun, name)
            await self._requests.record(connection, caller, request_id, name)
            await self._write(connection, caller, chosen)
            return self.kind.built(row)

    @shielded
    async def update(
        self, caller: Principal, identity: UUID, changes: Mapping[str, object], etag: str
    ) -> Row:
        """Update a resource. changes: the new values of some columns; without any, nothing changes. etag: the expected
        etag; "" accepts any revision. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        async with self._database.locking(caller.tenant_id) as connection:
            locked = await self._lock(connection, caller, identity, etag)
            if not changes:
                return locked
            row = await self._change(connection, "update", caller, identity, changes)
            assert row is not None, "the row is locked, so it cannot be deleted"
            await self._write(connection, caller, identity)
            return self.kind.built(row)

    async def _change(
        self,
        connection: Connection,
        query: str,
        caller: Principal,
        identity: UUID,
        values: Mapping[str, object],
    ) -> Mapping[str, Any] | None:
        """Run `insert` or `update` with the values of some columns."""
        columns, marks = [sql.Identifier(name) for name in values], [sql.Placeholder(name) for name in values]
        pairs = [sql.SQL("{} = {}").format(*pair) for pair in zip(columns, marks, strict=True)]
        comma = sql.SQL(", ")
        statement = sql.SQL(self.kind.text(query)).format(
            columns=comma.join(columns), values=comma.join(marks), changes=comma.join(pairs)
        )
        stored = {
            name: Jsonb(value) if isinstance(value, Mapping) else value for name, value in values.items()
        }
        return await one_row(connection, statement, {"tenant": caller.tenant_id, "id": identity, **stored})


def _digest(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


_TEACHERS: Final = ListRules(
    "teachers",
    (Field("display_name"), CREATED),
    (OLDEST, NEWEST, Order("display_name"), Order("display_name", descending=True)),
)
TEACHERS: Final[ResourceKind[Row, UUID]] = ResourceKind(
    "teacher",
    names.teacher,
    _TEACHERS,
    resource_row,
    missing=lambda name: NotFound(
        Reason.TEACHER_NOT_FOUND,
        "Teacher not found or access denied",
        {"resource_type": "teacher", "resource_name": name},
    ),
)
_OF_PROGRAMS: Final = (Field("display_name"), CREATED)
_PROGRAMS: Final = ListRules("programs", _OF_PROGRAMS, (OLDEST, NEWEST))
_ASKED_PROGRAMS: Final = ListRules("asked_programs", _OF_PROGRAMS, (NEWEST, OLDEST))
PROGRAMS: Final[ResourceKind[Row, UUID]] = ResourceKind("program", names.program, _PROGRAMS, resource_row)
ASKED_PROGRAMS: Final[ResourceKind[Row, UUID]] = ResourceKind(
    "asked_program", names.asked_program, _ASKED_PROGRAMS, resource_row
)
