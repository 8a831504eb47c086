"""The graph of agents that have none of their own (`standard = true`): that of a shipped agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import rtoml

from responsa_server.agents.config.problems import AGENT_FILE, Problem, in_config
from responsa_server.system.instance import SHIPPED_AGENTS

GRAPH: Final = ("start", "nodes", "graph")
OWN: Final = "is not read beside `standard = true`; remove one of the two"
_TABLES: Final = ("model", "history", "retrieval", "limits", "tools")


def with_graph(config: Mapping[str, object]) -> Mapping[str, object]:
    """`agent.toml` with the graph of this release if it has `standard`, else as it is. The tables `model`, `history`, `retrieval`,
    `limits` and `tools` get the keys that it leaves out. Blocks.
    """
    if config.get("standard") is not True:
        return config
    shipped = "knowledge" if _table(config, "tools").get("use") else "default"
    base: Mapping[str, Any] = rtoml.loads((SHIPPED_AGENTS / shipped / AGENT_FILE).read_text())
    filled = {
        name: {**_table(base, name), **_table(config, name)}
        for name in _TABLES
        if (name in base or name in config) and isinstance(config.get(name, {}), Mapping)
    }
    return {**config, **filled, **{name: base[name] for name in GRAPH}}


def own_graph(config: Mapping[str, object], filled: Mapping[str, object]) -> Iterator[Problem]:
    """A problem for each key of a graph of the agent's own, of which `standard` would make nothing. filled: with the standard graph."""
    for name in GRAPH:
        if name in config and config[name] != filled[name]:
            yield in_config((name,), OWN)


def _table(config: Mapping[str, object], name: str) -> Mapping[str, object]:
    table = config.get(name)
    return cast("Mapping[str, object]", table) if isinstance(table, Mapping) else {}
