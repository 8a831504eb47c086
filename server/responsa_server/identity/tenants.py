"""Tenants, as the owner of the installation administers them, and the process that stops and erases them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.accounts import Invitation
from responsa_server.domain.errors import InvalidRequest, NotFound, NotPermitted, Reason
from responsa_server.domain.parts import NOT_PAUSED, Pause
from responsa_server.domain.passages import VectorStore
from responsa_server.domain.people import AuditEvent, Principal, Role, User
from responsa_server.domain.tenants import FirstAdministrator, FirstInvitation, Tenant, TenantState
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.identity.accounts import INVITATION_SECONDS
from responsa_server.identity.credentials import CredentialCache, SecretKind, digest, new_secret
from responsa_server.identity.service import (
    check_display_name,
    check_tenant_id,
    fold_email,
    new_key,
    new_user,
)
from responsa_server.identity.settings import Registration
from responsa_server.stores.postgres.tenants import PostgresTenants
from responsa_server.telemetry.unexpected import Loops

KEEPER_SECONDS: Final = 1.0
"""The time between two looks at suspended tenants."""
SETTLE_SECONDS: Final = 3.0
"""The time between the suspension of a tenant and its erasure. After it, no call that was admitted before the
suspension writes any more."""


@dataclass(frozen=True, slots=True)
class NewTenant:
    """A tenant that was created, and what lets its first administrator in: the code of an invitation, or a user with
    the secret of an API key."""

    tenant: Tenant
    code: str = ""
    expire_time: datetime | None = None
    administrator: User | None = None
    secret: str = ""


class TenantAdministration:
    """Administers all tenants. The caller must be an owner of the installation; the authorisation table checks this."""

    def __init__(
        self,
        store: PostgresTenants,
        new_id: Callable[[], UUID],
        cache: CredentialCache,
        registration: Registration,
    ) -> None:
        """new_id: returns new UUIDv7 ids. cache: the cache of the `Identity` that authenticates this process's callers."""
        self.store = store
        self._new_id = new_id
        self._cache = cache
        self._registration = registration

    async def create(
        self, caller: Principal, tenant_id: str, display_name: str, email: str, administrator: str
    ) -> NewTenant:
        """Create a tenant. administrator: the name of the first administrator, who gets a key; "" for an invitation.

        Raises InvalidRequest, AlreadyExists, NotPermitted (REGISTRATION_CLOSED).
        """
        check_tenant_id("tenant_id", tenant_id)
        name = check_display_name(display_name) or tenant_id
        events = self._events(caller, tenant_id)
        if administrator:
            named = check_display_name(administrator, "administrator_name")
            address = fold_email(email, "invitation_email")
            user = new_user(self._new_id(), tenant_id, named, address, Role.ADMIN)
            key, secret = new_key(self._new_id(), user, "made with the tenant")
            first = FirstAdministrator(user, key, digest(secret))
            created = [
                *events,
                self._event(caller, "user.create", names.user(user.id), tenant_id),
                self._event(caller, "api_key.create", names.api_key(key.id), tenant_id),
            ]
            tenant, admin, _ = await self.store.add(tenant_id, name, first, None, created)
            return NewTenant(tenant, administrator=admin, secret=secret)
        invitation, code = self._invitation(caller, tenant_id, email)
        invited = self._event(caller, "invitation.create", names.invitation(invitation.id), tenant_id)
        tenant, _, expire_time = await self.store.add(tenant_id, name, None, invitation, [*events, invited])
        return NewTenant(tenant, code, expire_time)

    async def invite(self, caller: Principal, tenant_id: str, email: str) -> tuple[str, datetime]:
        """Create the code of an invitation for an administrator of a tenant. Returns the code and the time when it expires.

        Raises InvalidRequest, NotFound, Precondition (TENANT_STATE), NotPermitted (REGISTRATION_CLOSED).
        """
        invitation, code = self._invitation(caller, tenant_id, email)
        name = names.invitation(invitation.id)
        events = [self._event(caller, caller.act, name, id_) for id_ in _both(caller, tenant_id)]
        return code, await self.store.invite(tenant_id, invitation, events)

    async def suspend(self, caller: Principal, tenant_id: str) -> Tenant:
        """Suspend a tenant: this process refuses its callers at once, and others within a second. Raises NotFound,
        Precondition (TENANT_STATE)."""
        try:
            return await self.store.suspend(tenant_id, self._events(caller, tenant_id))
        finally:
            self._cache.forget_tenant(tenant_id)

    async def resume(self, caller: Principal, tenant_id: str) -> Tenant:
        """Let the users of a suspended tenant make calls again. Raises NotFound, Precondition (TENANT_STATE)."""
        return await self.store.resume(tenant_id, self._events(caller, tenant_id))

    async def erase(self, caller: Principal, tenant_id: str, confirmed: str) -> Tenant:
        """Begin to erase a tenant. confirmed: its id, once more. Raises InvalidRequest, NotFound, Precondition (TENANT_STATE)."""
        if confirmed != tenant_id:
            raise InvalidRequest.of_field(
                "confirm_tenant_id",
                "tenant.confirmation",
                f"must be the id of the tenant, {tenant_id}, to confirm that all its data will be erased",
            )
        try:
            return await self.store.suspend(tenant_id, self._events(caller, tenant_id), erase=True)
        finally:
            self._cache.forget_tenant(tenant_id)

    def _invitation(self, caller: Principal, tenant_id: str, email: str) -> tuple[FirstInvitation, str]:
        if self._registration is Registration.CLOSED:
            raise NotPermitted(
                Reason.REGISTRATION_CLOSED,
                (
                    "The settings of this server do not allow invitations. Send administrator_name to "
                    "CreateTenant, and the administrator gets an API key; or set accounts.registration to "
                    "invited."
                ),
                {"registration": self._registration.value},
            )
        code = new_secret(SecretKind.INVITATION)
        address = fold_email(email, "invitation_email")
        invitation = Invitation(tenant_id, Role.ADMIN, address)
        return FirstInvitation(
            self._new_id(), caller.user_id, invitation, digest(code), INVITATION_SECONDS
        ), code

    def _events(self, caller: Principal, tenant_id: str) -> Sequence[AuditEvent]:
        """The events of an act: one in the owner's log, and one in the tenant's."""
        name = names.tenant(tenant_id)
        return [self._event(caller, caller.act, name, id_) for id_ in _both(caller, tenant_id)]

    def _event(self, caller: Principal, action: str, resource: str, tenant_id: str) -> AuditEvent:
        return replace(AuditEvent.of(caller, action, resource), tenant_id=tenant_id)


