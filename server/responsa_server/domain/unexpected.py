"""The unexpected errors of this process, grouped by the place in the code where they came from."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

MOST_PLACES: Final = 100
"""The maximum number of groups. Beyond it, the group is forgotten that occurred longest ago."""
_OURS: Final = re.compile(r"/responsa_(?:etl|formats|lab|local|server)/")


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors of one class from one place. error: the name of the class. place: `FILE:LINE`. first_id, last_id: the
    calls' ids, the names of turns and operations, or what a background loop is called. last_time: in UTC."""

    error: str
    place: str
    count: int
    first_id: str
    last_id: str
    last_time: datetime


class UnexpectedErrors:
    """Groups errors. Not thread-safe."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], ErrorGroup] = {}

    def add(self, error: BaseException, identity: str) -> ErrorGroup:
        """Count an error, and return its group. identity: the id of the call, the name of the turn or of the operation,
        or the name of the loop that failed with it."""
        key = type(error).__name__, place_of(error)
        now, before = datetime.now(UTC), self._groups.pop(key, None)
        if before is None:
            group = ErrorGroup(*key, 1, identity, identity, now)
        else:
            group = replace(before, count=before.count + 1, last_id=identity, last_time=now)
        self._groups[key] = group
        if len(self._groups) > MOST_PLACES:
            del self._groups[next(iter(self._groups))]
        return group

    def read(self) -> Sequence[ErrorGroup]:
        """All groups, those with the most recent occurrence first."""
        return [*reversed(self._groups.values())]


def place_of(error: BaseException) -> str:
    """The last line of our own code that the error passed, as `turns/worker.py:120`; the last line of any code if none is ours."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if _OURS.search(frame[0])]
    if not frames:
        return "unknown"
    file, line = (ours or frames)[-1]
    if ours:
        return f"{file[file.rindex('/responsa_') + 1 :].removeprefix('responsa_server/')}:{line}"
    return f"{file.rpartition('/')[2]}:{line}"
