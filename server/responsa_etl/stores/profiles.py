"""Profiles of persons in PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from responsa_etl.domain import MAX_PROFILE_DOCUMENTS, Person, Profile
from responsa_server.domain import names
from responsa_server.domain.knowledge import Document
from responsa_server.domain.people import Principal
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.database import (
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.rows import (
    all_rows,
    to_row,
)

_USERS: Final = "users/"
_NO_SOURCE: Final = {
    "source_id": "",
    "source_display_name": "",
    "failed_rows": 0,
    "newest_run_id": None,
    "sync_time": None,
}


class PostgresProfiles:
    """The profiles of the caller's tenant. Each call is for one tenant."""

    def __init__(self, database: Database, documents: DocumentStore) -> None:
        self._database = database
        self._documents = documents
        self._queries = Queries("profiles.sql", package=__package__)

    @shielded
    async def person(self, caller: Principal, subject: str) -> Person | None:
        """The person with this subject: users/{uuid}, or the subject of a user or of documents. None for a user that
        does not exist; a text that nobody has as subject is a person without an account. A subject that several users
        have is nobody's in particular.
        """
        named = subject.startswith(_USERS)
        values: dict[str, object] = {"tenant": caller.tenant_id, "subject": subject}
        if named:
            identity = _uuid(subject)
            if identity is None:
                return None
            values["user"] = identity
        async with self._database.tenant(caller.tenant_id) as database:
            rows = await all_rows(database, self._queries["user" if named else "users_with"], values)
        if len(rows) == 1:
            (row,) = rows
            name = names.user(row["id"])
            return Person(row["id"], (row["subject"], name) if row["subject"] else (name,))
        return None if named else Person(None, (subject,))

    @shielded
    async def profile(self, caller: Principal, person: Person) -> Profile:
        """What is held about a person, without the documents that the caller may not read."""
        values = {
            "tenant": caller.tenant_id,
            "subjects": list(person.subjects),
            "most": MAX_PROFILE_DOCUMENTS,
        }
        async with self._database.reading(caller) as database:
            rows = await all_rows(database, self._queries["documents"], values)
            made_by = {row["source_id"] for row in rows}
            values["sources"] = sorted(made_by)
            sources = await all_rows(database, self._queries["sources"], values)
        documents = await self._documents.find(caller, [row["id"] for row in rows])
        parts = _parts(rows, sources, documents)
        return Profile(person, parts, rows[0]["total"] if rows else 0)


def _parts(
    rows: list[dict[str, Any]], sources: list[dict[str, Any]], documents_by_id: Mapping[UUID, Document]
) -> Sequence[Row]:
    documents: defaultdict[str, list[tuple[str, Document]]] = defaultdict(list)
    for row in rows:
        if row["id"] in documents_by_id:  # it may have been deleted meanwhile
            documents[row["source_id"]].append((row["kind"], documents_by_id[row["id"]]))
    parts = [to_row(row, documents=documents.pop(row["source_id"], [])) for row in sources]
    others = [pair for pairs in documents.values() for pair in pairs]
    return [*parts, *([to_row(_NO_SOURCE, documents=others)] if others else [])]


def _uuid(name: str) -> UUID | None:
    try:
        return names.parse_uuid("users", name)
    except ValueError:
        return None
