"""Ends turns from outside: by a call, by a newer question, or because nobody follows any more. Needs no live worker, and stops the one there is."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.background import Background
from responsa_server.domain.errors import NotFound, Unavailable
from responsa_server.domain.events import CancelCause, Cancelled
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.ports.faults import Fault, Faults
from responsa_server.domain.ports.relay import Committed, Relay
from responsa_server.domain.ports.turns import (
    CancelledTurn,
    Clock,
    End,
    EndedTurn,
    FrameCodec,
    TurnStore,
)
from responsa_server.domain.turns import Turn, TurnState
from responsa_server.turns.claiming import Claiming
from responsa_server.turns.following import Following
from responsa_server.turns.hub import Hub
from responsa_server.turns.pack import ending
from responsa_server.turns.repeat import repeated

_PATIENCE_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 2.0


class Cancelling:
    """Ends turns and tells all who run or follow them."""

    def __init__(
        self,
        store: TurnStore,
        codec: FrameCodec,
        hub: Hub,
        relay: Relay,
        claiming: Claiming,
        following: Following,
        disconnect_seconds: float,
        *,
        clock: Clock,
        faults: Faults,
        log: FilteringBoundLogger,
    ) -> None:
        self._store = store
        self._codec = codec
        self._hub = hub
        self._relay = relay
        self._claiming = claiming
        self._following = following
        self._disconnect_seconds = disconnect_seconds
        self._clock = clock
        self._faults = faults
        self._log = log
        self._background = Background()
        self._leavers = Background()

    async def cancel(self, who: Principal, turn_id: UUID) -> Turn:
        """See `Turns.cancel`."""
        return await self._background.run(self._cancel(who, turn_id))

    def left(self, who: Principal, turn_id: UUID) -> None:
        """See `Turns.left`."""
        if not self._hub.draining:
            self._leavers.start(self._cancel_when_unfollowed(who, turn_id))

    def ended(self, ended: EndedTurn) -> None:
        """A turn was ended, and is committed so: tell its followers and its worker, here and elsewhere."""
        self._hub.end(ended.turn_id, ended.row)
        self._claiming.stop(ended.turn_id, ended.epoch)
        self._relay.tell_all(Committed(ended.turn_id, (ended.row,), ended=True))
        self._claiming.promoted()

    async def close(self) -> None:
        """Wait for cancels; forget whose caller left: a server that goes away cancels nothing."""
        await self._leavers.cancel()
        await self._background.drain(_CLOSE_SECONDS)

    async def _cancel(self, who: Principal, turn_id: UUID) -> Turn:
        try:
            done = await self._end(who, turn_id, CancelCause.OWNER)
        except NotFound:
            if who.role is not Role.ADMIN:
                raise
            done = await self._end(who, turn_id, CancelCause.ADMINISTRATOR)
        if done.ended is not None:
            self._log.info("turn_cancelled", turn=names.turn(turn_id), tenant=who.tenant_id)
            self.ended(done.ended)
        elif done.turn.state is TurnState.CANCELLED:
            # By an earlier call, or by a try of this one whose answer was lost: then its worker was not told.
            self._claiming.stop(turn_id, done.turn.epoch)
        return done.turn

    async def _end(self, who: Principal, turn_id: UUID, cause: CancelCause) -> CancelledTurn:
        owner_only = cause is CancelCause.OWNER
        end = self._ending(cause)

        async def work() -> CancelledTurn:
            await self._faults.at(Fault.BEFORE_CANCEL, turn_id)
            done = await self._store.cancel(who, turn_id, owner_only, end)
            await self._faults.at(Fault.AFTER_CANCEL, turn_id)
            return done

        return await repeated(work, _PATIENCE_SECONDS)

    async def _cancel_when_unfollowed(self, who: Principal, turn_id: UUID) -> None:
        await asyncio.sleep(self._disconnect_seconds)
        # Those whom a process that goes away has sent on are not there yet: it cancels nothing.
        if self._hub.draining or self._hub.followed(turn_id):
            return
        end = self._ending(CancelCause.DISCONNECT)
        try:
            # What this process said of itself before may be older than the caller's leaving.
            await self._following.register()
            ended = await repeated(
                lambda: self._store.cancel_unfollowed(who, turn_id, end), _PATIENCE_SECONDS
            )
        except Unavailable as error:
            self._log.warning("turn_left_running", turn=names.turn(turn_id), reason=error.reason.value)
            return
        if ended is not None:
            self._log.info("turn_cancelled_unfollowed", turn=names.turn(turn_id), tenant=who.tenant_id)
            self.ended(ended)

    def _ending(self, cause: CancelCause) -> End:
        return lambda turn: ending(self._codec, turn, self._clock(), Cancelled(cause))
