"""The guards of the product, and how to remove them. A replica runs without a guard if its SQL, or one of its parts, is
replaced with a version that lacks the guard.

By removing a guard, a campaign shows that it would find the faults that it looks for. The product itself cannot load this module.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final, cast
from uuid import UUID

from responsa_server.calls import frames
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Failed
from responsa_server.domain.people import Principal
from responsa_server.domain.runs import RunUpload
from responsa_server.domain.turns import Append, Followed, LogRow
from responsa_server.stores.postgres import database
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.turn_log import NamedQueries
from responsa_server.turns.following import Following
from responsa_server.turns.worker import RunOutcome, TurnRun
from responsa_server.turns.writer import TurnWriter
from tests.edited import Edited


class Guard(StrEnum):
    """A mechanism that keeps a promise of docs/architecture.md."""

    TAKEOVER = "takeover"
    """Workers claim turns whose lease has expired."""
    LOOKING = "looking"
    """Workers look for other workers that have ended."""
    PRESENCE = "presence"
    """A worker that holds its lock has not ended, even if it is silent."""
    EPOCH_CHECK = "epoch_check"
    """Only a worker with the current epoch can write."""
    REPEATABLE_WRITES = "repeatable_writes"
    """An append must continue exactly where the committed log ends, so an append that is sent twice is written once."""
    SUBSCRIBE_BEFORE_READ = "subscribe_before_read"
    """A follower subscribes, then reads the log, and reads it again if rows are missing."""
    OVERLAP_DROPPED = "overlap_dropped"
    """A follower yields an event only once, even if the event was both read and delivered."""
    COMMIT_BEFORE_VISIBLE = "commit_before_visible"
    """Readers receive only committed rows."""
    SYNCHRONOUS_COMMIT = "synchronous_commit"
    """A commit is on the disk before PostgreSQL reports it."""
    LEDGER = "ledger"
    """A later attempt knows the tool calls of earlier attempts."""
    ONE_TURN = "one_turn"
    """A request_id belongs to one turn."""
    POLL = "poll"
    """Followers read the log when they receive no hints."""
    CANCEL_LOCK = "cancel_lock"
    """A cancel locks the turn while it checks and writes."""
    HANDOVER = "handover"
    """A worker that stops leaves its turns to others."""
    TOGETHER = "together"
    """A run of a source publishes all changes of a subject in one transaction."""


_EDITS: Final[Mapping[Guard, Sequence[tuple[str, str, str]]]] = {
    Guard.TAKEOVER: (("claim_turns", "(state = 'pending' OR lease_until < now())", "state = 'pending'"),),
    Guard.LOOKING: (("other_workers", "FROM owners", "FROM owners WHERE false"),),
    Guard.PRESENCE: (
        (
            "other_workers",
            "pg_try_advisory_xact_lock(hashtextextended('responsa.worker ' || owner::text, 0))",
            "true",
        ),
    ),
    Guard.EPOCH_CHECK: (
        ("append_fence", "t.epoch = f.epoch AND ", ""),
        ("renew_leases", "t.epoch = f.epoch AND ", ""),
        ("finish_turns", "AND t.epoch = f.epoch ", ""),
    ),
    Guard.REPEATABLE_WRITES: (
        # This append continues at the end of the log without checking the expected position.
        ("append_fence", "t.last_seq = f.first - 1", "t.last_seq >= f.first - 1"),
        ("append_fence", "SELECT f.* FROM", "SELECT f.*, t.last_seq - f.first + 1 AS shift FROM"),
        ("append_fence", "held.last)", "CASE WHEN held.first = 0 THEN 0 ELSE held.last + held.shift END)"),
        ("append_fence", "RETURNING t.id,", "RETURNING held.shift, t.id,"),
        (
            "append_rows",
            "SELECT fenced.id, r.seq, r.last_seq,",
            "SELECT fenced.id, r.seq + fenced.shift, r.last_seq + fenced.shift,",
        ),
    ),
    Guard.LEDGER: (("tools", "WHERE turn_id", "WHERE false AND turn_id"),),
    Guard.ONE_TURN: (
        ("accept_turn", "%(request_id)s::uuid", "nullif(%(request_id)s::uuid, %(request_id)s::uuid)"),
        ("find_accepted", "OR request_id = %(request_id)s", "OR (false AND request_id = %(request_id)s)"),
        ("find_request", "AND request_id = %(request_id)s", "AND false AND request_id = %(request_id)s"),
    ),
    Guard.POLL: (
        # The result still contains the turn, but no new rows and no end. If the turn were missing, readers would assume that
        # the turn was deleted, and would check.
        ("poll", "CASE WHEN t.terminal IS NULL THEN NULL ELSE t.last_seq END", "NULL::bigint"),
        ("poll", "WHERE t.last_seq > c.after AND", "WHERE false AND"),
    ),
    Guard.CANCEL_LOCK: (
        ("hold_conversation", "FOR NO KEY UPDATE", ""),
        # The statement sees the data of the moment when it began. The pause lets the turn change after that moment.
        ("lock_turn", "FROM responsa.turn WHERE", "FROM responsa.turn, pg_sleep(0.2) WHERE"),
        ("lock_turn", "FOR NO KEY UPDATE", ""),
        ("end_turn", "AND terminal IS NULL", ""),
    ),
}


def without(guards: Sequence[Guard]) -> NamedQueries | None:
    """The turn store's SQL without these guards; None if the SQL is unchanged. To remove a guard that is not SQL, this
    function changes the current process.
    """
    for guard in guards:
        change = _CHANGES.get(guard)
        assert change is not None or guard in _EDITS, f"nobody knows how to take {guard} out"
        if change is not None:
            change()
    edits = [edit for guard in guards for edit in _EDITS.get(guard, ())]
    return Edited(*edits) if edits else None


# Parts without their guards.


async def _delivered(mine: Any) -> AsyncGenerator[LogRow, None]:
    """The rows of a subscription, up to the turn's end. This version does not read missed rows from the log."""
    while True:
        ended = mine.ended
        for row in mine.take():
            yield row
        if ended:
            return
        mine.behind = mine.beat = False
        await mine.wait()


