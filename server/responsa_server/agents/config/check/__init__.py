"""Checks an agent's files: finds all mistakes at once, each with its place and, where possible, a suggestion."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from responsa_server.agents.config.check import tables
from responsa_server.agents.config.check.flow import Flow
from responsa_server.agents.config.check.inputs import (
    AgentFiles,
    ModelNames,
    NamedModels,
    Surroundings,
)
from responsa_server.agents.config.check.prompts import file_secrets, prompt_files
from responsa_server.agents.config.check.shape import shape, without_model
from responsa_server.agents.config.problems import AGENT_FILE, Problem
from responsa_server.agents.engine.config import AgentConfig

__all__ = ["AGENT_ID", "AgentFiles", "ModelNames", "NamedModels", "Surroundings", "check"]

AGENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check(
    config: Mapping[str, object], files: AgentFiles, surroundings: Surroundings
) -> tuple[AgentConfig | None, Sequence[Problem]]:
    """The configuration as its model, None with any problem, and all problems in the order of the checks. Pure.

    config: `agent.toml` as plain values.
    """
    found: list[Problem] = []
    if not AGENT_ID.fullmatch(files.identity):
        found.append(
            Problem(
                AGENT_FILE,
                f"the folder's name, “{files.identity}”, is not a valid id: use at most 63 lower-case letters, digits and “-”, and no “-” first",
            )
        )
    found += [*tables.secrets(config), *file_secrets(files)]
    agent, wrong = tables.tables(config)
    found += [*wrong, *tables.node_tables(config, surroundings)]
    if agent is None:
        return None, _once(found)
    found += [*tables.models(agent, surroundings), *tables.parameters(agent), *tables.collections(agent)]
    # In a graph that lacks a node or an edge, the other checks would report the same mistake again.
    nodes_whole = not any(one.key[:1] == ("nodes",) and len(one.key) < 3 for one in wrong)
    graph_whole = nodes_whole and not any(one.key[:1] == ("graph",) for one in wrong)
    if graph_whole:
        found += shape(agent, surroundings)
    if all(table.kind in surroundings.kinds for table in agent.nodes.values()):
        flow = Flow(agent, surroundings)
        if graph_whole:
            found += [*flow.problems(), *without_model(agent, surroundings)]
        if nodes_whole:
            found += flow.choices()
        found += prompt_files(agent, files, surroundings)
    return (None if found else agent), _once(found)


def _once(found: Sequence[Problem]) -> Sequence[Problem]:
    return list(dict.fromkeys(found))
