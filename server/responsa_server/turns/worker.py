"""Runs one claimed turn: its agent, its time limit, its end, and what it leaves behind when it is taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final, cast

from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.agents import Agent, AgentEvent, AnswerTask, Meter
from responsa_server.domain.conversations import ConversationStore, Message
from responsa_server.domain.errors import ResponsaError, Unavailable
from responsa_server.domain.events import (
    AttemptRestarted,
    Failed,
    ModelUsed,
    Terminal,
    ToolCalled,
    ToolOutcome,
    ToolReturned,
    Usage,
)
from responsa_server.domain.faults import Fault, Faults
from responsa_server.domain.turns import (
    Claim,
    ClaimedTurn,
    Clock,
    Conclusion,
    FrameCodec,
    LogRow,
    NewId,
    TurnLost,
    TurnStore,
)
from responsa_server.turns import endings
from responsa_server.turns.hub import Hub, Live
from responsa_server.turns.retry import repeated
from responsa_server.turns.writer import LogWriter, Start, TurnWriter

# Seconds that an agent has to stop. After them it is left behind, and can write nothing any more.
_STOP_SECONDS: Final = 2.0
# What a turn that is given up gets to write down what it has gathered, so that less is done again.
_LAST_WORDS_SECONDS: Final = 0.5
_HISTORY_PATIENCE_SECONDS: Final = 60.0
_BOOK_PATIENCE_SECONDS: Final = 10.0
_CUT_OFF_CONTENT: Final = "The turn ended while this tool was called, so nobody knows whether it was done."


class Outcome(Enum):
    """What became of a run."""

    ENDED = auto()
    PROMOTED = auto()
    """Ended, and a turn that waited for it is to be claimed."""
    LOST = auto()
    """Taken away: another epoch has it, or it was ended from outside."""
    ABANDONED = auto()
    """Nothing could be written any more; its lease runs out."""
    GIVEN_UP = auto()
    """Stopped by `give_up`, and still held: it is to be released."""


class _GivenUp(Exception):
    """The turn is to go to another worker."""


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What all runs of a process share. max_losses: a turn over which more workers were lost is ended."""

    turns: TurnStore
    conversations: ConversationStore
    codec: FrameCodec
    hub: Hub
    writer: LogWriter
    clock: Clock
    new_id: NewId
    faults: Faults
    log: FilteringBoundLogger
    max_losses: int
    merge_bytes: int


