"""Makes a LangGraph graph from a configuration: the plan of nodes and routes, and the engine's work around every node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final, cast

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from responsa_server.agents.engine.config import BEGIN, FINISH, AgentConfig, EdgeTable, NodeTable, traits
from responsa_server.agents.engine.declining import DECLINED, UNCITED
from responsa_server.agents.engine.edges import Test, compile_condition, possible_edges, reachable
from responsa_server.agents.engine.kinds import NodeKind, NodeParts
from responsa_server.agents.engine.node import Announcement, AnyNode, OverBudget, Progress, Run
from responsa_server.agents.engine.prompts import PromptSet
from responsa_server.agents.engine.state import (
    ENGINE_KEYS,
    KNOWN_KEYS,
    GraphState,
    StateError,
    plain_fallback,
    to_milestone,
)
from responsa_server.domain.agents import Milestone, Withdrawal
from responsa_server.domain.answers import EvidenceSource
from responsa_server.domain.errors import Reason, TooSlow, Unavailable
from responsa_server.domain.events import Delta, Fallback, FallbackKind, ModelUsed, Status
from responsa_server.domain.formatting import in_seconds
from responsa_server.domain.tools import Effect
from responsa_server.telemetry import instruments
from responsa_server.telemetry.stages import stage

_MOST_STEPS: Final = 10_000
_MODEL: Final = "model"
"""The source of a fallback from a model to passages."""

_WALK: Final = "walk"

# LangGraph gets the state as a single dict. This cast is needed, because LangGraph's type hints do not allow a dict.
_STATE: Final = cast("type[GraphState]", dict)
Choice = Callable[[GraphState], str]


class PlanError(Exception):
    """A plan names an unknown node, or lacks an edge to or from one of its nodes. The message names the node."""


@dataclass(frozen=True, slots=True)
class Route:
    """The nodes that may follow a node or BEGIN. FINISH among the targets ends the turn.

    choose: returns one of the targets; None to always take the single target. limits: for each limited target, how often a
    turn may take the edge to this target; `choose` compares the limits with `visits` in the state.
    """

    source: str
    targets: Sequence[str]
    choose: Choice | None = None
    limits: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Detour:
    """The nodes that may follow a node that failed before it sent text: it was unavailable in all attempts, or the budget is spent.

    choose: returns one of the targets, or None if no edge matches the state; without a target, the node's error ends the turn.
    kind: the kind of fallback that the detour reports. kinds: for some targets, the kind that replaces `kind`; None to report nothing.
    """

    kind: FallbackKind
    targets: Sequence[str]
    choose: Callable[[GraphState], str | None]
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    kinds: Mapping[str, FallbackKind | None] = field(default_factory=dict[str, "FallbackKind | None"])


@dataclass(frozen=True, slots=True)
class Plan:
    """The nodes of a graph by name, and a route for BEGIN and for each node.

    detours: the detours, by the name of the failed node. steps: the maximum number of nodes that a turn may run; 0 for
    no limit. source: makes the excerpts that a turn shows at its end.
    """

    nodes: Mapping[str, AnyNode]
    routes: Sequence[Route]
    detours: Mapping[str, Detour] = field(default_factory=dict[str, Detour])
    steps: int = 0
    source: EvidenceSource | None = None

    @property
    def keys(self) -> frozenset[str]:
        """The keys of the state: those of every graph, and those that this graph's nodes read and write."""
        return KNOWN_KEYS | {key for node in self.nodes.values() for key in (*inputs(node), *outputs(node))}


def inputs(node: AnyNode) -> Sequence[str]:
    """The keys of the state that a node reads."""
    return [node.reads.get(name, name) for name in node.input_model.model_fields]


def outputs(node: AnyNode) -> Sequence[str]:
    """The keys of the state that a node writes."""
    return [node.writes.get(name, name) for name in node.output_model.model_fields]


def visit(source: str, target: str) -> str:
    """The name of an edge in the state's `visits`."""
    return f"{source}>{target}"


class _RunWatch:
    """Forwards the events of a run, and records the last piece of the answer's text that the current node has sent, and
    whether the node has asked a model."""

    __slots__ = ("_emit", "_kept", "_last", "_start", "asked_model")

    def __init__(self, emit: Callable[[Progress], None]) -> None:
        self._emit = emit
        self.begin()

    def begin(self) -> None:
        self._last: Delta | None = None
        self.asked_model = False
        # Where the node's text begins, and where it ends after a withdrawal that no delta has followed.
        self._start: int | None = None
        self._kept = 0

    @property
    def text(self) -> bool:
        return self._last is not None or (self._start is not None and self._kept > self._start)

    @property
    def end(self) -> int:
        """The byte offset in the answer at which the node's text ends; 0 if the node has sent no text."""
        if self._last is None:
            return self._kept if self.text else 0
        return self._last.byte_offset + len(self._last.text.encode())

    def __call__(self, event: Progress) -> None:
        if isinstance(event, Delta):
            self._last = event
            if self._start is None:
                self._start = event.byte_offset
        elif isinstance(event, Withdrawal):
            self._last, self._kept = None, len(event.text.encode())
        elif isinstance(event, ModelUsed):
            self.asked_model = True
        self._emit(event)


