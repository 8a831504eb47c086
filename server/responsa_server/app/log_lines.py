"""Writes log lines from a thread, so that neither a full disk nor a slow reader of the log delays or fails a call."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import Final

from responsa_server.domain.parts import Health, PartReport

MOST_WAITING: Final = 10_000
"""The maximum number of lines that wait to be written. Further lines are dropped."""
LAST_LINES_SECONDS: Final = 2.0
"""How long the end of a process waits for its last lines."""
_STANDARD_ERROR: Final = 2
_AT_ONCE: Final = 256


def _to_standard_error(data: bytes) -> int:
    return os.write(_STANDARD_ERROR, data)


class LogLines:
    """The log of this process; implements `domain.parts.ReportedPart`. A line that cannot be written is dropped and counted, and the log itself says so once lines can be written again.

    write: writes some of the bytes and returns their number, or raises OSError, as `os.write` does.
    """

    name = "log"

    def __init__(
        self, write: Callable[[bytes], int] = _to_standard_error, most_waiting: int = MOST_WAITING
    ) -> None:
        self._write = write
        self._waiting = Queue[str | threading.Event](most_waiting)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._untold = 0
        self._problem = ""
        self._cut = False

    @property
    def dropped(self) -> int:
        """The number of lines that were dropped since the process started."""
        return self._dropped

    def put(self, line: str) -> None:
        """Have a line written soon. Never blocks and never raises. line: without a line break at its end."""
        if self._thread is None:
            self._begin()
        try:
            self._waiting.put_nowait(line)
        except Full:
            self._drop(1, "lines come faster than they can be written")

    def flush(self, seconds: float) -> None:
        """Wait until the lines so far are written or dropped, at most this long."""
        written = threading.Event()
        if self._thread is not None:
            with contextlib.suppress(Full):
                self._waiting.put(written, timeout=seconds)
                written.wait(seconds)

    async def check(self) -> PartReport:
        """Report lines that could not be written, until lines can be written again."""
        if not self._problem:
            return PartReport(Health.OK)
        detail = f"{self._dropped} lines could not be written ({self._problem}); free space on the disk of the log, or read its pipe"
        return PartReport(Health.DEGRADED, detail=detail)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
                atexit.register(self.flush, LAST_LINES_SECONDS)

    def _run(self) -> None:
        while True:
            taken = [self._waiting.get()]
            with contextlib.suppress(Empty):
                while len(taken) < _AT_ONCE:
                    taken.append(self._waiting.get_nowait())
            if lines := [one for one in taken if isinstance(one, str)]:
                self._write_lines(lines)
            for one in taken:
                if not isinstance(one, str):
                    one.set()

    def _write_lines(self, lines: list[str]) -> None:
        told = self._untold
        if told:
            lines = [f'{{"event": "log_lines_dropped", "level": "warning", "lines": {told}}}', *lines]
        # The line that a full disk has cut ends here.
        left = memoryview(("\n" * self._cut + "\n".join(lines) + "\n").encode(errors="backslashreplace"))
        try:
            while left:
                left = left[self._write(left.tobytes()) :]
                self._cut = True
        except OSError as error:
            self._drop(len(lines) - bool(told), error.strerror or type(error).__name__)
            return
        self._cut = False
        with self._lock:
            self._untold -= told
            if not self._untold:
                self._problem = ""

    def _drop(self, lines: int, problem: str) -> None:
        with self._lock:
            self._dropped += lines
            self._untold += lines
            self._problem = problem


LOG: Final = LogLines()
"""The log of this process."""
