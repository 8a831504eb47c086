"""How processes tell each other of turns, and of agents. Everything here is a hint: what is lost is found in the database, of turns within half a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from responsa_server.domain.turns import LogRow


@dataclass(frozen=True, slots=True)
class Committed:
    """Rows of a turn that are in the log. ended: the last of them holds the terminal event."""

    turn_id: UUID
    rows: Sequence[LogRow]
    ended: bool


@dataclass(frozen=True, slots=True)
class Interest:
    """A process follows these turns and does not run them: whoever does may send it what is committed, for a few seconds from now."""

    process: UUID
    turn_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class Taken:
    """A turn has this epoch now: a worker that runs it under an older one stops at once."""

    turn_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Work:
    """There are turns to be claimed."""


@dataclass(frozen=True, slots=True)
class Reload:
    """A process has reloaded the agents' files, and all others should do so."""


Hint = Committed | Interest | Taken | Work | Reload


class Relay(Protocol):
    """Carries hints between processes. If the relay is slow or unavailable, no method raises an error or waits for it."""

    @property
    def away(self) -> bool:
        """Whether hints are known not to come through at the moment: then the log is asked twice as often."""
        ...

    async def start(self, process: UUID, heard: Callable[[Hint], None]) -> None:
        """Begin to listen: `heard` gets what is sent to all, and what is sent to this process. Goes on listening across interruptions."""
        ...

    def tell(self, process: UUID, hint: Hint) -> None:
        """Send to one process."""
        ...

    def tell_all(self, hint: Hint) -> None:
        """Send to all processes; this one does not hear itself."""
        ...

    async def close(self) -> None:
        """Stop."""
        ...
