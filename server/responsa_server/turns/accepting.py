"""Accepts questions: written once, run here where there is room, else left to any worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from responsa_server.domain.background import Background
from responsa_server.domain.errors import InvalidRequest, NotFound, Reason, Unavailable
from responsa_server.domain.events import CancelCause, Cancelled, Started
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.agents import Agents
from responsa_server.domain.ports.faults import Fault, Faults
from responsa_server.domain.ports.relay import Interest, Relay, Work
from responsa_server.domain.ports.turns import (
    Accepted,
    Claim,
    ClaimedTurn,
    Clock,
    EndedTurn,
    Ending,
    FrameCodec,
    NewId,
    NewTurn,
    OpenTurn,
    TurnStore,
)
from responsa_server.domain.turns import MAX_QUESTION_BYTES, Question, TurnState
from responsa_server.turns.claiming import Claiming
from responsa_server.turns.pack import Happened, ending, number, pack
from responsa_server.turns.repeat import repeated
from responsa_server.turns.settings import TurnOptions

_PATIENCE_SECONDS: Final = 5.0
_LEAST_DRAIN_SECONDS: Final = 2.0


class Accepting:
    """Takes questions until `drain`."""

    def __init__(
        self,
        store: TurnStore,
        agents: Agents,
        codec: FrameCodec,
        relay: Relay,
        claiming: Claiming,
        ended: Callable[[EndedTurn], None],
        process: UUID,
        options: TurnOptions,
        *,
        clock: Clock,
        new_id: NewId,
        faults: Faults,
    ) -> None:
        """ended: is told of turns that an INTERRUPT ended."""
        self._store = store
        self._agents = agents
        self._codec = codec
        self._relay = relay
        self._claiming = claiming
        self._ended = ended
        self._process = process
        self._options = options
        self._clock = clock
        self._new_id = new_id
        self._faults = faults
        self._draining = False
        self._background = Background()

    async def accept(
        self, who: Principal, question: Question, request_id: UUID | None, *, cancel_on_disconnect: bool
    ) -> Accepted:
        """See `Turns.accept`."""
        _check(question)
        return await self._background.run(
            self._accept(who, question, request_id, cancel_on_disconnect=cancel_on_disconnect)
        )

    async def drain(self, within: float) -> None:
        """Take nothing more, and wait for what is being taken, so many seconds; a little at least, or nothing could be handed over."""
        self._draining = True
        await self._background.drain(max(within, _LEAST_DRAIN_SECONDS))

    async def _accept(
        self, who: Principal, question: Question, request_id: UUID | None, *, cancel_on_disconnect: bool
    ) -> Accepted:
        if self._draining:
            raise draining()
        try:
            agent = self._agents.named(question.agent)
            await repeated(lambda: agent.admit(who, question), _PATIENCE_SECONDS)
        except (NotFound, InvalidRequest):
            # A turn that was accepted stays what it is, whatever became since of its agent and of what its parameters name.
            known = None if request_id is None else await self._store.find(who, question, request_id)
            if known is None:
                raise
            return known
        version = agent.version
        here = await self._claiming.reserve()
        try:
            return await self._begin(who, question, request_id, version, here, cancel_on_disconnect)
        finally:
            if here:
                self._claiming.unreserve()

    async def _begin(
        self,
        who: Principal,
        question: Question,
        request_id: UUID | None,
        version: str,
        here: bool,
        watched: bool,
    ) -> Accepted:
        turn_id = self._new_id()
        creates = question.conversation_id is None
        conversation_id = question.conversation_id or self._new_id()
        started = Started(conversation_id, version, created_conversation=creates)
        (row,) = pack(self._codec, turn_id, number(1, 1, [Happened(self._clock(), started)]))
        claim = Claim(turn_id, who.tenant_id, 1, self._options.lease_seconds)
        new = NewTurn(
            turn_id,
            conversation_id,
            question,
            request_id,
            version,
            self._process if here else None,
            claim.lease_seconds,
            row.frame,
            cancel_on_disconnect=watched,
            max_pending=self._options.max_pending,
            max_queued=self._options.max_queued,
        )

        interrupted: set[UUID] = set()

        def interrupt(turn: OpenTurn) -> Ending:
            interrupted.add(turn.turn_id)
            return ending(self._codec, turn, self._clock(), Cancelled(CancelCause.INTERRUPT))

        async def work() -> Accepted:
            await self._faults.at(Fault.BEFORE_ACCEPT, turn_id)
            accepted = await self._store.accept(who, new, interrupt)
            await self._faults.at(Fault.AFTER_ACCEPT, turn_id)
            return accepted

        accepted = await repeated(work, _PATIENCE_SECONDS)
        for ended in accepted.ended:
            self._ended(ended)
        # An earlier try, whose answer was lost, may have ended these: the last one does not know.
        for other in interrupted - {one.turn_id for one in accepted.ended}:
            self._background.start(self._tell_interrupted(who, other))
        if accepted.attached:
            return accepted
        if accepted.state is TurnState.RUNNING:
            claimed = ClaimedTurn(
                claim,
                who,
                conversation_id,
                question,
                version,
                last_seq=1,
                attempt=1,
                losses=0,
                age_seconds=0.0,
                first_in_conversation=creates,
                checkpoint=None,
                tools={},
            )
            self._claiming.begin(claimed, row, watched=watched)
        elif accepted.state is TurnState.PENDING:
            # Who asks follows in a moment: whoever takes the turn shall know it from the first event on.
            self._relay.tell_all(Interest(self._process, (turn_id,)))
            self._relay.tell_all(Work())
            self._claiming.wake()
        return accepted

    async def _tell_interrupted(self, who: Principal, turn_id: UUID) -> None:
        try:
            turn = await self._store.get(who, turn_id)
        except (NotFound, Unavailable):  # its worker finds out when it renews the lease
            return
        if turn.state is TurnState.CANCELLED:
            self._claiming.stop(turn_id, turn.epoch)
            self._claiming.promoted()


def draining() -> Unavailable:
    """What callers are told who come while the server goes away."""
    return Unavailable(
        Reason.DRAINING, "The server is shutting down; try again in a moment.", retry_after=1.0
    )


def _check(question: Question) -> None:
    size = len(question.text.encode())
    if not question.text.strip() or size > MAX_QUESTION_BYTES:
        wanted = f"1 to {MAX_QUESTION_BYTES} bytes with more than white space"
        raise InvalidRequest.of_field("text", "string.length", f"send {wanted}; this has {size} bytes")
