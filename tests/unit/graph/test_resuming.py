"""Milestones: when they are emitted, what they contain, and how a run continues from them."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import pytest

from bench.agents import OPTIONS, GraphAgent
from responsa_server.agents.engine.agent import PlannedAgent
from responsa_server.agents.engine.graph import BEGIN, FINISH, Graph, Plan, Route
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Run
from responsa_server.agents.engine.state import GraphState, StateError, kept, restored
from responsa_server.domain.agents import AnswerTask, Milestone
from responsa_server.domain.events import Answered
from responsa_server.domain.tools import Effect
from tests.unit.graph.evidence import Shelf, excerpt, task
from tests.unit.graph.speaking import Turn, told_by


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
        keep_after: float = 1000.0,
    ) -> None:
        self.name = name
        self.effect = effect
        self.calls_model = calls_model
        self.policy = Policy(keep_after_seconds=keep_after)

    async def process(self, given: Text, run: Run) -> Text:
        return Text(text=given.text + self.name)


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
            Adds("f", keep_after=-1.0),
        )
    )
    found = [restored(milestone) for milestone in await milestones_of(graph)]
    assert found == [
        ("c", {"text": "ab"}),
        ("d", {"text": "abc"}),
        ("e", {"text": "abcd"}),
        (FINISH, {"text": "abcdef"}),
    ]


async def test_a_run_goes_on_at_any_node() -> None:
    graph = Graph(chain(*(Adds(name, calls_model=True) for name in "abc")))
    turn = Turn()
    whole = await graph.run(GraphState(question="?"), turn.run)
    assert whole["text"] == "abc"
    for milestone in await milestones_of(graph):
        name, state = restored(milestone)
        state["question"] = "?"
        again = Turn()
        context = Run(again.run.who, again.events.append, again.meter.add, begin_at=name)
        assert await graph.run(state, context) == whole
        assert again.events == turn.events[len(turn.events) - len(again.events) :]


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
    assert [restored(milestone)[0] for milestone in await milestones_of(graph)] == ["b"]
    assert [restored(milestone)[0] for milestone in await milestones_of(graph, GraphState(text="x"))] == ["c"]


async def test_an_unknown_node_is_said_so_and_nothing_is_run() -> None:
    graph = Graph(chain(Adds("a")))
    turn = Turn()
    with pytest.raises(StateError, match="the node gone"):
        await graph.run(GraphState(), Run(turn.run.who, turn.events.append, turn.meter.add, begin_at="gone"))


async def test_the_default_agent_tells_no_milestone_when_it_is_fast_and_goes_on_from_any() -> None:
    shelf = Shelf(excerpt("Yes, it is so."))
    asked = task("Is it really so at all?", collections=("a",))
    agent = GraphAgent(shelf)
    events = await told_by(agent, asked)
    assert not any(isinstance(event, Milestone) for event in events)
    # A run from the state before the node `rank` gives the same answer.
    turn = Turn()
    state = GraphState(
        evidence={
            "passages": 1,
            "embedding_tokens": 7,
            "content": {"places": [1, 2.5, None], "by": {"term": "river"}},
        }
    )
    resumed = AnswerTask(asked.turn_id, asked.who, asked.question, (), turn.meter, kept("rank", dict(state)))
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


async def test_a_milestone_at_the_end_is_the_end() -> None:
    agent = PlannedAgent(chain(Adds("a")), OPTIONS)
    whole = task("?")
    resumed = AnswerTask(
        whole.turn_id,
        whole.who,
        whole.question,
        (),
        resume=kept(FINISH, {"text": "Half.", "complete": False}),
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
    assert restored(kept("b", state)) == ("b", PLAIN)


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
        kept("b", {"evidence": {"deep": [value]}})


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", r"format \(none\)"),
        (b"\x02" + kept("b", PLAIN)[1:], "format 02"),
        (kept("b", PLAIN)[:-1], "not valid msgpack"),
        (b"\x01\xc0", "does not consist of a node and a state"),
        (kept("b", {"other": 1}), "unknown keys: other"),
    ],
)
def test_bytes_that_are_no_state_of_this_format_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(StateError, match=complaint):
        restored(data)


async def test_a_run_whose_first_node_is_chosen_begins_where_it_says_all_the_same() -> None:
    plan = Plan(
        {"a": Adds("a"), "b": Adds("b")},
        [Route(BEGIN, ("a", "b"), lambda _: "a"), Route("a", ("b",)), Route("b", (FINISH,))],
    )
    graph = Graph(plan)
    turn = Turn()
    context = Run(turn.run.who, turn.events.append, turn.meter.add, begin_at="b")
    assert (await graph.run(GraphState(text="x"), context))["text"] == "xb"
    assert (await graph.run(GraphState(text="x"), turn.run))["text"] == "xab"


async def test_what_a_run_was_given_stays_as_it_was() -> None:
    given = GraphState(question="?", text="x")
    end = await Graph(chain(Adds("a"))).run(given, Turn().run)
    assert (given, end["text"]) == ({"question": "?", "text": "x"}, "xa")
