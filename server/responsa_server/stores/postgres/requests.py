"""Request ids of creating calls (AIP-155), and etags (AIP-154).

A call with the same request id and body returns the result of the first call. The same id with a different body is an error.
Turns and conversations store their request ids themselves. An id is stored for at least 30 days.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain.errors import AlreadyExists, Conflict, Reason
from responsa_server.domain.people import ApiKey, Principal
from responsa_server.stores.postgres.database import Connection, Queries

KIND: Final = "kind"
_FILE: Final = "requests.sql"


def request_id_reused(request_id: UUID | None, resource_name: str, difference: str) -> AlreadyExists:
    """The error for a request_id that has already created a resource from a different body. difference: the first field that differs."""
    return AlreadyExists(
        Reason.REQUEST_ID_REUSED,
        f"The request_id {request_id} was already used for a call with a different {difference}; use a new request_id.",
        {"request_id": str(request_id), "resource_name": resource_name, "difference": difference},
    )


def already_exists(resource_type: str, name: str) -> AlreadyExists:
    """The error for a resource id that is taken."""
    return AlreadyExists(
        Reason.RESOURCE_ALREADY_EXISTS,
        f"{name} already exists; use it, or choose another id.",
        {"resource_type": resource_type, "resource_name": name},
    )


def check_etag(etag: str, current: str, name: str) -> None:
    """Raise Conflict (ETAG_MISMATCH) if the given etag is not the resource's current one."""
    if etag and etag != current:
        raise Conflict.of_etag(name)


class CreationRequests:
    """The request ids of creating calls. Its methods run in the transaction that creates the resource."""

    def __init__(self) -> None:
        self._queries = Queries(_FILE)

    async def claim(
        self,
        connection: Connection,
        maker: Principal | ApiKey,
        request_id: UUID | None,
        kind: str,
        body: Mapping[str, str],
    ) -> str | None:
        """Claim the request id for this call. Returns the name of the resource that an earlier call created. Returns
        None if there was no earlier call; then create the resource and call `record`.

        body: the request in normalised form, with hashes in place of contents. Raises AlreadyExists
        (REQUEST_ID_REUSED) if the earlier call had a different body or kind.
        """
        if request_id is None:
            return None
        values = self._values(maker, request_id)
        encoded = json.dumps({KIND: kind, **body}, sort_keys=True, ensure_ascii=False).encode()
        digest = hashlib.sha256(encoded).digest()
        inserted = await connection.execute(
            self._queries["claim"], {**values, "kind": kind, "body": Jsonb(dict(body)), "hash": digest}
        )
        if await inserted.fetchone() is not None:
            await connection.execute(self._queries["forget"], values)
            return None
        row = await (await connection.execute(self._queries["find"], values)).fetchone()
        if row is None:  # the row was deleted in the meantime, so treat the id as unused
            return None
        earlier_kind, earlier_body, earlier_digest, resource_name = row
        if bytes(earlier_digest) != digest:
            before = {KIND: earlier_kind, **earlier_body}
            now = {KIND: kind, **body}
            difference = next(key for key in (*now, *before) if now.get(key) != before.get(key))
            raise request_id_reused(request_id, resource_name, difference)
        return resource_name

    async def record(
        self, connection: Connection, maker: Principal | ApiKey, request_id: UUID | None, resource_name: str
    ) -> None:
        """Record the resource that the claimed call created."""
        if request_id is not None:
            values = {**self._values(maker, request_id), "resource": resource_name}
            await connection.execute(self._queries["record"], values)

    @staticmethod
    def _values(maker: Principal | ApiKey, request_id: UUID) -> dict[str, object]:
        return {"tenant": maker.tenant_id, "user": maker.user_id, "request": request_id}
