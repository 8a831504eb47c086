"""Deletes users with all that belongs to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.erasing import HEAD_START_SECONDS, Erasure
from responsa_server.domain.errors import NotFound, Unavailable
from responsa_server.domain.knowledge import pause_after
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.identity.credentials import CredentialCache
from responsa_server.stores.postgres.erasing import PostgresErasing

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
        """cancel: cancels a running turn. cache: the cache of credentials of this process; None if it takes no calls. call_seconds: how long a
        call works on an erasing before it leaves the rest to the job.
        """
        self._store = store
        self._cancel = cancel
        self._cache = cache
        self._call_seconds = call_seconds

    async def erase(self, who: Principal, user_id: UUID, heir: UUID | str | None, etag: str) -> Erasure:
        """Erase a user of the caller's tenant, and return what was erased so far. A repeated call returns the same erasing. heir: the user
        who receives the shared collections, or that user's folded e-mail address. If users erase themselves, the heir is an administrator or can read these collections.

        Raises the errors of `PostgresErasing.begin`. If anything else fails after the erasing has begun, or much is left after some seconds, a job goes on.
        """
        event = AuditEvent.of(who, "user.delete", names.user(user_id))
        begun = await self._store.begin(
            who.tenant_id, user_id, heir, etag, event, by_owner=who.owner, own=who.user_id == user_id
        )
        if self._cache is not None:
            self._cache.forget_user(user_id)
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(self._call_seconds):
                await self._go_on(who.tenant_id, user_id)
        with suppress(Unavailable):
            return await self._store.find(who.tenant_id, user_id) or begun
        return begun

    async def work(self, tenant_id: str, user_id: UUID, attempts: int) -> float | None:
        """Go on with an erasing, as a job. Returns None when it has ended, else the seconds to wait before the next attempt."""
        try:
            return None if await self._go_on(tenant_id, user_id) else _SWEEP_SECONDS
        except Unavailable:
            return pause_after(attempts)

    async def _go_on(self, tenant_id: str, user_id: UUID) -> bool:
        """Erase what is left. Returns whether the erasing has ended."""
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
