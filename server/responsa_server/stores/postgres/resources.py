"""The stores of resources that administrators keep for their tenant."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain.errors import NotFound
from responsa_server.domain.listing import ListQuery, ListRules, Page
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.resources import Resource
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.requests import CreationRequests, already_exists, check_etag
from responsa_server.stores.postgres.rows import (
    build,
    one_row,
)


class HasEtag(Protocol):
    """A resource with an etag."""

    @property
    def etag(self) -> str:
        """Another text after each change."""
        ...


Kept = TypeVar("Kept", bound=HasEtag)
KeptResource = TypeVar("KeptResource", bound=Resource)
Id = TypeVar("Id")


@dataclass(frozen=True, slots=True)
class ResourceKind(Generic[Kept, Id]):
    """queries: the file with the statements: `get` and `lock` return the row of one resource, and `delete` deletes it, by `tenant` and `id`; `list` returns those of a tenant. type: the dataclass, whose fields are columns. noun: what the audit log and errors call it, e.g. `teacher`. name: the name of the resource with an id. rules: the rules of its list.
    missing: the error for the name of a resource that does not exist; by default RESOURCE_NOT_FOUND.
    """

    queries: str
    type: type[Kept]
    noun: str
    name: Callable[[Id], str]
    rules: ListRules
    missing: Callable[[str], NotFound] | None = None


class ResourceStore(Generic[Kept, Id]):
    """The base of a store of resources with an etag. Each call is for one tenant."""

    def __init__(self, database: Database, kind: ResourceKind[Kept, Id]) -> None:
        self._database = database
        self.kind = kind
        self._queries = Queries(kind.queries)
        self._audit = AuditLog()
        self._list: SqlList[Kept] = SqlList(kind.rules)
        self._built: Callable[[Mapping[str, Any]], Kept] = partial(build, kind.type)

    @shielded
    async def get(self, who: Principal, identity: Id) -> Kept:
        """Return one resource. Raises NotFound."""
        async with self._database.tenant(who.tenant_id) as connection:
            return await self._row(connection, "get", who, identity)

    @shielded
    async def list(self, who: Principal, query: ListQuery) -> Page[Kept]:
        """Return a page of the tenant's resources."""
        async with self._database.tenant(who.tenant_id) as connection:
            values = {"tenant": who.tenant_id}
            return await self._list.read(connection, self._queries["list"], query, values, self._built)

    @shielded
    async def delete(self, who: Principal, identity: Id, etag: str) -> None:
        """Delete a resource. etag: the expected etag; "" accepts any revision. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        async with self._database.locking(who.tenant_id) as connection:
            await self._locked(connection, who, identity, etag)
            await connection.execute(self._queries["delete"], {"tenant": who.tenant_id, "id": identity})
            await self._write(connection, who, "delete", identity)

    async def _write(self, connection: Connection, who: Principal, verb: str, identity: Id) -> None:
        """Write an act to the audit log."""
        event = AuditEvent.of(who, f"{self.kind.noun}.{verb}", self.kind.name(identity))
        await self._audit.write(connection, event)

    async def _locked(self, connection: Connection, who: Principal, identity: Id, etag: str) -> Kept:
        """Lock a resource and return it. Raises as `_row` does, and Conflict (ETAG_MISMATCH)."""
        found = await self._row(connection, "lock", who, identity)
        check_etag(etag, found.etag, self.kind.name(identity))
        return found

    async def _row(self, connection: Connection, query: str, who: Principal, identity: Id) -> Kept:
        """Return the resource of a row. query: `get` or `lock`. Raises the error of a missing resource."""
        row = await one_row(connection, self._queries[query], {"tenant": who.tenant_id, "id": identity})
        if row is None:
            name = self.kind.name(identity)
            raise NotFound.of(self.kind.noun, name) if self.kind.missing is None else self.kind.missing(name)
        return self._built(row)


class ResourceTable(ResourceStore[KeptResource, UUID]):
    """A store of resources that consist of the values that administrators give, each a column: its statements `insert` and `update` take them by name, and return the row."""

    def __init__(
        self, database: Database, kind: ResourceKind[KeptResource, UUID], new_id: Callable[[], UUID]
    ) -> None:
        """new_id: a function that makes the ids that callers do not choose."""
        super().__init__(database, kind)
        self._new_id = new_id
        self._requests = CreationRequests()
        inherited = {field.name for field in dataclasses.fields(Resource)}
        self._columns = [field.name for field in dataclasses.fields(kind.type) if field.name not in inherited]

    @shielded
    async def create(
        self,
        who: Principal,
        values: Mapping[str, object],
        identity: UUID | None = None,
        request_id: UUID | None = None,
    ) -> KeptResource:
        """Create a resource, or return the resource that this request_id created. values: the value of each column. identity: the id that the caller chose. Raises AlreadyExists
        (RESOURCE_ALREADY_EXISTS, REQUEST_ID_REUSED).
        """
        noun = self.kind.noun
        # If the server chooses the id, the body contains "" instead, so that a repeated call has an equal body.
        body = {f"{noun}_id": str(identity or ""), **{name: _digest(value) for name, value in values.items()}}
        async with self._database.tenant(who.tenant_id) as connection:
            earlier = await self._requests.claim(connection, who, request_id, noun, body)
            if earlier is not None:
                return await self._row(connection, "get", who, UUID(earlier.rpartition("/")[2]))
            chosen = identity or self._new_id()
            name = self.kind.name(chosen)
            row = await one_row(connection, self._queries["insert"], self._parameters(who, chosen, values))
            if row is None:
                raise already_exists(noun, name)
            await self._requests.record(connection, who, request_id, name)
            await self._write(connection, who, "create", chosen)
            return self._built(row)

    @shielded
    async def update(
        self, who: Principal, identity: UUID, changes: Mapping[str, object], etag: str
    ) -> KeptResource:
        """Update a resource. changes: the new values of some columns; without any, nothing changes. etag: the expected etag; "" accepts any revision. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        async with self._database.locking(who.tenant_id) as connection:
            locked = await self._locked(connection, who, identity, etag)
            if not changes:
                return locked
            row = await one_row(connection, self._queries["update"], self._parameters(who, identity, changes))
            assert row is not None, "the row is locked, so it cannot be deleted"
            await self._write(connection, who, "update", identity)
            return self._built(row)

    def _parameters(self, who: Principal, identity: UUID, values: Mapping[str, object]) -> dict[str, object]:
        """The parameters of a statement; None for a column without a value."""
        given = {
            name: Jsonb(value) if isinstance(value, Mapping) else value for name, value in values.items()
        }
        return {"tenant": who.tenant_id, "id": identity, **dict.fromkeys(self._columns), **given}


def _digest(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
