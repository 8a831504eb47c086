"""Twelve nodes with fallback edges. One of them fails once. A run that is resumed at any node continues as if it had not
been interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

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
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Run
from responsa_server.agents.engine.state import GraphState, StateError, fallbacks_of, kept, restored
from responsa_server.domain.agents import Milestone
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Delta, FallbackKind
from tests.unit.graph.speaking import Turn

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
        self.policy = Policy(keep_after_seconds=-1.0)

    async def process(self, given: Path, run: Run) -> Path:
        if self.tells:
            run.emit(Delta("x", 0))
        if self.fails:
            self.fails -= 1
            raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": self.name})
        return Path(path=(*given.path, self.name))


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
    context = Run(given.who, given.emit, given.spend, begin_at=begin_at)
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
        name, state = restored(milestone, plan.keys)
        state["question"] = "?"
        # If the node failed before the milestone, it does not fail again. Otherwise it fails after the milestone.
        cast("Walks", plan.nodes[failing]).fails = 1
        rest = without_failure if fallbacks_of(cast("Any", state)) else graph
        again, _ = await walked(rest, state, name)
        assert {**again, "question": "?"} == {**end, "question": "?"}


async def test_text_that_was_told_is_never_gone_round() -> None:
    with pytest.raises(Unavailable, match="away"):
        await walked(Graph(twelve(NAMES[5], tells=True)))


def test_a_milestone_of_another_graph_is_refused() -> None:
    with pytest.raises(StateError, match="unknown keys: path"):
        restored(kept(NAMES[0], {"path": []}))


class Steps(NodeModel):
    steps: int = 0


class Cheats(Node[Path, Steps]):
    """A node that writes a field that only the engine may write."""

    name = "a"
    input_model = Path
    output_model = Steps

    async def process(self, given: Path, run: Run) -> Steps:
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
