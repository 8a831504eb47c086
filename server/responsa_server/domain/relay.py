"""Hints about turns and agents between processes. A lost hint does no harm: the database has the facts, and
is read for turns within half a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from responsa_server.domain.turns import LogRow


@dataclass(frozen=True, slots=True)
class Committed:
    """Committed rows of a turn. ended: the last of them holds the terminal event."""

    turn_id: UUID
    rows: Sequence[LogRow]
    ended: bool


@dataclass(frozen=True, slots=True)
class Interest:
    """A process follows these turns, which run elsewhere. For a few seconds from now, the process that runs
    them may send it their committed rows.
    """

    process: UUID
    turn_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class Taken:
    """A turn has a new epoch: a worker that runs it under an older one stops at once."""

    turn_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Work:
    """Turns can be claimed."""


@dataclass(frozen=True, slots=True)
class Reload:
    """A process has reloaded the agents' files, and all others should do so."""


Hint = Committed | Interest | Taken | Work | Reload


class Relay(Protocol):
    """Carries hints between processes. If the relay is slow or unavailable, no method raises an error or waits for it."""

    @property
    def away(self) -> bool:
        """Whether the relay is known to be unreachable; then the log is read twice as often."""
        ...

    async def start(self, process: UUID, heard: Callable[[Hint], None]) -> None:
        """Begin to listen: `heard` receives the hints for all processes and those for this one. Listening continues after interruptions."""
        ...

    def tell(self, process: UUID, hint: Hint) -> None:
        """Send a hint to one process."""
        ...

    def tell_all(self, hint: Hint) -> None:
        """Send a hint to all other processes."""
        ...

    async def close(self) -> None:
        """Stop."""
        ...
