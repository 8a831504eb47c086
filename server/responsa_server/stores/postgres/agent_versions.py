"""Implements `AgentVersions` in PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final, LiteralString

from responsa_server.domain import names
from responsa_server.domain.agents import AgentVersion, NewVersion, Publication, StoredVersion
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import AGENT_VERSIONS
from responsa_server.domain.people import AuditEvent
from responsa_server.domain.rows import build
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.rows import all_rows, one_row

_QUERIES: Final = Queries("agent_versions.sql")
_LIST: Final[SqlList[AgentVersion]] = SqlList(AGENT_VERSIONS, identity="agent_id")
_NAME: Final = re.compile(r"agents/([^/]+)/versions/([0-9]{1,9})")


class PostgresAgentVersions:
    """The versions of all agents, in `responsa.agent_version`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log = AuditLog()

    @shielded
    async def register(self, versions: Sequence[NewVersion]) -> Sequence[StoredVersion]:
        """See `AgentVersions.register`. Existing versions are not written again, so that servers that start at the same
        time do not wait for each other."""
        if not versions:
            return []
        known: dict[str, Any] = {
            "agents": [version.agent for version in versions],
            "hashes": [version.sha256 for version in versions],
        }
        stored = await self._find_registered(known, versions)
        if len(stored) == len(versions):
            return stored
        async with self._database.no_tenant() as connection:
            await connection.execute(_QUERIES["register_lock"])
            more = {
                "engines": [version.engine for version in versions],
                "contents": [version.content for version in versions],
                "card": "",
            }
            await connection.execute(_QUERIES["register"], {**known, **more})
        return await self._find_registered(known, versions)

    @shielded
    async def create(self, version: NewVersion, card: str, event: AuditEvent) -> StoredVersion:
        known: dict[str, Any] = {"agents": [version.agent], "hashes": [version.sha256]}
        async with self._database.tenant(event.tenant_id) as connection:
            await connection.execute(_QUERIES["register_lock"])
            if not await all_rows(connection, _QUERIES["registered"], known):
                more = {"engines": [version.engine], "contents": [version.content], "card": card}
                await connection.execute(_QUERIES["register"], {**known, **more})
                (stored,) = await all_rows(connection, _QUERIES["registered"], known)
                name = names.agent_version(version.agent, stored["version"])
                await self._log.write(connection, replace(event, resource_name=name))
        (created,) = await self._find_registered(known, [version])
        return created

    @shielded
    async def publications(self) -> Sequence[Publication]:
        async with self._database.no_tenant_statements() as connection:
            return [build(Publication, row) for row in await all_rows(connection, _QUERIES["published"], {})]

    @shielded
    async def publish(self, publication: Publication, event: AuditEvent, after: int | None = None) -> None:
        await self._change("publish", {**asdict(publication), "after": after}, event)

    @shielded
    async def roll_back(self, identity: str, number: int, event: AuditEvent) -> bool:
        return await self._change("roll_back", {"agent": identity, "number": number}, event)

    async def _change(self, query: str, values: dict[str, Any], event: AuditEvent) -> bool:
        async with self._database.tenant(event.tenant_id) as connection:
            await connection.execute(_QUERIES["publish_lock"], values)
            changed = await one_row(connection, _QUERIES[query], values) is not None
            if changed:
                await self._log.write(connection, event)
        return changed

    @shielded
    async def listings(self) -> Mapping[str, bool]:
        async with self._database.no_tenant_statements() as connection:
            rows = await all_rows(connection, _QUERIES["listings"], {})
        return {row["agent_id"]: row["listed"] for row in rows}

    @shielded
    async def list_agent(self, identity: str, *, listed: bool, event: AuditEvent) -> None:
        await self._change("list_agent", {"agent": identity, "listed": listed}, event)

    @shielded
    async def newest(self) -> int:
        async with self._database.log_statements() as connection:
            row = await one_row(connection, _QUERIES["newest"], {})
        return 0 if row is None else int(row["ordinal"])

    @shielded
    async def since(self, ordinal: int, engine: int) -> Sequence[StoredVersion]:
        return [
            _version_of(row)
            for row in await self._rows(_QUERIES["since"], {"ordinal": ordinal, "engine": engine})
        ]

    @shielded
    async def open(self) -> Collection[str]:
        return frozenset(str(row["agent_version"]) for row in await self._rows(_QUERIES["open"], {}))

    @shielded
    async def find(self, names: Collection[str], engine: int) -> Sequence[StoredVersion]:
        wanted = [matches.groups() for name in {*names} if (matches := _NAME.fullmatch(name))]
        if not wanted:
            return []
        agents, numbers = zip(*wanted, strict=True)
        params = {"agents": list(agents), "numbers": [int(number) for number in numbers], "engine": engine}
        matches = await self._rows(_QUERIES["named"], params)
        return [_version_of(row) for row in matches]

    @shielded
    async def list(self, agent: str, query: ListQuery) -> Page[AgentVersion]:
        """Return a page of an agent's versions, without their contents. Raises Unavailable."""
        async with self._database.log_statements() as connection:
            return await _LIST.read(
                connection, _QUERIES["list"], query, {"agent": agent}, partial(build, AgentVersion)
            )

    @shielded
    async def get(self, agent: str, version: int) -> AgentVersion | None:
        """Return a version with its content, or None. Raises Unavailable."""
        async with self._database.log_statements() as connection:
            row = await one_row(connection, _QUERIES["get"], {"agent": agent, "version": version})
        return None if row is None else build(AgentVersion, row)

    async def _find_registered(
        self, known: dict[str, Any], versions: Sequence[NewVersion]
    ) -> Sequence[StoredVersion]:
        contents = {(version.agent, version.sha256): version.content for version in versions}
        rows = await self._rows(_QUERIES["registered"], known)
        return [
            StoredVersion(
                row["agent_id"],
                row["version"],
                row["ordinal"],
                contents[row["agent_id"], bytes(row["sha256"])],
                row["engine"],
            )
            for row in rows
        ]

    async def _rows(self, query: LiteralString, parameters: dict[str, Any]) -> Sequence[dict[str, Any]]:
        async with self._database.log_statements() as connection:
            return await all_rows(connection, query, parameters)


def _version_of(row: dict[str, Any]) -> StoredVersion:
    return StoredVersion(
        row["agent_id"], row["version"], row["ordinal"], bytes(row["content"]), row["engine"]
    )