@dataclass(slots=True)
class _Walk:
    """The context of one run for LangGraph. run: the run, which sends its events through `watch`. next: the node that
    follows those so far."""

    run: Run
    watch: _RunWatch
    next: str


_Compiled = CompiledStateGraph[GraphState, _Walk, GraphState, GraphState]
_Action = Callable[[GraphState, Run, _RunWatch], Awaitable[GraphState]]


class Graph:
    """A plan, compiled once for all runs. Raises PlanError.

    For LangGraph, the state is a single value. If each key had its own LangGraph channel, LangGraph would split and
    join the state around every node and edge. A step of LangGraph costs as much as many a node, so it runs nodes until
    one comes a second time.
    """

    def __init__(self, plan: Plan) -> None:
        verify(plan)
        self._plan = plan
        self._routes = {route.source: route for route in plan.routes}
        self._actions = {name: _wrap(plan, node, self._routes[name]) for name, node in plan.nodes.items()}
        self._graph = self._compile()

    async def run(self, state: GraphState, context: Run) -> Mapping[str, object]:
        """Run the graph from `context.begin_at` to its end, and return the last state.

        Raises the errors of its nodes, and StateError if the graph lacks the node `begin_at`.
        """
        begin = context.begin_at or _next(self._routes[BEGIN], state)
        if begin == FINISH:
            return cast("Mapping[str, object]", state)
        if begin not in self._plan.nodes:
            raise StateError(f"a milestone names the node {begin}, which this graph does not have")
        watch = _RunWatch(context.emit)
        walk = _Walk(replace(context, emit=watch), watch, begin)
        return cast("Mapping[str, object]", await self._graph.ainvoke(state, context=walk))  # pyright: ignore[reportUnknownMemberType]

    def _compile(self) -> _Compiled:
        async def walk_on(state: Any, *, runtime: Runtime[_Walk]) -> Any:
            walk, done = runtime.context, set[str]()
            while walk.next != FINISH and walk.next not in done:
                done.add(walk.next)
                state = await self._actions[walk.next](state, walk.run, walk.watch)
                walk.next = _next(self._routes[walk.next], state)
            return state if walk.next == FINISH else Command(update={"__root__": state}, goto=_WALK)

        graph: StateGraph[GraphState, _Walk, GraphState, GraphState] = StateGraph(
            _STATE, context_schema=_Walk
        )
        # LangGraph's overloads do not know such a node.
        graph.add_node(  # pyright: ignore[reportUnknownMemberType, reportCallIssue]
            _WALK,
            walk_on,  # pyright: ignore[reportArgumentType]
            input_schema=_STATE,
            destinations=(_WALK,),
        )
        graph.add_edge(START, _WALK)
        compiled = graph.compile()  # pyright: ignore[reportUnknownMemberType]
        # The code around each node counts the steps and reports the limit. LangGraph's limit is a second guard.
        limit = self._plan.steps + 2 if self._plan.steps else _MOST_STEPS
        return compiled.with_config({"recursion_limit": limit})


def _next(route: Route, state: GraphState) -> str:
    if diverted := state.get("diverted"):
        return diverted
    return route.targets[0] if route.choose is None else route.choose(state)


def verify(plan: Plan) -> None:
    """Check a plan. Raises PlanError."""
    sources = [route.source for route in plan.routes]
    if sorted(sources) != sorted([BEGIN, *plan.nodes]):
        raise PlanError(
            f"every node and {BEGIN} need one route each; routes lead from {', '.join(sorted(sources))}"
        )
    if strange := set(plan.detours) - set(plan.nodes):
        raise PlanError(f"detours start at nodes that do not exist: {', '.join(sorted(strange))}")
    ways: list[Route | Detour] = [*plan.routes, *plan.detours.values()]
    reached = {target for way in ways for target in way.targets}
    if unknown := reached - {FINISH, *plan.nodes}:
        raise PlanError(f"routes lead to nodes that do not exist: {', '.join(sorted(unknown))}")
    if lonely := set(plan.nodes) - reached:
        raise PlanError(f"no route leads to: {', '.join(sorted(lonely))}")
    for name, node in plan.nodes.items():
        if node.name != name:
            raise PlanError(f"the node {node.name} is in the plan as {name}")
        if taken := ENGINE_KEYS.intersection(outputs(node)):
            raise PlanError(
                f"the node {name} writes fields that only the engine may write: {', '.join(sorted(taken))}"
            )
    for route in plan.routes:
        if not route.targets or (route.choose is None and len(route.targets) > 1):
            raise PlanError(
                f"the route from {route.source} has no targets, or has several targets but no `choose`"
            )


