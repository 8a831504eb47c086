"""Checks an agent's files. One check finds all mistakes, each with its file, key and, where possible, a suggestion."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import rtoml

from responsa_server.agents.config.check import tables
from responsa_server.agents.config.check.graph import GraphFields, edges
from responsa_server.agents.config.check.inputs import (
    AgentFiles,
    ModelNames,
    NamedModels,
    Surroundings,
)
from responsa_server.agents.config.check.prompts import prompt_files
from responsa_server.agents.config.problems import AGENT_FILE, Problem
from responsa_server.agents.engine.config import AgentConfig

__all__ = ["AGENT_ID", "AgentFiles", "ModelNames", "NamedModels", "Surroundings", "check"]

AGENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check(
    text: str, files: AgentFiles, surroundings: Surroundings
) -> tuple[AgentConfig | None, Sequence[Problem]]:
    """The configuration as an `AgentConfig` (None if there is a problem) and all problems. Pure.

    text: the content of `agent.toml`, which must be valid TOML.
    """
    problems: list[Problem] = []
    if not AGENT_ID.fullmatch(files.identity):
        problems.append(
            Problem(
                AGENT_FILE,
                (
                    f"the folder's name, “{files.identity}”, is not a valid id: use at most 63 lower-case "
                    "letters, digits and “-”, and no “-” first"
                ),
            )
        )
    agent, wrong = _configuration(text, surroundings)
    problems += wrong
    if agent is None:
        return None, problems
    problems += tables.models(agent, surroundings)
    if all(table.kind in surroundings.kinds for table in agent.nodes.values()):
        problems += prompt_files(agent, files, surroundings)
    return (None if problems else agent), list(dict.fromkeys(problems))


# Results are cached. Most reloads change only prompts, so the check of the graph, which takes longest, need not run
# again.
@lru_cache(maxsize=256)
def _configuration(text: str, surroundings: Surroundings) -> tuple[AgentConfig | None, Sequence[Problem]]:
    """The result of checking `agent.toml` alone: the configuration (None if it does not fit its model) and its problems."""
    config: Mapping[str, object] = rtoml.loads(text)
    agent, wrong = tables.tables(config)
    problems = [
        *wrong,
        *tables.node_tables(config, surroundings),
    ]
    if agent is None:
        return None, problems
    problems += [
        *tables.parameters(agent),
        *tables.subject(agent),
        *tables.sources(agent, surroundings),
        *tables.tools(agent),
    ]
    # In a graph that lacks a node or an edge, the other checks would report the same mistake again.
    nodes_whole = not any(problem.key[:1] == ("nodes",) and len(problem.key) < 3 for problem in wrong)
    graph_whole = nodes_whole and not any(problem.key[:1] == ("graph",) for problem in wrong)
    if graph_whole:
        problems += edges(agent, surroundings)
    if nodes_whole and all(table.kind in surroundings.kinds for table in agent.nodes.values()):
        fields = GraphFields(agent, surroundings)
        problems += [*(fields.problems() if graph_whole else ()), *fields.choices()]
    return agent, problems
