"""Checks in a campaign's database. Each check has the name of a promise in docs/architecture.md.

The checks do not use the product's code. They read rows directly, and they know frames only from the contract.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from google.protobuf.message import DecodeError
from psycopg.rows import dict_row

from responsa.chat.v1 import turn_pb2
from tests.faults.golden import Differs, Event, Reading, events_of, is_terminal, kind, read

Row = dict[str, Any]
OPEN = ("queued", "pending", "running")
WITH_MESSAGES = ("answered", "refused")
STATE_OF = {"answer": "answered", "refused": "refused", "failed": "failed", "cancelled": "cancelled"}
WITNESS = Path(__file__).with_name("witness.sql")


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant: its name, the turn, and what is wrong."""

    invariant: str
    turn: str
    detail: str


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn as it is stored in the database."""

    row: Row
    events: Sequence[Event]
    reading: Reading

    @property
    def outcome(self) -> str:
        """The turn's state."""
        return str(self.row["state"])


class Ledger:
    """Reads a campaign's database: all turns of the campaign's tenant."""

    def __init__(self, dsn: str, tenant: str) -> None:
        """dsn: the connection string of a role that sees all rows."""
        self._dsn = dsn
        self._tenant = tenant
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None

    def close(self) -> None:
        """Close the ledger's connection. The next check opens another one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _rows(self, query: str, *parameters: object) -> list[Row]:
        with self._lock:
            try:
                return self._ask(query, parameters)
            except psycopg.OperationalError:
                # PostgreSQL may have restarted since the last read. Therefore this is an error only if a new
                # connection fails too.
                self._connection = None
                return self._ask(query, parameters)

    def _ask(self, query: str, parameters: Sequence[object]) -> list[Row]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._dsn, autocommit=True)
        cursor = self._connection.cursor(row_factory=dict_row).execute(query.encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    def open_turns(self) -> int:
        """The number of turns that have not ended."""
        (row,) = self._rows(
            "SELECT count(*) AS n FROM responsa.turn WHERE tenant_id = %s AND terminal IS NULL", self._tenant
        )
        return int(row["n"])

    def turns(self) -> Mapping[UUID, StoredTurn]:
        """All turns with their logs. If a log is damaged, only its readable part is returned. To check the turns, use `check`."""
        with self._snapshot():
            kept, _ = self._kept()
        return kept

    @contextmanager
    def _snapshot(self) -> Generator[None]:
        """All reads in the block see the same snapshot."""
        with self._lock:
            self._rows("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            try:
                yield
            finally:
                if self._connection is not None and not self._connection.closed:
                    self._connection.execute("ROLLBACK")

    def _kept(self) -> tuple[Mapping[UUID, StoredTurn], Sequence[Violation]]:
        frames: dict[UUID, list[Row]] = defaultdict(list)
        for row in self._rows(
            "SELECT turn_id, seq, e.last_seq, deltas, frame FROM responsa.turn AS t JOIN responsa.turn_event AS e ON e.turn_id = t.id"
            " WHERE t.tenant_id = %s ORDER BY turn_id, seq",
            self._tenant,
        ):
            frames[row["turn_id"]].append(row)
        kept: dict[UUID, StoredTurn] = {}
        violations: list[Violation] = []
        for row in self._rows("SELECT * FROM responsa.turn WHERE tenant_id = %s", self._tenant):
            identity: UUID = row["id"]
            events: Sequence[Event] = ()
            reading = Reading()
            try:
                events = events_of(bytes(one["frame"]) for one in frames[identity])
                _shape(row, frames[identity], events)
                if row["terminal"] is not None:  # the turn keeps it, and its log does not
                    events = [*events, Event.FromString(bytes(row["terminal"]))]
                reading = read(events)
            except (Differs, DecodeError) as error:
                violations.append(Violation("contiguous", str(identity), str(error)))
            kept[identity] = StoredTurn(row, events, reading)
        return kept, violations

    def leases_ran_out(self) -> int:
        """The number of running turns whose lease has expired."""
        (row,) = self._rows(
            "SELECT count(*) AS n FROM responsa.turn WHERE tenant_id = %s AND state = 'running' AND lease_until < now()",
            self._tenant,
        )
        return int(row["n"])

    def held_by(self, writer: str) -> frozenset[str]:
        """The running turns whose last claim was by this replica."""
        rows = self._rows(
            "SELECT t.id FROM responsa.turn AS t JOIN witness.held AS h ON h.turn_id = t.id AND h.epoch = t.epoch"
            " WHERE t.tenant_id = %s AND t.state = 'running' AND h.writer = %s",
            self._tenant,
            writer,
        )
        return frozenset(str(row["id"]) for row in rows)

    def latencies(self, seen: Iterable[tuple[str, Mapping[int, float]]]) -> Sequence[float]:
        """The seconds from the commit of each event until a reader received the event. seen: for each reader, the turn,
        and the arrival time (time.time()) of each event by seq.

        Only the first event of each row is measured.
        """
        rows = self._rows(
            "SELECT w.turn_id, w.seq, w.at FROM witness.wrote AS w JOIN responsa.turn AS t ON t.id = w.turn_id AND t.tenant_id = %s"
            " WHERE w.what = 'event'",
            self._tenant,
        )
        written: dict[str, dict[int, float]] = defaultdict(dict)
        for row in rows:
            written[f"turns/{row['turn_id']}"][row["seq"]] = row["at"].timestamp()
        return [
            max(0.0, at - written[turn][seq])
            for turn, arrivals in seen
            for seq, at in arrivals.items()
            if seq in written[turn]
        ]

    def takeovers(self, ends: Mapping[str, float]) -> Sequence[float]:
        """For each turn that a replica held when the replica ended, the seconds until another replica claimed the turn. ends: the time
        (time.time()) of each replica's end, by the replica's name.
        """
        rows = self._rows(
            "SELECT h.writer, n.at FROM witness.held AS h JOIN responsa.turn AS t ON t.id = h.turn_id AND t.tenant_id = %s"
            " JOIN witness.held AS n ON n.turn_id = h.turn_id AND n.epoch = h.epoch + 1 WHERE h.writer = ANY(%s)",
            self._tenant,
            list(ends),
        )
        waits = [row["at"].timestamp() - ends[row["writer"]] for row in rows]
        return [wait for wait in waits if wait > 0]

    def check(self, *, ended: bool = True) -> Sequence[Violation]:
        """Check all invariants that are visible in the database. ended: whether every turn must have ended by now."""
        with self._snapshot():
            kept, found = self._kept()
            return [
                *found,
                *_one_end(kept, ended=ended),
                *self._messages(kept),
                *self._one_turn(),
                *self._one_writer(kept),
                *self._one_call(kept),
            ]

    def _messages(self, kept: Mapping[UUID, StoredTurn]) -> Iterable[Violation]:
        spoken: dict[UUID, list[Row]] = defaultdict(list)
        for row in self._rows(
            "SELECT turn_id, conversation_id, speaker, content, refusal FROM responsa.message WHERE tenant_id = %s ORDER BY id",
            self._tenant,
        ):
            spoken[row["turn_id"]].append(row)
        for identity, rows in spoken.items():
            if identity not in kept:
                yield Violation("messages", str(identity), "messages without a turn")
                continue
            speakers = [row["speaker"] for row in rows]
            if kept[identity].outcome not in WITH_MESSAGES or speakers != ["user", "assistant"]:
                yield Violation(
                    "messages", str(identity), f"{kept[identity].outcome}, with messages of {speakers}"
                )
        for identity, turn in kept.items():
            if turn.outcome not in WITH_MESSAGES:
                continue
            rows, end = spoken.get(identity, []), turn.reading.terminal
            # A turn that is stopped because its user lost access adds nothing to the conversation.
            stopped = end is not None and end.refused.reason == turn_pb2.REFUSAL_REASON_NOT_PERMITTED
            if stopped and not rows:
                continue
            if not rows:
                yield Violation("messages", str(identity), f"{turn.outcome}, without messages")
            elif turn.reading.terminal is not None and turn.outcome == "answered":
                told = turn.reading.terminal.answer.text
                if rows[-1]["content"] != told:
                    yield Violation("messages", str(identity), "the message is not the answer")

    def _one_turn(self) -> Iterable[Violation]:
        for row in self._rows(
            "SELECT request_id, count(*) AS n FROM responsa.turn WHERE tenant_id = %s AND request_id IS NOT NULL"
            " GROUP BY user_id, request_id HAVING count(*) > 1",
            self._tenant,
        ):
            yield Violation("one_turn", "", f"{row['n']} turns of the request_id {row['request_id']}")
        for row in self._rows(
            "SELECT conversation_id, count(*) AS n FROM responsa.turn WHERE tenant_id = %s AND state IN ('pending', 'running')"
            " GROUP BY 1 HAVING count(*) > 1",
            self._tenant,
        ):
            yield Violation(
                "one_turn", "", f"{row['n']} turns at work in the conversation {row['conversation_id']}"
            )

    def _one_writer(self, kept: Mapping[UUID, StoredTurn]) -> Iterable[Violation]:
        if not self._rows("SELECT 1 FROM pg_namespace WHERE nspname = 'witness'"):
            return
        rows = self._rows(
            "SELECT w.turn_id, w.what, w.seq, w.epoch, w.claimed, w.writer, h.writer AS holder FROM witness.wrote AS w"
            " JOIN responsa.turn AS t ON t.id = w.turn_id AND t.tenant_id = %s"
            " LEFT JOIN LATERAL (SELECT writer FROM witness.held AS h WHERE h.turn_id = w.turn_id AND h.epoch = w.epoch"
            " AND h.moment < w.moment ORDER BY h.moment DESC LIMIT 1) AS h ON true"
            " WHERE w.writer IS DISTINCT FROM h.writer OR (w.claimed IS NOT NULL AND w.claimed <> w.epoch)",
            self._tenant,
        )
        for row in rows:
            if row["turn_id"] in kept:
                where = f"{row['what']} {row['seq'] or ''}".strip()
                yield Violation(
                    "one_writer",
                    str(row["turn_id"]),
                    f"{where} was written by {row['writer']} (epoch {row['claimed']}) under epoch {row['epoch']} of {row['holder']}",
                )

    def _one_call(self, kept: Mapping[UUID, StoredTurn]) -> Iterable[Violation]:
        """Check that the table of tool calls and the log agree about each call."""
        ledger: dict[UUID, dict[str, str]] = defaultdict(dict)
        for row in self._rows(
            "SELECT turn_id, call_id, coalesce(outcome, '') AS outcome FROM responsa.turn AS t JOIN "
            "responsa.turn_tool AS c ON c.turn_id = t.id"
            " WHERE t.tenant_id = %s",
            self._tenant,
        ):
            ledger[row["turn_id"]][row["call_id"]] = row["outcome"]
        for identity, turn in kept.items():
            if turn.reading.calls != ledger.get(identity, {}):
                yield Violation(
                    "one_call",
                    str(identity),
                    f"the log tells of {turn.reading.calls}, the ledger has {ledger.get(identity, {})}",
                )


def _shape(turn: Row, rows: Sequence[Row], events: Sequence[Event]) -> None:
    """Check that the rows, and the last seq of the turn, agree with the events in the rows."""
    through = 0
    numbers = iter(events)
    for row in rows:
        if row["seq"] != through + 1:
            raise Differs(f"the row of {row['seq']} comes after {through}")
        inside = [next(numbers) for _ in range(row["last_seq"] - row["seq"] + 1)]
        if [one.seq for one in inside] != [*range(row["seq"], row["last_seq"] + 1)]:
            raise Differs(f"the row {row['seq']}…{row['last_seq']} holds {[one.seq for one in inside]}")
        if all(kind(one) == "delta" for one in inside) != row["deltas"]:
            raise Differs(f"the row {row['seq']} says wrongly whether it has only deltas")
        if any(map(is_terminal, inside)):
            raise Differs(f"the row {row['seq']} has a terminal event")
        through = row["last_seq"]
    if turn["last_seq"] != through + (turn["terminal"] is not None):
        raise Differs(f"the turn says {turn['last_seq']}, its log ends at {through}")


def _one_end(kept: Mapping[UUID, StoredTurn], *, ended: bool) -> Iterable[Violation]:
    for identity, turn in kept.items():
        last = turn.events[-1] if turn.events else None
        if turn.outcome in OPEN:
            if ended:
                yield Violation(
                    "one_end", str(identity), f"still {turn.outcome}, attempt {turn.row['attempt']}"
                )
            continue
        if last is None or not is_terminal(last):
            yield Violation(
                "one_end",
                str(identity),
                f"{turn.outcome}, but its log ends in {kind(last) if last else 'nothing'}",
            )
        elif STATE_OF[kind(last)] != turn.outcome:
            yield Violation("one_end", str(identity), f"{turn.outcome}, but its log ends in {kind(last)}")


def witness(dsn: str) -> None:
    """Install triggers that record which replica writes which rows of a database. dsn: the connection string of the
    database's superuser."""
    with psycopg.connect(dsn) as connection:
        connection.execute(WITNESS.read_bytes())