def _wrap(plan: Plan, node: AnyNode, route: Route) -> _Action:
    name = node.name
    detour = plan.detours.get(name)
    writes = frozenset(outputs(node))

    async def step(state: GraphState, context: Run, watch: _RunWatch) -> Any:
        with stage(f"node {name}") as recorded:
            after = await run_node(state, context, watch)
            if diverted := after.get("diverted"):
                recorded.add(diverted=diverted)
            return after

    async def run_node(state: GraphState, context: Run, watch: _RunWatch) -> Any:
        watch.begin()
        steps = _count_step(plan, state)
        begun = monotonic()
        diverted = ""
        try:
            if node.calls_model and not node.has_rule and (limit := context.limits.forbids(context.spent())):
                raise OverBudget(limit)
            if node.announcement is not None:
                context.emit(Status(node.announcement.step, node.announcement.message))
            node_input = node.validate_input(state)
            if node.begins_attempts:
                context.emit(Milestone(to_milestone(name, state)))
            output = dict(node.validate_output(await _attempts(node, node_input, context, watch)))
        except (Unavailable, OverBudget) as error:
            target = None
            if detour is not None and not watch.text and _may_go_round(error, state, context):
                target = detour.choose(state)
            if detour is None or target is None:
                if isinstance(error, OverBudget):
                    error.text = _text_sent(state)
                raise
            kind = detour.kinds.get(target, detour.kind)
            if kind is not None:
                source = _MODEL if kind is FallbackKind.PASSAGES else name
                context.fell_back(Fallback(kind, source, target, cause(error)))
            output, diverted = {}, target
        if not writes.issuperset(output):
            raise PlanError(f"the node {name} has written {', '.join(sorted(set(output) - writes))}")
        if watch.text and "text" in output:
            output["bytes_sent"] = watch.end
        has_asked = watch.asked_model or (node.calls_model and bool(context.fallen))
        if context.fallen:
            output["fallbacks"] = [*state.get("fallbacks", ()), *map(plain_fallback, context.fallen)]
            context.fallen.clear()
        if steps:
            output["steps"] = steps
        limits = route.limits
        if diverted:
            limits = detour.limits if detour is not None else dict[str, int]()
        elif limits:
            # The edge is chosen before this visit is counted, so that a limit of n allows n visits.
            diverted = _next(route, cast("GraphState", {**state, **output, "diverted": ""}))
        if diverted in limits:
            visits, edge = state.get("visits", {}), visit(name, diverted)
            output["visits"] = {**visits, edge: visits.get(edge, 0) + 1}
        if diverted or state.get("diverted"):
            output["diverted"] = diverted
        after = {**state, **output}
        instruments.STEP_SECONDS.add(monotonic() - begun, node.kind)
        if node.effect is not Effect.NONE or has_asked:
            context.emit(Milestone(to_milestone(_next(route, cast("GraphState", after)), after)))
        return after

    return step


def _count_step(plan: Plan, state: GraphState) -> int:
    """The number of this step; 0 if steps have no limit and are not counted. Raises OverBudget."""
    if not plan.steps:
        return 0
    if (steps := state.get("steps", 0) + 1) > plan.steps:
        raise OverBudget("steps", _text_sent(state))
    return steps


def _text_sent(state: GraphState) -> str:
    """The part of the text that was sent. The rest may be a draft, which must not become the answer."""
    return state.get("text", "").encode()[: state.get("bytes_sent", 0)].decode(errors="ignore")


def _may_go_round(error: Unavailable | OverBudget, state: GraphState, context: Run) -> bool:
    """Whether a turn may take a detour. A turn whose budget is spent may take a detour only if no part of its answer was
    sent. A turn that has used up its user's quota may not: it is refused, like the user's next question.
    """
    if isinstance(error, Unavailable):
        return True
    return error.limit not in context.limits.quota and not _text_sent(state)


def cause(error: Unavailable | OverBudget) -> str:
    """The cause of a detour: the limit that was reached, or the error's reason, with the failed part or the model's fault."""
    if isinstance(error, OverBudget):
        return error.cause
    detail = error.metadata.get("cause") or error.metadata.get("part") or ""
    if detail in (DECLINED, UNCITED):  # the model is available, but its text must not be sent
        return detail
    return f"{error.reason.value.lower()}{f':{detail}' if detail else ''}"


