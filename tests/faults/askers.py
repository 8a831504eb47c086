"""Askers, which send one question after another while a campaign disturbs the system, and the checks of all events that they received."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from responsa_lab.testing.script import golden_text, parse
from tests.faults.cluster import Caller
from tests.faults.forms import Report
from tests.faults.golden import Differs, kind, read, same
from tests.faults.invariants import Ledger, Violation
from tests.faults.readers import PATIENCE, GrpcWay, Seen, Way, asking, follow
from tests.instance import eventually

Ask = Callable[[random.Random], str]
"""A function that creates questions. For the testing agent, each question is a script (docs/maintainers/campaigns.md)."""


def question(*, tokens: int = 64, pace_ms: int = 5, tool: str = "none", tool_ms: int = 0) -> Ask:
    """A function that creates questions with these settings. Each question has a different seed."""
    return lambda dice: (
        f"tokens={tokens} pace_ms={pace_ms} tool={tool} tool_ms={tool_ms} seed={dice.randrange(1 << 30)}"
    )


@dataclass
class Askers:
    """`size` askers, as an async context manager: they ask questions during the block, and at the end it waits until
    all of them have ended.
    """

    target: str
    caller: Caller
    dice: random.Random
    size: int
    ask: Ask = field(default_factory=question)
    fresh: bool = False
    """Whether each stream uses a separate connection."""
    way: Callable[[], Way] | None = None
    """How each asker reaches the server; gRPC by default."""
    agent: str = "agents/testing"
    seen: list[Seen] = field(default_factory=list[Seen])
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    frames: int = 0
    """The number of frames that all askers together have received."""
    _enough: bool = False

    async def __aenter__(self) -> Askers:
        self._tasks = [asyncio.create_task(self._asker(), name=f"asker-{n}") for n in range(self.size)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._enough = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is None:
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    def check(self) -> None:
        """Raise the error of an asker that has failed, so that a campaign does not continue without this asker."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    @property
    def ended(self) -> int:
        """The number of questions whose turns have ended."""
        return sum(1 for one in self.seen if one.ended)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition while the askers continue; checks every 5 ms."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.check()
            assert time.monotonic() < deadline, f"it never came to pass: {what}"
            await asyncio.sleep(0.005)

    async def more(self, frames: int, unless: Callable[[], bool] = lambda: False) -> None:
        """Wait until `frames` more frames have arrived, or until `unless` returns true."""
        goal = self.frames + frames
        await self.until(lambda: self.frames >= goal or unless(), f"{frames} more frames")

    async def _asker(self) -> None:
        async with GrpcWay(self.target, self.caller.key, fresh=self.fresh) as grpc:
            way = grpc if self.way is None else self.way()
            while not self._enough:
                reader = Seen(asking(self.ask(self.dice), agent=self.agent))
                self.seen.append(reader)
                await follow(way, reader, until=self._until)

    def _until(self, reader: Seen) -> bool:
        self.frames += 1
        return reader.ended


async def ask_all(way: Callable[[], Way], questions: Sequence[str]) -> Sequence[Seen]:
    """Ask these questions at once and follow each to its end."""
    seen = [Seen(asking(text)) for text in questions]
    async with asyncio.TaskGroup() as group:
        for reader in seen:
            group.create_task(follow(way(), reader))
    return seen


async def open_ways(stack: AsyncExitStack, target: str, key: str, count: int) -> Sequence[GrpcWay]:
    """`count` channels."""
    return [await stack.enter_async_context(GrpcWay(target, key)) for _ in range(count)]


def until_all_ended(caller: Caller) -> None:
    """Wait until the database has no open turn of this caller."""
    eventually(
        lambda: caller.ledger.open_turns() == 0,
        lambda: f"the end of {caller.ledger.open_turns()} turns: {caller.ledger.check()[:5]}",
    )


def hold(caller: Caller, seen: Sequence[Seen], report: Report, *, script: bool = True) -> None:
    """Check the results of a campaign: the invariants of the database, and whether every reader received the same bytes as the log.

    script: whether all answers must match the scripts of their questions.
    """
    until_all_ended(caller)
    violations = [*caller.ledger.check(), *differences(caller.ledger, seen, script=script)]
    report.count("turns", len(caller.ledger.turns()))
    report.count("violations", len(violations))
    assert not violations, violations[:10]


def all_answered(seen: Sequence[Seen], logs: Path, but: str = "") -> None:
    """Check that every question was answered, or failed with the reason `but`. Otherwise print why not: the error of
    each other turn, its cuts, and what the servers' logs, in this folder, say of it."""
    others = [
        one
        for one in seen
        if one.outcome != "answer" and not (but and but.encode() in one.terminal.SerializeToString())
    ]
    told: list[str] = []
    for path in sorted(logs.glob("*.log*")) if others else ():
        told += path.read_text(errors="replace").splitlines()
    assert not others, "\n".join(
        f"{one.turn}: {one.terminal}\ncuts: {one.reasons}\n"
        + "\n".join(line for line in told if one.turn in line)
        for one in others
    )


def differences(ledger: Ledger, seen: Sequence[Seen], *, script: bool = True) -> Sequence[Violation]:
    """The differences between the readers' events, the log, and the expected text."""
    # The readers' events are copied before the log is read, because the readers continue. Events of the log that a
    # reader has not received yet do not count as a difference.
    ended = [(one, list(one.events), one.ended) for one in seen]
    turns = ledger.turns()
    violations: list[Violation] = []
    of_request: dict[str, set[str]] = {}
    for reader, events, whole in ended:
        if reader.doubled or reader.holes:
            violations.append(
                Violation("contiguous", reader.turn, f"{reader.doubled} doubled, {reader.holes} lost")
            )
        if not reader.turn:
            continue
        of_request.setdefault(reader.request.request_id, set()).add(reader.turn)
        identity = UUID(reader.turn.removeprefix("turns/"))
        deltas = reader.request.include_deltas
        if identity not in turns:
            violations.append(Violation("contiguous", reader.turn, "a turn was seen that is not there"))
            continue
        log = [event for event in turns[identity].events if event.seq > reader.began]
        try:
            wanted = [event for event in log if deltas or kind(event) != "delta"]
            same(events, wanted if whole else wanted[: len(events)])
            if reader.began == 0:
                read(events, all_events=deltas)
            if script and whole and reader.outcome == "answer":
                _as_asked(reader)
        except Differs as error:
            violations.append(Violation("contiguous", reader.turn, str(error)))
    for request, names in of_request.items():
        if len(names) > 1:
            violations.append(Violation("one_turn", "", f"the request_id {request} has {len(names)} turns"))
    return violations


def answer_to(text: str) -> str:
    """The testing agent's answer to this question."""
    return golden_text(parse(text))


def _as_asked(reader: Seen) -> None:
    wanted = answer_to(reader.request.text)
    if reader.text != wanted:
        raise Differs(
            f"the answer is {reader.text[:60]!r}… ({len(reader.text)}), the script says {wanted[:60]!r}… ({len(wanted)})"
        )
