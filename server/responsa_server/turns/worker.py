"""Runs one turn: its agent, its writer, its time limit, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.conversations import Message
from responsa_server.domain.errors import ResponsaError, Unavailable
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.agents import Agent, AnswerTask, Meter
from responsa_server.domain.ports.turns import (
    Claim,
    Clock,
    ConversationStore,
    FrameCodec,
    NewId,
    TurnLost,
    TurnStore,
)
from responsa_server.domain.turns import Answered, Failed, Question, Refused, Terminal
from responsa_server.turns import endings
from responsa_server.turns.hub import Hub
from responsa_server.turns.repeat import repeated
from responsa_server.turns.writer import TurnWriter

# What an agent that is told to stop gets to do so; it is left behind then, and can write nothing any more.
_STOP_SECONDS: Final = 2.0
_HISTORY_PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class RunningTurn:
    """A turn that this process has claimed. Setting `stop` ends it with that failure."""

    who: Principal
    claim: Claim
    conversation_id: UUID
    question: Question
    first_in_conversation: bool
    meter: Meter = field(default_factory=Meter)
    stop: asyncio.Future[Failed] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Worker:
    """Runs turns of one agent. `run` is a task's whole life and belongs to no call: who asked may leave."""

    def __init__(
        self,
        turns: TurnStore,
        conversations: ConversationStore,
        agent: Agent,
        codec: FrameCodec,
        hub: Hub,
        clock: Clock,
        new_id: NewId,
        log: FilteringBoundLogger,
    ) -> None:
        self._turns = turns
        self._conversations = conversations
        self._agent = agent
        self._codec = codec
        self._hub = hub
        self._clock = clock
        self._new_id = new_id
        self._log = log

    async def run(self, running: RunningTurn) -> None:
        """Run a turn to its end, or until it is lost to another epoch. Does not raise for faults of the agent or the store."""
        turn_id = running.claim.turn_id
        log = self._log.bind(turn=names.turn(turn_id), tenant=running.who.tenant_id)
        writer = TurnWriter(
            self._turns,
            self._codec,
            self._clock,
            running.claim,
            last_seq=1,
            publish=lambda rows, ended: self._hub.publish(turn_id, rows, ended=ended),
        )
        try:
            terminal = await self._answer(running, writer, log)
            if isinstance(terminal, Failed):
                terminal = replace(terminal, usage=running.meter.usage)
            await self._finish(running, writer, terminal, log)
        except TurnLost:
            log.warning("turn_lost")
        except Unavailable as error:
            # The lease runs out and the sweep, here or elsewhere, ends the turn.
            log.error("turn_abandoned", reason=error.reason.value)
        finally:
            await writer.abort()
            self._hub.abandon(turn_id)

    async def _answer(self, running: RunningTurn, writer: TurnWriter, log: FilteringBoundLogger) -> Terminal:
        """The event that ends the turn. Raises TurnLost, Unavailable when nothing can be written any more."""
        turn_id = running.claim.turn_id
        agent = asyncio.create_task(self._consume(running, writer), name=f"turn-agent-{turn_id}")
        watched = cast("set[asyncio.Future[Any]]", {agent, writer.task, running.stop})
        try:
            limit = self._agent.time_limit_seconds
            await asyncio.wait(watched, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if agent.done():
                return agent.result()
            if writer.task.done():
                writer.task.result()
            if running.stop.done():
                return running.stop.result()
            return endings.time_limit(turn_id, limit)
        except ResponsaError as error:
            if writer.task.done():  # not the agent's fault: nothing can be written
                raise
            return endings.failed(error)
        except TurnLost:
            raise
        except Exception:  # whatever an agent raises, its turn must end with a typed event
            log.exception("turn_failed")
            return endings.unexpected(turn_id)
        finally:
            if not agent.done():
                agent.cancel()
                await asyncio.wait({agent}, timeout=_STOP_SECONDS)
                if not agent.done():
                    log.warning("agent_left_behind", seconds=_STOP_SECONDS)
                    agent.add_done_callback(lambda left: _told_late(left, log))

    async def _consume(self, running: RunningTurn, writer: TurnWriter) -> Terminal:
        history: Sequence[Message] = ()
        if self._agent.history_messages > 0 and not running.first_in_conversation:
            history = await repeated(
                lambda: self._conversations.history(
                    running.who, running.conversation_id, self._agent.history_messages
                ),
                _HISTORY_PATIENCE_SECONDS,
            )
        task = AnswerTask(running.claim.turn_id, running.who, running.question, history, running.meter)
        async with aclosing(self._agent.answer(task)) as events:
            async for event in events:
                if isinstance(event, (Answered, Refused, Failed)):
                    return event
                await writer.put(event)
        raise RuntimeError("the agent ended without a terminal event")

    async def _finish(
        self, running: RunningTurn, writer: TurnWriter, terminal: Terminal, log: FilteringBoundLogger
    ) -> None:
        # Ids are made once, so that a repetition writes the same messages.
        ids = [self._new_id(), self._new_id()]

        async def write(end: Terminal) -> None:
            given = iter(ids)
            await writer.finish(
                end, lambda encoded: endings.conclude(end, encoded, running.question, lambda: next(given))
            )

        try:
            await write(terminal)
        except (TurnLost, Unavailable):
            raise
        except Exception:  # a result that cannot be stored must not leave the turn without an end
            log.exception("turn_result_refused")
            await write(endings.unexpected(running.claim.turn_id))
        else:
            reason = terminal.error.reason.value if isinstance(terminal, Failed) else ""
            log.info("turn_ended", outcome=type(terminal).__name__.lower(), reason=reason)


def _told_late(agent: asyncio.Task[Terminal], log: FilteringBoundLogger) -> None:
    """What an agent that was left behind came to; without this asyncio would log an error as never retrieved."""
    error = None if agent.cancelled() else agent.exception()
    if error is None:
        log.info("agent_ended_late")
    else:
        log.warning("agent_ended_late", exc_info=error)
