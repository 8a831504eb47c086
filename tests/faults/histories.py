"""Histories: random sequences of user actions and faults on turns, and a model of the conditions that every history must meet.

The same state machine runs in two deployments: with simulated processes within one process (simulated.py), and with real ones (cluster.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_server.domain.faults import Fault
from tests.faults.askers import differences
from tests.faults.invariants import Ledger
from tests.faults.placed import Act, Placed, passing
from tests.faults.readers import Refusal, Seen, Unserved, Way, asking, follow

SETTLING_SECONDS = 30.0
MOST_PROCESSES = 3
PLACES = tuple(Fault)


@dataclass
class Asked:
    """A question, and all readers that follow its turn."""

    request: chat.AskRequest
    readers: list[Seen] = field(default_factory=list[Seen])
    refusals: list[str] = field(default_factory=list[str])
    """The reasons with which readers were refused. A refused reader stops reading."""
    cancelled: bool = False
    """Whether a caller has cancelled the turn."""

    @property
    def turn(self) -> str:
        """The turn's name, `turns/{uuid}`, once any reader knows it."""
        return next((reader.turn for reader in self.readers if reader.turn), "")

    @property
    def conversation(self) -> str:
        """The conversation's name, `conversations/{uuid}`, once a reader has received the turn's first event."""
        for reader in self.readers:
            for event in reader.events[:1]:
                return event.started.conversation
        return self.request.conversation

    @property
    def ended(self) -> bool:
        """Whether any reader has received the end of the turn."""
        return any(reader.ended for reader in self.readers)


class Deployment(Protocol):
    """The processes of a history, and the ways in which callers reach the processes."""

    ledger: Ledger

    def way(self, place: int) -> Way:
        """The way to the serving process at this index, modulo the number of serving processes."""
        ...

    @property
    def alive(self) -> int:
        """The number of processes that are alive."""
        ...

    @property
    def struck(self) -> int:
        """The number of placed faults that have happened."""
        ...

    async def start(self) -> None:
        """Start another process."""
        ...

    async def kill(self, place: int) -> None: ...

    async def stop(self, place: int) -> None: ...

    async def go_on(self) -> None:
        """Continue all stopped processes."""
        ...

    async def drain(self, place: int) -> None: ...

    async def flush(self, how: int) -> None:
        """Disturb Redis."""
        ...

    async def soothe(self) -> None:
        """End all faults. After this, everything works."""
        ...

    async def cancel(self, place: int, turn: str) -> None:
        """Cancel a turn. Raises Cut, Refusal."""
        ...

    def place(self, place: int, fault: Placed) -> None:
        """Place a fault in a process, if that is possible while the process runs."""
        ...

    async def calls(self) -> dict[UUID, int]:
        """The number of tool calls of each turn."""
        ...

    async def close(self) -> None: ...


