"""The users of a tenant in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from psycopg import errors

from responsa_server.domain import names
from responsa_server.domain.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    NotPermitted,
    Precondition,
    Reason,
)
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import USERS
from responsa_server.domain.notifications import MailKind
from responsa_server.domain.people import (
    AuditEvent,
    Principal,
    RevokedCredentials,
    Role,
    User,
    UserChange,
    owner_required,
)
from responsa_server.domain.rows import build
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.key_families import revoke_keys_of
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.mail import Outbox
from responsa_server.stores.postgres.requests import CreationRequests, check_etag
from responsa_server.stores.postgres.rows import one_row

_QUERIES: Final = Queries("users.sql")
_LIST: Final[SqlList[User]] = SqlList(
    USERS, {"state": "CASE WHEN disable_time IS NULL THEN 'active' ELSE 'disabled' END"}
)


def _administers(user: User) -> bool:
    return user.role is Role.ADMIN and user.disable_time is None


class PostgresUsers:
    """The store of a tenant's users. Each change runs in one transaction, which also writes the change's audit event.
    Each call is for one tenant."""

    def __init__(self, database: Database, outbox: Outbox | None = None) -> None:
        """outbox: for a notice to an address that a change takes away; None for no notices."""
        self._database = database
        self._outbox = outbox
        self._accounts = Queries("accounts.sql")
        self._requests = CreationRequests()
        self._audit = AuditLog()

    @shielded
    async def add(self, caller: Principal, user: User, request_id: UUID | None) -> User:
        """Store a user; the database sets the times. If the caller has already used this request_id for the same user,
        return that user in its current state. Raises AlreadyExists (RESOURCE_ALREADY_EXISTS for the e-mail address,
        REQUEST_ID_REUSED).
        """
        body = {"display_name": user.display_name, "email": user.email, "role": user.role.value}
        async with self._database.tenant(caller.tenant_id) as connection:
            earlier = await self._requests.claim(connection, caller, request_id, "user", body)
            if earlier is not None:
                return await self._row(
                    connection, "get", caller.tenant_id, names.parse_uuid("users", earlier)
                )
            values = {"tenant": caller.tenant_id, "id": user.id, **body}
            row = await one_row(connection, _QUERIES["add"], values)
            if row is None:
                raise email_taken(user.email)
            await self._audit.write(connection, AuditEvent.of_call(caller, names.user(user.id)))
            await self._requests.record(connection, caller, request_id, names.user(user.id))
        return user_of(row)

    @shielded
    async def get(self, tenant_id: str, user_id: UUID) -> User:
        """Return one user. Raises NotFound."""
        async with self._database.tenant(tenant_id) as connection:
            return await self._row(connection, "get", tenant_id, user_id)

    @shielded
    async def with_email(self, tenant_id: str, email: str) -> User:
        """Return the user with this folded e-mail address. Raises NotFound."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant": tenant_id, "email": email}
            row = await one_row(connection, _QUERIES["with_email"], values)
        if row is None:
            raise NotFound.of("user", email)
        return user_of(row)

    @shielded
    async def list(self, tenant_id: str, query: ListQuery) -> Page[User]:
        async with self._database.tenant(tenant_id) as connection:
            return await _LIST.read(connection, _QUERIES["list"], query, {"tenant": tenant_id}, user_of)

    @shielded
    async def update(
        self,
        tenant_id: str,
        user_id: UUID,
        change: UserChange,
        etag: str,
        audit: AuditEvent,
        *,
        by_owner: bool = False,
    ) -> User:
        """Change a user. etag: the expected etag; "" accepts any revision.

        by_owner: whether an owner of the installation makes the change. Raises NotFound, Conflict (ETAG_MISMATCH),
        AlreadyExists (the e-mail address), NotPermitted (ROLE_REQUIRED, for all but the name of an owner), Precondition
        (LAST_ADMINISTRATOR, LAST_OWNER), and InvalidRequest for an owner who would not be an
        administrator of the home tenant. A change to the present values changes and audits nothing.
        """
        async with self._database.locking(tenant_id) as connection:
            user = await lock_user(
                connection,
                tenant_id,
                user_id,
                etag,
                leaves=change.role not in (None, Role.ADMIN)
                or change.owner is False
                or change.disabled is True,
                stays_administrator=change.role is None and change.owner is False,
            )
            if replace(change, display_name=None) != UserChange():
                check_owner(user, by_owner=by_owner)
            role = change.role or user.role
            owner = (user.owner if change.owner is None else change.owner) and role is Role.ADMIN
            if change.owner:
                await self._check_future_owner(connection, user)
            wanted = replace(
                user,
                display_name=user.display_name if change.display_name is None else change.display_name,
                email=user.email if change.email is None else change.email,
                role=role,
                owner=owner,
                subject=user.subject if change.subject is None else change.subject,
            )
            if change.disabled is not None:
                # The database sets the time; here, any time means that the user is disabled.
                time = user.disable_time or user.update_time
                wanted = replace(wanted, disable_time=time if change.disabled else None)
            return await self._store(connection, user, wanted, audit)

    @shielded
    async def revoke_credentials(self, caller: Principal, user_id: UUID) -> RevokedCredentials:
        """End all sessions of a user, and revoke all keys of the user with the keys that were created with them. Each
        session and each key has an event beside that of the act. Raises NotFound, NotPermitted (ROLE_REQUIRED).
        """
        tenant_id, audit = caller.tenant_id, AuditEvent.of_call(caller, names.user(user_id))
        values = {"tenant_id": tenant_id, "user_id": user_id, "wanted": None, "kept": None}
        async with self._database.locking(tenant_id) as connection:
            # The lock holds back sign-ins, whose sessions would otherwise begin while the others end.
            await lock_changeable(connection, tenant_id, user_id, by_owner=caller.owner)
            # The sessions first: a session that creates a key at this moment has created it when its row can be deleted.
            cursor = await connection.execute(self._accounts["end_sessions"], values)
            sessions = [id_ for (id_,) in await cursor.fetchall()]
            keys = await revoke_keys_of(connection, tenant_id, user_id)
            await self._audit.write(connection, audit)
            ended = [("session.revoke", names.session(session)) for session in sessions]
            ended += [("api_key.revoke", names.api_key(key)) for key in keys]
            for action, name in ended:
                await self._audit.write(
                    connection, replace(audit, action=action, resource_name=name, about=user_id)
                )
        return RevokedCredentials(sessions, keys)

    async def _store(self, connection: Connection, user: User, wanted: User, audit: AuditEvent) -> User:
        if wanted == user:
            return user
        values = {
            "tenant": user.tenant_id,
            "id": user.id,
            "display_name": wanted.display_name,
            "email": wanted.email,
            "role": wanted.role.value,
            "owner": wanted.owner,
            "subject": wanted.subject,
            "disabled": wanted.disable_time is not None,
        }
        try:
            row = await one_row(connection, _QUERIES["update"], values)
        except errors.UniqueViolation as error:
            raise email_taken(wanted.email) from error
        assert row is not None, "the row is locked, so it cannot be deleted"
        values = {"tenant_id": user.tenant_id, "user_id": user.id, "wanted": None, "kept": None}
        if wanted.role is Role.SERVICE is not user.role:
            # A service has no sign-in.
            await connection.execute(self._accounts["end_sessions"], values)
        if user.role is Role.SERVICE is not wanted.role:
            # Administrators may have their secrets, and must not make calls as a person.
            for key_id in await revoke_keys_of(connection, user.tenant_id, user.id):
                revoked = replace(audit, action="api_key.revoke", resource_name=names.api_key(key_id))
                await self._audit.write(connection, revoked)
        if wanted.email != user.email or wanted.owner is not user.owner:
            # They were sent to the earlier address, or handed out by somebody who may hand out none for an owner.
            await connection.execute(self._accounts["drop_reset_codes"], values)
        if wanted.email != user.email and self._outbox is not None:
            kind = MailKind.EMAIL_CHANGED
            await self._outbox.notice(connection, user.tenant_id, user.id, kind, user.email)
        if _administers(user) and not _administers(wanted):
            # Nobody knows which of the tenant's codes the user has handed out.
            await connection.execute(self._accounts["drop_all_reset_codes"], values)
        await self._audit.write(connection, audit)
        return user_of(row)

    async def _check_future_owner(self, connection: Connection, user: User) -> None:
        """Refuse a user who cannot be an owner. Raises InvalidRequest."""
        row = await one_row(connection, _QUERIES["is_home"], {"tenant": user.tenant_id})
        if user.role is not Role.ADMIN or user.disable_time is not None or row is None or not row["home"]:
            raise InvalidRequest.of_field(
                "name",
                "user.administrator",
                "must be an enabled administrator of the installation's own tenant; give the user the role ADMIN first",
            )

    async def _row(self, connection: Connection, query: str, tenant_id: str, user_id: UUID) -> User:
        row = await one_row(connection, _QUERIES[query], {"tenant": tenant_id, "id": user_id})
        if row is None:
            raise NotFound.of("user", names.user(user_id))
        return user_of(row)


