"""What each server process sets up once: a fast event loop, a tuned garbage collector, structured logs, and counters."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from queue import Empty, Full, Queue
from typing import Any, Final, TypeVar

import structlog
import uvloop

from responsa_server.domain.parts import Health, PartReport
from responsa_server.telemetry.stages import TRACE_ID, current

MOST_WAITING: Final = 10_000
"""The maximum number of lines that wait to be written. Further lines are dropped."""
LAST_LINES_SECONDS: Final = 2.0
"""How long the end of a process waits for its last lines."""
_STANDARD_ERROR: Final = 2
_AT_ONCE: Final = 256


class LogLines:
    """The log of this process; implements `domain.parts.Part`. A line that cannot be written is dropped and counted,
    and the log itself says so once lines can be written again.

    write: writes some of the bytes and returns their number, or raises OSError, as `os.write` does.
    """

    name = "log"

    def __init__(
        self,
        write: Callable[[bytes], int] = lambda data: os.write(_STANDARD_ERROR, data),
        most_waiting: int = MOST_WAITING,
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
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                    self._thread.start()
                    atexit.register(self.flush, LAST_LINES_SECONDS)
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

    def _run(self) -> None:
        while True:
            taken = [self._waiting.get()]
            with contextlib.suppress(Empty):
                while len(taken) < _AT_ONCE:
                    taken.append(self._waiting.get_nowait())
            if lines := [item for item in taken if isinstance(item, str)]:
                self._write_lines(lines)
            for item in taken:
                if not isinstance(item, str):
                    item.set()

    def _write_lines(self, lines: list[str]) -> None:
        reported = self._untold
        if reported:
            lines = [f'{{"event": "log_lines_dropped", "level": "warning", "lines": {reported}}}', *lines]
        # The line that a full disk has cut ends here.
        left = memoryview(("\n" * self._cut + "\n".join(lines) + "\n").encode(errors="backslashreplace"))
        try:
            while left:
                left = left[self._write(left.tobytes()) :]
                self._cut = True
        except OSError as error:
            self._drop(len(lines) - bool(reported), error.strerror or type(error).__name__)
            return
        self._cut = False
        with self._lock:
            self._untold -= reported
            if not self._untold:
                self._problem = ""

    def _drop(self, lines: int, problem: str) -> None:
        with self._lock:
            self._dropped += lines
            self._untold += lines
            self._problem = problem


LOG: Final = LogLines()
"""The log of this process."""


Result = TypeVar("Result")

# A turn creates thousands of objects that live for a few milliseconds, and hardly any of these objects are in reference
# cycles. With Python's default threshold of 700, the collector checks the objects again and again and finds nothing.
# With these thresholds, the collector runs a few times a second under load.
_YOUNG_OBJECTS: Final = 20_000
_YOUNG_ROUNDS: Final = 20
_MIDDLE_ROUNDS: Final = 50

LOG_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run the main coroutine of a process to its end on uvloop, in the same way as `asyncio.run`."""
    try:
        return uvloop.run(main)
    finally:
        LOG.flush(LAST_LINES_SECONDS)


def freeze() -> None:
    """Exempt all existing objects from garbage collection, and collect less often. Call this function once the process
    has loaded its long-lived objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_ROUNDS, _MIDDLE_ROUNDS)


class _Lines:
    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        LOG.put(line)

    debug = info = warning = error = critical = msg


class _RecordHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            LOG.put(self.format(record))
        except Exception:  # a record that cannot be formatted must not fail the call that logs it
            LOG.put(f'{{"event": "unreadable log record", "level": "error", "logger": "{record.name}"}}')


def configure_logs(level: str) -> None:
    """Send the log records of structlog and of the standard library through one chain. level: a key of LOG_LEVELS.

    Libraries log only at WARNING and above, because their messages at lower levels may contain users' questions.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_trace_id,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # The local variables of frames are left out, because they hold questions, texts and secrets.
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
    ]
    handler = _RecordHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(allow=["tenant"]), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(LOG_LEVELS[level], logging.WARNING))
    logging.getLogger("grpc._cython.cygrpc").addFilter(_quotes_no_metadata)
    # While the database is unreachable, psycopg would log a line for each attempt. Our own pools report the outage
    # once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    for name in ("calls", "turns", "server", "responsa_server"):
        logging.getLogger(name).setLevel(LOG_LEVELS[level])
    structlog.configure(
        # Lines are written without the standard library's loggers, because creating a `LogRecord` for each line would double the cost.
        processors=[*shared, structlog.processors.JSONRenderer()],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(LOG_LEVELS[level]),
        cache_logger_on_first_use=True,
    )


def _add_trace_id(
    logger: object, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Add the id of the trace to a line that a sampled call or turn writes."""
    del logger, method
    if trace_id := current().trace_id:
        event[TRACE_ID] = trace_id
    return event


def _quotes_no_metadata(record: logging.LogRecord) -> bool:
    """Drop gRPC's messages about metadata that is not text, because these messages quote the metadata, including keys
    and cookies.

    The call itself is refused or logged as usual.
    """
    return not str(record.msg).startswith("Invalid encoding on")
