"""Tells a thread that stands still from one that works or waits for a core."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class ThreadTimes:
    """What Linux says of a thread. ran, waited: the seconds on a core, and those in the queue for one, since the thread began.
    runnable: whether it is on a core or in the queue at this moment."""

    ran: float
    waited: float
    runnable: bool


_UNKNOWN: Final = ThreadTimes(0.0, 0.0, runnable=False)


def read_main_thread(pid: int) -> ThreadTimes:
    """Read what the main thread of a process has done. Where the kernel does not say it, all time counts as time off a core."""
    thread = Path(f"/proc/{pid}/task/{pid}")
    try:
        ran, waited, _ = thread.joinpath("schedstat").read_bytes().split()
        state = thread.joinpath("stat").read_bytes().rpartition(b") ")[2][:1]
    except (OSError, ValueError):
        return _UNKNOWN
    return ThreadTimes(int(ran) / 1e9, int(waited) / 1e9, state == b"R")


class Stillness:
    """Adds up, since the last beat of a loop, for how long its thread has run, and for how long it was off the cores
    and in no queue for one."""

    def __init__(self, now: float, reading: ThreadTimes, look_seconds: float) -> None:
        """now: a monotonic time in seconds. look_seconds: how much a look counts at most if it comes late, because then
        whoever looks was itself stopped, or waited for a core."""
        self._now, self._reading, self._look_seconds = now, reading, look_seconds
        self._beats, self._ran, self._off = 0, 0.0, 0.0

    def after(self, beats: int, now: float, reading: ThreadTimes) -> tuple[float, str]:
        """Look again. beats: how many there were so far.

        Returns for how many seconds the loop has stood still, and how: "spin" if its thread ran, "hang" if it did not.
        """
        ran = max(0.0, reading.ran - self._reading.ran)
        waited = max(0.0, reading.waited - self._reading.waited)
        if beats != self._beats:
            self._ran = self._off = 0.0
        else:
            self._ran += ran
            # The time in the queue is counted when it ends, so a thread that is in it has none yet.
            if not reading.runnable:
                self._off += max(0.0, min(now - self._now - ran - waited, self._look_seconds))
        self._beats, self._now, self._reading = beats, now, reading
        return max((self._off, "hang"), (self._ran, "spin"))