class Run:
    """One turn under one epoch. `run` is the whole life of a task and belongs to no call, so the caller may leave."""

    def __init__(self, parts: WorkerParts, agent: Agent, claimed: ClaimedTurn, live: Live) -> None:
        """live: the turn as the hub knows it."""
        self._parts = parts
        self._agent = agent
        self._claimed = claimed
        self._live = live
        self._log = parts.log.bind(turn=names.turn(self.claim.turn_id), tenant=self.claim.tenant_id)
        self._meter = Meter()
        checkpoint = claimed.checkpoint
        if checkpoint is not None:
            self._meter.add(checkpoint.usage)
        self._open_calls = {call_id for call_id, tool in claimed.tools.items() if tool.outcome is None}
        self._stop: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        # Set with the error of an event that could not be taken.
        self._refused: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._stopping = False
        self._cut_off: list[ModelUsed] = []
        self._writer = TurnWriter(
            parts.writer,
            parts.codec,
            parts.clock,
            claimed.claim,
            Start(
                claimed.last_seq,
                claimed.attempt,
                checkpoint.text_bytes if checkpoint else 0,
                checkpoint.usage if checkpoint else Usage(),
            ),
            lambda: self._meter.usage,
            lambda rows, ended: parts.hub.publish(live, rows, ended=ended),
            self._stop_with,
            merge_bytes=parts.merge_bytes,
        )
        parts.writer.join(self._writer)

    @property
    def claim(self) -> Claim:
        """The hold on the turn."""
        return self._claimed.claim

    @property
    def spent(self) -> Usage:
        """The usage since the last committed checkpoint."""
        return self._meter.usage - self._writer.booked

    @property
    def goes_on(self) -> bool:
        """Whether it has not been stopped."""
        return not self._stop.done()

    def lose(self) -> None:
        """Another worker has the turn, or it was ended: stop at once."""
        self._stop_with(TurnLost(names.turn(self.claim.turn_id)))

    def give_up(self) -> None:
        """Stop, and leave the turn to be released."""
        self._stop_with(_GivenUp())

    def _stop_with(self, reason: Exception) -> None:
        if not self._stop.done():
            self._stop.set_result(reason)
        elif isinstance(reason, TurnLost):  # outweighs the earlier reason, as long as that was not read
            self._stop = asyncio.get_running_loop().create_future()
            self._stop.set_result(reason)

    async def run(self) -> Outcome:
        """Run the turn to its end, or until it is taken away or given up. Does not raise for faults of the agent or the store."""
        outcome = Outcome.ABANDONED
        try:
            terminal = await self._answer()
            if isinstance(terminal, Failed):
                terminal = self._metered(terminal)
                self._report_open_calls()
            outcome = Outcome.PROMOTED if await self._finish(terminal) else Outcome.ENDED
        except _GivenUp:
            outcome = await self._last_words()
        except TurnLost:
            outcome = Outcome.LOST
        except Unavailable as error:
            # The lease runs out and a worker, here or elsewhere, takes it over.
            self._log.error("turn_abandoned", reason=error.reason.value)
        finally:
            self._writer.stop(hold=outcome is Outcome.GIVEN_UP)
            self._parts.hub.close(self._live)
        if outcome is Outcome.LOST:
            self._log.info("turn_lost", epoch=self.claim.epoch)
            await self.book()
        return outcome

    def let_go(self) -> None:
        """Keep the lease of a turn that was given up no longer."""
        self._writer.stop()

    async def book(self) -> None:
        """Record the usage that no checkpoint has."""
        spent = self.spent
        if spent == Usage():
            return
        try:
            await repeated(lambda: self._parts.turns.book(self.claim, spent), _BOOK_PATIENCE_SECONDS)
        except Unavailable as error:
            self._log.error("usage_not_booked", reason=error.reason.value)

    async def _last_words(self) -> Outcome:
        """Write what was gathered, so that the next worker repeats less."""
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._writer.flush()
        except TurnLost:
            return Outcome.LOST
        except Exception as error:  # it is left to another worker in any case
            self._log.warning("turn_given_up_unwritten", error=type(error).__name__)
        return Outcome.GIVEN_UP

    def _metered(self, failed: Failed) -> Failed:
        """A failure with what the turn has cost and had to do without until then."""
        fallbacks = failed.fallbacks or self._meter.fallbacks
        return replace(failed, usage=self._meter.usage, fallbacks=fallbacks)

    def _report_open_calls(self) -> None:
        """Report what the cut-off calls of models cost, and that the outcome of open tool calls is unknown. Raises TurnLost, Unavailable."""
        tools = [
            ToolReturned(call_id, ToolOutcome.UNKNOWN, _CUT_OFF_CONTENT)
            for call_id in sorted(self._open_calls)
        ]
        for event in (*self._cut_off, *tools):
            try:
                self._writer.put(event)
            except (TurnLost, Unavailable):
                raise
            except Exception as error:  # an event could not be stored: only the end can be written any more
                self._log.warning("calls_unsettled", error=type(error).__name__)
                return

    async def _answer(self) -> Terminal:
        """The event that ends the turn. Raises TurnLost, _GivenUp, and Unavailable when nothing can be written any more."""
        claimed, turn_id = self._claimed, self.claim.turn_id
        if claimed.attempt > 1:
            kept = claimed.checkpoint
            self._writer.put(
                AttemptRestarted(kept.last_seq + 1, kept.text_bytes)
                if kept is not None
                else AttemptRestarted(2, 0)
            )
        if claimed.losses > self._parts.max_losses:
            return endings.worker_lost(turn_id, claimed.losses)
        limit = self._agent.time_limit_seconds
        left = limit - claimed.age_seconds
        if left <= 0:
            return endings.time_limit(turn_id, limit)
        agent = asyncio.create_task(self._consume(), name=f"turn-agent-{turn_id}")
        try:
            await asyncio.wait(
                cast("set[asyncio.Future[Any]]", {agent, self._stop, self._refused}),
                timeout=left,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not (self._stop.done() and isinstance(self._stop.result(), TurnLost)):
                if self._refused.done():
                    raise self._refused.result()
                if agent.done():
                    return agent.result()
            if self._stop.done():
                return self._stopped(self._stop.result())
            return endings.time_limit(turn_id, limit)
        except ResponsaError as error:
            if (
                self._stop.done() and self._stop.result() is error
            ):  # not the agent's fault: nothing can be written
                raise
            return endings.failed(error)
        except (TurnLost, _GivenUp):
            raise
        except Exception:  # whatever an agent raises, its turn must end with a typed event
            self._log.exception("turn_failed")
            return endings.unexpected(turn_id)
        finally:
            await self._end_agent(agent)

    def _stopped(self, reason: Exception) -> Terminal:
        if isinstance(reason, TurnLost):
            self._parts.hub.close(self._live)  # its followers need not wait until the agent has stopped
        raise reason

    async def _end_agent(self, agent: asyncio.Task[Terminal]) -> None:
        if agent.done():
            if not agent.cancelled():
                agent.exception()  # what it raised is known, or does not matter any more
            return
        self._stopping = True
        agent.cancel()
        await asyncio.wait({agent}, timeout=_STOP_SECONDS)
        if not agent.done():
            self._log.warning("agent_left_behind", seconds=_STOP_SECONDS)
            agent.add_done_callback(lambda left: _log_late_end(left, self._log))
        elif not agent.cancelled():
            agent.exception()

    async def _consume(self) -> Terminal:
        claimed = self._claimed
        history: Sequence[Message] = ()
        wanted = self._agent.history_messages + self._agent.older_messages
        if wanted > 0 and not claimed.first_in_conversation:
            history = await repeated(
                lambda: self._parts.conversations.history(claimed.who, claimed.conversation_id, wanted),
                _HISTORY_PATIENCE_SECONDS,
            )
        kept = claimed.checkpoint
        task = AnswerTask(
            self.claim.turn_id,
            claimed.who,
            claimed.question,
            history,
            self._meter,
            resume=kept.state if kept is not None else None,
            tools=claimed.tools,
            conversation_id=claimed.conversation_id,
            age_seconds=claimed.age_seconds,
        )
        return await self._agent.answer(task, self._emit)

    def _emit(self, event: AgentEvent) -> None:
        """Hand an event of the agent's to the log. Once the agent is being stopped, only the cost of its models' calls is kept, for `_report_open_calls`."""
        if self._stopping:
            if isinstance(event, ModelUsed):
                self._cut_off.append(event)
            return
        try:
            self._writer.put(event)
        except Exception as error:  # the turn ends for it; no node may take it for a fault of its own
            self._stopping = True
            self._refused.set_result(error)
            return
        if isinstance(event, ToolCalled):
            self._open_calls.add(event.call_id)
        elif isinstance(event, ToolReturned):
            self._open_calls.discard(event.call_id)

    async def _finish(self, terminal: Terminal) -> bool:
        # Ids are made once, so that a repetition writes the same messages.
        ids = [self._parts.new_id(), self._parts.new_id()]

        async def end(with_event: Terminal) -> bool:
            given = iter(ids)
            return await self._writer.finish(
                with_event,
                lambda encoded: endings.conclude(
                    with_event,
                    encoded,
                    self._claimed.question,
                    lambda: next(given),
                    titles=self._agent.titles,
                ),
                self._write_end,
            )

        try:
            promoted = await end(terminal)
        except (TurnLost, Unavailable):
            raise
        except Exception:  # a result that cannot be stored must not leave the turn without an end
            self._log.exception("turn_result_refused")
            return await end(self._metered(endings.unexpected(self.claim.turn_id)))
        reason = terminal.error.reason.value if isinstance(terminal, Failed) else ""
        self._log.info("turn_ended", outcome=type(terminal).__name__.lower(), reason=reason)
        return promoted

    async def _write_end(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        await self._parts.faults.at(Fault.BEFORE_FINISH, claim.turn_id)
        promoted = await self._parts.turns.finish(claim, rows, conclusion)
        await self._parts.faults.at(Fault.AFTER_FINISH, claim.turn_id)
        return promoted


def _log_late_end(agent: asyncio.Task[Terminal], log: FilteringBoundLogger) -> None:
    """Log how an agent that was left behind ended; otherwise asyncio would log its error as never retrieved."""
    error = None if agent.cancelled() else agent.exception()
    if error is None:
        log.info("agent_ended_late")
    else:
        log.warning("agent_ended_late", exc_info=error)
