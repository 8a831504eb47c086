"""Measures durable turns and the disk: what turns keep, and the rate of turns if a flush is slow."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql

from bench.corpus import Text
from bench.documentation import pages, questions
from bench.interleaved import by, calls, interleaved
from bench.jobs import Call, Job, Outcome, Transport
from bench.library import make_collection, take_in
from bench.peers.parts import EvidenceKind
from bench.processes import Place, peer
from bench.report import Line
from bench.run import Run
from responsa_local.embedded import EmbeddedPostgres, LocalLayout

LOG: Final = "What a turn of 69 events (start, 3 statuses, 64 deltas, answer) keeps, indexes included"
SEARCHING: Final = "What a turn that searches a documentation of 705 kB keeps, indexes included"
DISK: Final = (
    "A disk whose flush takes 4 ms (ours: commit_delay = 4000; peer: the same server on the disk as it is)"
)
_STREAMS: Final = 64
# Files grow by several blocks at a time.
_TURNS: Final = 1_000
_FLUSH_MICROSECONDS: Final = 4_000
# After a signal from the postmaster, a process of PostgreSQL reads new settings before its next statement.
_RELOAD_SECONDS: Final = 0.3
_TABLES: Final = ("turn_event", "turn", "message", "citation", "conversation")
# A partition of the log is a table of its own.
_SIZES: Final = """SELECT coalesce(p.relname, c.relname), sum(pg_total_relation_size(c.oid))::bigint FROM pg_class AS c
    LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid LEFT JOIN pg_class AS p ON p.oid = i.inhparent
    WHERE c.relnamespace = 'responsa'::regnamespace AND c.relkind = 'r' AND coalesce(p.relname, c.relname) = ANY (%s) GROUP BY 1"""
_ROWS: Final = "SELECT count(*) FROM responsa.turn_event"
_COLLECTION: Final = "kept"


def measure_log(run: Run) -> list[Line]:
    """Measures how many rows the log has of a turn, and how much the tables grow over many turns."""
    number = run.pick(_TURNS, 200)
    lines: list[Line] = []
    with _superuser(run.place) as database:

        def kept(title: str, streams: int, ask: Callable[[], object]) -> None:
            run.say(f"log: {number} turns, {streams} streams")
            before, rows = _sizes(database), _count(database)
            ask()
            after = _sizes(database)
            grown = {table: (after[table] - before[table]) / number / 1000 for table in _TABLES}
            figures = {
                ("rows of the log", "rows"): (_count(database) - rows) / number,
                ("bytes", "kB"): sum(grown.values()),
                **{(f"bytes in {table}", "kB"): size for table, size in grown.items()},
            }
            lines.extend(
                Line.alone(title, f"{streams} streams: {what}", unit, [value], measured=number)
                for (what, unit), value in figures.items()
            )

        with peer(run.place, "bench.peers.durable", "--evidence", EvidenceKind.DELTAS) as target:
            for streams in (1, 16):
                kept(LOG, streams, lambda streams=streams: _ask(run, target, streams=streams, number=number))
        run.say("log: uploading the documentation")
        make_collection(run.place, _COLLECTION, max_tokens=None)
        take_in(run.place, _COLLECTION, [Text(name, name, text, ()) for name, text in pages().items()])
        fresh = questions(2)
        texts = [next(fresh) for _ in range(number)]
        job = Job(
            Call.ASK,
            Transport.GRPC,
            run.place.target,
            run.place.key,
            calls=number,
            texts=texts,
            collection=_COLLECTION,
            refusals=True,
        )
        kept(SEARCHING, 1, lambda: run.caller.do(job))
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
    url = EmbeddedPostgres(LocalLayout.of(at.home)).dsn("superuser")
    with psycopg.connect(url, autocommit=True) as database:
        yield database


def _sizes(database: psycopg.Connection) -> dict[str, int]:
    return dict(database.execute(_SIZES, (list(_TABLES),)).fetchall())


def _count(database: psycopg.Connection) -> int:
    row = database.execute(_ROWS).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _slow_flushes(database: psycopg.Connection) -> Generator[None]:
    """Delays every flush of the write-ahead log during the block. A flush then includes commits that arrive during the
    delay, as on a slow disk."""
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
