"""What is checked, and what it is checked against."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from responsa_server.agents.config.check.problems import listed
from responsa_server.agents.engine.config import EXTRACTIVE
from responsa_server.agents.engine.prompts import Partial, PromptSource
from responsa_server.agents.engine.registry import KINDS, Kind


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """An agent's files beside `agent.toml`, read. prompts: its own and the shared ones, by name; examples: bytes by path in its folder."""

    identity: str
    prompts: Mapping[str, PromptSource] = field(default_factory=dict[str, PromptSource])
    partials: Mapping[str, Partial] = field(default_factory=dict[str, Partial])
    examples: Mapping[str, bytes] = field(default_factory=dict[str, bytes])


class ModelNames(Protocol):
    """What is known of models by their names."""

    def problem(self, name: str) -> str | None:
        """Why `provider:model` cannot be had here, as a sentence with the remedy; None where it can."""
        ...


class AnyModel:
    """Takes every name that has the form of one: for checks on a machine that does not answer."""

    def problem(self, name: str) -> str | None:
        """See `ModelNames.problem`."""
        provider, colon, model = name.partition(":")
        return None if colon and provider and model else "It is not of the form provider:model."


class NamedModels:
    """Takes the models of some providers: for checks on a machine that does not answer. providers: the models of each by their names, none for any."""

    def __init__(self, providers: Mapping[str, Collection[str]]) -> None:
        self._providers = providers

    def problem(self, name: str) -> str | None:
        """See `ModelNames.problem`."""
        provider, _, model = name.partition(":")
        if (wrong := AnyModel().problem(name)) is not None:
            return wrong
        if provider not in self._providers:
            return (
                f"There is no provider “{provider}”, only {listed(sorted(self._providers))}; a server of your own is declared by the setting "
                f"models.servers.{provider}.url."
            )
        known = self._providers[provider]
        if known and model not in known:
            return f"“{provider}” has no model “{model}”, only {listed(sorted(known))}."
        return None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What this server has: kinds of nodes, models, and names of models and providers to suggest. trusted: variables that every prompt is offered."""

    kinds: Mapping[str, Kind] = field(default_factory=lambda: KINDS)
    models: ModelNames = field(default_factory=AnyModel)
    suggested_models: Sequence[str] = (EXTRACTIVE, "default")
    providers: Collection[str] = ()
    trusted: frozenset[str] = frozenset()
