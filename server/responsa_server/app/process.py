"""What each server process sets up once: a fast event loop, a tuned garbage collector, structured logs, and counters."""

from __future__ import annotations

import gc
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import structlog
import uvloop

from responsa_server.app.log_lines import LAST_LINES_SECONDS, LOG

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
    """The output of one logger."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        """Have a line written."""
        LOG.put(line)

    debug = info = warning = error = critical = msg


class _Records(logging.Handler):
    """Sends the records of the standard library to the log."""

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
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # The local variables of frames are left out, because they hold questions, texts and secrets.
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
    ]
    handler = _Records()
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


def _quotes_no_metadata(record: logging.LogRecord) -> bool:
    """Drop gRPC's messages about metadata that is not text, because these messages quote the metadata, including keys
    and cookies.

    The call itself is refused or logged as usual.
    """
    return not str(record.msg).startswith("Invalid encoding on")
