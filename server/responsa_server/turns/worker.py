"""Runs one claimed turn. A run starts the agent, enforces the time limit and writes the turn's end, unless the turn is taken away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final, assert_never, cast
from uuid import UUID

from structlog.contextvars import bind_contextvars, get_contextvars
from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.agents import Agent, AgentEvent, AnswerTask, Meter
from responsa_server.domain.conversations import MAX_TITLE_BYTES, ConversationStore, Message, Speaker
from responsa_server.domain.errors import DeadlinePassed, Exhausted, Reason, ResponsaError, Unavailable
from responsa_server.domain.events import (
    Answered,
    AttemptRestarted,
    Cancelled,
    Failed,
    ModelUsed,
    RefusalReason,
    Refused,
    Status,
    Step,
    Terminal,
    ToolCalled,
    ToolFault,
    ToolOutcome,
    ToolReturned,
    Usage,
)
from responsa_server.domain.faults import Fault
from responsa_server.domain.formatting import in_seconds
from responsa_server.domain.insight import facts_of
from responsa_server.domain.people import Principal, work_for
from responsa_server.domain.sharing import Scheduler
from responsa_server.domain.turns import (
    WITHHELD,
    Checkpoint,
    Claim,
    ClaimedTurn,
    Conclusion,
    LogRow,
    NewId,
    NewMessage,
    Question,
    TurnLost,
    TurnState,
    TurnStore,
)
from responsa_server.telemetry import instruments
from responsa_server.telemetry.instruments import Instrument
from responsa_server.telemetry.parts import add_up
from responsa_server.telemetry.stages import IDLE, TRACE_ID, AnyStage, Count, stage
from responsa_server.telemetry.unexpected import note
from responsa_server.turns.hub import Hub, Live
from responsa_server.turns.runtime import Runtime, loop_time, retry
from responsa_server.turns.writer import LogWriter, Start, TurnWriter

# How long an agent may take to stop, in seconds. After that, the run ends without waiting for the agent, which can no longer write.
_STOP_SECONDS: Final = 2.0
# How long a turn that is given up may take to write its collected events, so that the next worker repeats less.
_LAST_WORDS_SECONDS: Final = 0.5
_HISTORY_PATIENCE_SECONDS: Final = 60.0
_BOOK_PATIENCE_SECONDS: Final = 10.0
_LOOK_AT_FILES_SECONDS: Final = 0.25
_TITLE_CHARACTERS: Final = 60
_BEGINNING: Final = Checkpoint(1, 0, Usage(), b"")  # after the turn's first event
_CUT_OFF_CONTENT: Final = "The turn ended during this tool call, so its outcome is unknown."


class RunOutcome(Enum):
    """The outcome of a run."""

    ENDED = auto()
    PROMOTED = auto()
    """The turn ended, and a turn that waited for this end must be claimed."""
    LOST = auto()
    """The turn was taken away: it has a newer epoch, or it was ended from outside."""
    ABANDONED = auto()
    """Writing was no longer possible. The turn's lease expires."""
    GIVEN_UP = auto()
    """`stop_for_release` stopped the run. This process still holds the turn, and must release it."""


class _GivenUp(Exception):
    """The turn must go to another worker."""


class _Withheld(Exception):
    """The turn's user may no longer read what the turn has read."""


@dataclass(frozen=True, slots=True)
class RunServices:
    """The objects that all runs of a process share."""

    turns: TurnStore
    conversations: ConversationStore
    hub: Hub
    writer: LogWriter
    runtime: Runtime


