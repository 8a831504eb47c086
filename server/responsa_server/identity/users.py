"""The users of a tenant, as administrators see, change and delete them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import Conflict, InvalidRequest, NotFound, Unavailable
from responsa_server.domain.knowledge import pause_after
from responsa_server.domain.people import (
    HEAD_START_SECONDS,
    AuditEvent,
    Erasure,
    Principal,
    RevokedCredentials,
    Role,
    User,
    UserChange,
)
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.service import (
    MAX_SUBJECT_BYTES,
    check_display_name,
    fold_email,
    new_user,
)
from responsa_server.stores.postgres.erasing import PostgresErasing
from responsa_server.stores.postgres.users import PostgresUsers

# The paths of the fields in the requests.
_NAME: Final = "user.display_name"
_EMAIL: Final = "user.email"


class UserAdministration:
    """Administers the users of the caller's tenant. The caller must be an administrator, except that anyone may change
    their own display name; the authorisation table and the services check this.
    """

    def __init__(self, store: PostgresUsers, new_id: Callable[[], UUID], cache: CredentialCache) -> None:
        """new_id: returns new UUIDv7 ids. cache: the cache of the `Identity` that authenticates this process's callers."""
        self.store = store
        self._new_id = new_id
        self._cache = cache

    async def create(
        self, caller: Principal, display_name: str, email: str, role: Role, request_id: UUID | None
    ) -> User:
        """Create a user, or return the user that this request_id created. Raises InvalidRequest, AlreadyExists
        (RESOURCE_ALREADY_EXISTS, REQUEST_ID_REUSED)."""
        folded = fold_email(email, _EMAIL)
        name = check_display_name(display_name, _NAME)
        user = new_user(self._new_id(), caller.tenant_id, name, folded, role)
        return await self.store.add(caller, user, request_id)

    async def update(self, caller: Principal, user_id: UUID, change: UserChange, etag: str) -> User:
        """Change a user; a new role or ownership takes effect at the next call. This process refuses a disabled user's
        calls at once, and others within a second. Raises InvalidRequest and the errors of `PostgresUsers.update`."""
        event = AuditEvent.of_call(caller, names.user(user_id))
        try:
            return await self.store.update(
                caller.tenant_id, user_id, _check(change), etag, event, by_owner=caller.owner
            )
        finally:
            self._cache.forget_user(user_id)

    def check(self, user: User, change: UserChange, etag: str) -> UserChange:
        """Check a change that is made later. Raises InvalidRequest, Conflict (ETAG_MISMATCH)."""
        if etag and etag != user.etag:
            raise Conflict.of_etag(names.user(user.id))
        return _check(change)

    async def revoke_credentials(self, caller: Principal, user_id: UUID) -> RevokedCredentials:
        """End all sessions and revoke all keys of a user. This process refuses them at once, and others within a
        second. Raises the errors of `PostgresUsers.revoke_credentials`."""
        try:
            return await self.store.revoke_credentials(caller, user_id)
        finally:
            self._cache.forget_user(user_id)


def _check(change: UserChange) -> UserChange:
    return replace(
        change,
        display_name=None if change.display_name is None else check_display_name(change.display_name, _NAME),
        email=None if change.email is None else fold_email(change.email, _EMAIL),
        subject=None if change.subject is None else check_subject(change.subject),
    )


def check_subject(text: str) -> str:
    """Check the name of a person in documents. The names of users are given by the server alone. Raises InvalidRequest."""
    if (
        len(text.encode(errors="replace")) > MAX_SUBJECT_BYTES
        or not text.isprintable()
        or text.startswith("users/")
    ):
        raise InvalidRequest.of_field(
            "user.subject",
            "user.subject",
            (
                f"must be at most {MAX_SUBJECT_BYTES} bytes of printable text, and must not begin with "
                "users/; leave it empty for a user without a subject"
            ),
        )
    return text


# A call that was accepted before the erasing began may still add something. Such calls end soon, because no credential is valid.
_ROUNDS: Final = 20
_PAUSE_SECONDS: Final = 0.25
# How often other users' turns that may still quote the documents are looked at again.
_SWEEP_SECONDS: Final = 5.0

Cancel = Callable[[Principal, UUID], Awaitable[object]]
"""Cancels a turn. Raises NotFound."""


class Erasing:
    """Erases users. Each step can be repeated; a job takes over if the process is lost."""

    def __init__(
        self,
        store: PostgresErasing,
        cancel: Cancel,
        cache: CredentialCache | None = None,
        *,
        call_seconds: float = HEAD_START_SECONDS,
    ) -> None:
        """cancel: cancels a running turn. cache: the cache of credentials of this process; None if it takes no calls.
        call_seconds: how long a call works on an erasing before it leaves the rest to the job.
        """
        self._store = store
        self._cancel = cancel
        self._cache = cache
        self._call_seconds = call_seconds

    async def erase(self, caller: Principal, user_id: UUID, heir: UUID | str | None, etag: str) -> Erasure:
        """Erase a user of the caller's tenant, and return what was erased so far. A repeated call returns the same
        erasing. heir: the user who receives the shared collections, or that user's folded e-mail address. If users
        erase themselves, the heir is an administrator or can read these collections.

        Raises the errors of `PostgresErasing.begin`. If anything else fails after the erasing has begun, or much is
        left after some seconds, a job goes on.
        """
        begun = await self._store.begin(caller, user_id, heir, etag)
        if self._cache is not None:
            self._cache.forget_user(user_id)
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(self._call_seconds):
                await self._go_on(caller.tenant_id, user_id)
        with suppress(Unavailable):
            return await self._store.find(caller.tenant_id, user_id) or begun
        return begun

    async def work(self, tenant_id: str, user_id: UUID, attempts: int) -> float | None:
        """Go on with an erasing, as a job. Returns None when it has ended, else the seconds to wait before the next attempt."""
        try:
            return None if await self._go_on(tenant_id, user_id) else _SWEEP_SECONDS
        except Unavailable:
            return pause_after(attempts)

    async def _go_on(self, tenant_id: str, user_id: UUID) -> bool:
        stage = await self._store.stage(tenant_id, user_id)
        if stage is None or stage.ended:
            return True
        gone = stage.gone
        for _ in range(_ROUNDS):
            if gone:
                return await self._store.withdraw_quotes(tenant_id, user_id)
            for who, turn_id in await self._store.open_turns(tenant_id, user_id):
                with suppress(NotFound):
                    await self._cancel(who, turn_id)
            await self._store.erase_conversations(tenant_id, user_id)
            await self._store.erase_documents(tenant_id, user_id)
            gone = await self._store.erase_user(tenant_id, user_id)
            if not gone:
                await asyncio.sleep(_PAUSE_SECONDS)
        return False
