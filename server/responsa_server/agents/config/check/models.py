"""The chain of models: names that can be had, each once, and the way round that “extractive” promises."""

from __future__ import annotations

from collections.abc import Iterator

from responsa_server.agents.config.check.files import Surroundings
from responsa_server.agents.config.check.problems import AGENT_FILE, Key, Problem, meant
from responsa_server.agents.engine.config import DEFAULT_MODEL, EXTRACTIVE, AgentConfig
from responsa_server.agents.engine.ways import possible, reached


def models(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Models of the chain that cannot be had, or would not be asked."""
    chain = config.model.chain
    for place, name in enumerate(chain):
        key: Key = ("model", "chain", place)
        if name in chain[:place]:
            yield Problem(
                AGENT_FILE,
                f"“{name}” stands in the chain twice; who could not be had is not asked again, so leave it out here",
                key,
            )
        elif name == EXTRACTIVE:
            if place < len(chain) - 1:
                yield Problem(
                    AGENT_FILE,
                    "“extractive” is never unavailable, so what follows it would never be asked; it can only be the last",
                    key,
                )
        elif name != DEFAULT_MODEL and (why := surroundings.models.problem(name)) is not None:
            yield Problem(
                AGENT_FILE,
                f"the model “{name}” cannot be had: {within(why)}",
                key,
                _meant(name, surroundings),
            )


def extractive(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Nodes that ask a model and have no way round, where the chain says that there is one. Nodes of unknown kinds must have been sorted out before."""
    chain = config.model.chain
    if EXTRACTIVE not in chain:
        return
    alone = set(chain) == {EXTRACTIVE}
    unsure = set(chain) == {EXTRACTIVE, DEFAULT_MODEL}
    without = reached(possible(config, model=False)) if alone or unsure else set[str]()
    edges = possible(config, model=True)
    found = set[str]() if alone else reached(edges)
    for name, table in config.nodes.items():
        if not surroundings.kinds[table.kind].needs_model:
            continue
        key: Key = ("nodes", name)
        if name in without:
            why = (
                "“extractive” alone in model.chain says that there is none; name a model there, or lead"
                if alone
                else "“default” may stand for none, for which “extractive” in model.chain is there; lead"
            )
            yield Problem(
                AGENT_FILE,
                f"asks a model, and {why} here by edges with when = {{ model = true }} alone",
                key,
            )
        elif name in found and not any(edge.on is not None for edge in edges[name]):
            yield Problem(
                AGENT_FILE,
                "asks a model, and no edge leads round it when none can be had, as “extractive” in model.chain promises; add one with "
                'on = "unavailable", or take “extractive” out',
                key,
            )


def within(sentence: str) -> str:
    """A sentence as a part of another one."""
    rest = sentence.rstrip(" .")
    return rest[:1].lower() + rest[1:]


def _meant(name: str, surroundings: Surroundings) -> str:
    """The same model of a provider that is called nearly so; or a model of nearly the same name."""
    provider, _, model = name.partition(":")
    close = meant(provider, surroundings.providers) if provider not in surroundings.providers else ""
    return f"{close}:{model}" if close and model else meant(name, surroundings.suggested_models)
