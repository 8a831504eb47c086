"""The places where tests inject faults; the product uses `NoFaults`."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Fault(StrEnum):
    """The named places, in the order in which a turn passes them."""

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
    """Kills, stops or delays the process at a place. turn_id: None if several turns are written together."""

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        """A turn passes this place. BEFORE_*: nothing of the next step is committed. AFTER_*: the whole step
        is committed, and no process has been notified.
        """
        ...


class NoFaults:
    """Injects no fault."""

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        """Do nothing."""