class TurnRun:
    """One turn under one epoch. A separate task executes `run`. The task does not belong to a call, so the caller may disconnect."""

    def __init__(
        self,
        parts: RunServices,
        agent: Agent,
        claimed: ClaimedTurn,
        claimed_from: int | None = None,
        slots: Scheduler | None = None,
    ) -> None:
        """claimed_from: when the claim began, in nanoseconds since 1970; None if the turn was claimed as it was
        accepted. slots: the agent holds one while it works; None if it needs none."""
        self._slots = slots
        self._parts = parts
        self._agent = agent
        self._claimed = claimed
        self._live: Live | None = None
        self._log = parts.runtime.log
        self._meter = Meter()
        self._checkpoint = claimed.checkpoint or _BEGINNING
        self._meter.add(self._checkpoint.usage)
        self._open_calls = {call_id for call_id, tool in claimed.tools.items() if tool.outcome is None}
        self._stop: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        # Gets the error of the first event that cannot be stored.
        self._refused: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._stopping = False
        self._cut_off: list[ModelUsed] = []
        self.ids = claimed.ids
        """What all lines of the log about the turn name."""
        self._agent_id = self.ids["agent"]
        self._started_at = loop_time()
        self._first_words_at: float | None = None
        self._took: Mapping[str, float] = {}
        self._measured: set[Instrument] = set()
        start = Start(claimed.last_seq, claimed.attempt, self._checkpoint.text_bytes, self._checkpoint.usage)
        self._writer = TurnWriter(parts.writer, self, claimed.claim, start, parts.runtime)
        self._claimed_from = claimed_from
        self._files = ""
        self._begun = time.time_ns()

    @property
    def shown(self) -> bool:
        """Whether `show` was called."""
        return self._live is not None

    def show(self, live: Live) -> None:
        """Begin to write and to show the turn's events, because its claim is committed. live: the turn in the hub."""
        self._live = live
        self._writer.begin()

    @property
    def claim(self) -> Claim:
        """The claim on the turn."""
        return self._claimed.claim

    @property
    def paced(self) -> bool:
        """Whether `Admission` counts the turn."""
        return self._slots is not None

    @property
    def condemned(self) -> bool:
        """Whether the turn may not run again, because it is the cause of lost workers."""
        claimed = self._claimed
        return claimed.lost_alone or claimed.losses > self._parts.runtime.options.max_losses

    @property
    def suspect(self) -> bool:
        """Whether the turn may be the cause of lost workers, so that it should run alone."""
        return not self.condemned and self._claimed.losses >= self._parts.runtime.options.alone_after_losses

    @property
    def usage(self) -> Usage:
        """See `WriterOwner.usage`."""
        return self._meter.usage

    @property
    def spent(self) -> Usage:
        """The usage since the last committed checkpoint."""
        return self._meter.usage - self._writer.booked

    @property
    def goes_on(self) -> bool:
        """Whether the run has not been stopped."""
        return not self._stop.done()

    def abort_lost(self) -> None:
        """Stop at once, because another worker has the turn or the turn was ended."""
        self.fail(TurnLost(names.turn(self.claim.turn_id)))

    def abort_forbidden(self) -> None:
        """Stop, and end the turn with a refusal (NOT_PERMITTED), because the user may no longer read what the turn has read."""
        self.fail(_Withheld())

    def stop_for_release(self) -> None:
        """Stop the run. The caller must then release the turn."""
        self.fail(_GivenUp())

    @property
    def waited_for(self) -> bool:
        """See `WriterOwner.waited_for`."""
        return self._live is not None and self._parts.hub.waited_for(self._live)

    def publish(self, rows: Sequence[LogRow], *, words: bool, ended: bool) -> None:
        """See `WriterOwner.publish`."""
        if self._live is not None:
            self._parts.hub.publish(self._live, rows, ended=ended)
        if words and self._first_words_at is None:
            self._first_words_at = loop_time()
        if not instruments.TURNS.on:
            return
        for instrument, came in (
            (instruments.FIRST_EVENT_SECONDS, True),
            (instruments.FIRST_TEXT_SECONDS, words),
        ):
            if came and instrument not in self._measured:
                self._measured.add(instrument)
                # The writer of all turns calls this, and the exemplar is of this turn's trace.
                with nullcontext() if self._writer.stage is None else self._writer.stage.current():
                    instrument.add(loop_time() - self._started_at, self._agent_id)

    def fail(self, reason: Exception) -> None:
        """See `WriterOwner.fail`."""
        if not self._stop.done():
            self._stop.set_result(reason)
        elif isinstance(reason, TurnLost):  # this replaces an earlier reason that has not been read yet
            self._stop = asyncio.get_running_loop().create_future()
            self._stop.set_result(reason)

    async def run(self) -> RunOutcome:
        """Run the turn to its end, or until it is taken away or given up. Does not raise for faults of the agent or the store."""
        bind_contextvars(**self.ids)
        work_for(self._claimed.caller)
        self._took = add_up()
        if not self._parts.runtime.traces.on:
            return await self._run(IDLE)
        claimed = self._claimed
        turn = self._parts.runtime.traces.turn(
            f"invoke_agent {self._agent_id}",
            claimed.traceparent,
            get_contextvars(),
            again=claimed.attempt > 1,
            turn=self.ids["turn"],
            tenant=self.claim.tenant_id,
            attempt=claimed.attempt,
            **{
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.id": claimed.agent_version,
                "gen_ai.agent.name": self._agent_id,
                "gen_ai.agent.version": claimed.agent_version.rpartition("/")[2],
                "gen_ai.conversation.id": names.conversation(claimed.conversation_id),
            },
        )
        with turn:
            if self._claimed_from is not None:
                turn.add_part("claim", self._claimed_from, self._begun, losses=claimed.losses)
            self._writer.stage = turn
            outcome = await self._run(turn)
            turn.add(run=outcome.name.lower())
        turn.settle()
        return outcome

    async def _run(self, turn: AnyStage) -> RunOutcome:
        outcome = RunOutcome.ABANDONED
        try:
            terminal = await self._answer()
            if isinstance(terminal, Failed):
                terminal = self._add_usage(terminal, turn.trace_id)
                self._report_open_calls()
                turn.fail(terminal.error.reason.value)
            with stage("finish", result=type(terminal).__name__.lower()):
                promoted = await self._finish(terminal, turn)
            outcome = RunOutcome.PROMOTED if promoted else RunOutcome.ENDED
        except _GivenUp:
            outcome = await self._flush_before_release()
        except TurnLost:
            outcome = RunOutcome.LOST
        except Unavailable as error:
            # The lease expires and a worker, here or elsewhere, claims the turn.
            turn.fail(error.reason.value)
            self._log.error("turn_abandoned", reason=error.reason.value)
        finally:
            self._writer.stop(hold=outcome is RunOutcome.GIVEN_UP)
            self._hide()
        if outcome is RunOutcome.LOST:
            self._log.info("turn_lost", epoch=self.claim.epoch)
            await self.record_usage()
        return outcome

    def _hide(self) -> None:
        if self._live is not None:
            self._parts.hub.close(self._live)

    def stop_renewing(self) -> None:
        """Stop renewing the lease of a turn that was given up."""
        self._writer.stop()

    async def record_usage(self) -> None:
        """Record the usage that no checkpoint contains."""
        spent = self.spent
        if spent == Usage():
            return
        try:
            await retry(lambda: self._parts.turns.record_usage(self.claim, spent), _BOOK_PATIENCE_SECONDS)
        except Unavailable as error:
            self._log.error("usage_not_booked", reason=error.reason.value, **self.ids)

    async def _flush_before_release(self) -> RunOutcome:
        """Write the collected events, so that the next worker repeats less."""
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._writer.flush()
        except TurnLost:
            return RunOutcome.LOST
        except Exception as error:  # another worker continues the turn in any case
            self._log.warning("turn_given_up_unwritten", error=type(error).__name__)
        return RunOutcome.GIVEN_UP

    def _add_usage(self, failed: Failed, trace_id: str = "") -> Failed:
        """The failure, with the turn's cost and fallbacks so far, and the id of its trace."""
        fallbacks = failed.fallbacks or self._meter.fallbacks
        if trace_id:
            failed.error.metadata = {**failed.error.metadata, TRACE_ID: trace_id}
        return replace(failed, usage=self._meter.usage, fallbacks=fallbacks)

    def _report_open_calls(self) -> None:
        """Report the cost of interrupted model calls, and that the outcome of open tool calls is unknown. Raises TurnLost, Unavailable."""
        tools = [
            ToolReturned(call_id, ToolOutcome.UNKNOWN, _CUT_OFF_CONTENT, fault=ToolFault.LOST)
            for call_id in sorted(self._open_calls)
        ]
        for event in (*self._cut_off, *tools):
            try:
                self._writer.put(event)
            except (TurnLost, Unavailable):
                raise
            except Exception as error:  # an event could not be stored: only the end can still be written
                self._log.warning("calls_not_reported", error=type(error).__name__)
                return

    async def _answer(self) -> Terminal:
        """The event that ends the turn. Raises TurnLost, _GivenUp, and Unavailable when writing is no longer possible."""
        claimed, turn_id = self._claimed, self.claim.turn_id
        if claimed.attempt > 1:
            self._writer.put(AttemptRestarted(self._checkpoint.last_seq + 1, self._checkpoint.text_bytes))
        if self.condemned:
            return worker_lost(turn_id, claimed.losses)
        if claimed.attempt > 1 and await retry(
            lambda: self._parts.turns.find_withheld([turn_id]), _HISTORY_PATIENCE_SECONDS
        ):
            return self._refuse_access()  # the attempts before have read it, and a checkpoint may contain it
        limit = self._agent.time_limit_seconds
        left = limit - claimed.age_seconds
        if left <= 0:
            return time_limit(turn_id, limit)
        agent = asyncio.create_task(self._consume(), name=f"turn-agent-{turn_id}")
        try:
            awaited = cast("set[asyncio.Future[Any]]", {agent, self._stop, self._refused})
            until = asyncio.get_running_loop().time() + left
            while left > 0 and not any(each.done() for each in awaited):
                await asyncio.wait(awaited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                left = until + self._meter.extra_seconds - asyncio.get_running_loop().time()
            if not (self._stop.done() and isinstance(self._stop.result(), (TurnLost, _Withheld))):
                if self._refused.done():
                    raise self._refused.result()
                if agent.done():
                    return agent.result()
            if self._stop.done():
                return self._terminal_of(self._stop.result())
            return time_limit(turn_id, limit)
        except ResponsaError as error:
            if (
                self._stop.done() and self._stop.result() is error
            ):  # not the agent's fault: writing is not possible
                raise
            return failure_of(error)
        except (TurnLost, _GivenUp):
            raise
        except Exception as error:  # whatever an agent raises, its turn must end with a typed event
            note(self._parts.runtime.errors, error, names.turn(turn_id))
            self._log.exception("turn_failed")
            return internal_failure(turn_id)
        finally:
            await self._end_agent(agent)

    def _terminal_of(self, reason: Exception) -> Terminal:
        if isinstance(reason, TurnLost):
            self._hide()  # its followers need not wait until the agent has stopped
        if isinstance(reason, _Withheld):
            return self._refuse_access()
        raise reason

    def _refuse_access(self) -> Refused:
        return Refused(
            RefusalReason.NOT_PERMITTED, WITHHELD, self._meter.usage, fallbacks=self._meter.fallbacks
        )

    async def _end_agent(self, agent: asyncio.Task[Terminal]) -> None:
        if agent.done():
            if not agent.cancelled():
                agent.exception()  # the agent's error is known, or no longer matters
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
        caller = await self._with_files()
        async with nullcontext() if self._slots is None else self._slots.turn():
            return await self._work(caller)

    async def _with_files(self) -> Principal:
        """The turn's user, with the files of the conversation. Waits until they have been read, without a slot."""
        caller, conversation = self._claimed.caller, self._claimed.conversation_id
        # A question that begins its conversation comes before all files.
        if self._claimed.question.conversation_id is None:
            return caller
        is_told = False
        while True:
            files = await retry(
                lambda: self._parts.conversations.files(caller, conversation), _HISTORY_PATIENCE_SECONDS
            )
            if files is None or not files.is_reading:
                self._files = "" if files is None else files.collection_id
                return replace(caller, files=self._files)
            if not is_told:
                self._emit(Status(Step.RETRIEVING, "Reading the files..."))
                is_told = True
            await asyncio.sleep(_LOOK_AT_FILES_SECONDS)

    async def _work(self, caller: Principal) -> Terminal:
        claimed = self._claimed
        history: Sequence[Message] = ()
        wanted = self._agent.history_messages + self._agent.older_messages
        if wanted > 0 and not claimed.first_in_conversation:
            history = await retry(
                lambda: self._parts.conversations.history(caller, claimed.conversation_id, wanted),
                _HISTORY_PATIENCE_SECONDS,
            )
        task = AnswerTask(
            self.claim.turn_id,
            caller,
            claimed.question,
            history,
            self._meter,
            resume=self._checkpoint.state or None,
            tools=claimed.tools,
            conversation_id=claimed.conversation_id,
            age_seconds=claimed.age_seconds,
            grant=self.claim.grant,
            pause=self._parts.runtime.pause,
        )
        return await self._agent.answer(task, self._emit)

    def _emit(self, event: AgentEvent) -> None:
        """Pass an event of the agent to the log. Once the agent is being stopped, only the cost of its
        models' calls is kept, for `_report_open_calls`.
        """
        if self._stopping:
            if isinstance(event, ModelUsed):
                self._cut_off.append(event)
            return
        try:
            self._writer.put(event)
        except Exception as error:  # the error ends the turn; a node must not handle it as its own error
            self._stopping = True
            self._refused.set_result(error)
            return
        if isinstance(event, ToolCalled):
            self._open_calls.add(event.call_id)
        elif isinstance(event, ToolReturned):
            self._open_calls.discard(event.call_id)

    async def _finish(self, terminal: Terminal, turn: AnyStage) -> bool:
        # Ids are created once, so that a repetition writes the same messages.
        ids = [self._parts.runtime.new_id(), self._parts.runtime.new_id()]

        async def end(with_event: Terminal) -> bool:
            remaining_ids = iter(ids)
            return await self._writer.finish(
                with_event,
                lambda encoded: conclude(
                    with_event,
                    encoded,
                    self._claimed.question,
                    lambda: next(remaining_ids),
                    titles=self._agent.titles,
                    files=self._files,
                ),
                self._write_end,
            )

        try:
            promoted = await end(terminal)
        except (TurnLost, Unavailable):
            raise
        except Exception:  # a result that cannot be stored must not leave the turn without an end
            self._log.exception("turn_result_refused")
            terminal = self._add_usage(internal_failure(self.claim.turn_id))
            promoted = await end(terminal)
        seconds = loop_time() - self._started_at
        instruments.TURNS.add(1, type(terminal).__name__.lower(), self._agent_id)
        instruments.TURN_SECONDS.add(seconds, self._agent_id)
        facts = end_of(terminal) | self._times(seconds)
        turn.add(**facts)
        took = {part: round(spent * 1000) for part, spent in self._took.items()}
        self._log.info("turn_ended", attempt=self._claimed.attempt, **facts, took_ms=took)
        return promoted

    def _times(self, seconds: float) -> dict[str, Count]:
        """Milliseconds from the question to the beginning of this run, to its first words and to its end. seconds: how
        long it took."""
        # The id of a turn is a UUIDv7, which begins with the time in milliseconds.
        waited = max(self._begun // 1_000_000 - (self.claim.turn_id.int >> 80), 0)
        words = self._first_words_at
        return {
            "waited_ms": waited,
            **(
                {} if words is None else {"first_words_ms": waited + round((words - self._started_at) * 1000)}
            ),
            "duration_ms": waited + round(seconds * 1000),
        }

    async def _write_end(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        await self._parts.runtime.faults.at(Fault.BEFORE_FINISH, claim.turn_id)
        promoted = await self._parts.turns.finish(claim, rows, conclusion)
        await self._parts.runtime.faults.at(Fault.AFTER_FINISH, claim.turn_id)
        return promoted


def end_of(terminal: Terminal) -> dict[str, Count]:
    """What the log and the trace say of the end of a turn, without any text. `reason` and `fallbacks` are left out if there is none.

    outcome: as in the metrics. reason: of a refusal, an error or a cancellation. passages: those that the answer rests
    on, or that came closest to one. support: see `Answered`. model: who wrote the answer.
    """
    outcome: dict[str, Count] = {"outcome": type(terminal).__name__.lower()}
    match terminal:
        case Answered():
            facts: dict[str, Count] = {
                "passages": terminal.passages_used,
                "support": round(terminal.support, 3),
                "citations": len(terminal.citations),
                "unsupported": terminal.unsupported,
                "model": terminal.model,
            }
        case Refused():
            facts = {
                "reason": terminal.reason.name,
                "passages": len(terminal.excerpts),
                "support": round(terminal.support, 3),
            }
        case Failed():
            facts = {"reason": terminal.error.reason.value}
        case Cancelled():
            return {**outcome, "reason": terminal.by.name}
    if terminal.fallbacks:
        facts["fallbacks"] = tuple(dict.fromkeys(fallback.kind.value for fallback in terminal.fallbacks))
    return {**outcome, **facts, "cost_usd_micros": terminal.usage.cost_micros}


def _log_late_end(agent: asyncio.Task[Terminal], log: FilteringBoundLogger) -> None:
    """Log the error of an agent that was left behind; otherwise asyncio would log it as never retrieved."""
    error = None if agent.cancelled() else agent.exception()
    if error is None:
        log.info("agent_ended_late")
    else:
        log.warning("agent_ended_late", exc_info=error)


def conclude(
    terminal: Terminal,
    encoded: bytes,
    question: Question,
    new_id: NewId,
    *,
    titles: bool = True,
    files: str = "",
) -> Conclusion:
    """The conclusion of a turn. An answer or a refusal adds the question and the reply to the conversation; a turn that
    failed, was cancelled, or was stopped because its user lost access adds nothing.

    titles: whether the question becomes the title of a conversation that has no title. Otherwise, the creation time remains the title.
    files: see `facts_of`.
    """
    match terminal:
        case Answered():
            reply = NewMessage(
                new_id(),
                Speaker.ASSISTANT,
                terminal.text,
                terminal.citations,
            )
            state, usage = TurnState.ANSWERED, terminal.usage
        case Refused(reason=RefusalReason.NOT_PERMITTED):
            # The turn was stopped, as a cancelled one.
            return Conclusion(TurnState.REFUSED, encoded, terminal.usage, facts=facts_of(terminal))
        case Refused():
            reply = NewMessage(new_id(), Speaker.ASSISTANT, terminal.message, refusal=terminal.reason)
            state, usage = TurnState.REFUSED, terminal.usage
        case Failed():
            return Conclusion(TurnState.FAILED, encoded, terminal.usage, facts=facts_of(terminal))
        case Cancelled():
            return Conclusion(TurnState.CANCELLED, encoded, Usage())
        case _:
            assert_never(terminal)
    # Messages with the same time are ordered by id, so the question gets the smaller id.
    first, second = sorted((reply.id, new_id()))
    asked = NewMessage(first, Speaker.USER, question.text)
    replied = replace(reply, id=second)
    title = title_of(question.text) if titles else ""
    return Conclusion(state, encoded, usage, (asked, replied), title, facts=facts_of(terminal, files))


def title_of(question: str) -> str:
    """A title for a conversation that begins with this question: its first words, at most 200 bytes, and whole words if possible."""
    text = " ".join(question.split())
    if len(text) > _TITLE_CHARACTERS:
        cut = text[: _TITLE_CHARACTERS - 1]
        words, space, _ = cut.rpartition(" ")
        text = (words if space and len(words) > _TITLE_CHARACTERS // 2 else cut).rstrip(" ,;:-") + "…"
    while len(text.encode()) > MAX_TITLE_BYTES:
        text = text[:-2] + "…"
    return text


def failure_of(error: ResponsaError) -> Failed:
    """The end of a turn because of an error. The turn is retriable if the error depends on the moment and not on the question."""
    return Failed(error, isinstance(error, (Unavailable, Exhausted, DeadlinePassed)))


def worker_lost(turn_id: UUID, losses: int) -> Failed:
    """The end of a turn that has lost too many workers in succession, so that no other worker may run it."""
    message = f"{losses} workers were lost while they answered; ask again, and rephrase the question if it happens again."
    metadata = {"turn": names.turn(turn_id)}
    return failure_of(Unavailable(Reason.WORKER_LOST, message, metadata, retry_after=1.0))


def time_limit(turn_id: UUID, limit_seconds: float) -> Failed:
    """The end of a turn that took longer than its agent allows."""
    metadata = {"turn": names.turn(turn_id), "limit_seconds": f"{limit_seconds:g}"}
    message = (
        f"Answering took longer than {in_seconds(limit_seconds)} and was stopped; ask again or ask for less."
    )
    return failure_of(DeadlinePassed(Reason.TURN_TIME_LIMIT, message, metadata))


def internal_failure(turn_id: UUID) -> Failed:
    """The end of a turn because of an unforeseen error. The server's log contains the error under the turn's name."""
    message = "Something went wrong. Please try again."
    error = ResponsaError(Reason.INTERNAL, message, {"call_id": names.turn(turn_id)})
    return Failed(error, retriable=True)
