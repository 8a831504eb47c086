from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.ports.turns import Claim, Conclusion, TurnLost
from responsa_server.domain.turns import (
    Delta,
    Event,
    LogRow,
    RefusalReason,
    Refused,
    Status,
    Step,
    TurnState,
    Usage,
)
from responsa_server.turns.writer import TurnWriter
from tests.plain_codec import PlainCodec, events_of

END = Refused(RefusalReason.NO_SUPPORT, "Nothing.", Usage())
STATUS = Status(Step.GRADING, "…")


class ScriptedLog:
    """A log whose commits wait for the test. Checks that rows are contiguous and that only one write is under way."""

    def __init__(self, *, open_: bool = True) -> None:
        self.rows: list[LogRow] = []
        self.visible: list[LogRow] = []
        self.conclusions: list[Conclusion] = []
        self.renewals = 0
        self.renewed = asyncio.Event()
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.busy = False
        self.failures: list[Exception] = []
        if open_:
            self.gate.set()

    async def _commit(self, rows: Sequence[LogRow]) -> None:
        assert not self.busy
        self.busy = True
        self.entered.set()
        try:
            await self.gate.wait()
            if self.failures:
                raise self.failures.pop(0)
            last = self.rows[-1].last_seq if self.rows else 1
            assert rows[0].first_seq == last + 1
            self.rows.extend(rows)
        finally:
            self.busy = False

    async def append(self, claim: Claim, rows: Sequence[LogRow]) -> None:
        await self._commit(rows)

    async def renew(self, claim: Claim) -> None:
        self.renewals += 1
        self.renewed.set()

    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> None:
        await self._commit(rows)
        self.conclusions.append(conclusion)

    def publish(self, rows: Sequence[LogRow], ended: bool) -> None:
        self.visible.extend(rows)
        assert self.visible == self.rows  # committed before it is visible
        assert ended == bool(self.conclusions)


def writer_on(log: ScriptedLog, *, lease_seconds: float = 60.0) -> TurnWriter:
    claim = Claim(uuid7(), "acme", 1, lease_seconds)
    return TurnWriter(log, PlainCodec(), lambda: datetime.now(UTC), claim, 1, log.publish)


def concluded(encoded: bytes) -> Conclusion:
    return Conclusion(TurnState.REFUSED, encoded, Usage())


async def test_an_idle_writer_commits_at_once() -> None:
    log = ScriptedLog()
    writer = writer_on(log)
    await writer.put(STATUS)
    await log.entered.wait()
    await writer.finish(END, concluded)
    assert [(one.first_seq, one.last_seq) for one in log.visible] == [(2, 2), (3, 3)]


async def test_what_comes_during_a_commit_is_gathered_and_neighbouring_deltas_become_one() -> None:
    log = ScriptedLog(open_=False)
    writer = writer_on(log)
    await writer.put(Delta("a", 0))
    await log.entered.wait()
    for event in (Delta("b", 1), Delta("c", 2), STATUS, Delta("d", 3)):
        await writer.put(event)
    assert log.visible == []
    log.gate.set()
    await writer.finish(END, concluded)
    assert [(row.first_seq, row.last_seq, row.deltas) for row in log.rows] == [
        (2, 2, True),
        (3, 3, True),
        (4, 4, False),
        (5, 5, True),
        (6, 6, False),
    ]
    assert [one.get("text") for one in events_of(log.rows)] == ["a", "bc", None, "d", None]


async def test_deltas_stay_as_they_are_while_the_writer_keeps_up() -> None:
    log = ScriptedLog()
    writer = writer_on(log)
    for place in range(3):
        await writer.put(Delta("x", place))
    await writer.finish(END, concluded)
    assert [one["kind"] for one in events_of(log.rows)] == ["delta", "delta", "delta", "refused"]


async def test_a_write_is_repeated_until_it_comes_through() -> None:
    log = ScriptedLog()
    log.failures = [Unavailable(Reason.PART_UNAVAILABLE, "away") for _ in range(3)]
    writer = writer_on(log)
    await writer.put(STATUS)
    await writer.finish(END, concluded)
    assert [one["seq"] for one in events_of(log.rows)] == [2, 3]


async def test_who_lost_the_turn_is_stopped() -> None:
    log = ScriptedLog()
    log.failures = [TurnLost()]
    writer = writer_on(log)
    await writer.put(STATUS)
    with pytest.raises(TurnLost):
        await writer.task
    with pytest.raises(TurnLost):
        await writer.put(STATUS)
    with pytest.raises(TurnLost):
        await writer.finish(END, concluded)
    assert log.rows == []


async def test_the_lease_is_renewed_while_nothing_happens() -> None:
    log = ScriptedLog()
    writer = writer_on(log, lease_seconds=0.03)
    for _ in range(3):
        log.renewed.clear()
        await log.renewed.wait()
    await writer.finish(END, concluded)
    assert log.renewals >= 3


async def test_who_writes_faster_than_commits_come_through_has_to_wait() -> None:
    log = ScriptedLog(open_=False)
    writer = writer_on(log)

    async def pour() -> None:
        for _ in range(300):
            await writer.put(STATUS)

    pouring = asyncio.create_task(pour())
    await log.entered.wait()
    assert not pouring.done()
    log.gate.set()
    await pouring
    await writer.finish(END, concluded)
    assert len(events_of(log.rows)) == 301


async def test_another_end_can_be_written_when_the_first_could_not_be_stored() -> None:
    log = ScriptedLog()
    writer = writer_on(log)
    await writer.put(STATUS)
    await log.entered.wait()
    log.failures = [ValueError("not storable")]
    with pytest.raises(ValueError, match="not storable"):
        await writer.finish(END, concluded)
    await writer.finish(END, concluded)
    assert [one["kind"] for one in events_of(log.rows)] == ["status", "refused"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60), st.integers(0, 3))
async def test_the_log_is_contiguous_and_the_text_whole_whatever_the_rhythm(
    steps: list[tuple[bool, int]], closed_for: int
) -> None:
    log = ScriptedLog(open_=closed_for == 0)
    writer = writer_on(log)
    text = ""
    for place, (delta, pause) in enumerate(steps):
        event: Event = Delta(f"{place};", len(text)) if delta else STATUS
        text += f"{place};" if delta else ""
        await writer.put(event)
        for _ in range(pause):
            await asyncio.sleep(0)
        if place % 5 == closed_for:
            log.gate.set()
    log.gate.set()
    await writer.finish(END, concluded)
    events = events_of(log.visible)
    assert [one["seq"] for one in events] == list(range(2, len(events) + 2))
    assert "".join(one["text"] for one in events if one["kind"] == "delta") == text
    assert events[-1]["kind"] == "refused"
    offset = 0
    for one in events:
        if one["kind"] == "delta":
            assert one["offset"] == offset
            offset += len(one["text"])
