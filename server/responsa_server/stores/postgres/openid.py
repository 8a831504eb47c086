"""People who sign in with OpenID Connect, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import AlreadyExists, Precondition, Reason, Unauthenticated
from responsa_server.domain.openid import ExternalIdentity, LinkedIdentity
from responsa_server.domain.people import AuditEvent, Principal, User
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Connection, Database, Queries, one_row, shielded
from responsa_server.stores.postgres.users import user_of


class _IdentityTaken(Exception):
    """Another call has just stored the identity. This error rolls the transaction back."""


class PostgresOpenIdStore:
    """Implements `OpenIdStore`. A method that has begun runs to its end even if the caller is cancelled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("openid.sql")
        self._accounts = Queries("accounts.sql")
        self._shared = Queries("identity.sql")
        self._audit = AuditLog()

    @shielded
    async def use_state(self, tenant_id: str, state: bytes, seconds: float) -> bool:
        """See `OpenIdStore.use_state`."""
        values = {"tenant_id": tenant_id, "state": state, "seconds": seconds}
        async with self._database.tenant(tenant_id) as connection:
            await connection.execute(self._queries["drop_states"], values)
            return await one_row(connection, self._queries["use_state"], values) is not None

    @shielded
    async def sign_in(self, identity: ExternalIdentity) -> User | None:
        """See `OpenIdStore.sign_in`."""
        return await self._sign_in(identity)

    @shielded
    async def register(
        self, user: User, identity: ExternalIdentity, code: bytes | None, audit: AuditEvent
    ) -> User:
        """See `OpenIdStore.register`."""
        try:
            async with self._database.tenant(identity.tenant_id) as connection:
                return await self._register(connection, user, identity, code, audit)
        except _IdentityTaken:
            found = await self._sign_in(identity)
            if found is None:  # the other call's user was deleted at once
                raise _address_taken(user.email) from None
            return found

    @shielded
    async def link(self, user_id: UUID, identity: ExternalIdentity, audit: AuditEvent) -> None:
        """See `OpenIdStore.link`."""
        async with self._database.tenant(identity.tenant_id) as connection:
            if await self._add(connection, user_id, identity):
                await self._audit.write(connection, audit)
                return
            row = await one_row(connection, self._queries["owner"], _values(identity))
        if row is None or row["user_id"] != user_id:
            raise AlreadyExists(
                Reason.OIDC_IDENTITY_TAKEN,
                "Another account already uses this sign-in of the provider. Sign in to the provider as another person, or ask an administrator.",
            )

    @shielded
    async def identities(self, who: Principal) -> Sequence[LinkedIdentity]:
        """See `OpenIdStore.identities`."""
        values = {"tenant_id": who.tenant_id, "user_id": who.user_id}
        async with self._database.tenant(who.tenant_id) as connection:
            found = await connection.execute(self._queries["identities"], values)
            return [LinkedIdentity(*row) for row in await found.fetchall()]

    @shielded
    async def unlink(
        self, who: Principal, identity_id: UUID, issuers: Sequence[str], audit: AuditEvent
    ) -> bool:
        """See `OpenIdStore.unlink`."""
        values = {
            "tenant_id": who.tenant_id,
            "user_id": who.user_id,
            "id": identity_id,
            "issuers": list(issuers),
        }
        async with self._database.tenant(who.tenant_id) as connection:
            # The lock orders two calls that unlink different identities.
            await connection.execute(self._accounts["lock_user"], values)
            if await one_row(connection, self._queries["unlink"], values) is None:
                return False
            if await one_row(connection, self._queries["can_sign_in"], values) is None:
                raise Precondition(  # the transaction is rolled back
                    Reason.LAST_SIGN_IN,
                    "Without this identity, you could not sign in any more. Set a password, or connect another provider, first.",
                    {"user": names.user(who.user_id)},
                )
            await self._audit.write(connection, audit)
        return True

    async def _sign_in(self, identity: ExternalIdentity) -> User | None:
        async with self._database.tenant(identity.tenant_id) as connection:
            row = await one_row(connection, self._queries["sign_in"], _values(identity))
        return None if row is None else user_of(row)

    async def _register(
        self,
        connection: Connection,
        user: User,
        identity: ExternalIdentity,
        code: bytes | None,
        audit: AuditEvent,
    ) -> User:
        values = {
            "id": user.id,
            "tenant_id": user.tenant_id,
            "display_name": user.display_name,
            "email": user.email,
            "role": user.role.value,
            "first": False,
            "code": code,
        }
        row = await one_row(connection, self._shared["add_user"], values)
        if row is None:
            if await one_row(connection, self._queries["owner"], _values(identity)) is not None:
                raise _IdentityTaken
            raise _address_taken(user.email)
        if not await self._add(connection, user.id, identity):
            raise _IdentityTaken
        if code is not None:
            used = await connection.execute(self._accounts["use_invitation"], values)
            if await used.fetchone() is None:
                raise code_invalid()
        await self._audit.write(connection, audit)
        return user_of(row)

    async def _add(self, connection: Connection, user_id: UUID, identity: ExternalIdentity) -> bool:
        values = {**_values(identity), "user_id": user_id}
        if await one_row(connection, self._queries["add"], values) is None:
            return False
        if identity.subject is not None:
            await connection.execute(self._queries["set_subject"], values)
        return True


def code_invalid() -> Unauthenticated:
    """The error for an invitation that another call has just used."""
    return Unauthenticated(
        Reason.CODE_INVALID,
        "This code was already used, has expired or is unknown. Ask an administrator for another code.",
    )


def _values(identity: ExternalIdentity) -> dict[str, object]:
    return {
        "tenant_id": identity.tenant_id,
        "issuer": identity.issuer,
        "sub": identity.sub,
        "subject": identity.subject,
    }


def _address_taken(email: str) -> AlreadyExists:
    return AlreadyExists(
        Reason.OIDC_ADDRESS_TAKEN,
        f"An account with the address {email} already exists. Sign in to it, and connect the provider under your account.",
    )
