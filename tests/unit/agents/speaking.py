"""A scripted model, a scripted tool, a turn's run, and functions that collect an agent's events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from responsa_server.agents.engine.node import Progress, Run
from responsa_server.domain.agents import Agent, AgentEvent, AnswerTask, Barrier, Meter
from responsa_server.domain.events import Answered, Delta, Refused, ToolCalled, ToolOutcome, ToolReturned
from responsa_server.domain.faults import Fault
from responsa_server.domain.models import Ended, ModelPiece, ModelPrompt, TextPiece
from responsa_server.domain.parts import NOT_PAUSED, Pause
from responsa_server.domain.tools import Effect, ToolCall, ToolCard, ToolResult
from responsa_server.domain.turns import ToolRecord
from tests.agent_streams import stream
from tests.unit.agents.evidence import WHO

TURN = UUID(int=7)


Items = Sequence[ModelPiece | asyncio.Event | Exception]


@dataclass
class Says:
    """A model that follows a list of items, or the list that a function makes for a prompt. It sends pieces, waits for each asyncio.Event,
    and raises exceptions."""

    pieces: Items | Callable[[ModelPrompt], Items] = (Ended(complete=True),)
    name: str = "m"
    prompts: list[ModelPrompt] = field(default_factory=list[ModelPrompt])
    closed: bool = False

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        self.prompts.append(prompt)
        try:
            for piece in self.pieces(prompt) if callable(self.pieces) else self.pieces:
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                elif isinstance(piece, Exception):
                    raise piece
                else:
                    yield piece
        finally:
            self.closed = True


def says(*texts: str) -> Says:
    """A model that sends these pieces of text."""
    return Says([*map(TextPiece, texts), Ended(complete=True)])


@dataclass
class Does:
    """A tool that records its calls and returns a fixed result."""

    effect: Effect = Effect.ONCE
    result: ToolResult = field(default_factory=lambda: ToolResult(ToolOutcome.OK, "done"))
    card: ToolCard = field(default_factory=lambda: ToolCard("note", "Notes."))
    calls: list[tuple[str, Mapping[str, object]]] = field(
        default_factory=list[tuple[str, Mapping[str, object]]]
    )

    timeout_seconds: float = 20.0

    async def call(self, call: ToolCall) -> ToolResult:
        self.calls.append((call.key, call.arguments))
        await call.sent()
        return self.result

    async def close(self) -> None:
        pass


@dataclass
class Places:
    """An implementation of `Faults` that records the places that a turn reaches."""

    passed: list[tuple[Fault, UUID | None]] = field(default_factory=list[tuple[Fault, UUID | None]])

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        self.passed.append((place, turn_id))


@dataclass
class Turn:
    """A run of one turn's graph, with its events and cost. The run passes barriers at once, unless barriers are held."""

    tools: Mapping[str, ToolRecord] = field(default_factory=dict[str, ToolRecord])
    events: list[Progress] = field(default_factory=list[Progress])
    meter: Meter = field(default_factory=Meter)
    places: Places = field(default_factory=Places)
    held: Barrier | None = None
    holds: bool = False
    pause: Pause = NOT_PAUSED
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def has_told(self, events: int) -> None:
        """Wait until the run has emitted this number of events."""
        while len(self.events) < events:
            self._more.clear()
            await self._more.wait()

    @property
    def run(self) -> Run:
        return Run(
            WHO,
            self._tell,
            self.meter.add,
            TURN,
            tools=self.tools,
            faults=self.places,
            pause=self.pause,
        )

    def _tell(self, progress: Progress) -> None:
        if not isinstance(progress, Barrier):
            self.events.append(progress)
        elif self.holds:
            self.held = progress
        else:
            progress.passed.set()
        self._more.set()


async def told_by(agent: Agent, task: AnswerTask, most: int = 10_000) -> list[AgentEvent]:
    """An agent's events, at most `most` of them. Then the stream is closed, as when the worker is killed.

    Every barrier passes at once.
    """
    emitted: list[AgentEvent] = []
    async with aclosing(stream(agent, task)) as events:
        async for event in events:
            emitted.append(event)
            if isinstance(event, Barrier):
                event.passed.set()
            if len(emitted) == most:
                break
    return emitted


def answer_in(events: Sequence[object]) -> Answered:
    """The answer with which these events end."""
    end = events[-1]
    assert isinstance(end, Answered)
    return end


def refusal_in(events: Sequence[object]) -> Refused:
    """The refusal with which these events end."""
    end = events[-1]
    assert isinstance(end, Refused)
    return end


def deltas(events: Sequence[AgentEvent]) -> list[Delta]:
    """The deltas among the emitted events."""
    return [one for one in events if isinstance(one, Delta)]


def ledger(events: Sequence[AgentEvent]) -> dict[str, ToolRecord]:
    """The ledger that these events make."""
    records: dict[str, ToolRecord] = {}
    for one in events:
        if isinstance(one, ToolCalled):
            records[one.call_id] = ToolRecord(None, "")
        elif isinstance(one, ToolReturned):
            records[one.call_id] = ToolRecord(one.outcome, one.content)
    return records


def text(events: Sequence[AgentEvent]) -> str:
    return "".join(one.text for one in events if isinstance(one, Delta))
