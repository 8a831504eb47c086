"""From a plan of nodes and routes to a LangGraph graph, each node wrapped in what every node gets: announcement, validation, time limit, attempts, milestone.

A run can begin at any node, with the state that a milestone kept. So no LangGraph saver is needed: what it would write at every step goes, where it is worth
anything, with the events into the turn's own commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol, cast

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.ports.agents import Milestone
from responsa_server.domain.ports.tools import Effect
from responsa_server.domain.turns import Status
from responsa_server.graph.node import Run
from responsa_server.graph.registry import AnyNode
from responsa_server.graph.state import GraphState, StateError, kept, merged

BEGIN: Final = "begin"
FINISH: Final = "finish"

Graph = CompiledStateGraph[GraphState, Run, GraphState, GraphState]
Choice = Callable[[GraphState], str]


class PlanError(Exception):
    """A plan names a node that is not there, or leaves one without a way in or out; the message says which."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where to go from a node (or BEGIN): to one of `targets` (FINISH ends), as `choose` says; with one target there is no choice."""

    source: str
    targets: Sequence[str]
    choose: Choice | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph's nodes, by name, and its routes, one a node and one for BEGIN."""

    nodes: Mapping[str, AnyNode]
    routes: Sequence[Route]


def build(plan: Plan) -> Graph:
    """Compile a plan, once for all runs. Raises PlanError."""
    _check(plan)
    graph: StateGraph[GraphState, Run, GraphState, GraphState] = StateGraph(GraphState, context_schema=Run)
    ways_out = {route.source: route for route in plan.routes}
    for name, node in plan.nodes.items():
        graph.add_node(name, _wrapped(node, ways_out[name]))  # pyright: ignore[reportUnknownMemberType] - LangGraph's overloads
    for route in plan.routes:
        if route.source == BEGIN:
            graph.add_conditional_edges(START, _entry(route), _ends([*plan.nodes, FINISH]))
        elif route.choose is None:
            graph.add_edge(route.source, _target(route.targets[0]))
        else:
            graph.add_conditional_edges(route.source, route.choose, _ends(route.targets))
    return graph.compile()  # pyright: ignore[reportUnknownMemberType]


async def run(graph: Graph, state: GraphState, context: Run) -> Mapping[str, object]:
    """Run a graph to its end, from where the context says, and return the state it ends in. Raises what its nodes raise, StateError for an unknown beginning."""
    if context.begin_at == FINISH:
        return cast("Mapping[str, object]", state)
    if context.begin_at and context.begin_at not in graph.nodes:
        raise StateError(f"a milestone names the node {context.begin_at}, which this graph does not have")
    return cast("Mapping[str, object]", await graph.ainvoke(state, context=context))  # pyright: ignore[reportUnknownMemberType]


class _Entry(Protocol):
    """The choice of the first node as LangGraph calls it."""

    def __call__(self, state: GraphState, *, runtime: Runtime[Run]) -> str: ...


def _entry(route: Route) -> _Entry:
    def enter(state: GraphState, *, runtime: Runtime[Run]) -> str:
        return runtime.context.begin_at or _next(route, state)

    return enter


def _next(route: Route, state: GraphState) -> str:
    return route.targets[0] if route.choose is None else route.choose(state)


def _ends(names: Sequence[str]) -> dict[Any, str]:
    return {name: _target(name) for name in names}


def _target(name: str) -> str:
    return END if name == FINISH else name


def _check(plan: Plan) -> None:
    sources = [route.source for route in plan.routes]
    if sorted(sources) != sorted([BEGIN, *plan.nodes]):
        raise PlanError(
            f"every node and {BEGIN} need one route each; routes lead from {', '.join(sorted(sources))}"
        )
    reached = {target for route in plan.routes for target in route.targets}
    if unknown := reached - {FINISH, *plan.nodes}:
        raise PlanError(f"routes lead to unknown nodes: {', '.join(sorted(unknown))}")
    if lonely := set(plan.nodes) - reached:
        raise PlanError(f"no route leads to: {', '.join(sorted(lonely))}")
    for name, node in plan.nodes.items():
        if node.name != name:
            raise PlanError(f"the node {node.name} stands in the plan as {name}")
    for route in plan.routes:
        if not route.targets or (route.choose is None and len(route.targets) > 1):
            raise PlanError(
                f"the route from {route.source} has no targets, or several and no choice among them"
            )


class _Action(Protocol):
    """A node as LangGraph calls it."""

    def __call__(self, state: GraphState, *, runtime: Runtime[Run]) -> Awaitable[Any]: ...


def _wrapped(node: AnyNode, route: Route) -> _Action:
    always_kept = node.effect is not Effect.NONE or node.calls_model
    most_seconds = node.policy.keep_after_seconds

    async def work(state: GraphState, *, runtime: Runtime[Run]) -> Any:
        context = runtime.context
        if node.announcement is not None:
            context.emit(Status(node.announcement.step, node.announcement.message))
        given = node.validate_input(state)
        begun = monotonic()
        output = node.validate_output(await _attempts(node, given, context))
        if always_kept or monotonic() - begun > most_seconds:
            after = merged(state, output)
            context.emit(Milestone(kept(_next(route, cast("GraphState", after)), after)))
        return output

    return work


async def _attempts(node: AnyNode, given: Any, context: Run) -> Any:
    pause = node.policy.pause_seconds
    for attempt in range(1, node.policy.attempts + 1):
        try:
            return await _in_time(node, given, context)
        except Unavailable:
            if attempt == node.policy.attempts:
                raise
        await asyncio.sleep(pause)
        pause *= 2
    raise PlanError(f"the node {node.name} allows no attempt")


async def _in_time(node: AnyNode, given: Any, context: Run) -> Any:
    limit = asyncio.timeout(node.policy.timeout_seconds)
    try:
        async with limit:
            return await node.process(given, context)
    except TimeoutError as error:
        if not limit.expired():  # the node's own matter
            raise
        message = (
            f"The step “{node.name}” took longer than {node.policy.timeout_seconds:g} seconds; ask again."
        )
        raise Unavailable(Reason.PART_UNAVAILABLE, message, {"part": node.name}, retry_after=1.0) from error