async def _attempts(node: AnyNode, inputs: Any, context: Run, watch: _RunWatch) -> Any:
    pause = node.policy.pause_seconds
    for attempt in range(1, node.policy.attempts + 1):
        try:
            return await _in_time(node, inputs, context)
        except Unavailable as error:
            # If text was sent, another attempt would send the same text again.
            if attempt == node.policy.attempts or watch.text or isinstance(error, TooSlow):
                raise
        await asyncio.sleep(pause)
        pause *= 2
    raise PlanError(f"the node {node.name} allows no attempt")


async def _in_time(node: AnyNode, inputs: Any, context: Run) -> Any:
    limit = asyncio.timeout(node.policy.timeout_seconds)
    try:
        async with limit:
            return await node.process(inputs, context)
    except TimeoutError as error:
        if not limit.expired():  # the node itself raised the error
            raise
        message = (
            f"The step “{node.name}” took longer than {in_seconds(node.policy.timeout_seconds)}; ask again."
        )
        raise Unavailable(Reason.PART_UNAVAILABLE, message, {"part": node.name}, retry_after=1.0) from error


_UNANNOUNCED = ""


def plan(
    config: AgentConfig,
    parts: NodeParts,
    prompts: PromptSet | None,
    kinds: Mapping[str, NodeKind],
    agent: str = "",
) -> Plan:
    """The plan of a configuration that has no problems. The plan leaves out the nodes that no turn can reach. Whether
    the agent has a model can change which nodes these are. agent: the agent's id.

    Raises PartMissing, PlanError.
    """
    parts = replace(parts, prompts=prompts or parts.prompts, traits=traits(config, agent))
    model = parts.model is not None
    edges = possible_edges(config, model=model)
    within = reachable(edges)
    nodes = {name: _make(name, table, parts, kinds) for name, table in config.nodes.items() if name in within}
    detours = dict[str, Detour]()
    for name in nodes:
        kind = kinds[config.nodes[name].kind].fallback
        if kind is not None and (ways := [edge for edge in edges[name] if edge.on is not None]):
            targets = _targets(ways)
            around_model = kind is FallbackKind.PASSAGES
            named = {target: nodes[target].replaces_model for target in targets if around_model}
            detours[name] = Detour(kind, targets, _choice(ways, model=model), _limits(ways), named)
    routes = [
        _route(name, [edge for edge in edges[name] if edge.on is None], model=model)
        for name in (BEGIN, *nodes)
    ]
    return Plan(nodes, routes, detours, config.limits.steps, parts.source)


def _make(name: str, table: NodeTable, parts: NodeParts, kinds: Mapping[str, NodeKind]) -> AnyNode:
    kind = kinds[table.kind]
    node = kind.make(parts, kind.options.model_validate(table.options), name)
    node.name, node.kind = name, table.kind
    if table.status == _UNANNOUNCED:
        node.announcement = None
    elif table.status is not None and node.announcement is not None:
        node.announcement = Announcement(node.announcement.step, table.status)
    policy = node.policy
    if table.timeout is not None:
        policy = replace(policy, timeout_seconds=table.timeout)
    if table.retry is not None:
        policy = replace(policy, attempts=table.retry.attempts, pause_seconds=table.retry.pause)
    node.policy = policy
    if table.reads:
        node.reads = {**node.reads, **table.reads}
    if table.writes:
        node.writes = dict(table.writes)
    return node


def _targets(edges: Sequence[EdgeTable]) -> Sequence[str]:
    return list(dict.fromkeys(edge.target for edge in edges))


def _limits(edges: Sequence[EdgeTable]) -> Mapping[str, int]:
    return {edge.target: edge.limit for edge in edges if edge.limit is not None}


def _route(name: str, edges: Sequence[EdgeTable], *, model: bool) -> Route:
    if not edges:
        return Route(name, (FINISH,))
    limits = _limits(edges)
    targets = _targets(edges)
    if len(targets) == 1 and not limits:
        return Route(name, targets)
    # `choose` never returns None here, because the check ensures that the last edge always matches.
    return Route(name, targets, cast("Callable[[GraphState], str]", _choice(edges, model=model)), limits)


def _choice(edges: Sequence[EdgeTable], *, model: bool) -> Callable[[GraphState], str | None]:
    ways: list[tuple[str, Test | None, int | None, str]] = [
        (edge.target, compile_condition(edge.when, model=model), edge.limit, visit(edge.source, edge.target))
        for edge in edges
    ]

    def choose(state: GraphState) -> str | None:
        for target, test, limit, edge in ways:
            if limit is not None and state.get("visits", {}).get(edge, 0) >= limit:
                continue
            if test is None or test(cast("Mapping[str, object]", state)):
                return target
        return None

    return choose
