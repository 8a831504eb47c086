"""The places where tests inject faults; the product uses `NoFaults`."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Fault(StrEnum):
    """The names of the places where a fault can be injected, in the order in which a turn passes the places."""

    BEFORE_ACCEPT = "before_accept"
    AFTER_ACCEPT = "after_accept"
    AFTER_CLAIM = "after_claim"
    BETWEEN_CHUNKS = "between_chunks"
    BEFORE_APPEND = "before_append"
    AFTER_APPEND = "after_append"
    BEFORE_TOOL = "before_tool"
    INSIDE_TOOL = "inside_tool"
    AFTER_TOOL = "after_tool"
    BEFORE_FINISH = "before_finish"
    AFTER_FINISH = "after_finish"
    BEFORE_CANCEL = "before_cancel"
    AFTER_CANCEL = "after_cancel"


class Faults(Protocol):
    """Kills, stops or delays the process at a place."""

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        """Report that a turn passes this place.

        turn_id: the turn, or None if several turns are written together. At a place BEFORE_*, no part of the next step
        is committed. At a place AFTER_*, the whole step is committed, but no process has been notified.
        """
        ...


class NoFaults:
    """Injects no fault."""

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        pass
