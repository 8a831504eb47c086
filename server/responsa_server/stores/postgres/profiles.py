"""Profiles of persons in PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.knowledge import Document
from responsa_server.domain.people import Principal
from responsa_server.domain.sources import (
    MAX_PROFILE_DOCUMENTS,
    Person,
    Profile,
    ProfileDocument,
    ProfilePart,
)
from responsa_server.stores.postgres.database import (
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.rows import (
    all_rows,
)

_USERS: Final = "users/"


class PostgresProfiles:
    """The profiles of the caller's tenant. Each call is for one tenant."""

    def __init__(self, database: Database, documents: DocumentStore) -> None:
        self._database = database
        self._documents = documents
        self._queries = Queries("profiles.sql")

    @shielded
    async def person(self, who: Principal, subject: str) -> Person | None:
        """The person with this subject: users/{uuid}, or the subject of a user or of documents. None for a user that does not exist; a text that nobody has as subject is a person
        without an account.
        A subject that several users have is nobody's in particular.
        """
        named = subject.startswith(_USERS)
        values: dict[str, object] = {"tenant": who.tenant_id, "subject": subject}
        if named:
            identity = _uuid(subject)
            if identity is None:
                return None
            values["user"] = identity
        async with self._database.tenant(who.tenant_id) as database:
            rows = await all_rows(database, self._queries["user" if named else "users_with"], values)
        if len(rows) == 1:
            (row,) = rows
            name = names.user(row["id"])
            return Person(row["id"], (row["subject"], name) if row["subject"] else (name,))
        return None if named else Person(None, (subject,))

    @shielded
    async def profile(self, who: Principal, person: Person) -> Profile:
        """What is held about a person, without the documents that the caller may not read."""
        values = {
            "tenant": who.tenant_id,
            "subjects": list(person.subjects),
            "most": MAX_PROFILE_DOCUMENTS,
        }
        async with self._database.reading(who) as database:
            rows = await all_rows(database, self._queries["documents"], values)
            made_by = {row["source_id"] for row in rows}
            values["sources"] = sorted(made_by)
            sources = await all_rows(database, self._queries["sources"], values)
        found = await self._documents.find(who, [row["id"] for row in rows])
        parts = _parts(rows, sources, found)
        return Profile(person, parts, rows[0]["total"] if rows else 0)


def _parts(
    rows: list[dict[str, Any]], sources: list[dict[str, Any]], found: Mapping[UUID, Document]
) -> tuple[ProfilePart, ...]:
    documents: defaultdict[str, list[ProfileDocument]] = defaultdict(list)
    for row in rows:
        if row["id"] in found:  # it may have been deleted meanwhile
            documents[row["source_id"]].append(ProfileDocument(row["kind"], found[row["id"]]))
    parts = [
        ProfilePart(
            row["id"],
            row["display_name"],
            documents.pop(row["id"], []),
            row["failed"],
            row["run"],
            row["sync_time"],
        )
        for row in sources
    ]
    others = [one for kept in documents.values() for one in kept]
    return (*parts, *([ProfilePart("", "", others)] if others else []))


def _uuid(name: str) -> UUID | None:
    try:
        return names.parse_uuid("users", name)
    except ValueError:
        return None
