"""Measures durable turns and the disk: the bytes that turns write to the log, and the rate of turns if a flush is slow."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql

from bench.interleaved import by, calls, interleaved
from bench.jobs import Call, Job, Outcome, Transport
from bench.peers.parts import EvidenceKind
from bench.processes import Place, peer
from bench.report import Line
from bench.run import Run
from responsa_server.embedded import EmbeddedPostgres, Layout

LOG: Final = "The log: the bytes that a turn of 69 events (start, 3 statuses, 64 deltas, answer) adds, indexes included"
DISK: Final = (
    "A disk whose flush takes 4 ms (ours: commit_delay = 4000; peer: the same server on the disk as it is)"
)
_STREAMS: Final = 64
# Files grow by several blocks at a time.
_TURNS: Final = 1_000
_FLUSH_MICROSECONDS: Final = 4_000
# After a signal from the postmaster, a process of PostgreSQL reads new settings before its next statement.
_RELOAD_SECONDS: Final = 0.3
_SIZE: Final = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'responsa.turn_event'::regclass"


def measure_log(run: Run) -> list[Line]:
    """Measures how much the log grows over many turns."""
    number = run.pick(_TURNS, 200)
    with (
        _superuser(run.place) as database,
        peer(run.place, "bench.peers.durable", "--evidence", EvidenceKind.DELTAS) as target,
    ):
        lines: list[Line] = []
        for streams in (1, 16):
            run.say(f"log: {number} turns, {streams} streams")
            before = _size(database)
            _ask(run, target, streams=streams, number=number)
            each = (_size(database) - before) / number / 1000
            lines.append(Line.alone(LOG, f"{streams} streams: bytes per turn", "kB", [each], measured=number))
    return lines


def measure_disk(run: Run) -> list[Line]:
    """Compares the turns per second with delayed flushes and without the delay."""
    seconds = 2.0 if not run.quick else 0.5
    with (
        _superuser(run.place) as database,
        peer(run.place, "bench.peers.durable", "--evidence", EvidenceKind.DELTAS) as target,
    ):
        run.say(f"a slow disk: {_STREAMS} streams")
        _ask(run, target, streams=_STREAMS, seconds=0.5)

        def slow(_: int) -> Outcome:
            with _slow_flushes(database):
                return _ask(run, target, streams=_STREAMS, seconds=seconds)

        def fast(_: int) -> Outcome:
            return _ask(run, target, streams=_STREAMS, seconds=seconds)

        ours, peers = interleaved(run.pick(4, 2), slow, fast)
    found = by(lambda one: one.rate, ours, peers)
    return [
        Line.compared(DISK, f"{_STREAMS} streams: turns", "/s", "more", found, calls(ours, peers)),
    ]


def _ask(run: Run, target: str, *, streams: int, number: int = 0, seconds: float = 600.0) -> Outcome:
    return run.caller.do(
        Job(
            Call.ASK,
            Transport.GRPC,
            target,
            run.place.key,
            streams=streams,
            calls=number,
            seconds=seconds,
            texts=["What became of the tide gauge?"],
        )
    )


@contextmanager
def _superuser(at: Place) -> Generator[psycopg.Connection]:
    url = EmbeddedPostgres(Layout.of(at.home)).dsn("superuser")
    with psycopg.connect(url, autocommit=True) as database:
        yield database


def _size(database: psycopg.Connection) -> int:
    row = database.execute(_SIZE).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _slow_flushes(database: psycopg.Connection) -> Generator[None]:
    """Delays every flush of the write-ahead log during the block. A flush then includes commits that arrive during the delay, as on a slow disk."""
    names = {"commit_delay": _FLUSH_MICROSECONDS, "commit_siblings": 0}
    for name, value in names.items():
        database.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    _reload(database)
    try:
        yield
    finally:
        for name in names:
            database.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))
        _reload(database)


def _reload(database: psycopg.Connection) -> None:
    database.execute("SELECT pg_reload_conf()")
    time.sleep(_RELOAD_SECONDS)
