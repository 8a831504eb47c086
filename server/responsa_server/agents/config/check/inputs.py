"""The inputs of a check: an agent's files, and what the server offers to agents."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from responsa_server.agents.config.problems import quote
from responsa_server.agents.engine.config import PASSAGES
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.prompts import Partial, PromptSource
from responsa_server.agents.nodes.table import KINDS


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """An agent's files other than `agent.toml`.

    identity: the agent's id. prompts, partials: the agent's own files and the shared files, by name. examples: the bytes of
    each file, by its path in the agent's folder.
    """

    identity: str
    prompts: Mapping[str, PromptSource] = field(default_factory=dict[str, PromptSource])
    partials: Mapping[str, Partial] = field(default_factory=dict[str, Partial])
    examples: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


class ModelNames(Protocol):
    """Knows which models are available."""

    def problem(self, name: str) -> str | None:
        """The reason why the model `provider:model` is not available, as a sentence with the remedy; None if it is available."""
        ...


class NamedModels:
    """Accepts the models of known providers. Implements `ModelNames` for a check without a server.

    providers: the model names of each provider; an empty collection accepts every model of that provider. If `providers`
    is None, every well-formed name is accepted.
    """

    def __init__(self, providers: Mapping[str, Collection[str]] | None = None) -> None:
        self._providers = providers

    def problem(self, name: str) -> str | None:
        """The reason why the model is not known; None if it is known."""
        provider, _, model = name.partition(":")
        if not provider or not model:
            return "A model's name has the form provider:model."
        if self._providers is None:
            return None
        if provider not in self._providers:
            return (
                f"There is no provider “{provider}”, only {quote(sorted(self._providers))}; declare a server of your own with the setting "
                f"models.servers.{provider}.url."
            )
        known = self._providers[provider]
        if known and model not in known:
            return f"“{provider}” has no model “{model}”, only {quote(sorted(known))}."
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What the server offers to agents: kinds of nodes, models, and the names of models and providers for suggestions.

    Instances are compared by identity.
    """

    kinds: Mapping[str, NodeKind] = field(default_factory=lambda: KINDS)
    models: ModelNames = field(default_factory=NamedModels)
    suggested_models: Sequence[str] = (PASSAGES, "default")
    providers: Collection[str] = ()
