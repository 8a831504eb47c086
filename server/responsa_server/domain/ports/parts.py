"""The parts that a running server stands on, and how each tells that it is well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Health(StrEnum):
    """How a part is. DEGRADED: it answers late, or the server works without it, slower."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class PartReport:
    """What a part tells of itself. detail: what is wrong and what helps, "" when nothing is; both texts are shown to administrators."""

    health: Health
    version: str = ""
    detail: str = ""


class Part(Protocol):
    """Something that can be well or not, e.g. the database."""

    @property
    def name(self) -> str:
        """E.g. "postgresql"."""
        ...

    async def check(self) -> PartReport:
        """Ask the part. May raise or hang: who calls bounds it in time and takes an error for DOWN."""
        ...


@dataclass(frozen=True, slots=True)
class MigrationState:
    """last: name of the newest migration applied, "" for none; pending: whether this version has more."""

    last: str
    pending: bool


class Migrations(Protocol):
    """How far the database's tables are."""

    async def state(self) -> MigrationState:
        """Read it. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Installation:
    """What is fixed while a server runs: its version and the models in force."""

    version: str
    embedding_model: str
    answer_model: str