class TenantKeeper:
    """Stops the turns of suspended tenants, and erases tenants, in two tasks of each process that runs turns: no
    suspension waits for an erasure, which may take long. Everything that they do can be repeated, so a process that is
    killed leaves nothing behind that another one does not finish.
    """

    def __init__(
        self,
        store: PostgresTenants,
        stop_turn: Callable[[str, UUID, UUID], Awaitable[None]],
        forget: Callable[[str], Awaitable[int]],
        vectors: VectorStore | None = None,
        *,
        seconds: float = KEEPER_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
        errors: UnexpectedErrors | None = None,
        pause: Pause = NOT_PAUSED,
    ) -> None:
        """stop_turn: cancels a turn, given its tenant, user and id. forget: removes a tenant's entries from the cache,
        and returns their number. vectors: the vector store outside the database, or None. seconds: the time between two
        looks. settle_seconds: how long a tenant must be suspended before it is erased. errors: counts the unexpected
        ones.
        pause: while the instance is paused, nothing is erased; another instance may use the same vector store.
        """
        self._store = store
        self._pause = pause
        self._stop_turn = stop_turn
        self._forget = forget
        self._vectors = vectors
        self._seconds = seconds
        self._settle = timedelta(seconds=settle_seconds)
        self._erasing = asyncio.Event()
        self._log: FilteringBoundLogger = structlog.get_logger("tenants")
        self._loops = Loops(self._log, errors or UnexpectedErrors())

    async def start(self) -> None:
        """Begin. Returns at once."""
        self._loops.start(self.stop, self._seconds, "tenants", "suspended tenants")
        self._loops.start(self._erase_when_told, self._seconds, "tenants", "erased tenants")

    async def close(self) -> None:
        """Stop. What is not finished is left to other processes, or to the next start."""
        await self._loops.close()

    async def stop(self) -> None:
        """Stop the turns of all suspended tenants. Raises Unavailable."""
        for tenant in await self._store.find_suspended():
            if tenant.state is TenantState.ERASING:
                self._erasing.set()
            await self._stop(tenant.id)

    async def erase(self) -> None:
        """Erase the tenants that an owner marked. Raises Unavailable."""
        if self._pause.paused():
            return
        for tenant in await self._store.find_suspended():
            settled = tenant.erase_time is not None and datetime.now(UTC) - tenant.erase_time >= self._settle
            if tenant.state is TenantState.ERASING and settled:
                await self._erase(tenant.id)

    async def _erase_when_told(self) -> None:
        await self._erasing.wait()
        self._erasing.clear()
        await self.erase()

    async def _stop(self, tenant_id: str) -> None:
        for turn_id, user_id in await self._store.open_turns(tenant_id):
            try:
                await self._stop_turn(tenant_id, user_id, turn_id)
            except NotFound:  # it is gone
                continue

    async def _erase(self, tenant_id: str) -> None:
        while True:
            if self._vectors is not None:
                # Before each step, also the last, which finds no row left: a running job may have stored vectors until
                # a step erased the row of its operation.
                await self._vectors.drop_tenant(tenant_id)
            ended = await self._store.erase_some(tenant_id)
            if ended is not False:
                break
            # Turns that were accepted just before the suspension would otherwise be written to until their leases end.
            await self._stop(tenant_id)
        if ended:
            if number := await self._forget(tenant_id):
                await self._store.count(tenant_id, "cache_entry", number)
            self._log.info("tenant_erased", tenant=tenant_id)


def _both(caller: Principal, tenant_id: str) -> Sequence[str]:
    return [caller.tenant_id] if tenant_id == caller.tenant_id else [caller.tenant_id, tenant_id]