async def _read_then_subscribe(
    self: Following, caller: Principal, turn_id: UUID, after_seq: int
) -> AsyncGenerator[Followed, None]:
    """Reads the log and then subscribes, so it misses the rows that are written in between."""
    parts = cast("Any", self)
    cursor = after_seq
    end_seq: int | None = None
    while True:
        backlog = await parts._store.backlog(caller, turn_id, cursor, 32)
        for row in backlog.rows:
            yield row
            cursor = row.last_seq
        end_seq = backlog.end_seq
        if len(backlog.rows) < 32:
            break
    if end_seq is not None:
        return
    with parts._hub.subscribe(turn_id, caller, cursor) as mine:
        mine.behind = False
        mine.take()
        parts._hub.read(turn_id, cursor, 0)
        async with aclosing(_delivered(mine)) as rows:
            async for row in rows:
                yield row


async def _all_that_comes(
    self: Following, caller: Principal, turn_id: UUID, after_seq: int
) -> AsyncGenerator[Followed, None]:
    """Sends both the rows that it reads and the rows that are delivered, without removing duplicates."""
    parts = cast("Any", self)
    with parts._hub.subscribe(turn_id, caller, 0) as mine:
        mine.behind = False
        backlog = await parts._store.backlog(caller, turn_id, after_seq, 1000)
        for row in backlog.rows:
            yield row
        if backlog.end_seq is not None:
            return
        parts._hub.read(turn_id, backlog.last_seq, 0)
        async with aclosing(_delivered(mine)) as rows:
            async for row in rows:
                yield row


async def _as_they_come(
    turn_id: UUID, rows: AsyncIterator[Followed], *, include_deltas: bool, after_seq: int = 0
) -> AsyncIterator[bytes]:
    """Sends rows without checking that they are contiguous."""
    sent = after_seq
    async for row in rows:
        if not isinstance(row, LogRow) or (row.deltas and not include_deltas):
            continue
        yield frames.after(row.frame, sent)
        sent = row.last_seq
    del turn_id


_take = TurnWriter.take


def _shown_before_commit(self: TurnWriter) -> Append | None:
    """Publishes rows before their commit."""
    append = _take(self)
    if append is not None and append.rows:
        cast("Any", self)._owner.publish(append.rows, words=append.words, ended=False)
    return append


async def _ended_instead(self: TurnRun) -> RunOutcome:
    """Ends a turn that should be left to another worker."""
    error = Unavailable(Reason.WORKER_LOST, "The server was shut down; ask again.", {"turn": ""})
    await cast("Any", self)._finish(Failed(error, retriable=True))
    return RunOutcome.ENDED


def _change(*changes: tuple[object, str, object]) -> Callable[[], None]:
    """A function that replaces parts. Each change consists of the part's owner, the name of the attribute, and the new part."""
    for owner, name, _ in changes:
        assert hasattr(owner, name), f"{owner} has no {name} any more"

    def change() -> None:
        for owner, name, part in changes:
            setattr(owner, name, part)

    return change


_note = DocumentStore._note


async def _apart(self: DocumentStore, connection: Any, run: RunUpload, operation: Any) -> None:
    """Stores a document of a run as if it were the only one of its subject."""
    await _note(self, connection, replace(run, together=False), operation)


def _relaxed() -> None:
    for name in ("_APP", "_TURNS", "_LOG", "_WRITER"):
        setattr(database, name, f"{getattr(database, name)} -c synchronous_commit=off")


_CHANGES: Final[Mapping[Guard, Callable[[], None]]] = {
    # The next two guards each exist in two places: where rows leave the hub, and where frames are sent. Each place catches
    # errors that pass the other place, so both places are replaced.
    Guard.SUBSCRIBE_BEFORE_READ: _change(
        (Following, "follow", _read_then_subscribe), (frames, "stream", _as_they_come)
    ),
    Guard.OVERLAP_DROPPED: _change((Following, "follow", _all_that_comes), (frames, "stream", _as_they_come)),
    Guard.COMMIT_BEFORE_VISIBLE: _change((TurnWriter, "take", _shown_before_commit)),
    Guard.SYNCHRONOUS_COMMIT: _relaxed,
    Guard.HANDOVER: _change((TurnRun, "_flush_before_release", _ended_instead)),
    Guard.TOGETHER: _change((DocumentStore, "_note", _apart)),
}
