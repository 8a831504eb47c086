"""Several simulated processes within one process. Each has its own `Turns` on the real PostgreSQL, and can be killed,
stopped and drained like a process.

A killed process gets no more results from its store and sends nothing. Its last statement may still commit,
as when a real process dies while its statement runs. The streams of its followers are cut.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from contextvars import Context, ContextVar
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from bench.agents import AgentTable
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_lab.testing.agent import ScriptedAgent, tool_cards
from responsa_lab.testing.script import TOOLS, answer_tokens, opening_tokens, parse, tool_arguments
from responsa_server.calls import frames
from responsa_server.calls.convert.chat import question as question_of
from responsa_server.domain.agents import AnswerTask, Emit
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.events import Terminal, ToolOutcome
from responsa_server.domain.models import Ended, ModelPiece, ModelPrompt, TextPiece, ToolRequest
from responsa_server.domain.people import Principal
from responsa_server.domain.quotas import Demand
from responsa_server.domain.tools import Effect, ToolCall, ToolCard, ToolResult
from responsa_server.domain.turns import Question, TurnStore
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.turn_log import NamedQueries
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.turns.runtime import Runtime
from responsa_server.turns.service import Turns
from responsa_server.turns.settings import TurnOptions
from tests.faults.hint_bus import Gate, HintBus
from tests.faults.placed import Placed, PlacedFaults, Struck
from tests.faults.readers import Cut, Frame, Refusal

Result = TypeVar("Result")
LEASE_SECONDS = 0.15


class MortalStore:
    """The `TurnStore` of a process that may die or stop before a call, or before it gets the result of a call."""

    def __init__(self, store: TurnStore, gate: Gate) -> None:
        self._store = store
        self._gate = gate

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)
        if not iscoroutinefunction(method):
            return method

        async def call(*arguments: object, **named: object) -> object:
            await self._gate.passed()
            try:
                return await method(*arguments, **named)
            finally:
                await self._gate.passed()

        return call


class ScriptedModel:
    """A `ChatModel` that sends the script's words at once, without a socket."""

    name = "scripted"

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        script = parse(next(message.text for message in prompt.messages if message.role.value == "user"))
        for text in opening_tokens(script) if prompt.tools else answer_tokens(script):
            # This pause lets other tasks run, as a read from a socket would.
            await asyncio.sleep(0)
            yield TextPiece(text)
        if prompt.tools and script.tool is not Effect.NONE:
            yield ToolRequest("call-1", TOOLS[script.tool], tool_arguments(script))
        yield Ended(complete=True)


@dataclass
class CountingTool:
    """A `Tool` whose record of calls is kept when a process dies."""

    card: ToolCard
    effect: Effect
    calls: dict[str, int]
    timeout_seconds: float = 600.0

    async def call(self, call: ToolCall) -> ToolResult:
        self.calls[call.key] = self.calls.get(call.key, 0) + 1
        await call.sent()
        return ToolResult(ToolOutcome.OK, str(call.arguments.get("note")))

    async def close(self) -> None:
        pass


