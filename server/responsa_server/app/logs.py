"""Structured logs: one JSON object a line on standard error."""

from __future__ import annotations

import logging
import sys

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Lines:
    """The output of one logger: the current standard error."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        """Write a line, at once."""
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg


def configure(level: str) -> None:
    """Send structlog's and the standard library's records through one chain. level: a key of LEVELS.

    Libraries log from WARNING up: their messages below that level may contain users' questions.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without the frames' variables: they hold questions, texts and secrets.
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        ),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING))
    logging.getLogger("grpc._cython.cygrpc").addFilter(_quotes_no_metadata)
    # While the database is unreachable, psycopg would log a line for each try; our own pools report the outage once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    for name in ("calls", "turns", "server", "responsa_server"):
        logging.getLogger(name).setLevel(LEVELS[level])
    structlog.configure(
        # Straight to the stream: going through a standard library record would double the cost of a line.
        processors=[*shared, structlog.processors.JSONRenderer()],
        logger_factory=_Lines,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )


def _quotes_no_metadata(record: logging.LogRecord) -> bool:
    """Drop gRPC's messages about metadata that are not text: they quote it, including keys and cookies. The call itself is refused or logged as usual."""
    return not str(record.msg).startswith("Invalid encoding on")
