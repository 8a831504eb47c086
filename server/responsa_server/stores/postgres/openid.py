"""People who sign in with OpenID Connect, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.accounts import ExternalIdentity, code_invalid
from responsa_server.domain.errors import AlreadyExists, NotFound, Precondition, Reason
from responsa_server.domain.people import AuditEvent, Principal, User
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.groups import join_invited
from responsa_server.stores.postgres.rows import all_rows, one_row, to_row
from responsa_server.stores.postgres.users import user_of


class _IdentityTaken(Exception):
    """Another call has just stored the identity. This error rolls the transaction back."""


class PostgresOpenIdStore:
    """The store of external identities. Each method runs in one transaction, which also writes the method's audit
    event. All methods raise Unavailable if the store cannot be reached. A method that has begun runs to its end even if
    the caller is cancelled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("openid.sql")
        self._accounts = Queries("accounts.sql")
        self._shared = Queries("identity.sql")
        self._groups = Queries("groups.sql")
        self._audit = AuditLog()

    @shielded
    async def use_state(self, tenant_id: str, state: bytes, seconds: float) -> bool:
        """Use up the state of a sign-in, and delete the tenant's expired ones. state: its SHA-256. seconds: how long
        the use must be remembered.

        Return False if the state was used before, or if the tenant does not exist.
        """
        values = {"tenant_id": tenant_id, "state": state, "seconds": seconds}
        async with self._database.tenant(tenant_id) as connection:
            await connection.execute(self._queries["drop_states"], values)
            return await one_row(connection, self._queries["use_state"], values) is not None

    @shielded
    async def sign_in(self, identity: ExternalIdentity) -> User | None:
        """Return the user with this identity, whose subject and time of sign-in are then set; None if no user has the identity."""
        return await self._sign_in(identity)

    @shielded
    async def register(
        self, user: User, identity: ExternalIdentity, code: bytes | None, audit: AuditEvent
    ) -> User:
        """Store a user with an identity, and use up an invitation. code: the digest of its code, or None.

        If another call has just stored the identity, return its user and change nothing. Raises AlreadyExists
        (OIDC_ADDRESS_TAKEN) if another user of the tenant has the e-mail address, and Unauthenticated (CODE_INVALID) if
        the invitation is not good.
        """
        try:
            async with self._database.tenant(identity.tenant_id) as connection:
                return await self._register(connection, user, identity, code, audit)
        except _IdentityTaken:
            known = await self._sign_in(identity)
            if known is None:  # the other call's user was deleted at once
                raise _address_taken(user.email) from None
            return known

    @shielded
    async def link(self, user_id: UUID, identity: ExternalIdentity, audit: AuditEvent) -> None:
        """Give an identity to a user. A repetition changes and audits nothing. Raises AlreadyExists
        (OIDC_IDENTITY_TAKEN) if another user has the identity."""
        async with self._database.tenant(identity.tenant_id) as connection:
            if await self._add(connection, user_id, identity):
                await self._audit.write(connection, audit)
                return
            row = await one_row(connection, self._queries["owner"], asdict(identity))
        if row is None or row["user_id"] != user_id:
            raise AlreadyExists(
                Reason.OIDC_IDENTITY_TAKEN,
                (
                    "Another account already uses this sign-in of the provider. Sign in to the provider as "
                    "another person, or ask an administrator."
                ),
            )

    @shielded
    async def identities(self, caller: Principal) -> Sequence[Row]:
        """Return the user's identities, oldest first."""
        values = {"tenant_id": caller.tenant_id, "user_id": caller.user_id}
        async with self._database.tenant(caller.tenant_id) as connection:
            return [to_row(row) for row in await all_rows(connection, self._queries["identities"], values)]

    @shielded
    async def unlink(self, caller: Principal, identity_id: UUID, issuers: Sequence[str]) -> None:
        """Take an identity from the user. issuers: those whose identities can sign in. Raises NotFound, and Precondition
        (LAST_SIGN_IN) if the user has neither a password nor another identity of these issuers.
        """
        values = {
            "tenant_id": caller.tenant_id,
            "user_id": caller.user_id,
            "id": identity_id,
            "issuers": list(issuers),
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            # The lock orders two calls that unlink different identities.
            await connection.execute(self._accounts["lock_user"], values)
            if await one_row(connection, self._queries["unlink"], values) is None:
                raise NotFound.of("identity", names.external_identity(identity_id))
            if await one_row(connection, self._queries["can_sign_in"], values) is None:
                raise Precondition(  # the transaction is rolled back
                    Reason.LAST_SIGN_IN,
                    "Without this identity, you could no longer sign in. Set a password, or connect another provider, first.",
                    {"user": names.user(caller.user_id)},
                )
            await connection.execute(self._groups["drop_unlinked"], values)
            await self._audit.write(connection, AuditEvent.of_call(caller, names.user(caller.user_id)))

    async def _sign_in(self, identity: ExternalIdentity) -> User | None:
        async with self._database.tenant(identity.tenant_id) as connection:
            row = await one_row(connection, self._queries["sign_in"], asdict(identity))
        return None if row is None else user_of(row)

    async def _register(
        self,
        connection: Connection,
        user: User,
        identity: ExternalIdentity,
        code: bytes | None,
        audit: AuditEvent,
    ) -> User:
        values = {**asdict(user), "first": False, "code": code}
        row = await one_row(connection, self._shared["add_user"], values)
        if row is None:
            if await one_row(connection, self._queries["owner"], asdict(identity)) is not None:
                raise _IdentityTaken
            raise _address_taken(user.email)
        if not await self._add(connection, user.id, identity):
            raise _IdentityTaken
        await self._audit.write(connection, audit)
        if code is not None:
            used = await one_row(connection, self._accounts["use_invitation"], values)
            if used is None:
                raise code_invalid()
            await join_invited(connection, self._audit, user.id, used["groups"], audit)
        return user_of(row)

    async def _add(self, connection: Connection, user_id: UUID, identity: ExternalIdentity) -> bool:
        values = {**asdict(identity), "user_id": user_id}
        if await one_row(connection, self._queries["add"], values) is None:
            return False
        if identity.subject is not None:
            await connection.execute(self._queries["set_subject"], values)
        return True


def _address_taken(email: str) -> AlreadyExists:
    return AlreadyExists(
        Reason.OIDC_ADDRESS_TAKEN,
        f"An account with the address {email} already exists. Sign in to it, and connect the provider under your account.",
    )
