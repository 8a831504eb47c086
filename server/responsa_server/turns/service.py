"""Turns: accept a question, run it, follow it, cancel it, and hand it over. An accepted turn runs here if there is
room, otherwise on any worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, assert_never
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.agents import Agent, Agents
from responsa_server.domain.background import Background
from responsa_server.domain.conversations import ConversationStore
from responsa_server.domain.errors import (
    AlreadyExists,
    NotFound,
    NotPermitted,
    Reason,
    ResponsaError,
    Unavailable,
)
from responsa_server.domain.events import CancelCause, Cancelled, NumberedEvent, Started
from responsa_server.domain.experiments import Assignment
from responsa_server.domain.faults import Fault
from responsa_server.domain.limits import UNLIMITED, MessageGate
from responsa_server.domain.people import AuditEvent, Principal, Role
from responsa_server.domain.relay import Committed, EpochAdvanced, Hint, Interest, Relay, Reload, Work
from responsa_server.domain.turns import (
    Accepted,
    CancelledTurn,
    Claim,
    ClaimedTurn,
    End,
    EndedTurn,
    Ending,
    Followed,
    NewTurn,
    OpenTurn,
    Question,
    Turn,
    TurnState,
    TurnStore,
    log_ids,
)
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.telemetry.stages import current, stage
from responsa_server.telemetry.unexpected import Loops
from responsa_server.turns.claiming import Claiming
from responsa_server.turns.following import Following, draining
from responsa_server.turns.hub import Hub
from responsa_server.turns.pack import ending, pack
from responsa_server.turns.runtime import Runtime, loop_time, retry
from responsa_server.turns.worker import RunServices, title_of
from responsa_server.turns.writer import LogWriter

_PARTITION_SECONDS: Final = 6 * 3600.0
_PARTITION_DAYS_AHEAD: Final = 14
_PATIENCE_SECONDS: Final = 5.0
_LEAST_DRAIN_SECONDS: Final = 2.0


def _nothing() -> None:
    """Do nothing: this process does not read agents' files."""


@dataclass(frozen=True, slots=True)
class _AskCall:
    """A call that asks a question. conversation_id: the question's, or that of a conversation that begins with it."""

    caller: Principal
    question: Question
    request_id: UUID | None
    conversation_id: UUID
    cancel_on_disconnect: bool


