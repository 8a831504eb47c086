"""The parts that a running server depends on, and their health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from responsa_contract import Health


@dataclass(frozen=True, slots=True)
class PartReport:
    """The report of one part. detail: the problem and its remedy, or "" if there is no problem. Administrators see the
    version and the detail.
    """

    health: Health
    version: str = ""
    detail: str = ""


class ReportedPart(Protocol):
    """A part whose health can be checked, e.g. the database."""

    @property
    def name(self) -> str:
        """E.g. "postgresql"."""
        ...

    async def check(self) -> PartReport:
        """Check the part. May raise or hang: the caller sets a time limit and treats an error as DOWN."""
        ...


@dataclass(frozen=True, slots=True)
class MigrationState:
    """The migration level of a database.

    last: the name of the newest applied migration, or "" if no migration has been applied. pending: whether this
    version of Responsa has migrations that are not yet applied.
    """

    last: str
    pending: bool


@dataclass(frozen=True, slots=True)
class Installation:
    """Facts that stay the same while a server runs: its version and the model of its embeddings."""

    version: str
    embedding_model: str


class Pause(Protocol):
    """Whether an instance was restored and is paused."""

    def paused(self) -> bool:
        """Whether it was a moment ago."""
        ...

    async def still(self) -> bool:
        """Whether it is now. Raises Unavailable."""
        ...


class NotPaused:
    """An instance that is not paused. Implements `Pause`."""

    def paused(self) -> bool:
        return False

    async def still(self) -> bool:
        return False


NOT_PAUSED: Final[Pause] = NotPaused()
