"""Faults at named places: an adapter of the port `Faults` that kills, stops, delays or cuts when a turn reaches a place.

The faults are plain data, so that they can be passed to a replica in another process.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from responsa_server.domain.faults import Fault


class Act(StrEnum):
    """The effect of a fault on the process."""

    KILL = "kill"
    """Kills the process at once, with SIGKILL."""
    STOP = "stop"
    """Stops the process with SIGSTOP until a SIGCONT."""
    DELAY = "delay"
    """Waits at the place, while the rest of the process continues."""
    RAISE = "raise"
    """Raises `Struck`, for histories within one process."""


class Struck(BaseException):
    """Simulates the death of a process for the tasks that wait. No error handler catches this exception."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A fault that happens at `place` after `skip` visits, with the given probability and at most `times` times.
    seconds: the length of a delay. turn: the only turn (a UUID) that it happens to; "" for any."""

    place: Fault
    act: Act
    skip: int = 0
    probability: float = 1.0
    times: int = 1
    seconds: float = 0.0
    turn: str = ""

    def to_json(self) -> Mapping[str, Any]:
        """The fault as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Placed:
        """The fault from the JSON that `to_json` returned."""
        rest = {name: one for name, one in value.items() if name not in ("place", "act")}
        return cls(Fault(value["place"]), Act(value["act"]), **rest)


@dataclass(slots=True)
class _Left:
    fault: Placed
    skip: int
    times: int


class PlacedFaults:
    """Implements `Faults`. Counts the visits to each place."""

    def __init__(
        self,
        faults: Iterable[Placed] = (),
        seed: int | str = 0,
        struck: Callable[[Placed, UUID | None], None] | None = None,
    ) -> None:
        """struck: a function that is called with each fault before the fault happens."""
        self._left = [_Left(fault, fault.skip, fault.times) for fault in faults]
        self._dice = random.Random(seed)
        self._struck = struck
        self.passed: dict[Fault, int] = {}

    def place(self, faults: Sequence[Placed]) -> None:
        """Replace the remaining faults with others."""
        self._left = [_Left(fault, fault.skip, fault.times) for fault in faults]

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        """See `Faults.at`."""
        self.passed[place] = self.passed.get(place, 0) + 1
        for left in self._left:
            if left.fault.place is not place or left.times == 0 or left.fault.turn not in ("", str(turn_id)):
                continue
            if left.skip > 0:
                left.skip -= 1
                continue
            if self._dice.random() >= left.fault.probability:
                continue
            left.times -= 1
            if self._struck is not None:
                self._struck(left.fault, turn_id)
            await self._strike(left.fault)

    async def _strike(self, fault: Placed) -> None:
        match fault.act:
            case Act.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Act.STOP:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Act.DELAY:
                await passing(fault.seconds)
            case Act.RAISE:
                raise Struck(fault.place.value)


async def passing(seconds: float) -> None:
    """Let time pass. The delay is part of a fault or a history, and not a wait for a condition."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, done.set)
    await done.wait()
