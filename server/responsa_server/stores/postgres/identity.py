"""Tenants, users and credentials in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.accounts import NewSession
from responsa_server.domain.errors import InvalidRequest, NotFound
from responsa_server.domain.limits import NO_LIMIT, Scope, too_many
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import API_KEYS, TENANT_API_KEYS
from responsa_server.domain.people import (
    ApiKey,
    AuditEvent,
    EndedCredential,
    FoundKey,
    FoundSession,
    NewKey,
    Origin,
    Principal,
    Role,
    User,
    credential_expired,
    key_revoked,
    other_user,
    session_ended,
)
from responsa_server.domain.rows import build
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
    uuid_array,
)
from responsa_server.stores.postgres.key_families import revoke_children
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.requests import CreationRequests, already_exists
from responsa_server.stores.postgres.rows import one_row
from responsa_server.stores.postgres.sessions import begin_session
from responsa_server.stores.postgres.users import check_ownership, email_taken, lock_changeable, user_of

_KEYS: Final[SqlList[ApiKey]] = SqlList(API_KEYS, table="k.")
_TENANT_KEYS: Final[SqlList[ApiKey]] = SqlList(TENANT_API_KEYS, {"owner": "k.user_id"}, table="k.")

Row = tuple[Any, ...]


class PostgresIdentityStore:
    """The store of identities. Each method runs in one transaction, which also writes the method's audit event. The
    store receives only the SHA-256 digests of secrets, 32 bytes each. All methods raise Unavailable if the store cannot
    be reached. A method that has begun runs to its end even if the caller is cancelled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("identity.sql")
        self._requests = CreationRequests()
        self._audit = AuditLog()

    @shielded
    async def find_key(self, digest: bytes) -> FoundKey | None:
        """Find the API key with this digest, across all tenants."""
        async with self._database.credentials() as connection:
            row = await self._one(connection, "find_key", {"digest": digest})
        if row is None:
            return None
        (
            key_id,
            tenant_id,
            user_id,
            role,
            expired,
            revoked,
            disabled,
            owner,
            suspended,
            users,
            widget,
            agent,
        ) = row
        narrowed = role != users
        principal = Principal(
            tenant_id,
            user_id,
            Role(role),
            "api_key",
            key_id,
            owner=owner and not narrowed,
            narrowed=narrowed,
            widget=widget,
            limited_as=Role(users) if widget else None,
            agent=agent,
        )
        return FoundKey(key_id, principal, expired, revoked, disabled, suspended)

    @shielded
    async def unread_by_widgets(self, keys: Collection[UUID]) -> Mapping[UUID, int]:
        """How many collections the users of these keys of widgets read, and the keys do not, across all tenants; see
        `ApiKey`. Other keys are left out."""
        async with self._database.no_tenant() as connection:
            rows = await (
                await connection.execute(self._queries["unread_by_widgets"], {"keys": uuid_array(keys)})
            ).fetchall()
        return dict(rows)

    @shielded
    async def find_session(self, digest: bytes) -> FoundSession | None:
        """Find the session with this digest, across all tenants."""
        async with self._database.credentials() as connection:
            row = await self._one(connection, "find_session", {"digest": digest})
        return None if row is None else _session(row, "session")

    @shielded
    async def find_token_session(self, session_id: UUID) -> FoundSession | None:
        """Find the session that an access token names, across all tenants."""
        async with self._database.credentials() as connection:
            row = await self._one(connection, "find_token_session", {"id": session_id})
        return None if row is None else _session(row, "token")

    @shielded
    async def find_ended(
        self, users: Collection[UUID], keys: Collection[UUID], sessions: Collection[UUID]
    ) -> Collection[EndedCredential]:
        """Find those of these users, API keys and sessions, across all tenants, that may no longer make calls."""
        values = {
            "users": uuid_array(users),
            "keys": uuid_array(keys),
            "sessions": uuid_array(sessions),
        }
        async with self._database.credentials() as connection:
            rows = await (await connection.execute(self._queries["find_ended"], values)).fetchall()
        return [EndedCredential(*row) for row in rows]

    @shielded
    async def find_changed(self, callers: Collection[Principal]) -> Collection[UUID]:
        """Find the users, API keys and sessions of these callers, across all tenants, that may no longer make calls, or
        not as these callers: the user has another role, is an owner of the installation now or no longer, or the
        service may no longer act on behalf of the user.
        """
        # Another role of the user changes nothing for a caller whom a key keeps below it.
        users = {
            (caller.user_id, "NULL" if caller.narrowed else caller.role.value, caller.owner)
            for caller in callers
        }
        pairs = {(caller.acting, caller.user_id) for caller in callers if caller.acting is not None}
        values = {
            "users": uuid_array([user for user, _, _ in users]),
            "roles": "{" + ",".join([role for _, role, _ in users]) + "}",
            "owners": "{" + ",".join(["t" if owner else "f" for _, _, owner in users]) + "}",
            # A session ends with the key that began it, so such a key is not asked for.
            "keys": uuid_array(
                {
                    caller.key_id
                    for caller in callers
                    if caller.session_id is None and caller.key_id is not None
                }
            ),
            "sessions": uuid_array(
                {caller.session_id for caller in callers if caller.session_id is not None}
            ),
            "services": uuid_array([service for service, _ in pairs]),
            "served": uuid_array([user for _, user in pairs]),
        }
        async with self._database.credentials() as connection:
            rows = await (await connection.execute(self._queries["find_changed"], values)).fetchall()
        return {id_ for (id_,) in rows}

    @shielded
    async def roles(self, users: Collection[UUID]) -> Mapping[UUID, Role]:
        """Find the present roles of these users, across all tenants. Users that do not exist are left out."""
        async with self._database.credentials() as connection:
            cursor = await connection.execute(self._queries["roles"], {"users": uuid_array(users)})
            return {user: Role(role) for user, role in await cursor.fetchall() if role is not None}

    @shielded
    async def find_granted(self, pairs: Collection[tuple[UUID, UUID]]) -> Collection[tuple[UUID, UUID]]:
        """Find those of these pairs of a service and a user, across all tenants, whose service may act on behalf of the user."""
        values = {
            "services": uuid_array([service for service, _ in pairs]),
            "users": uuid_array([user for _, user in pairs]),
        }
        async with self._database.no_tenant_statements() as connection:
            rows = await (await connection.execute(self._queries["granted"], values)).fetchall()
        return [(service, user) for service, user in rows]

    @shielded
    async def touch_session(self, tenant_id: str, session_id: UUID) -> None:
        """Note that the session is in use. The time is stored at most once in a minute."""
        values = {"tenant_id": tenant_id, "session_id": session_id}
        async with self._database.account(tenant_id) as connection:
            await connection.execute(self._queries["touch_session"], values)

    @shielded
    async def user(self, tenant_id: str, user_id: UUID) -> User | None:
        async with self._database.account(tenant_id) as connection:
            values = {"tenant_id": tenant_id, "user_id": user_id}
            row = await one_row(connection, self._queries["find_user"], values)
        return None if row is None else user_of(row)

    @shielded
    async def add_code(self, caller: Principal, digest: bytes, seconds: float) -> datetime:
        """Store a session code that is valid for `seconds`, and return the time when the code expires. A code that is
        made in a session ends with this session, and is as recent as its sign-in.

        The call also deletes the tenant's expired codes and sessions. Raises Unauthenticated (CREDENTIAL_EXPIRED) if
        the caller's session has just ended.
        """
        values = {
            "tenant_id": caller.tenant_id,
            "user_id": caller.user_id,
            "key_id": caller.key_id,
            "session_id": caller.session_id,
            "digest": digest,
            "seconds": seconds,
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            await connection.execute(self._queries["drop_expired_codes"], values)
            await connection.execute(self._queries["drop_expired_sessions"], values)
            row = await self._one(connection, "add_code", values)
        if row is None:
            raise credential_expired(caller.credential)
        return row[0]

    @shielded
    async def exchange_code(
        self, code: bytes, token: bytes, seconds: float, origin: Origin, present: Principal | None = None
    ) -> datetime | None:
        """Use up a code and create a session, in one transaction.

        code, token: the digests of the code and of the new session's token. present: the caller whose session the new
        one may not replace, unless both are the same user. Return the time when the session expires. If the code is
        unknown, used or expired, was made in a session that has ended, or the user may not sign in, create no session
        and return None. Raises AlreadyExists for a code of another user than `present`; the code stays valid.
        """
        async with self._database.no_tenant() as connection:
            row = await self._one(connection, "use_code", {"digest": code})
            if row is None or row[3]:
                return None
            origin.log_tenant(row[0])
            if present is not None and row[1] != present.user_id:
                raise other_user(present)  # the transaction is rolled back, so the code stays valid
            # The code has identified the tenant. From here on, the transaction sees only that tenant's rows.
            await connection.execute("SELECT set_config('responsa.tenant_id', %s, true)", (row[0],))
            event = AuditEvent.of_origin(origin, row[0], names.user(row[1]), "session.create", "")
            begun = await begin_session(
                connection,
                row[1],
                "browser",
                NewSession(None, token, origin, seconds),
                event,
                key_id=row[2],
                sign_in_time=row[4],
            )
        return None if begun is None else begun.expire_time

    @shielded
    async def end_session(self, digest: bytes, origin: Origin) -> UUID | None:
        """End a session, if it exists. Return its id, or None."""
        session = await self.find_session(digest)
        if session is None:
            return None
        tenant_id = session.principal.tenant_id
        origin.log_tenant(tenant_id)
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant_id": tenant_id, "digest": digest}
            row = await self._one(connection, "end_session", values)
            if row is not None:
                name, user = names.session(row[0]), names.user(row[1])
                event = AuditEvent.of_origin(origin, tenant_id, user, "session.end", name)
                await self._audit.write(connection, event)
        return session.principal.session_id

    @shielded
    async def add_key(
        self,
        key: ApiKey,
        digest: bytes,
        audit: AuditEvent,
        request_id: UUID | None,
        limit: int = NO_LIMIT,
        for_service_by: Principal | None = None,
        session_id: UUID | None = None,
    ) -> ApiKey:
        """Store a key and return it; the database sets create_time. Raises InvalidRequest if expire_time is not in the future.

        limit: the maximum number of the user's keys that are neither revoked nor expired, the new one included; 0 for no
        limit. Raises Exhausted (LIMIT_REACHED).

        A key with a parent expires no later than its parent; without an expire_time, it expires with its parent. Raises
        InvalidRequest for a later time, and Unauthenticated (CREDENTIAL_REVOKED, CREDENTIAL_EXPIRED) if the parent has
        been revoked or has expired.

        for_service_by: the administrator who creates the key of a service; None if the user creates it. Raises NotFound
        if the user does not exist, InvalidRequest if the user is not a service, NotPermitted (ROLE_REQUIRED) if the
        user is an owner of the installation and the administrator is not.

        session_id: the session in which the user creates the key; None for a key of a service, and without a session. A
        session that ends at the same moment either ends before, and the key is not stored, or after. Raises
        Unauthenticated (CREDENTIAL_UNKNOWN) if it has ended.

        If the maker has already used this request_id with the same user, display_name, expire_time, role, widget and
        agent, return the earlier key in its current state, and store and audit nothing. Raises AlreadyExists
        (REQUEST_ID_REUSED) if one of them differs.
        """
        values = {**asdict(key), "digest": digest}
        ends = "" if key.expire_time is None else key.expire_time.isoformat()
        chosen = {field.name: getattr(key, field.name) for field in fields(NewKey)}
        body = {
            name: str(value).lower() if value is True else str(value)
            for name, value in chosen.items()
            if value
        }
        body |= {"display_name": key.display_name, "expire_time": ends}
        maker: Principal | ApiKey = key
        async with self._database.tenant(key.tenant_id) as connection:
            if for_service_by is not None:
                maker, body = for_service_by, {"user": names.user(key.user_id), **body}
                await self._check_service(connection, key, by_owner=for_service_by.owner)
            earlier = await self._requests.claim(connection, maker, request_id, "api_key", body)
            if earlier is not None:
                own = {**values, "id": names.parse_uuid("apiKeys", earlier)}
                row = await one_row(connection, self._queries["find_own_key"], own)
                assert row is not None  # keys may be revoked, but are never deleted
                return build(ApiKey, row)
            if limit:
                # Of two calls of one user, the second waits for the first, and then counts its key.
                await connection.execute(self._queries["lock_keys_of_user"], values)
                counted = await self._one(connection, "count_good_keys", values)
                if counted is not None and counted[0] >= limit:
                    raise too_many("api_keys", Scope.USER, limit)
            if session_id is not None:
                held = {**values, "session_id": session_id}
                if await self._one(connection, "hold_session", held) is None:
                    raise session_ended()
            values["expire_time"] = await self._expiry_of(connection, key)
            row = await one_row(connection, self._queries["add_key"], values)
            if row is None:
                raise InvalidRequest.of_field(  # this also rolls back the claim of the request_id
                    "api_key.expire_time",
                    "timestamp.gt_now",
                    "must lie in the future; leave it unset for a key that never expires",
                )
            await self._audit.write(connection, audit)
            await self._requests.record(connection, maker, request_id, names.api_key(key.id))
        return build(ApiKey, row)

    @shielded
    async def list_keys(self, caller: Principal, query: ListQuery) -> Page[ApiKey]:
        values = {"tenant_id": caller.tenant_id, "user_id": caller.user_id}
        async with self._database.tenant(caller.tenant_id) as connection:
            statement = self._queries["list_keys"]
            return await _KEYS.read(connection, statement, query, values, partial(build, ApiKey))

    @shielded
    async def list_tenant_keys(self, tenant_id: str, query: ListQuery) -> Page[ApiKey]:
        """Return a page of the keys of all users of the tenant."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant_id": tenant_id}
            statement = self._queries["list_tenant_keys"]
            return await _TENANT_KEYS.read(connection, statement, query, values, partial(build, ApiKey))

    @shielded
    async def revoke_key(
        self, caller: Principal, key_id: UUID, *, of_any_user: bool
    ) -> tuple[ApiKey, Sequence[UUID]]:
        """Revoke a key and, at any depth, the keys that were created with it. of_any_user: whether the key may belong to
        any user of the tenant.

        Return the key, and the ids of the other keys that this call revoked. Keys that are revoked already are neither
        changed nor audited. Raises NotFound, and NotPermitted (ROLE_REQUIRED) for the key of an owner of the installation
        if any user's key may be revoked and the caller is no owner.
        """
        values = {
            "tenant_id": caller.tenant_id,
            "owner": None if of_any_user else caller.user_id,
            "id": key_id,
        }
        async with self._database.locking(caller.tenant_id) as connection:
            row = await one_row(connection, self._queries["lock_key"], values)
            if row is None:
                raise NotFound.of("api_key", names.api_key(key_id))
            key = build(ApiKey, row)
            if of_any_user:
                await check_ownership(connection, caller.tenant_id, key.user_id, by_owner=caller.owner)
            if key.revoke_time is not None:
                return key, ()
            row = await one_row(connection, self._queries["revoke_key"], values)
            assert row is not None
            children = await revoke_children(connection, caller.tenant_id, [key_id])
            for revoked in (key_id, *children):
                event = AuditEvent.of_call(caller, names.api_key(revoked), about=key.user_id)
                await self._audit.write(connection, event)
        return build(ApiKey, row), children

    @shielded
    async def add_tenant(self, tenant_id: str, display_name: str, audit: AuditEvent) -> None:
        """Store a tenant. The first one of the installation becomes the home tenant. Raises AlreadyExists."""
        async with self._database.tenant(tenant_id) as connection:
            row = await self._one(
                connection, "add_tenant", {"tenant_id": tenant_id, "display_name": display_name}
            )
            if row is None:
                raise already_exists("tenant", names.tenant(tenant_id))
            await self._audit.write(connection, audit)

    @shielded
    async def add_user(self, user: User, audit: AuditEvent) -> User:
        """Store a user; the database sets create_time. The first administrator of the home tenant becomes the owner of
        the installation. Raises AlreadyExists if another user of the tenant has the e-mail address, and NotFound for an
        unknown tenant.
        """
        values = {**asdict(user), "first": True}
        async with self._database.tenant(user.tenant_id) as connection:
            if await self._one(connection, "find_tenant", values) is None:
                raise NotFound.of("tenant", names.tenant(user.tenant_id))
            row = await one_row(connection, self._queries["add_user"], values)
            if row is None:
                raise email_taken(user.email)
            await self._audit.write(connection, audit)
        return user_of(row)

    @shielded
    async def owner_with_key(self, tenant_id: str, display_name: str) -> UUID | None:
        """The active owner without an e-mail address who got the first key with this name, valid or not."""
        values = {"tenant_id": tenant_id, "display_name": display_name}
        async with self._database.tenant(tenant_id) as connection:
            row = await one_row(connection, self._queries["owner_with_key"], values)
        return None if row is None else row["id"]

    @shielded
    async def give_ownership(self, tenant_id: str, user_id: UUID, audit: AuditEvent) -> User | None:
        """Make an active administrator of the home tenant an owner. Return None, and change and audit nothing, if there
        is no such administrator, or the user is an owner already."""
        values = {"tenant_id": tenant_id, "user_id": user_id}
        async with self._database.tenant(tenant_id) as connection:
            row = await one_row(connection, self._queries["give_ownership"], values)
            if row is not None:
                await self._audit.write(connection, audit)
        return None if row is None else user_of(row)

    async def _check_service(self, connection: Connection, key: ApiKey, *, by_owner: bool) -> None:
        """Lock the user of a new key, who must be a service, so that a change of the role waits and then revokes the key."""
        user = await lock_changeable(connection, key.tenant_id, key.user_id, by_owner=by_owner)
        if user.role is not Role.SERVICE:
            raise InvalidRequest.of_field(
                "user",
                "user.service",
                "must be a user with the role SERVICE; a person creates keys after signing in (CreateApiKey)",
            )

    async def _expiry_of(self, connection: Connection, key: ApiKey) -> datetime | None:
        """The time at which a new key expires. Raises InvalidRequest, Unauthenticated."""
        if key.parent_id is None:
            return key.expire_time
        values = {"tenant_id": key.tenant_id, "parent_id": key.parent_id}
        row = await self._one(connection, "hold_parent", values)
        if row is None or row[2]:
            raise key_revoked(key.parent_id)
        if row[1]:
            raise credential_expired("api_key")
        latest: datetime | None = row[0]
        if latest is None or key.expire_time is None:
            return key.expire_time or latest
        if key.expire_time > latest:
            raise InvalidRequest.of_field(
                "api_key.expire_time",
                "timestamp.lte_parent",
                (
                    f"must not be later than {latest.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}, when the key of "
                    "this call expires; leave it unset for the same time"
                ),
            )
        return key.expire_time

    async def _one(self, connection: Connection, query: str, values: Mapping[str, object]) -> Row | None:
        return await (await connection.execute(self._queries[query], values)).fetchone()


def _session(row: Row, credential: str) -> FoundSession:
    session_id, tenant_id, user_id, role, key_id, expired, disabled, owner, suspended, narrowed = row
    principal = Principal(
        tenant_id,
        user_id,
        Role(role),
        credential,
        key_id,
        session_id,
        owner=owner and not narrowed,
        narrowed=narrowed,
    )
    return FoundSession(principal, expired, disabled, suspended)
