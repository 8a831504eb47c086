"""What the modules of turns share: the objects of the process, and functions that repeat work."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.errors import StorageFull, Unavailable
from responsa_server.domain.faults import Faults, NoFaults
from responsa_server.domain.parts import NOT_PAUSED, Pause
from responsa_server.domain.turns import Clock, FrameCodec, NewId
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.telemetry.stages import OFF, Traces
from responsa_server.turns.settings import TurnOptions

Result = TypeVar("Result")

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Runtime:
    """The process's objects that turns use: ids, the codec of the log, options, the time, faults to inject, the logger,
    how stages are recorded, and whether the instance was restored and is paused."""

    new_id: NewId
    codec: FrameCodec
    options: TurnOptions = field(default_factory=TurnOptions)
    clock: Clock = lambda: datetime.now(UTC)
    faults: Faults = field(default_factory=NoFaults)
    log: FilteringBoundLogger = field(default_factory=lambda: structlog.get_logger("responsa.turns"))
    errors: UnexpectedErrors = field(default_factory=UnexpectedErrors)
    traces: Traces = OFF
    pause: Pause = NOT_PAUSED


def loop_time() -> float:
    """The time of the running event loop, in seconds."""
    return asyncio.get_running_loop().time()


async def retry(
    work: Callable[[], Awaitable[Result]], patience_seconds: float, *, waits_for_disk: bool = False
) -> Result:
    """Repeat work until it succeeds, with random pauses that grow exponentially. The work must be safe to repeat.
    waits_for_disk: whether to repeat it while a disk is full, too.

    Raises the last Unavailable after `patience_seconds`, and any other error at once.
    """
    deadline = loop_time() + patience_seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return await work()
        except Unavailable as error:
            if loop_time() + pause > deadline or (isinstance(error, StorageFull) and not waits_for_disk):
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads callers, hides nothing
        pause = min(2 * pause, _LONGEST_PAUSE)
