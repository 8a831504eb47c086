"""Whether an agent's files can be run as they are meant: all mistakes at once, each with its place and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from responsa_server.agents.config.check import edges, flow, keys, prompts
from responsa_server.agents.config.check.choices import choices
from responsa_server.agents.config.check.files import (
    AgentFiles,
    AnyModel,
    ModelNames,
    NamedModels,
    Surroundings,
)
from responsa_server.agents.config.check.memory import Memory
from responsa_server.agents.config.check.models import extractive, models
from responsa_server.agents.config.check.parameters import parameters
from responsa_server.agents.config.check.problems import AGENT_FILE, Key, Problem, meant, shown
from responsa_server.agents.engine.config import AgentConfig
from responsa_server.agents.engine.registry import Kind

__all__ = [
    "AGENT_FILE",
    "AGENT_ID",
    "AgentFiles",
    "AnyModel",
    "Key",
    "ModelNames",
    "NamedModels",
    "Problem",
    "Surroundings",
    "check",
    "meant",
    "shown",
]

AGENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SOUND: Final = Memory[str, tuple[Mapping[str, Kind], AgentConfig]](512)
"""Configurations in which, beside models and other files, nothing is wrong: with what kinds of nodes, and their model."""


def check(
    config: Mapping[str, object], files: AgentFiles, surroundings: Surroundings
) -> tuple[AgentConfig | None, Sequence[Problem]]:
    """The configuration as its model, None with anything wrong, and all that is wrong, in the order of the checks. config: `agent.toml` as plain values. Pure."""
    found: list[Problem] = []
    if not AGENT_ID.fullmatch(files.identity):
        found.append(
            Problem(
                AGENT_FILE,
                f"“{files.identity}”, the folder's name, is no id: small letters, digits and -, at most 63, the first one no -",
            )
        )
    # Of plain values nothing is left out by `repr`; a table whose keys stand in another order is looked at again.
    mark = repr(config)
    known = _SOUND.get(mark)
    if known is not None and known[0] is surroundings.kinds:
        agent = known[1]
        found += keys.secrets_beside(files)
        found += models(agent, surroundings)
        found += prompts.files(agent, files, surroundings)
        return (None if found else agent), _once(found)
    of_config = list(keys.secrets(config))
    found += of_config
    found += keys.secrets_beside(files)
    agent, wrong = keys.tables(config)
    of_nodes = list(keys.nodes(config, surroundings))
    found += [*wrong, *of_nodes]
    if agent is None:
        return None, _once(found)
    found += models(agent, surroundings)
    of_graph = [*parameters(agent), *keys.collections(agent)]
    # Of a graph that is not what was meant there is nothing to say that would help.
    whole = not keys.gone(wrong)
    meant_so = whole and not any(one.key[:1] == ("graph",) for one in wrong)
    if meant_so:
        of_graph += edges.shape(agent, surroundings)
    all_known = all(table.kind in surroundings.kinds for table in agent.nodes.values())
    if all_known:
        if meant_so:
            of_graph += flow.flow(agent, surroundings)
            of_graph += extractive(agent, surroundings)
        if whole:
            of_graph += choices(agent, surroundings)
    found += of_graph
    if all_known:
        found += prompts.files(agent, files, surroundings)
    if not (of_config or wrong or of_nodes or of_graph):
        _SOUND.put(mark, (surroundings.kinds, agent))
    return (None if found else agent), _once(found)


def _once(found: Sequence[Problem]) -> Sequence[Problem]:
    return list(dict.fromkeys(found))
