"""Milestones: when they are emitted, what they contain, and how a run continues from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

import pytest

from bench.agents import OPTIONS, GraphAgent
from responsa_server.agents.engine.agent import PlannedAgent
from responsa_server.agents.engine.graph import (
    BEGIN,
    FINISH,
    Detour,
    Graph,
    Plan,
    PlanError,
    Route,
    visit,
)
from responsa_server.agents.engine.node import Node, NodeModel, Run
from responsa_server.agents.engine.state import (
    GraphState,
    StateError,
    fallbacks_of,
    plain_fallback,
    restore,
    to_milestone,
)
from responsa_server.domain.agents import AnswerTask, Milestone, Withdrawal
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Answered, Delta, Fallback, FallbackKind, ModelUsed, Usage
from responsa_server.domain.tools import Effect
from tests.unit.agents.evidence import FixedEvidence, excerpt, task
from tests.unit.agents.speaking import Turn, told_by


class Text(NodeModel):
    text: str = ""


class Adds(Node[Text, Text]):
    """A node that adds its name to the text."""

    input_model = Text
    output_model = Text

    def __init__(
        self,
        name: str,
        *,
        effect: Effect = Effect.NONE,
        calls_model: bool = False,
    ) -> None:
        self.name = name
        self.effect = effect
        self.calls_model = calls_model

    async def process(self, inputs: Text, run: Run) -> Text:
        if self.calls_model:
            run.emit(ModelUsed("m", Usage(output_tokens=1)))
        return Text(text=inputs.text + self.name)


def chain(*nodes: Adds) -> Plan:
    names = [node.name for node in nodes]
    routes = [
        Route(before, (after,)) for before, after in zip([BEGIN, *names], [*names, FINISH], strict=True)
    ]
    return Plan({node.name: node for node in nodes}, routes)


async def milestones_of(graph: Graph, state: GraphState | None = None) -> list[bytes]:
    turn = Turn()
    await graph.run(state or GraphState(question="?"), turn.run)
    return [event.state for event in turn.events if isinstance(event, Milestone)]


async def test_only_a_node_that_must_not_be_done_again_is_followed_by_a_milestone() -> None:
    graph = Graph(
        chain(
            Adds("a"),
            Adds("b", effect=Effect.ONCE),
            Adds("c", effect=Effect.IDEMPOTENT),
            Adds("d", calls_model=True),
            Adds("e"),
        )
    )
    found = [restore(milestone) for milestone in await milestones_of(graph)]
    assert found == [
        ("c", {"text": "ab"}),
        ("d", {"text": "abc"}),
        ("e", {"text": "abcd"}),
    ]


async def test_a_milestone_keeps_the_choice_that_was_made() -> None:
    plan = Plan(
        {"a": Adds("a", calls_model=True), "b": Adds("b"), "c": Adds("c")},
        [
            Route(BEGIN, ("a",)),
            Route("a", ("b", "c"), lambda state: "c" if state.get("text", "").startswith("x") else "b"),
            Route("b", (FINISH,)),
            Route("c", (FINISH,)),
        ],
    )
    graph = Graph(plan)
    assert [restore(milestone)[0] for milestone in await milestones_of(graph)] == ["b"]
    assert [restore(milestone)[0] for milestone in await milestones_of(graph, GraphState(text="x"))] == ["c"]


async def test_an_unknown_node_is_said_so_and_nothing_is_run() -> None:
    graph = Graph(chain(Adds("a")))
    turn = Turn()
    with pytest.raises(StateError, match="the node gone"):
        await graph.run(
            GraphState(), Run(turn.run.caller, turn.events.append, turn.meter.add, begin_at="gone")
        )


async def test_the_default_agent_tells_no_milestone_when_it_is_fast_and_goes_on_from_any() -> None:
    fixed = FixedEvidence(excerpt("Yes, it is so."))
    answer_task = task("Is it really so at all?", collections=("a",))
    agent = GraphAgent(fixed)
    events = await told_by(agent, answer_task)
    assert not any(isinstance(event, Milestone) for event in events)
    # A run from the state before the node `rank` gives the same answer.
    turn = Turn()
    resumed = replace(
        answer_task, meter=turn.meter, resume=to_milestone("rank", {"evidence": fixed.contents})
    )
    again = await told_by(agent, resumed)
    assert again[:-1] == events[1:-1]
    first, second = events[-1], again[-1]
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    assert (first.text, first.citations, first.support) == (second.text, second.citations, second.support)
    assert (first.usage.embedding_tokens, second.usage.embedding_tokens) == (
        7,
        0,
    )  # the second attempt searched nothing


async def test_where_a_passage_is_gone_the_run_begins_again() -> None:
    fixed = FixedEvidence(excerpt("Yes, it is so."), lost=True)
    agent = GraphAgent(fixed)
    state = {
        "standalone_question": "Is it so?",
        "evidence": fixed.contents,
        "text": "No",
        "bytes_sent": 2,
        "steps": 5,
        "visits": {"a b": 1},
    }
    answer_task = task("Is it really so at all?", collections=("a",))
    whole = await told_by(agent, answer_task)
    resumed = replace(answer_task, meter=Turn().meter, resume=to_milestone("passages", state))
    withdrawn, milestone, *events, end = await told_by(agent, resumed)
    assert (withdrawn, events) == (Withdrawal(""), whole[:-1])
    assert isinstance(milestone, Milestone)
    begin_at, kept = restore(milestone.state)
    assert (begin_at, set(kept)) == ("", {"fallbacks"})
    gone = Fallback(FallbackKind.SEARCHED_AGAIN, "milestone", "", "part_unavailable:passages")
    assert isinstance(end, Answered)
    assert [end.fallbacks[0]] == [gone] == fallbacks_of(cast("Any", kept))


async def test_a_milestone_at_the_end_is_the_end() -> None:
    agent = PlannedAgent(chain(Adds("a")), OPTIONS)
    whole = task("?")
    resumed = AnswerTask(
        whole.turn_id,
        whole.caller,
        whole.question,
        (),
        resume=to_milestone(FINISH, {"text": "Half.", "complete": False}),
    )
    (end,) = await told_by(agent, resumed)
    assert isinstance(end, Answered)
    assert (end.text, end.outcome.value, end.passages_used, list(end.citations)) == (
        "Half.",
        "output_limit",
        0,
        [],
    )


class Colour(StrEnum):
    RED = "red"


class Sub(str):
    __slots__ = ()


PLAIN = {
    "text": "ü",
    "complete": True,
    "calls": [],
    "results": [{"a": [1, 2.5, None, "x"], "b": {"c": False}}],
}


def test_a_state_comes_back_as_it_was_without_what_the_task_gives() -> None:
    state = {**PLAIN, "question": "?", "collections": ["a"], "history": [{"x": 1}]}
    assert restore(to_milestone("b", state)) == ("b", PLAIN)


def test_fallbacks_come_back_in_order_each_once() -> None:
    rule, other = (Fallback(kind, "a", "b", "why") for kind in (FallbackKind.RULE, FallbackKind.PROVIDER))
    kept = {"fallbacks": [plain_fallback(fell) for fell in (other, rule, other)]}
    assert fallbacks_of(cast("Any", restore(to_milestone("a", kept))[1])) == [other, rule]


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1: 2},
        {1, 2},
        Colour.RED,
        Sub("x"),
        UUID(int=1),
        datetime.now(UTC),
        Text(),
        2**70,
        object(),
        "\ud800",
    ],
)
def test_what_is_not_plain_is_refused_when_it_is_kept(value: object) -> None:
    with pytest.raises(StateError, match="before the node b"):
        to_milestone("b", {"evidence": {"deep": [value]}})


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", r"format \(none\)"),
        (b"\x02" + to_milestone("b", PLAIN)[1:], "format 02"),
        (to_milestone("b", PLAIN)[:-1], "not valid msgpack"),
        (b"\x01\xc0", "does not consist of a node and a state"),
        (to_milestone("b", {"other": 1}), "unknown keys: other"),
    ],
)
def test_bytes_that_are_no_state_of_this_format_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(StateError, match=complaint):
        restore(data)


async def test_a_run_whose_first_node_is_chosen_begins_where_it_says_all_the_same() -> None:
    plan = Plan(
        {"a": Adds("a"), "b": Adds("b")},
        [Route(BEGIN, ("a", "b"), lambda _: "a"), Route("a", ("b",)), Route("b", (FINISH,))],
    )
    graph = Graph(plan)
    turn = Turn()
    context = Run(turn.run.caller, turn.events.append, turn.meter.add, begin_at="b")
    assert (await graph.run(GraphState(text="x"), context))["text"] == "xb"
    assert (await graph.run(GraphState(text="x"), turn.run))["text"] == "xab"


async def test_what_a_run_was_given_stays_as_it_was() -> None:
    given = GraphState(question="?", text="x")
    end = await Graph(chain(Adds("a"))).run(given, Turn().run)
    assert (given, end["text"]) == ({"question": "?", "text": "x"}, "xa")


# Twelve nodes with fallback edges. One of them fails once. A run that is resumed at any node continues as if it had not been interrupted.

NAMES = [f"n{number:02}" for number in range(12)]


class Path(NodeModel):
    path: tuple[str, ...] = ()


class Walks(Node[Path, Path]):
    """A node that adds its name to the path. It is unavailable a given number of times."""

    input_model = Path
    output_model = Path

    def __init__(self, name: str, fails: int = 0, *, tells: bool = False) -> None:
        self.name = name
        self.fails = fails
        self.tells = tells
        # A milestone follows each of these nodes.
        self.effect = Effect.IDEMPOTENT

    async def process(self, inputs: Path, run: Run) -> Path:
        if self.tells:
            run.emit(Delta("x", 0))
        if self.fails:
            self.fails -= 1
            raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": self.name})
        return Path(path=(*inputs.path, self.name))


def twelve(failing: str = "", *, tells: bool = False) -> Plan:
    """A chain of twelve nodes. If a node is unavailable, an edge leads past the next node to the one after it. A limited edge
    leads once from the seventh node back to the fourth.
    """
    nodes = {name: Walks(name, int(name == failing), tells=tells) for name in NAMES}
    routes = [Route(BEGIN, (NAMES[0],))]
    detours = dict[str, Detour]()
    for place, name in enumerate(NAMES):
        after = NAMES[place + 1] if place < 11 else FINISH
        round_ = NAMES[place + 2] if place < 10 else FINISH
        detours[name] = Detour(FallbackKind.WITHOUT_RETRIEVAL, (round_,), _to(round_))
        if place == 6:
            routes.append(Route(name, (NAMES[3], after), _back, {NAMES[3]: 1}))
        else:
            routes.append(Route(name, (after,)))
    return Plan(nodes, routes, detours, steps=100)


def _to(target: str) -> Callable[[GraphState], str]:
    return lambda _: target


def _back(state: GraphState) -> str:
    return NAMES[3] if state.get("visits", {}).get(visit(NAMES[6], NAMES[3]), 0) < 1 else NAMES[7]


async def walked(
    graph: Graph, state: GraphState | None = None, begin_at: str = ""
) -> tuple[Mapping[str, object], list[bytes]]:
    turn = Turn()
    given = turn.run
    context = Run(given.caller, given.emit, given.spend, begin_at=begin_at)
    end = await graph.run(state or GraphState(question="?"), context)
    return end, [event.state for event in turn.events if isinstance(event, Milestone)]


async def test_without_a_failure_the_limited_edge_is_taken_once() -> None:
    end, milestones = await walked(Graph(twelve()))
    assert end["path"] == [*NAMES[:7], *NAMES[3:]]
    assert end["steps"] == 16 == len(milestones)
    assert fallbacks_of(end) == []


@pytest.mark.parametrize("failing", NAMES)
async def test_a_node_that_fails_is_gone_round_and_the_run_goes_on_from_every_milestone(failing: str) -> None:
    plan = twelve(failing)
    graph, without_failure = Graph(plan), Graph(twelve())
    end, milestones = await walked(graph)
    (fallback,) = fallbacks_of(end)
    place = NAMES.index(failing)
    assert (fallback.source, fallback.target) == (failing, NAMES[place + 2] if place < 10 else FINISH)
    assert fallback.cause == f"part_unavailable:{failing}"
    path = cast("list[str]", end["path"])
    # The limited edge makes some nodes run twice. Such a node fails only the first time.
    assert path.count(failing) == (1 if 3 <= place <= 4 else 0)
    for milestone in milestones:
        name, state = restore(milestone, plan.keys)
        state["question"] = "?"
        # If the node failed before the milestone, it does not fail again. Otherwise it fails after the milestone.
        cast("Walks", plan.nodes[failing]).fails = 1
        rest = without_failure if fallbacks_of(cast("Any", state)) else graph
        again, _ = await walked(rest, state, name)
        assert {**again, "question": "?"} == {**end, "question": "?"}


async def test_text_that_was_told_is_never_gone_round() -> None:
    with pytest.raises(Unavailable, match="away"):
        await walked(Graph(twelve(NAMES[5], tells=True)))


class Steps(NodeModel):
    steps: int = 0


class Cheats(Node[Path, Steps]):
    """A node that writes a field that only the engine may write."""

    name = "a"
    input_model = Path
    output_model = Steps

    async def process(self, inputs: Path, run: Run) -> Steps:
        return Steps()


def test_a_node_that_writes_the_builders_own_keys_is_refused() -> None:
    with pytest.raises(PlanError, match="only the engine may write: steps"):
        Graph(Plan({"a": Cheats()}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]))


def test_a_detour_must_lead_somewhere() -> None:
    routes = [Route(BEGIN, ("a",)), Route("a", (FINISH,))]
    detour = Detour(FallbackKind.RULE, ("gone",), lambda _: "gone")
    with pytest.raises(PlanError, match="nodes that do not exist: gone"):
        Graph(Plan({"a": Walks("a")}, routes, {"a": detour}))
    with pytest.raises(PlanError, match="detours start at nodes that do not exist: b"):
        Graph(Plan({"a": Walks("a")}, routes, {"b": detour}))
