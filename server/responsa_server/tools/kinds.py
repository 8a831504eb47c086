"""Kinds of tools: how a declaration becomes tools, and the parts that tools are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from responsa_server.domain.answers import EvidenceSource
from responsa_server.domain.tools import Declaration, Effect, SecretPlace, Tool, ToolUnfit
from responsa_server.outbound.connector import Connector


class ToolOptions(BaseModel):
    """Base of the models of kinds' own keys. It rejects unknown keys and does not convert values."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _no_secret(location: SecretPlace) -> str:
    raise ToolUnfit("This server reads no secrets.")


def now() -> datetime:
    """The current time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The parts that tools are made of.

    evidence: the search in the documents, or None. clock: the current time, with its zone. secret: reads a secret;
    raises ToolUnfit if it is missing or empty.
    connector: makes all connections to declared hosts. read_html: reads the text of an HTML page, as an uploaded page
    is read; it raises ValueError. None: pages stay as they are.
    """

    evidence: EvidenceSource | None = None
    clock: Callable[[], datetime] = now
    secret: Callable[[SecretPlace], str] = _no_secret
    connector: Connector = field(default_factory=Connector)
    read_html: Callable[[bytes], Awaitable[str]] | None = None

    def secret_of(self, declaration: Declaration, name: str, key: Sequence[str] = ()) -> str:
        """The secret with this name in this declaration. key: the key that names the secret. Raises ToolUnfit."""
        location = declaration.secrets.get(name)
        if location is None:
            message = f"[secrets] does not declare the secret “{name}”; name its place there"
            raise ToolUnfit(message, key, unknown=name, known=list(declaration.secrets))
        try:
            return self.secret(location)
        except ToolUnfit as error:
            raise ToolUnfit(str(error), ("secrets", name)) from error


def describe(kind: ToolKind, declaration: Declaration, own: str) -> str:
    """Return the description of one of several tools of a declaration: what the declaration says, and the tool's own
    description. The kind's description says too little of one tool."""
    text = "" if declaration.description == kind.description and own else declaration.description
    return f"{text} {own}".strip()


@dataclass(frozen=True, slots=True)
class ToolKind:
    """A kind of tools.

    options: the model of the kind's own keys. make: makes the tools of a declaration, whose `options` are an instance
    of that model; it raises ToolUnfit and does not block for long.
    effect: the effect of the kind's calls; None if a declaration must name it. title, description: those of a
    declaration without them. shipped: whether there is a tool with the kind's name without any declaration. parameters:
    the path of the key under which a declaration describes the parameters of a tool; `*` stands for the tool's name
    after the declaration's.
    """

    options: type[ToolOptions]
    make: Callable[[Declaration, Any, ToolContext], Sequence[Tool]]
    effect: Effect | None = Effect.NONE
    title: str = ""
    description: str = ""
    shipped: bool = False
    parameters: Sequence[str] = ()