class Stage(Protocol):
    """Makes deployments."""

    loop: asyncio.AbstractEventLoop

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that belongs to the present deployment."""
        ...

    async def deployment(self, seed: int) -> Deployment: ...


class History(RuleBasedStateMachine):
    """One history. A subclass provides the deployment."""

    stage: ClassVar[Stage]
    counts: ClassVar[dict[str, int]] = {}
    """The number of each kind of event in all histories."""
    questions = Bundle("questions")

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.deployment: Deployment | None = None

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run an operation to its end, while all readers continue."""
        return self.stage.loop.run_until_complete(self.stage.begin(work))

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    @property
    def there(self) -> Deployment:
        assert self.deployment is not None
        return self.deployment

    @initialize(
        target=questions,
        seed=st.integers(0, 1 << 16),
        processes=st.integers(1, 2),
        tool=st.sampled_from(["none", "once", "idempotent"]),
        fault=st.sampled_from(PLACES),
        skip=st.integers(0, 3),
    )
    def begin(self, seed: int, processes: int, tool: str, fault: Fault, skip: int) -> Asked:
        """Start several processes, choose one that will die, and ask a question."""
        self.deployment = self.run(self.stage.deployment(seed))
        for _ in range(processes):
            self.run(self.there.start())
        self.count("histories")
        self.there.place(0, Placed(fault, Act.RAISE, skip=skip))
        question = self.ask(16, tool, 1, True, 0)
        self.pass_time(10)
        return question

    # The actions of people.

    @rule(
        target=questions,
        tokens=st.integers(1, 24),
        tool=st.sampled_from(["none", "none", "once", "idempotent"]),
        opening=st.integers(0, 3),
        deltas=st.booleans(),
        place=st.integers(0, 2),
    )
    def ask_something(self, tokens: int, tool: str, opening: int, deltas: bool, place: int) -> Asked:
        return self.ask(tokens, tool, opening, deltas, place)

    def ask(self, tokens: int, tool: str, opening: int, deltas: bool, place: int) -> Asked:
        self.count("ask")
        text = f"tokens={tokens} pace_ms=0 tool={tool} opening={opening} seed={len(self.asked)}"
        return self.begin_asking(asking(text, deltas=deltas), place)

    @rule(target=questions, other=questions, on_busy=st.sampled_from([1, 2, 3]), place=st.integers(0, 2))
    def ask_in_the_same_conversation(self, other: Asked, on_busy: int, place: int) -> Asked:
        self.count("ask in the same conversation")
        request = asking(f"tokens=4 pace_ms=0 seed={len(self.asked)}")
        request.conversation = other.conversation
        request.options.on_busy = on_busy
        return self.begin_asking(request, place)

    @rule(question=questions, place=st.integers(0, 2))
    def press_send_again(self, question: Asked, place: int) -> None:
        self.count("ask again")
        self.read(question, Seen(question.request), place)

    @rule(question=questions, share=st.floats(0, 1), deltas=st.booleans(), place=st.integers(0, 2))
    def resume(self, question: Asked, share: float, deltas: bool, place: int) -> None:
        if not question.turn:
            return
        self.count("resume")
        request = chat.AskRequest()
        request.CopyFrom(question.request)
        request.include_deltas = deltas
        seen = max((reader.through for reader in question.readers), default=0)
        # After the last event, no further event may arrive.
        through = int(share * (seen - 1 if question.ended else seen))
        self.read(question, Seen(request, turn=question.turn, through=through, began=through), place)

    @rule(question=questions, place=st.integers(0, 2))
    def cancel(self, question: Asked, place: int) -> None:
        if not question.turn:
            return
        self.count("cancel")
        question.cancelled = True
        self.tasks.append(self.stage.begin(self.cancelling(question.turn, place)))
        self.pass_time(1)

    async def cancelling(self, turn: str, place: int) -> None:
        # If the connection of a cancel is cut, the cancel may or may not have had an effect.
        await asyncio.gather(self.there.cancel(place, turn), return_exceptions=True)

    # The faults.

    @rule(steps=st.integers(1, 30))
    def pass_time(self, steps: int) -> None:
        self.run(passing(steps / 1000))

    @rule(place=st.integers(0, 2))
    def kill(self, place: int) -> None:
        self.count("kill")
        self.run(self.there.kill(place))

    @rule(
        what=st.sampled_from(["fault", "fault", "stop", "drain"]),
        place=st.integers(0, 2),
        fault=st.sampled_from(PLACES),
        skip=st.integers(0, 3),
    )
    def strike(self, what: str, place: int, fault: Fault, skip: int) -> None:
        self.count(what)
        match what:
            case "stop":
                self.run(self.there.stop(place))
            case "drain":
                self.run(self.there.drain(place))
            case _:
                self.there.place(place, Placed(fault, Act.RAISE, skip=skip))
                self.pass_time(5)

    @rule(what=st.sampled_from(["start", "start", "go on", "flush"]), how=st.integers(0, 2))
    def turn_about(self, what: str, how: int) -> None:
        if what == "start" and self.there.alive >= MOST_PROCESSES:
            return
        self.count(what)
        match what:
            case "start":
                self.run(self.there.start())
            case "flush":
                self.run(self.there.flush(how))
            case _:
                self.run(self.there.go_on())

    # The state machine itself.

    def begin_asking(self, request: chat.AskRequest, place: int) -> Asked:
        question = Asked(request)
        self.asked.append(question)
        self.read(question, Seen(request), place)
        return question

    def read(self, question: Asked, seen: Seen, place: int) -> None:
        question.readers.append(seen)
        self.tasks.append(self.stage.begin(self.reading(question, seen, place)))
        self.pass_time(1)

    async def reading(self, question: Asked, seen: Seen, place: int) -> None:
        try:
            await follow(self.there.way(place), seen)
        except Unserved as error:
            if not isinstance(error.__cause__, Refusal):
                raise
            question.refusals.append(error.__cause__.reason)
            question.readers.remove(seen)

    def teardown(self) -> None:
        """Let all turns end, and compare them with the model."""
        if self.deployment is None:
            return
        try:
            self.run(self.settle())
            self.run(self.judge())
        finally:
            self.run(self.there.close())

    async def settle(self) -> None:
        await self.there.soothe()
        if self.there.alive == 0:
            await self.there.start()
        async with asyncio.timeout(SETTLING_SECONDS):
            await asyncio.gather(*self.tasks)
            while self.there.ledger.open_turns():  # noqa: ASYNC110  the database does not report changes by itself
                await asyncio.sleep(0.01)

    async def judge(self) -> None:
        self.counts["faults that struck"] = self.counts.get("faults that struck", 0) + self.there.struck
        violations = [*self.there.ledger.check()]
        readers: Sequence[Seen] = [reader for question in self.asked for reader in question.readers]
        violations.extend(differences(self.there.ledger, readers))
        assert not violations, violations[:5]
        calls = await self.there.calls()
        for question in self.asked:
            # A question whose connection is lost is sent again, so it may arrive after any other question of
            # its conversation. Therefore all these questions are rivals.
            rivals = [
                one
                for one in self.asked
                if one is not question and question.conversation and one.conversation == question.conversation
            ]
            interrupted = any(rival.request.options.on_busy == chat.ON_BUSY_INTERRUPT for rival in rivals)
            if question.refusals:
                assert {*question.refusals} == {"CONVERSATION_BUSY"}, question.refusals
                assert rivals, "a question was refused although its conversation was free"
            if not question.readers:
                self.count("refused")
                continue
            assert len({reader.turn for reader in question.readers}) == 1
            outcomes = {reader.outcome for reader in question.readers}
            assert len(outcomes) == 1, outcomes
            (outcome,) = outcomes
            may_be_cancelled = question.cancelled or interrupted
            assert outcome == "answer" or (outcome == "cancelled" and may_be_cancelled), outcome
            made = calls.get(UUID(question.turn.removeprefix("turns/")), 0)
            if "tool=once" in question.request.text:
                assert made <= 1, f"{question.turn} called its tool {made} times"
            self.count(outcome)