def check_owner(user: User, *, by_owner: bool) -> None:
    """Keep administrators who do not own the installation from taking over, or shutting out, one who does. Raises NotPermitted."""
    if user.owner and not by_owner:
        raise _owner_error()


async def check_ownership(connection: Connection, tenant_id: str, user_id: UUID, *, by_owner: bool) -> None:
    """Like `check_owner`, by the user's id. Raises NotPermitted."""
    if by_owner:
        return
    row = await one_row(connection, _QUERIES["owns"], {"tenant": tenant_id, "id": user_id})
    if row is not None and row["owner"]:
        raise _owner_error()


def _owner_error() -> NotPermitted:
    return owner_required("This user is an owner of the installation; only owners can change owners.")


async def lock_user(
    connection: Connection,
    tenant_id: str,
    user_id: UUID,
    etag: str,
    *,
    leaves: bool,
    stays_administrator: bool = False,
) -> User:
    """Lock a user. leaves: whether the change takes the role, the access or the ownership of an administrator away.
    stays_administrator: whether the change takes away only the ownership.

    Raises NotFound, Conflict (ETAG_MISMATCH), Precondition (LAST_ADMINISTRATOR, LAST_OWNER).
    """
    administrators: dict[UUID, bool] = {}
    if leaves:
        # Owners are administrators, so this lock orders the changes of owners too.
        cursor = await connection.execute(_QUERIES["lock_administrators"], {"tenant": tenant_id})
        administrators = dict(await cursor.fetchall())
    row = await one_row(connection, _QUERIES["lock"], {"tenant": tenant_id, "id": user_id})
    if row is None:
        raise NotFound.of("user", names.user(user_id))
    user = user_of(row)
    check_etag(etag, user.etag, names.user(user_id))
    if set(administrators) == {user_id} and not stays_administrator:
        raise Precondition(
            Reason.LAST_ADMINISTRATOR,
            (
                f"{_words_for(user)} is the only enabled administrator of the tenant. Make another user an "
                "administrator first, or enable a disabled administrator."
            ),
            {"user": names.user(user_id)},
        )
    if {identity for identity, owner in administrators.items() if owner} == {user_id}:
        raise Precondition(
            Reason.LAST_OWNER,
            (
                f"{_words_for(user)} is the only enabled owner of the installation. Make another "
                "administrator an owner first, or enable a disabled owner."
            ),
            {"user": names.user(user_id)},
        )
    return user


def _words_for(user: User) -> str:
    """The words for a user in messages to the user and to administrators of the tenant, who may see the name and the address."""
    if user.display_name and user.email:
        return f"{user.display_name} ({user.email})"
    return user.display_name or user.email or names.user(user.id)


async def lock_changeable(connection: Connection, tenant_id: str, user_id: UUID, *, by_owner: bool) -> User:
    """Lock a user whose access, keys or limits an administrator changes. Raises NotFound; NotPermitted if only owners
    may change the user."""
    user = await lock_user(connection, tenant_id, user_id, "", leaves=False)
    check_owner(user, by_owner=by_owner)
    return user


def email_taken(email: str) -> AlreadyExists:
    """The error for an e-mail address that belongs to another user of the tenant. Only administrators get it."""
    return AlreadyExists(
        Reason.RESOURCE_ALREADY_EXISTS,
        "Another user of the tenant has this e-mail address; change that user, or give another address.",
        {"resource_type": "user", "resource_name": email},
    )


def user_of(row: Mapping[str, Any]) -> User:
    """Read a row that has the columns of a user."""
    return build(User, row)