class Turns:
    """The turns that callers ask for in this process, and the turns that this process runs. Call `start` before use, and `drain` and
    `close` at the end.
    """

    def __init__(
        self,
        store: TurnStore,
        conversations: ConversationStore,
        agents: Agents,
        relay: Relay,
        runtime: Runtime,
        reload: Callable[[], None] = _nothing,
        prune: Callable[[], Awaitable[None]] | None = None,
        gate: MessageGate | None = None,
        process: UUID | None = None,
    ) -> None:
        """reload: a function to call when another process has reloaded the agents' files. prune: deletes other old
        records, as often as old events of turns are deleted. gate: decides whether a user may ask another question now;
        without it, users are not limited.
        process: the id of this process; a new one by default.
        """
        self._gate = gate
        self._prune_more = prune
        self.store = store
        """The stored turns, to read one or list them."""
        self._agents = agents
        self._relay = relay
        self._runtime = runtime
        self._reload = reload
        self._log = runtime.log
        self._process = process or runtime.new_id()
        self._hub = Hub(self._process, relay, runtime.options.poll_seconds, loop_time)
        self._writer = LogWriter(store, runtime)
        store.gather(self._writer.window)
        self._claiming = Claiming(
            RunServices(store, conversations, self._hub, self._writer, runtime), agents, relay
        )
        self._following = Following(
            store, self._hub, runtime, self._claiming.running, self._claiming.abort_forbidden
        )
        self._draining = False
        # Tasks that accept or cancel a turn. They continue when their caller disconnects.
        self._background = Background()
        # Tasks that check the turns whose caller disconnected. Each task waits first, because the turn may be followed again.
        self._left = Background()
        self._upkeep = Loops(runtime.log, runtime.errors)

    @property
    def process(self) -> UUID:
        """The id of this process. The store records it as the owner of the turns that run here."""
        return self._process

    @property
    def errors(self) -> UnexpectedErrors:
        """The unexpected errors of turns and of all else that counts them here."""
        return self._runtime.errors

    @property
    def hints_away(self) -> bool:
        """Whether this process works without the hints of others, because the relay cannot be reached."""
        return self._relay.away

    @property
    def running(self) -> int:
        """The number of turns that run in this process."""
        return len(self._claiming.running())

    @property
    def rate(self) -> float:
        """See `Admission.rate`; 0 if this process runs no turns."""
        return self._claiming.admission.rate if self._runtime.options.works else 0.0

    @property
    def followers(self) -> int:
        """The number of readers that follow turns in this process."""
        return self._hub.followers

    async def start(self) -> None:
        """Create partitions for the log, and begin to listen, to write, to check followers and to claim. Raises Unavailable."""
        await self.store.make_partitions(_PARTITION_DAYS_AHEAD)
        await self._relay.start(self._process, self._receive)
        self._writer.start()
        self._following.start()
        self._claiming.start()
        self._upkeep.start(self._partition, _PARTITION_SECONDS, "turns_upkeep", "turns-partitions")
        self._upkeep.start(self._prune, self._runtime.options.prune_seconds, "turns_upkeep", "turns-pruning")

    async def accept(
        self,
        caller: Principal,
        question: Question,
        request_id: UUID | None,
        *,
        cancel_on_disconnect: bool = False,
    ) -> Accepted:
        """Accept a question, or attach to the turn that already has this request_id.

        The turn runs here if there is room, otherwise on any worker. If the conversation is busy,
        question.on_busy decides what happens. After an error, nothing is stored. When the caller
        disconnects, work that has begun continues.

        Raises InvalidRequest and NotFound (for the conversation, a collection or the agent, or because the
        agent refuses the question: see `Agent.admit`), AlreadyExists (REQUEST_ID_REUSED), Conflict
        (CONVERSATION_BUSY), NotPermitted (ROLE_REQUIRED: a widget asks another agent than its key's, or names a
        conversation), Exhausted (QUEUE_FULL, OVERLOADED, RATE_LIMIT, LIMIT_REACHED, QUOTA_EXHAUSTED), Unavailable
        (DRAINING, PART_UNAVAILABLE).
        """
        if caller.widget:
            question = self._of_widget(caller, question)
        conversation_id = question.conversation_id or self._runtime.new_id()
        call = _AskCall(caller, question, request_id, conversation_id, cancel_on_disconnect)
        return await self._background.run(self._accept(call))

    def follow(
        self,
        caller: Principal,
        turn_id: UUID,
        after_seq: int = 0,
        *,
        deltas: bool = True,
        fresh: bool = False,
    ) -> AsyncGenerator[Followed, None]:
        """The rows of a turn's log that end after after_seq, as they are committed. Each row comes once and in order;
        the first row may begin before after_seq.

        Heartbeats come between the rows when the follower's reader has received nothing for a while. deltas: whether
        the reader receives the rows of deltas. If not, the stream still contains them, but they do not postpone a
        heartbeat. The stream ends after the row with the terminal event, after a `Snapshot` if the log was pruned, or
        after a `Reconnect` when this process shuts down. A follower that resumes after the last_seq of its last row
        misses nothing.

        If the caller may not, or may no longer, read a document that the turn has read, there are no rows: once the
        turn has ended, the stream ends with a `Snapshot` whose terminal event is a refusal (NOT_PERMITTED). A turn that
        still runs then ends with this refusal. fresh: whether the caller has asked the turn's question just now.

        Raises NotFound, InvalidRequest (AFTER_SEQ_BEYOND_END), Unavailable.
        """
        return self._following.follow(caller, turn_id, after_seq, deltas=deltas, fresh=fresh)

    def leave(self, caller: Principal, turn_id: UUID) -> None:
        """Note that a client left its stream of a turn. If a watched turn has no follower some seconds later, the turn is cancelled."""
        if not self._hub.draining:
            self._left.start(self._cancel_when_unfollowed(caller, turn_id))

    async def cancel(self, caller: Principal, turn_id: UUID) -> Turn:
        """End a turn that has not ended, and stop its worker. Only the turn's owner and administrators of the tenant may do this.

        Returns the turn with its terminal event. A turn that had already ended keeps its terminal event. When the
        caller disconnects, the turn is still cancelled. Raises NotFound, Unavailable.
        """
        return await self._background.run(self._cancel(caller, turn_id))

    async def stop(self, tenant_id: str, user_id: UUID, turn_id: UUID) -> None:
        """End a turn of a suspended tenant, as `cancel` does. The suspension has its own audit event. Raises NotFound, Unavailable."""
        who = Principal(tenant_id, user_id, Role.ADMIN, "turn")
        done = await self._end(who, turn_id, CancelCause.ADMINISTRATOR, audited=False)
        if done.ended is not None:
            ids = log_ids(turn_id, done.turn.agent_version)
            self._log.info("turn_cancelled_suspended", tenant=tenant_id, **ids)
            self._announce_end(done.ended)

    async def wait(self, caller: Principal, turn_id: UUID) -> Turn:
        """Wait until a turn has ended, wherever it runs, and return it. Raises NotFound, and Unavailable (DRAINING) if
        this process shuts down first."""
        return await self._following.wait(caller, turn_id)

    async def drain(self, grace_seconds: float) -> None:
        """Refuse new questions, send followers elsewhere, let running turns end within most of the grace period, and
        release the rest for other workers.

        If the store does not respond, the drain takes a few seconds longer than the grace period at most. Once the
        leases have expired, other workers claim the turns that could not be released.
        """
        deadline = loop_time() + grace_seconds
        self._following.drain()
        self._draining = True
        # The drain waits at least a short time. Otherwise a turn that is being accepted could not be handed over.
        await self._background.drain(max(grace_seconds, _LEAST_DRAIN_SECONDS))
        await self._claiming.drain(deadline)

    async def close(self) -> None:
        """Stop everything that is left here. Running turns are released."""
        await self.drain(0.0)
        # This server has sent the followers away itself, so it must not cancel turns that have lost their followers.
        await self._left.cancel()
        await self._upkeep.close()
        await self._following.close()
        await self._writer.close()
        await self._relay.close()

    def _of_widget(self, caller: Principal, question: Question) -> Question:
        """The question, to the agent of the widget's key. The conversations that exist are not the visitor's. Raises
        NotPermitted (ROLE_REQUIRED), NotFound (the agent)."""
        agent, version = names.parse_agent_version(caller.agent) if caller.agent else ("", None)
        other = question.agent not in ("", agent)
        # The default agent may be named, too.
        if other and not agent:
            other = question.agent != names.parse_version(self._agents.find("").version)[0]
        if other or question.agent_version not in (None, version):
            raise _not_of_widget("asks the agent that was chosen with it, and no other; leave the agent out")
        if question.conversation_id is not None:
            raise _not_of_widget("begins a conversation with each question; leave the conversation out")
        return replace(question, agent=agent, agent_version=version)

    async def _accept(self, call: _AskCall) -> Accepted:
        if self._draining:
            raise draining()
        try:
            with stage("accept"):
                return await self._accept_new(call)
        except AlreadyExists:
            raise
        except ResponsaError:
            # Attaching to a turn costs no message. And an accepted turn stays valid, even if its agent, or a record
            # that its parameters name, has since been deleted. Repetitions are rare, so only a question that is refused
            # pays for this look.
            known = await self._find(call)
            if known is None:
                raise
            return known

    async def _find(self, call: _AskCall) -> Accepted | None:
        if call.request_id is None:
            return None
        try:
            return await self.store.find(call.caller, call.question, call.request_id)
        except Unavailable:
            return None

    async def _accept_new(self, call: _AskCall) -> Accepted:
        question = call.question
        assignment = None
        if question.agent_version is not None:
            name, number = question.agent, question.agent_version
            agent = await retry(lambda: self._agents.version(name, number), _PATIENCE_SECONDS)
        else:
            agent, assignment = self._agents.assign(question.agent, call.caller.user_id, call.conversation_id)
        async with self._claiming.place(agent) as here:
            await retry(lambda: agent.admit(call.caller, question), _PATIENCE_SECONDS)
            return await self._begin(call, agent, assignment, here=here)

    async def _begin(
        self, call: _AskCall, agent: Agent, assignment: Assignment | None, *, here: bool
    ) -> Accepted:
        caller, question, conversation_id = call.caller, call.question, call.conversation_id
        turn_id = self._runtime.new_id()
        accepting = current()
        accepting.add(turn=names.turn(turn_id), claimed=here)
        limits = UNLIMITED if self._gate is None else await self._gate.admit(caller, turn_id)
        creates = question.conversation_id is None
        started = Started(conversation_id, agent.version, created_conversation=creates)
        (row,) = pack(self._runtime.codec, turn_id, [NumberedEvent(1, 1, self._runtime.clock(), started)])
        claim = Claim(turn_id, caller.tenant_id, 1, self._runtime.options.lease_seconds)
        new = NewTurn(
            turn_id,
            conversation_id,
            question,
            call.request_id,
            agent.version,
            self._process if here else None,
            claim.lease_seconds,
            row.frame,
            max_pending=self._runtime.options.max_pending,
            max_queued=self._runtime.options.max_queued,
            cancel_on_disconnect=call.cancel_on_disconnect,
            demand=agent.demand(question),
            limits=limits,
            traceparent=accepting.traceparent,
            assignment=assignment,
            title=title_of(question.text) if creates and agent.titles else "",
        )

        claimed = ClaimedTurn(
            claim,
            caller,
            conversation_id,
            question,
            agent.version,
            last_seq=1,
            attempt=1,
            losses=0,
            lost_alone=False,
            age_seconds=0.0,
            first_in_conversation=creates,
            checkpoint=None,
            tools={},
            traceparent=new.traceparent,
        )
        # Without a model and without a history, the agent need not wait for the commit.
        ahead = self._claiming.ahead(claimed) if here and creates and not agent.asks_models else None
        try:
            accepted = await self._store_new(caller, new)
            if accepted.state is TurnState.RUNNING and not accepted.attached:
                claimed = replace(claimed, claim=replace(claim, grant=accepted.grant))
                self._claiming.begin(claimed, row, watched=call.cancel_on_disconnect, ahead=ahead)
        finally:
            if ahead is not None and not ahead[0].shown:
                ahead[1].cancel()
        if accepted.state is TurnState.PENDING and not accepted.attached:
            # The caller will follow the turn in a moment. The worker that claims the turn should know about this
            # follower from the first event on.
            self._relay.tell_all(Interest(self._process, (turn_id,)))
            self._relay.tell_all(Work())
            self._claiming.wake()
        return accepted

    async def _store_new(self, caller: Principal, new: NewTurn) -> Accepted:
        """Write a new turn, or find the one with its request_id."""
        turn_id = new.id
        interrupted: set[UUID] = set()
        end = self._ending(CancelCause.INTERRUPT)

        def interrupt(turn: OpenTurn) -> Ending:
            interrupted.add(turn.turn_id)
            return end(turn)

        async def work() -> Accepted:
            await self._runtime.faults.at(Fault.BEFORE_ACCEPT, turn_id)
            accepted = await self.store.accept(caller, new, interrupt)
            await self._runtime.faults.at(Fault.AFTER_ACCEPT, turn_id)
            return accepted

        try:
            accepted = await retry(work, _PATIENCE_SECONDS)
        except ResponsaError as error:
            # A refused question costs no message. If the database cannot be reached, the turn may have been written.
            if self._gate is not None and not isinstance(error, Unavailable):
                await self._gate.give_back(caller, turn_id)
            raise
        if self._gate is not None and accepted.turn_id != turn_id:
            await self._gate.give_back(caller, turn_id)
        for ended in accepted.ended:
            self._announce_end(ended)
        # An earlier attempt whose response was lost may have ended these turns; the last attempt does not report them.
        for other in interrupted - {turn.turn_id for turn in accepted.ended}:
            self._background.start(self._stop_interrupted(caller, other))
        return accepted

    async def _stop_interrupted(self, caller: Principal, turn_id: UUID) -> None:
        try:
            turn = await self.store.get(caller, turn_id)
        except (NotFound, Unavailable):  # the turn's worker notices the cancellation when it renews the lease
            return
        if turn.state is TurnState.CANCELLED:
            self._claiming.announce_epoch(turn_id, turn.epoch)
            self._claiming.announce_claimable()

    async def _cancel(self, caller: Principal, turn_id: UUID) -> Turn:
        try:
            done = await self._end(caller, turn_id, CancelCause.OWNER)
        except NotFound:
            if caller.role is not Role.ADMIN:
                raise
            done = await self._end(caller, turn_id, CancelCause.ADMINISTRATOR)
            # The right to end a turn does not include the right to read it.
            done = replace(done, turn=done.turn.without_content())
        if done.ended is not None:
            ids = log_ids(turn_id, done.turn.agent_version)
            self._log.info("turn_cancelled", tenant=caller.tenant_id, **ids)
            self._announce_end(done.ended)
        elif done.turn.state is TurnState.CANCELLED:
            # An earlier call, or an earlier attempt at this call whose response was lost, cancelled the turn. The
            # turn's worker may not know yet.
            self._claiming.announce_epoch(turn_id, done.turn.epoch)
        return done.turn

    async def _end(
        self, caller: Principal, turn_id: UUID, cause: CancelCause, *, audited: bool = True
    ) -> CancelledTurn:
        owner_only = cause is CancelCause.OWNER
        end = self._ending(cause)
        own = owner_only and caller.acting is None
        audit = None if own or not audited else AuditEvent.of(caller, "turn.cancel", names.turn(turn_id))

        async def work() -> CancelledTurn:
            await self._runtime.faults.at(Fault.BEFORE_CANCEL, turn_id)
            done = await self.store.cancel(caller, turn_id, owner_only, end, audit)
            await self._runtime.faults.at(Fault.AFTER_CANCEL, turn_id)
            return done

        return await retry(work, _PATIENCE_SECONDS)

    async def _cancel_when_unfollowed(self, caller: Principal, turn_id: UUID) -> None:
        await asyncio.sleep(self._runtime.options.disconnect_seconds)
        # A draining process cancels no turns, because the followers that it has sent away have not arrived elsewhere yet.
        if self._hub.draining or self._hub.followed(turn_id):
            return
        end = self._ending(CancelCause.DISCONNECT)
        try:
            # The caller may have disconnected after this process last reported the turns that it follows.
            await self._following.register()
            ended = await retry(lambda: self.store.cancel_unfollowed(caller, turn_id, end), _PATIENCE_SECONDS)
        except Unavailable as error:
            self._log.warning(
                "turn_left_running",
                turn=names.turn(turn_id),
                tenant=caller.tenant_id,
                reason=error.reason.value,
            )
            return
        if ended is not None:
            self._log.info("turn_cancelled_unfollowed", turn=names.turn(turn_id), tenant=caller.tenant_id)
            self._announce_end(ended)

    def _ending(self, cause: CancelCause) -> End:
        def end(turn: OpenTurn) -> Ending:
            event = NumberedEvent(turn.last_seq + 1, turn.attempt, self._runtime.clock(), Cancelled(cause))
            return ending(self._runtime.codec, turn.turn_id, event)

        return end

    def _announce_end(self, ended: EndedTurn) -> None:
        """Inform the followers and the worker of a turn, here and elsewhere, that the turn was ended from outside."""
        self._hub.end(ended.turn_id, ended.row)
        self._claiming.announce_epoch(ended.turn_id, ended.epoch)
        self._relay.tell_all(Committed(ended.turn_id, (ended.row,), ended=True))
        self._claiming.announce_claimable()

    def _receive(self, hint: Hint) -> None:
        match hint:
            case Committed(turn_id=turn_id, rows=rows, ended=ended):
                if not rows:
                    return
                if ended:
                    self._hub.end_elsewhere(turn_id, rows)
                else:
                    self._hub.offer(turn_id, rows, ended=False)
            case Interest(process=process, turn_ids=turn_ids):
                self._hub.interest(process, turn_ids)
            case EpochAdvanced(turn_id=turn_id, epoch=epoch):
                self._claiming.note_claim(turn_id, epoch)
            case Work():
                self._claiming.wake()
            case Reload():
                self._reload()
            case _:
                assert_never(hint)

    async def _partition(self) -> None:
        await self.store.make_partitions(_PARTITION_DAYS_AHEAD)

    async def _prune(self) -> None:
        if self._runtime.pause.paused():  # the turns of the backup need their checkpoints
            return
        if dropped := await self.store.prune(self._runtime.options.retention_days):
            self._log.info("turns_pruned", partitions=dropped)
        if dropped := await self.store.prune_checkpoints(self._runtime.options.checkpoint_hours):
            self._log.info("checkpoints_pruned", checkpoints=dropped)
        if self._prune_more is not None:
            await self._prune_more()


def _not_of_widget(rule: str) -> NotPermitted:
    return NotPermitted(
        Reason.ROLE_REQUIRED, f"The key of a widget {rule}.", {"required_role": Role.USER.name}
    )
