"""From a checked configuration to a plan: nodes made, options applied, edges turned into choices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from responsa_server.agents.engine.agent import AgentOptions
from responsa_server.agents.engine.builder import BEGIN, FINISH, Detour, Plan, Route, visit
from responsa_server.agents.engine.conditions import Test, compiled, possible_edges, reachable
from responsa_server.agents.engine.config import AgentConfig, EdgeTable, NodeTable, traits
from responsa_server.agents.engine.limits import Limits
from responsa_server.agents.engine.node import Announcement
from responsa_server.agents.engine.prompts import PromptSet
from responsa_server.agents.engine.registry import KINDS, AnyNode, Kind, NodeParts
from responsa_server.agents.engine.state import GraphState
from responsa_server.domain.events import FallbackKind

_UNANNOUNCED = ""


def plan(
    config: AgentConfig, parts: NodeParts, prompts: PromptSet | None = None, kinds: Mapping[str, Kind] = KINDS
) -> Plan:
    """The plan of a configuration in which `check` found nothing. Nodes that no way leads to, as the agent has a model or not, are left out.

    Raises PartMissing, PlanError.
    """
    parts = replace(parts, prompts=prompts or parts.prompts, traits=traits(config))
    model = parts.model is not None
    edges = possible_edges(config, model=model)
    within = reachable(edges)
    nodes = {name: _made(name, table, parts, kinds) for name, table in config.nodes.items() if name in within}
    detours = dict[str, Detour]()
    for name in nodes:
        kind = kinds[config.nodes[name].kind].fallback
        if kind is not None and (ways := [edge for edge in edges[name] if edge.on is not None]):
            targets = _targets(ways)
            stand_ins = {target: kinds[config.nodes[target].kind].stands_in for target in targets}
            named = {target: one for target, one in stand_ins.items() if one is not None}
            # What stands in for a model says more than that it was gone round.
            named = named if kind is FallbackKind.EXTRACTIVE else {}
            detours[name] = Detour(kind, targets, _choice(ways, model=model), _limits(ways), named)
    routes = [
        _route(name, [edge for edge in edges[name] if edge.on is None], model=model)
        for name in (BEGIN, *nodes)
    ]
    return Plan(nodes, routes, detours, config.limits.steps)


def options(config: AgentConfig, version: str) -> AgentOptions:
    """What the agent's tables say beside its graph. version: `agents/{id}/versions/{n}`."""
    return AgentOptions(
        version=version,
        time_limit_seconds=config.limits.seconds,
        history_messages=config.history.messages,
        older_messages=config.history.older,
        history_tokens=config.history.tokens,
        titles=config.conversation.title == "question",
        limits=Limits(config.limits.steps, config.limits.tokens, config.limits.cost_micros),
        defaults={
            name: schema["default"]
            for name, schema in config.parameters.properties.items()
            if "default" in schema
        },
    )


def _made(name: str, table: NodeTable, parts: NodeParts, kinds: Mapping[str, Kind]) -> AnyNode:
    kind = kinds[table.kind]
    node = kind.make(parts, kind.options.model_validate(table.options), name)
    node.name = name
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
    # The last edge always fits, so that there always is a choice: `check` sees to it.
    return Route(name, targets, cast("Callable[[GraphState], str]", _choice(edges, model=model)), limits)


def _choice(edges: Sequence[EdgeTable], *, model: bool) -> Callable[[GraphState], str | None]:
    ways: list[tuple[str, Test | None, int | None, str]] = [
        (edge.target, compiled(edge.when, model=model), edge.limit, visit(edge.source, edge.target))
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
