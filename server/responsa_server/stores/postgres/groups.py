"""Groups and their members in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.listing import Field, ListQuery, ListRules, Order, Page
from responsa_server.domain.lists import CREATED, NEWEST, OLDEST
from responsa_server.domain.people import AuditEvent, Principal, User
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Connection, Database, Queries, shielded
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.resources import ResourceKind, ResourceTable, resource_row
from responsa_server.stores.postgres.rows import to_row

_RULES: Final = ListRules(
    "groups",
    (Field("display_name"), CREATED),
    (OLDEST, NEWEST, Order("display_name"), Order("display_name", descending=True)),
)
MEMBERS: Final = ListRules("group_members", (CREATED,), (OLDEST, NEWEST))
_KIND: Final[ResourceKind[Row, UUID]] = ResourceKind(
    "group",
    names.group,
    _RULES,
    resource_row,
    more=""", (SELECT count(DISTINCT m.user_id) FROM responsa.group_member AS m
        WHERE m.tenant_id = r.tenant_id AND m.group_id = r.id AND m.expire_time > now())::int AS member_count""",
    table="user_group",
)
_LIST: Final[SqlList[Row]] = SqlList(MEMBERS, table="m.", identity="m.user_id")
_QUERIES: Final = Queries("groups.sql")


class PostgresGroups(ResourceTable):
    """The store of groups. Each call is for one tenant."""

    def __init__(self, database: Database, new_id: Callable[[], UUID]) -> None:
        super().__init__(database, _KIND, new_id)

    @shielded
    async def add(
        self, caller: Principal, group_id: UUID, users: Sequence[UUID], invitations: Sequence[UUID] = ()
    ) -> Row:
        """Add users, and whoever registers with these invitations, to a group, and return the group. Raises NotFound, and
        InvalidRequest for the first user whom the tenant does not have."""
        return await self._change_members("add", caller, group_id, users, invitations)

    @shielded
    async def remove(
        self, caller: Principal, group_id: UUID, users: Sequence[UUID], invitations: Sequence[UUID] = ()
    ) -> Row:
        """Remove users and invitations from a group, and return the group. Raises NotFound."""
        return await self._change_members("remove", caller, group_id, users, invitations)

    async def _change_members(
        self, query: str, caller: Principal, group_id: UUID, *named: Sequence[UUID]
    ) -> Row:
        users, invitations = map(list, named)
        if not users and not invitations:
            raise InvalidRequest.of_field(
                "users", "users.nobody", "must have at least one entry, or invitations must"
            )
        values = {"tenant": caller.tenant_id, "id": group_id, "users": users, "invitations": invitations}
        async with self._database.locking(caller.tenant_id) as connection:
            await self._row(connection, "lock", caller, group_id)
            if query == "add":
                row = await (await connection.execute(_QUERIES["unknown_users"], values)).fetchone()
                if row is not None:
                    raise InvalidRequest.of_field(
                        f"users[{row[0]}]", "users.known", "is not the name of a user of this tenant"
                    )
            changed = await (await connection.execute(_QUERIES[query], values)).fetchall()
            await connection.execute(_QUERIES["add_invited" if query == "add" else "remove_invited"], values)
            if changed:
                people = [names.user(user_id) for (user_id,) in changed]
                event = AuditEvent.of_call(caller, self.kind.name(group_id))
                field = "added_readers" if query == "add" else "removed_readers"
                await self._audit.write(connection, replace(event, **{field: people}))
            return self.kind.built(await self._row(connection, "get", caller, group_id))

    async def _change(
        self,
        connection: Connection,
        query: str,
        caller: Principal,
        identity: UUID,
        values: Mapping[str, object],
    ) -> Mapping[str, Any] | None:
        mapped = "provider_groups" in values
        stored = {**values, "provider_groups": Jsonb(values["provider_groups"])} if mapped else values
        row = await super()._change(connection, query, caller, identity, stored)
        if query == "update" and mapped:
            named = {"tenant": caller.tenant_id, "id": identity}
            await connection.execute(_QUERIES["drop_unmapped"], named)
            row = await self._row(connection, "get", caller, identity)  # with the members that are left
        return row

    @shielded
    async def replace_provided(
        self, user: User, issuer: str, values: Collection[str], seconds: float, audit: AuditEvent
    ) -> None:
        """Make a user the member of exactly those groups, among the groups that somebody can be in by this provider, that
        these values of its claim stand for. seconds: after this time, they give no rights. audit: the actor, and the
        action of somebody who becomes a member."""
        parameters = {
            "tenant": user.tenant_id,
            "user": user.id,
            "issuer": issuer,
            "values": list(values),
            "seconds": seconds,
        }
        async with self._database.tenant(user.tenant_id) as connection:
            before, after = [
                {row[0] for row in await (await connection.execute(_QUERIES[query], parameters)).fetchall()}
                for query in ("drop_provided", "add_provided")
            ]
            people = [names.user(user.id)]
            for group_id in sorted(before ^ after):
                event = replace(audit, resource_name=names.group(group_id), about=user.id)
                if group_id in after:
                    event = replace(event, added_readers=people)
                else:
                    event = replace(event, action="group.remove_members", removed_readers=people)
                await self._audit.write(connection, event)

    @shielded
    async def members(self, caller: Principal, group_id: UUID, query: ListQuery) -> Page[Row]:
        """Return a page of the members of a group: rows with user_id, display_name, email,
        create_time and issuers. Raises NotFound."""
        async with self._database.tenant(caller.tenant_id) as connection:
            await self._row(connection, "get", caller, group_id)
            values = {"tenant": caller.tenant_id, "id": group_id}
            return await _LIST.read(connection, _QUERIES["members"], query, values, to_row)


async def join_invited(
    connection: Connection, audit_log: AuditLog, user_id: UUID, groups: Sequence[UUID], registered: AuditEvent
) -> None:
    """Make a new user a member of the groups of the invitation. registered: the event of the registration."""
    values = {"tenant": registered.tenant_id, "user": user_id, "groups": list(groups)}
    for (group_id,) in await (await connection.execute(_QUERIES["join"], values)).fetchall():
        event = replace(
            registered, action="group.add_members", resource_name=names.group(group_id), about=user_id
        )
        await audit_log.write(connection, replace(event, added_readers=[names.user(user_id)]))
