"""Hints that processes send each other about turns and agents.

A lost hint does no harm: the database holds the facts about turns, and each process polls the database, so a process learns the
facts within half a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from responsa_server.domain.turns import LogRow


@dataclass(frozen=True, slots=True)
class Committed:
    """Committed rows of a turn. ended: whether the last row holds the terminal event."""

    turn_id: UUID
    rows: Sequence[LogRow]
    ended: bool


@dataclass(frozen=True, slots=True)
class Interest:
    """A process follows these turns, which run in other processes. For the next few seconds, a process that runs one of
    the turns may send the turn's committed rows to the process that follows the turn.
    """

    process: UUID
    turn_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class EpochAdvanced:
    """A turn has a new epoch. A worker that runs the turn under an older epoch stops at once."""

    turn_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Work:
    """Turns can be claimed."""


@dataclass(frozen=True, slots=True)
class Reload:
    """A process has reloaded the agents' files, and all other processes should reload them too."""


Hint = Committed | Interest | EpochAdvanced | Work | Reload


class Relay(Protocol):
    """Carries hints between processes. No method raises an error or blocks if the relay is slow or unavailable."""

    @property
    def away(self) -> bool:
        """Whether the relay is known to be unreachable. While the relay is unreachable, the process polls the database
        twice as often.
        """
        ...

    async def start(self, process: UUID, heard: Callable[[Hint], None]) -> None:
        """Begin to listen. `heard` receives the hints for all processes and the hints for this process. Listening
        resumes after an interruption.
        """
        ...

    def tell(self, process: UUID, hint: Hint) -> None: ...

    def tell_all(self, hint: Hint) -> None: ...

    async def close(self) -> None: ...
