"""What the stores of resources with an etag share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from responsa_server.domain.errors import NotFound
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Connection, Queries, one_row
from responsa_server.stores.postgres.requests import check_etag


class HasEtag(Protocol):
    """A resource with an etag."""

    @property
    def etag(self) -> str:
        """Another text after each change."""
        ...


Resource = TypeVar("Resource", bound=HasEtag)
Id = TypeVar("Id")


@dataclass(frozen=True, slots=True)
class ResourceKind(Generic[Resource, Id]):
    """queries: the file with the statements; `get` and `lock` return the row of one resource, by `tenant` and `id`. name: the name of the resource with an id. of_row: the resource of a row.
    missing: the error for the name of a resource that does not exist.
    """

    queries: str
    name: Callable[[Id], str]
    of_row: Callable[[Mapping[str, Any]], Resource]
    missing: Callable[[str], NotFound]


class ResourceStore(Generic[Resource, Id]):
    """The base of a store of resources with an etag."""

    def __init__(self, kind: ResourceKind[Resource, Id]) -> None:
        self._kind = kind
        self._queries = Queries(kind.queries)
        self._audit = AuditLog()

    async def _write(self, connection: Connection, who: Principal, action: str, identity: Id) -> None:
        """Write an act to the audit log."""
        await self._audit.write(connection, AuditEvent.of(who, action, self._kind.name(identity)))

    async def _locked(self, connection: Connection, who: Principal, identity: Id, etag: str) -> Resource:
        """Lock a resource and return it. Raises as `_row` does, and Conflict (ETAG_MISMATCH)."""
        found = await self._row(connection, "lock", who, identity)
        check_etag(etag, found.etag, self._kind.name(identity))
        return found

    async def _row(self, connection: Connection, query: str, who: Principal, identity: Id) -> Resource:
        """Return the resource of a row. query: `get` or `lock`. Raises the error of a missing resource."""
        row = await one_row(connection, self._queries[query], {"tenant": who.tenant_id, "id": identity})
        if row is None:
            raise self._kind.missing(self._kind.name(identity))
        return self._kind.of_row(row)