@dataclass
class Process:
    """A simulated process: its turns, and the faults that can happen to it."""

    name: str
    turns: Turns
    gate: Gate
    faults: PlacedFaults
    deaths: list[Placed]

    @property
    def struck(self) -> int:
        """The number of placed faults of this process that have happened."""
        return len(self.deaths)

    @property
    def alive(self) -> bool:
        return not self.gate.dead.is_set()

    def kill(self) -> None:
        """Kill the process: none of its tasks continues."""
        self.gate.dead.set()

    async def drain(self) -> None:
        """Drain the process, as SIGTERM does. The process may die meanwhile."""
        going = asyncio.ensure_future(self._go())
        death = asyncio.ensure_future(self.gate.dead.wait())
        await asyncio.wait({going, death}, return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if going.done():
            going.result()
        self.gate.dead.set()

    async def _go(self) -> None:
        await self.turns.drain(0.05)
        await self.turns.close()


class Processes:
    """Simulated processes on one database. calls: the number of tool calls, by key."""

    def __init__(
        self,
        databases: Sequence[Database],
        dice: random.Random,
        tasks: set[asyncio.Task[Any]],
        queries: NamedQueries | None = None,
    ) -> None:
        """databases: the databases for the processes. Each process takes the next database, and is identified by the application_name of
        its connections. tasks: the collection of all tasks that are started for the processes.
        """
        self.calls: dict[str, int] = {}
        self.processes: list[Process] = []
        self.hints = HintBus(dice)
        self._tasks = tasks
        self._databases = databases
        self._queries = queries
        self._started = 0
        self._codec = frames.AskFrames()

    @property
    def alive(self) -> Sequence[Process]:
        """The processes that are alive."""
        return [process for process in self.processes if process.alive]

    async def start(self, *, works: bool = True) -> Process:
        """Start another process."""
        database = self._databases[self._started % len(self._databases)]
        self._started += 1
        gate = Gate()
        deaths: list[Placed] = []

        def die(fault: Placed, turn_id: UUID | None) -> None:
            deaths.append(fault)
            gate.dead.set()

        faults = PlacedFaults(struck=die)
        cards = tool_cards()
        tools = [CountingTool(card, effect, self.calls) for effect, card in cards.items()]
        agent = ScriptedAgent(ScriptedModel(), tools, faults=_Gated(faults, gate))
        turns = Turns(
            cast(
                "TurnStore",
                MortalStore(PostgresTurnStore(database, self._codec, queries=self._queries), gate),
            ),
            PostgresConversationStore(database),
            AgentTable({"testing": agent, "default": _Renamed(agent)}),
            self.hints.relay(gate),
            Runtime(
                uuid7,
                self._codec,
                TurnOptions(
                    works=works,
                    lease_seconds=LEASE_SECONDS,
                    sweep_seconds=0.03,
                    poll_seconds=0.05,
                    max_losses=1000,
                    alone_after_losses=1000,
                    max_running=16,
                ),
                faults=_Gated(faults, gate),
                log=structlog.wrap_logger(
                    None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
                ),
            ),
        )
        await turns.start()
        found = Process(f"process-{self._started}", turns, gate, faults, deaths)
        self.processes.append(found)
        return found

    async def close(self) -> None:
        """End all processes, and cancel the tasks that dead processes left waiting."""
        for process in self.alive:
            process.gate.go_on()
            await process.drain()
        mine = asyncio.current_task()
        while working := [one for one in self._tasks if not one.done() and _of_store(one)]:
            await asyncio.wait(working)
        hanging = [one for one in self._tasks if one is not mine and not one.done()]
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


OWNER: ContextVar[set[asyncio.Task[Any]] | None] = ContextVar("owner", default=None)
"""The collection of all tasks that this context starts."""


def owned_tasks(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """A task factory that records the owner of each task."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    context: Context | None = options.get("context")
    owner = OWNER.get() if context is None else context.get(OWNER)
    if owner is not None:
        owner.add(task)
        task.add_done_callback(owner.discard)
    return task


def _of_store(task: asyncio.Task[Any]) -> bool:
    """Whether a task is using the database. Such a task ends by itself."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and "stores/postgres" in str(code.co_filename)


class _Gated:
    """The `Faults` of a process that may die at a place. If the process dies, the code after that place never runs."""

    def __init__(self, faults: PlacedFaults, gate: Gate) -> None:
        self._faults = faults
        self._gate = gate

    async def at(self, place: Any, turn_id: UUID | None = None) -> None:
        await self._gate.passed()
        with suppress(Struck):
            await self._faults.at(place, turn_id)
        await self._gate.passed()


class _Renamed:
    """The testing agent under the name of the default agent, because every process needs a default agent."""

    def __init__(self, agent: ScriptedAgent) -> None:
        self._agent = agent
        self.version = "agents/default/versions/1"
        self.time_limit_seconds = agent.time_limit_seconds
        self.history_messages = 0
        self.older_messages = 0
        self.titles = True
        self.asks_models = True

    async def admit(self, caller: Principal, question: Question) -> None:
        pass

    def demand(self, question: Question) -> Demand | None:
        return self._agent.demand(question)

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        return await self._agent.answer(task, emit)


class SimulatedWay:
    """A `Way` to the chosen process. It breaks when that process dies."""

    def __init__(self, caller: Principal, choose: Callable[[], Process | None]) -> None:
        self._caller = caller
        self._choose = choose

    async def ask(self, request: chat.AskRequest) -> AsyncGenerator[Frame]:
        process = self._chosen()
        accepted = await until_dead(
            process,
            process.turns.accept(
                self._caller,
                question_of(request),
                UUID(request.request_id),
                cancel_on_disconnect=request.cancel_on_disconnect,
            ),
        )
        async with aclosing(self._frames(process, accepted.turn_id, 0, request.include_deltas)) as found:
            async for data in found:
                yield chat.AskResponse.FromString(data)

    async def resume(self, request: chat.ResumeTurnRequest) -> AsyncGenerator[Frame]:
        process = self._chosen()
        turn_id = UUID(request.turn.removeprefix("turns/"))
        async with aclosing(
            self._frames(process, turn_id, request.after_seq, request.include_deltas)
        ) as found:
            async for data in found:
                yield chat.ResumeTurnResponse.FromString(data)

    def _chosen(self) -> Process:
        process = self._choose()
        if process is None:
            raise Cut("nobody serves")
        return process

    async def _frames(
        self, process: Process, turn_id: UUID, after_seq: int, include_deltas: bool
    ) -> AsyncGenerator[bytes]:
        rows = process.turns.follow(self._caller, turn_id, after_seq)
        stream: AsyncIterator[bytes] = frames.stream(
            turn_id, rows, include_deltas=include_deltas, after_seq=after_seq
        )
        try:
            while True:
                try:
                    yield await until_dead(process, anext(stream))
                except StopAsyncIteration:
                    return
        finally:
            if process.alive:
                await rows.aclose()


async def until_dead(process: Process, work: Awaitable[Result]) -> Result:
    """The result for a caller: a response, an error from Responsa, or a lost connection if the process dies first."""
    task = asyncio.ensure_future(work)
    death = asyncio.ensure_future(process.gate.dead.wait())
    try:
        await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
        if death.done() or not process.alive:
            raise Cut("the process died")
        return await task
    except ResponsaError as error:
        raise Refusal(error.reason.value, error.message) from error
    except RuntimeError as error:
        raise Cut(str(error)) from error
    finally:
        death.cancel()
        if not task.done():
            task.cancel()
            if process.alive:  # the caller closes next what the task still reads
                await asyncio.wait({task})
