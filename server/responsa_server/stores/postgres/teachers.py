"""Teachers in PostgreSQL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, Reason
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import TEACHERS
from responsa_server.domain.people import Principal
from responsa_server.domain.teachers import NewTeacher, Teacher, TeacherChange
from responsa_server.stores.postgres.database import Database, build, one_row, shielded
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.requests import CreationRequests, already_exists
from responsa_server.stores.postgres.resources import ResourceKind, ResourceStore

_LIST: Final[SqlList[Teacher]] = SqlList(TEACHERS)


class PostgresTeachers(ResourceStore[Teacher, UUID]):
    """Implements the port `Teachers` for all tenants. Each call is for one tenant. new_id: a function that makes the ids that callers do not choose."""

    def __init__(self, database: Database, new_id: Callable[[], UUID]) -> None:
        super().__init__(ResourceKind("teachers.sql", names.teacher, _teacher, _missing))
        self._database = database
        self._new_id = new_id
        self._requests = CreationRequests()

    @shielded
    async def create(self, who: Principal, teacher: NewTeacher, request_id: UUID | None) -> Teacher:
        """See `Teachers.create`. Raises AlreadyExists (RESOURCE_ALREADY_EXISTS, REQUEST_ID_REUSED)."""
        # If the server chooses the id, the body contains "" instead, so that a repeated call has an equal body.
        body = {
            "teacher_id": str(teacher.id or ""),
            "display_name": teacher.display_name,
            "persona": _digest(teacher.persona),
            "parameters": _digest(json.dumps(dict(teacher.parameters), sort_keys=True)),
        }
        async with self._database.tenant(who.tenant_id) as connection:
            earlier = await self._requests.claim(connection, who, request_id, "teacher", body)
            if earlier is not None:
                return await self._row(connection, "get", who, names.parse_uuid("teachers", earlier))
            identity = teacher.id or self._new_id()
            values = {
                "tenant": who.tenant_id,
                "id": identity,
                "display_name": teacher.display_name,
                "persona": teacher.persona,
                "parameters": Jsonb(dict(teacher.parameters)),
            }
            row = await one_row(connection, self._queries["insert"], values)
            if row is None:
                raise already_exists("teacher", names.teacher(identity))
            await self._requests.record(connection, who, request_id, names.teacher(identity))
            await self._write(connection, who, "teacher.create", identity)
            return _teacher(row)

    @shielded
    async def get(self, who: Principal, identity: UUID) -> Teacher:
        async with self._database.tenant(who.tenant_id) as connection:
            return await self._row(connection, "get", who, identity)

    @shielded
    async def list(self, who: Principal, query: ListQuery) -> Page[Teacher]:
        async with self._database.tenant(who.tenant_id) as connection:
            values = {"tenant": who.tenant_id}
            return await _LIST.read(connection, self._queries["list"], query, values, _teacher)

    @shielded
    async def update(self, who: Principal, identity: UUID, change: TeacherChange, etag: str) -> Teacher:
        """See `Teachers.update`. An update without fields changes nothing."""
        async with self._database.locking(who.tenant_id) as connection:
            locked = await self._locked(connection, who, identity, etag)
            if change == TeacherChange():
                return locked
            values = {
                "tenant": who.tenant_id,
                "id": identity,
                "display_name": change.display_name,
                "persona": change.persona,
                "parameters": None if change.parameters is None else Jsonb(dict(change.parameters)),
            }
            row = await one_row(connection, self._queries["update"], values)
            assert row is not None, "the row is locked, so it cannot be deleted"
            await self._write(connection, who, "teacher.update", identity)
            return _teacher(row)

    @shielded
    async def delete(self, who: Principal, identity: UUID, etag: str) -> None:
        async with self._database.locking(who.tenant_id) as connection:
            await self._locked(connection, who, identity, etag)
            await connection.execute(self._queries["delete"], {"tenant": who.tenant_id, "id": identity})
            await self._write(connection, who, "teacher.delete", identity)


def _missing(name: str) -> NotFound:
    return NotFound(
        Reason.TEACHER_NOT_FOUND,
        "Teacher not found or access denied",
        {"resource_type": "teacher", "resource_name": name},
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _teacher(row: Mapping[str, Any]) -> Teacher:
    return build(Teacher, row)
