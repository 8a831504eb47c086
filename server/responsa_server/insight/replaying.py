"""Replays: the call that begins one, and the job that asks its questions. Nothing of an answer is stored but how it compares.

The job works in slices, so that other jobs get their turn. A question is settled once; after a crash, the next attempt
goes on with the first question that waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import structlog
from structlog.contextvars import bind_contextvars
from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.agents import (
    Agent,
    AgentEvent,
    Agents,
    AnswerTask,
    Barrier,
    Meter,
    RecordedCalls,
)
from responsa_server.domain.conversations import ConversationStore, Message
from responsa_server.domain.errors import (
    InvalidRequest,
    NotFound,
    Precondition,
    Reason,
    ResponsaError,
    Unavailable,
)
from responsa_server.domain.events import Answered, Failed, Refused, Terminal, Usage
from responsa_server.domain.knowledge import (
    LONGEST_PAUSE,
    Operation,
    OwnershipLost,
    pause_after,
    workers_lost,
)
from responsa_server.domain.people import Principal
from responsa_server.domain.replays import (
    CitedPart,
    Comparison,
    ReplayClaim,
    ReplayedEnd,
    ReplayedTurns,
    ReplayState,
    WaitingQuestion,
)
from responsa_server.domain.turns import NewId, TurnState, log_ids
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.stores.postgres.replays import PostgresReplays
from responsa_server.telemetry.unexpected import note
from responsa_server.turns.worker import failed, time_limit, unexpected

_SLICE_SECONDS: Final = 10.0
_BETWEEN_SLICES: Final = 0.05
_LOOK_SECONDS: Final = 1.0
"""How often a running answer looks whether its replay was cancelled."""
_BUSY_LOOKS: Final = 50
_BUSY_LOOK_SECONDS: Final = 0.1


class Replays:
    """Begins replays. store: also lists their questions."""

    def __init__(self, store: PostgresReplays, agents: Agents) -> None:
        self.store = store
        self._agents = agents

    async def start(
        self,
        caller: Principal,
        agent: str,
        number: int,
        source: ReplayedTurns | Sequence[str],
        max_cost_micros: int,
        request_id: UUID | None,
    ) -> Operation:
        """See `PostgresReplays.start`. Raises NotFound and Precondition for a version that cannot be run,
        InvalidRequest if the time of the turns is empty."""
        await self._agents.version(agent, number)
        if isinstance(source, ReplayedTurns) and source.start and source.end and source.start >= source.end:
            raise InvalidRequest.of_field("turns.start_time", "replay.order", "must be before end_time")
        version = names.agent_version(agent, number)
        return await self.store.start(caller, version, source, max_cost_micros, request_id)


class Replaying:
    """The job of replays."""

    def __init__(
        self,
        store: PostgresReplays,
        conversations: ConversationStore,
        agents: Agents,
        new_id: NewId,
        *,
        busy: Callable[[], bool],
        ended: Callable[[Sequence[UUID]], None],
        errors: UnexpectedErrors,
        slice_seconds: float = _SLICE_SECONDS,
    ) -> None:
        """busy: whether this process answers a user. The next question waits for that, up to five seconds. ended: tells
        waiting callers which operations have ended. errors: counts the unexpected ones.
        slice_seconds: the time after which the job lets other jobs run.
        """
        self._store = store
        self._conversations = conversations
        self._agents = agents
        self._new_id = new_id
        self._busy = busy
        self._ended = ended
        self._errors = errors
        self._slice_seconds = slice_seconds
        self._log: FilteringBoundLogger = structlog.get_logger("replays")

    async def work(self, tenant_id: str, operation_id: UUID, attempts: int) -> float | None:
        """Ask questions for one slice. Returns None if the replay has ended, else the seconds until the next slice."""
        try:
            claim = await self._store.begin(tenant_id, operation_id)
            if claim is not None and not await self._slice(claim):
                return _BETWEEN_SLICES
        except OwnershipLost:
            # It was cancelled, and the next attempt finds that it has ended; or another worker has it.
            return LONGEST_PAUSE if await self._store.begun(tenant_id, operation_id) else None
        except Unavailable as error:
            self._log.warning("replay_waits", reason=error.reason.value)
            return pause_after(min(attempts, 4))
        except (NotFound, Precondition) as error:  # the version can no longer be run
            await self._store.fail(tenant_id, operation_id, error)
        except Exception as error:  # whatever the error, the operation must end
            name = names.operation(operation_id)
            note(self._errors, error, name)
            self._log.exception("replay_failed")
            message = "Something went wrong. Please try again."
            internal = ResponsaError(Reason.INTERNAL, message, {"call_id": name})
            await self._store.fail(tenant_id, operation_id, internal)
        self._ended([operation_id])
        return None

    async def give_up(self, tenant_id: str, operation_id: UUID, losses: int) -> None:
        """End a replay that has lost too many workers in succession."""
        await self._store.fail(tenant_id, operation_id, workers_lost(operation_id, losses))
        self._ended([operation_id])

    async def _slice(self, claim: ReplayClaim) -> bool:
        """Returns whether the replay has ended."""
        clock = asyncio.get_running_loop().time
        until, spent = clock() + self._slice_seconds, claim.spent_micros
        while True:
            waiting = await self._store.next(claim)
            if waiting is None:
                await self._store.end(claim)
                return True
            if waiting.caller is None:
                await self._store.leave_out(claim, ReplayState.USER_GONE, waiting.place)
            elif claim.max_cost_micros and spent >= claim.max_cost_micros:
                await self._store.leave_out(claim, ReplayState.COST_LIMIT)
            else:
                await self._quiet()
                spent += await self._ask(claim, waiting, waiting.caller, claim.max_cost_micros - spent)
            if clock() >= until:
                return False

    async def _quiet(self) -> None:
        for _ in range(_BUSY_LOOKS):
            if not self._busy():
                return
            await asyncio.sleep(_BUSY_LOOK_SECONDS)

    async def _ask(self, claim: ReplayClaim, waiting: WaitingQuestion, caller: Principal, left: int) -> int:
        """Ask a question and settle it. left: what the replay may still cost; not positive without a limit. Returns the cost."""
        identity, number = names.parse_version(claim.agent_version)
        agent = await self._agents.version(identity, number)
        own = waiting.question.max_cost_micros
        lowered = left > 0 and (own == 0 or left < own)
        question = replace(
            waiting.question,
            agent=identity,
            agent_version=number,
            max_cost_micros=left if lowered else own,
        )
        recorded = RecordedCalls(waiting.recorded)
        history: Sequence[Message] = ()
        wanted = agent.history_messages + agent.older_messages
        if waiting.conversation_id is not None and wanted > 0:
            history = await self._conversations.history(
                caller, waiting.conversation_id, wanted, waiting.before_time
            )
        # Without the conversation, no summary of it is stored.
        task = AnswerTask(self._new_id(), caller, question, history, Meter(), recorded=recorded)
        begun = asyncio.get_running_loop().time()
        try:
            terminal = await self._while_owned(claim, agent, task)
        except BaseException:  # the answer was stopped
            await self._book(claim, task.meter.usage)
            raise
        took = asyncio.get_running_loop().time() - begun
        usage = task.meter.usage
        try:
            if lowered and task.meter.over_request and isinstance(terminal, Refused):
                await self._store.leave_out(claim, ReplayState.COST_LIMIT, usage=usage)
                return usage.cost_micros
            after = replace(_end(terminal), cost_micros=usage.cost_micros, milliseconds=round(took * 1000))
            parts = (
                [CitedPart.of(one) for one in terminal.citations] if isinstance(terminal, Answered) else []
            )
            found = Comparison.of(waiting, after, parts, recorded.missing)
            model = terminal.model if isinstance(terminal, Answered) else ""
            await self._store.record(claim, waiting.place, found, model, usage)
        except OwnershipLost:  # nothing was stored
            await self._book(claim, usage)
            raise
        return usage.cost_micros

    async def _book(self, claim: ReplayClaim, usage: Usage) -> None:
        """Count what an answer has cost that is not stored."""
        try:
            await self._store.record_usage(claim, usage)
        except Unavailable as error:
            self._log.error("usage_not_booked", reason=error.reason.value)

    async def _while_owned(self, claim: ReplayClaim, agent: Agent, task: AnswerTask) -> Terminal:
        """Answer a question. Once the replay is cancelled, the answer is too. Raises OwnershipLost."""
        answer = asyncio.create_task(self._answer(agent, task))
        try:
            while not (await asyncio.wait({answer}, timeout=_LOOK_SECONDS))[0]:
                if not await self._store.owned(claim):
                    raise OwnershipLost
            return answer.result()
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)

    async def _answer(self, agent: Agent, task: AnswerTask) -> Terminal:
        bind_contextvars(**log_ids(task.turn_id, agent.version))
        limit = asyncio.timeout(agent.time_limit_seconds)
        try:
            async with limit:
                await agent.admit(task.caller, task.question)
                return await agent.answer(task, _pass)
        except ResponsaError as error:
            return failed(error)
        except Exception as error:  # whatever an agent raises, its question must be settled
            if limit.expired():
                return time_limit(task.turn_id, agent.time_limit_seconds)
            note(self._errors, error, names.turn(task.turn_id))
            self._log.exception("replayed_question_failed")
            return unexpected(task.turn_id)


def _pass(event: AgentEvent) -> None:
    """Drop an event. Nothing of a replay is logged, so nothing waits to be committed."""
    if isinstance(event, Barrier):
        event.passed.set()


def _end(terminal: Terminal) -> ReplayedEnd:
    match terminal:
        case Answered():
            return ReplayedEnd(TurnState.ANSWERED, citations=len(terminal.citations))
        case Refused():
            return ReplayedEnd(TurnState.REFUSED, terminal.reason.name)
        case Failed():
            return ReplayedEnd(TurnState.FAILED, terminal.error.reason.value)
        case _:
            raise TypeError(f"an agent does not end with {type(terminal).__name__}")
