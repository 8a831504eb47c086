"""The rows that turns buffer, and the single writer that commits the rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from responsa_server.domain.agents import AgentEvent, Barrier, Meter, Milestone, Withdrawal
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    MAX_DELTA_BYTES,
    Delta,
    RefusalReason,
    Refused,
    Status,
    Step,
    ToolCalled,
    ToolOutcome,
    ToolReturned,
    Usage,
)
from responsa_server.domain.turns import Append, Claim, Conclusion, LogRow, TurnLost, TurnState, TurnStore
from responsa_server.turns import writer as module
from responsa_server.turns.runtime import Runtime
from responsa_server.turns.settings import TurnOptions
from responsa_server.turns.writer import MAX_EVENT_BYTES, EventTooLarge, LogWriter, Start, TurnWriter, window
from tests.instance import PATIENCE
from tests.plain_codec import PlainCodec, events_of
from tests.raising import raises

END = Refused(RefusalReason.NO_SUPPORT, "Nothing.", Usage())
STATUS = Status(Step.GRADING, "…")
TEXT = Delta("text", 0)
AWAY = Unavailable(Reason.PART_UNAVAILABLE, "away")


class ScriptedLog:
    """A log whose commits wait until the test allows them. It checks that rows are contiguous and that at most one append runs."""

    def __init__(self, *, open_: bool = True) -> None:
        self.rows: dict[UUID, list[LogRow]] = {}
        self.appends: list[list[Append]] = []
        self.conclusions: list[Conclusion] = []
        self.renewed = asyncio.Event()
        self.lost: list[UUID] = []
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.busy = False
        self.failures: list[Exception] = []
        self.left_out: list[Mapping[UUID, TurnLost | Unavailable]] = []
        if open_:
            self.gate.set()

    def _add(self, turn_id: UUID, rows: Sequence[LogRow]) -> None:
        log = self.rows.setdefault(turn_id, [])
        if rows:
            assert rows[0].first_seq == (log[-1].last_seq if log else 1) + 1
        log.extend(rows)

    async def append(self, batch: Sequence[Append]) -> Mapping[UUID, TurnLost | Unavailable]:
        assert not self.busy
        assert [one.claim.turn_id for one in batch] == sorted({one.claim.turn_id for one in batch})
        self.busy = True
        self.entered.set()
        try:
            await self.gate.wait()
            if self.failures:
                raise self.failures.pop(0)
            left_out: Mapping[UUID, TurnLost | Unavailable] = self.left_out.pop(0) if self.left_out else {}
            for one in batch:
                if one.claim.turn_id not in left_out:
                    self._add(one.claim.turn_id, one.rows)
            self.appends.append(list(batch))
            return left_out
        finally:
            self.busy = False

    async def renew(self, claims: Sequence[Claim]) -> Sequence[UUID]:
        self.renewed.set()
        return self.lost

    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        if self.failures:
            raise self.failures.pop(0)
        self._add(claim.turn_id, rows)
        self.conclusions.append(conclusion)
        return False


@dataclass
class One:
    """A turn's writer, the rows that it has published, and its error."""

    log: ScriptedLog
    meter: Meter
    turn_id: UUID
    visible: list[LogRow] = field(default_factory=list[LogRow])
    failed: list[Exception] = field(default_factory=list[Exception])
    waited_for: bool = True
    writer: TurnWriter = field(init=False)

    @property
    def usage(self) -> Usage:
        return self.meter.usage

    def publish(self, rows: Sequence[LogRow], *, words: bool, ended: bool) -> None:
        self.visible.extend(rows)
        assert self.visible == self.log.rows[self.turn_id]  # rows are committed before followers can see them
        assert ended == bool(self.log.conclusions)

    def fail(self, reason: Exception) -> None:
        self.failed.append(reason)

    def put(self, *events: AgentEvent) -> None:
        for one in events:
            self.writer.put(one)

    async def finish(self) -> list[dict[str, object]]:
        await self.writer.finish(END, concluded, self.log.finish)
        return events_of(self.visible)


def concluded(encoded: bytes) -> Conclusion:
    return Conclusion(TurnState.REFUSED, encoded, Usage())


@asynccontextmanager
async def writing(log: ScriptedLog, *, lease_seconds: float = 60.0) -> AsyncGenerator[Callable[..., One]]:
    runtime = Runtime(uuid7, PlainCodec(), TurnOptions(lease_seconds=lease_seconds))
    process = LogWriter(cast("TurnStore", log), runtime)
    process.start()

    def begin(*, accepted: bool = True, text_bytes: int = 0) -> One:
        claim = Claim(uuid7(), "acme", 1, lease_seconds)
        one = One(log, Meter(), claim.turn_id)
        one.writer = TurnWriter(process, one, claim, Start(1, 1, text_bytes), runtime)
        if accepted:
            one.writer.begin()
        return one

    try:
        yield begin
    finally:
        await process.close()


@asynccontextmanager
async def writing_one(*, open_: bool = True) -> AsyncGenerator[tuple[ScriptedLog, One]]:
    log = ScriptedLog(open_=open_)
    async with writing(log) as begin:
        yield log, begin()


async def test_an_idle_writer_commits_at_once() -> None:
    async with writing_one() as (_, turn):
        turn.put(STATUS)
        await turn.writer.flush()
        assert [row.last_seq for row in turn.visible] == [2]
        await turn.finish()
    assert [(row.first_seq, row.last_seq) for row in turn.visible] == [(2, 2), (3, 3)]


async def test_text_is_gathered_while_no_follower_waits_for_it_and_the_first_never_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_GATHERING_SECONDS", PATIENCE)
    async with writing_one() as (log, turn):
        turn.waited_for = False
        turn.put(Delta("a", 0))
        await turn.writer.flush()
        for place in range(1, 9):
            turn.put(Delta("x", place))
            for _ in range(20):  # the writer's task could have taken each of them
                await asyncio.sleep(0)
        assert [row.last_seq for row in turn.visible] == [2]
        passed = Barrier()
        turn.put(passed)
        await passed.passed.wait()
        assert [row.last_seq for row in turn.visible] == [2, 10]
        turn.put(Delta("y", 9))
        await turn.finish()
    assert [(row.first_seq, row.last_seq) for row in turn.visible] == [(2, 2), (3, 10), (11, 11), (12, 12)]
    assert len(log.appends) == 2


async def test_statuses_wait_for_company_but_no_barrier_waits_for_them() -> None:
    async with writing_one() as (log, turn):
        turn.put(STATUS, STATUS)
        await asyncio.sleep(0)  # the process's writer runs, and has nothing
        assert not log.appends
        turn.put(TEXT)
        await turn.writer.flush()
        assert len(log.appends) == 1
        barrier = Barrier()
        turn.put(STATUS, barrier)
        await barrier.passed.wait()
        # The time alone lets this one be written.
        log.entered.clear()
        turn.put(STATUS)
        await log.entered.wait()
        await turn.finish()


async def test_a_turn_that_is_being_accepted_writes_nothing_before() -> None:
    log = ScriptedLog()
    async with writing(log) as begin:
        turn = begin(accepted=False)
        turn.put(STATUS, Delta("a", 0), Delta("b", 1))
        ending = asyncio.ensure_future(turn.finish())
        for _ in range(20):
            await asyncio.sleep(0)
        assert (log.rows, ending.done()) == ({}, False)
        turn.writer.begin()
        events = await ending
    assert (log.appends, [event["seq"] for event in events]) == ([], [2, 3, 4, 5])


async def test_what_comes_during_a_commit_is_gathered_and_neighbouring_deltas_become_one() -> None:
    async with writing_one(open_=False) as (log, turn):
        turn.put(Delta("a", 0))
        await log.entered.wait()
        turn.put(Delta("b", 1), Delta("c", 2), STATUS, Delta("d", 3))
        assert turn.visible == []
        log.gate.set()
        events = await turn.finish()
    assert [(row.first_seq, row.last_seq, row.deltas) for row in turn.visible] == [
        (2, 2, True),
        (3, 5, False),
        (6, 6, False),
    ]
    assert [event.get("text") for event in events] == ["a", "bc", None, "d", None]


async def test_turns_share_commits() -> None:
    log = ScriptedLog(open_=False)
    async with writing(log) as begin:
        first, *others = [begin() for _ in range(6)]
        first.put(TEXT)
        await log.entered.wait()
        for other in others:
            other.put(TEXT)
        log.gate.set()
        for other in others:
            await other.writer.flush()
    assert [len(batch) for batch in log.appends] == [1, 5]


async def test_a_checkpoint_is_committed_with_the_events_before_it_and_keeps_its_number() -> None:
    async with writing_one(open_=False) as (log, turn):
        turn.put(STATUS)
        await log.entered.wait()
        turn.put(Delta("é", 0))
        turn.meter.add(Usage(1, 2, 3))
        turn.put(Milestone(b"first"), Delta("b", 2), Milestone(b"second"), Delta("c", 3), Delta("d", 4))
        log.gate.set()
        await turn.writer.flush()
        turn.put(Milestone(b"third"))  # this writes only a checkpoint and no rows
        await turn.writer.flush()
        booked = turn.writer.booked
        events = await turn.finish()
    checkpoints = [append.checkpoint for batch in log.appends for append in batch]
    assert [
        (kept.last_seq, kept.text_bytes, kept.usage, kept.state) for kept in checkpoints if kept is not None
    ] == [(4, 3, Usage(1, 2, 3), b"second"), (5, 5, Usage(1, 2, 3), b"third")]
    assert booked == Usage(1, 2, 3)
    assert [event.get("text") for event in events] == [None, "é", "b", "cd", None]


async def test_a_withdrawal_takes_back_whole_deltas_and_begins_an_attempt() -> None:
    async with writing_one(open_=False) as (log, turn):
        turn.put(Delta("Grüße", 0))
        await log.entered.wait()
        turn.put(Delta(" an", 7), Delta(" alle", 10), Withdrawal("Grüße an a"), Delta("nna.", 12))
        log.gate.set()
        await turn.writer.flush()
        turn.put(Withdrawal("Grüße an anna."), Withdrawal("Grüße"), Delta("!", 7))
        events = await turn.finish()
    assert [(event["seq"], event["attempt"], event.get("text")) for event in events] == [
        (2, 1, "Grüße"),
        (3, 1, " an alle"),
        (4, 2, None),
        (5, 2, " an anna."),
        (6, 3, None),
        (7, 3, "!"),
        (8, 3, None),
    ]
    restarts = [event for event in events if event["kind"] == "restarted"]
    assert [(event["from"], event["keep"]) for event in restarts] == [(3, 7), (5, 7)]
    assert [append.attempt for batch in log.appends for append in batch] == [0, 2]


async def test_the_text_of_earlier_attempts_is_withdrawn_with_its_milestone() -> None:
    log = ScriptedLog()
    async with writing(log) as begin:
        turn = begin(text_bytes=4)
        turn.put(Withdrawal(""), Milestone(b"before"), TEXT)
        await turn.writer.flush()
        events = await turn.finish()
    assert [(event["kind"], event.get("from"), event.get("keep")) for event in events[:2]] == [
        ("restarted", 2, 0),
        ("delta", None, None),
    ]
    ((append,),) = log.appends
    assert append.checkpoint is not None
    assert (append.checkpoint.last_seq, append.checkpoint.text_bytes) == (2, 0)


async def test_a_barrier_passes_when_all_before_it_is_committed() -> None:
    async with writing_one(open_=False) as (log, turn):
        before, during, after = Barrier(), Barrier(), Barrier()
        turn.put(before)
        assert before.passed.is_set()  # no event preceded the barrier
        call = ToolCalled("c", "tools/mail", {"to": "ann"})
        turn.put(STATUS)
        await log.entered.wait()
        turn.put(during, call, after)
        assert not during.passed.is_set()
        log.gate.set()
        await after.passed.wait()
        assert during.passed.is_set()
        assert log.appends[-1][0].tools == [call]


async def test_the_ledger_is_written_before_the_end() -> None:
    async with writing_one() as (log, turn):
        returned = ToolReturned("c", ToolOutcome.OK, "done")
        turn.put(returned)
        await turn.finish()
    assert [append.tools for batch in log.appends for append in batch] == [[returned]]


async def test_a_write_is_repeated_until_it_comes_through() -> None:
    log = ScriptedLog()
    log.failures = [AWAY for _ in range(3)]
    async with writing(log) as begin:
        turn = begin()
        turn.put(STATUS)
        await turn.writer.flush()
        log.failures = [AWAY]
        assert [event["seq"] for event in await turn.finish()] == [2, 3]


async def test_a_turn_that_is_left_out_tries_again_and_stops_nobody_else() -> None:
    log = ScriptedLog(open_=False)
    async with writing(log) as begin:
        turn, other = begin(), begin()
        log.left_out = [{turn.writer.claim.turn_id: AWAY} for _ in range(2)]
        turn.put(STATUS)
        other.put(STATUS)
        log.gate.set()
        await other.writer.flush()
        turn.put(STATUS)
        await turn.writer.flush()
        assert [event["seq"] for event in events_of(turn.visible)] == [2, 3]


async def test_an_event_that_cannot_be_stored_fails_its_own_turn_alone_which_can_still_end() -> None:
    log = ScriptedLog(open_=False)
    async with writing(log) as begin:
        bad, good = begin(), begin()
        refused = ValueError("cannot be stored")
        log.failures = [refused, refused]  # both items fail together; then only the first item fails
        bad.put(TEXT)
        good.put(TEXT)
        log.gate.set()
        await good.writer.flush()
        assert (bad.failed, good.failed) == ([refused], [])
        with pytest.raises(ValueError, match="cannot be stored"):
            bad.put(TEXT)
        assert [event["kind"] for event in await bad.finish()] == ["refused"]


async def test_who_lost_the_turn_is_stopped() -> None:
    async with writing_one() as (log, turn):
        log.left_out = [{turn.writer.claim.turn_id: TurnLost()}]
        turn.put(STATUS)
        await raises(TurnLost, turn.writer.flush())
        with pytest.raises(TurnLost):
            turn.put(STATUS)
        await raises(TurnLost, turn.finish())
        assert (turn.visible, len(turn.failed)) == ([], 1)


async def test_silent_turns_are_renewed_together_and_hear_that_they_are_lost() -> None:
    log = ScriptedLog()
    async with writing(log, lease_seconds=0.03) as begin:
        turn, other = begin(), begin()
        for _ in range(3):
            log.renewed.clear()
            await log.renewed.wait()
        log.lost = [turn.writer.claim.turn_id]
        while not turn.failed:  # noqa: ASYNC110  only a renewal can report the loss
            await asyncio.sleep(0)
        assert isinstance(turn.failed[0], TurnLost)
        await other.finish()
        assert not other.failed


async def test_deltas_that_wait_for_a_commit_wait_as_few_events() -> None:
    async with writing_one(open_=False) as (log, turn):
        turn.put(STATUS)
        await log.entered.wait()
        size = 4 * MAX_DELTA_BYTES
        for place in range(size):
            turn.put(Delta("x", place))
        log.gate.set()
        events = await turn.finish()
        assert [event["kind"] for event in events] == ["status", *["delta"] * 4, "refused"]


async def test_another_end_can_be_written_when_the_first_could_not_be_stored() -> None:
    async with writing_one() as (log, turn):
        turn.put(STATUS)
        await turn.writer.flush()
        log.failures = [ValueError("not storable")]
        await raises(ValueError, turn.finish(), "not storable")
        assert [event["kind"] for event in await turn.finish()] == ["status", "refused"]


def test_commits_follow_each_other_at_once_until_many_turns_are_open() -> None:
    assert [window(open_turns) for open_turns in (0, 1, 7)] == [0.0, 0.0, 0.0]
    assert [window(open_turns) for open_turns in (8, 200, 500, 800, 9000)] == pytest.approx(  # pyright: ignore[reportUnknownMemberType]
        [0.003, 0.003, 0.0265, 0.05, 0.05]
    )


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=60), st.integers(0, 3))
async def test_the_log_is_contiguous_and_the_text_whole_whatever_the_rhythm(
    steps: list[tuple[bool, int]], closed_for: int
) -> None:
    log = ScriptedLog(open_=closed_for == 0)
    async with writing(log) as begin:
        turn = begin()
        text = ""
        for place, (delta, pause) in enumerate(steps):
            turn.put(Delta(f"{place};", len(text)) if delta else STATUS)
            text += f"{place};" if delta else ""
            for _ in range(pause):
                await asyncio.sleep(0)
            if place % 5 == closed_for:
                log.gate.set()
        log.gate.set()
        events = events_of_checked(await turn.finish())
    assert "".join(str(event["text"]) for event in events if event["kind"] == "delta") == text
    offset = 0
    for event in events:
        if event["kind"] == "delta":
            assert event["offset"] == offset
            offset += len(str(event["text"]))


def events_of_checked(events: list[dict[str, object]]) -> list[dict[str, object]]:
    assert [event["seq"] for event in events] == list(range(2, len(events) + 2))
    assert events[-1]["kind"] == "refused"
    return events


async def test_an_event_that_no_frame_holds_is_refused_and_the_turn_can_still_end() -> None:
    async with writing_one() as (_, turn):
        large = "x" * MAX_EVENT_BYTES
        for too_large in (
            Delta(large + "x", 0),
            ToolCalled("c", "note", {"text": large}),
            ToolReturned("c", ToolOutcome.OK, large),
        ):
            with pytest.raises(EventTooLarge):
                turn.put(too_large)
        turn.put(Delta("a", 0))
        assert [event["kind"] for event in await turn.finish()] == ["delta", "refused"]
        assert not turn.failed


async def test_followers_that_cannot_be_told_stop_their_own_turn_alone() -> None:
    log = ScriptedLog(open_=False)
    async with writing(log) as begin:
        bad, good = begin(), begin()
        bad.visible.append(LogRow(1, 1, False, b"not of this log"))  # publishing raises
        bad.put(TEXT)
        good.put(TEXT)
        log.gate.set()
        await good.writer.flush()
        assert [type(error) for error in bad.failed] == [AssertionError]
        good.put(TEXT)
        await good.writer.flush()
        assert len(good.visible) == 2


async def test_the_writer_goes_on_after_an_accident() -> None:
    log = ScriptedLog(open_=False)
    async with writing(log) as begin:
        bad, good = begin(), begin()
        log.failures = [ValueError("cannot be stored")] * 2

        def breaks(reason: Exception) -> None:
            raise RuntimeError("an accident") from reason

        bad.fail = breaks
        bad.put(TEXT)
        good.put(TEXT)
        log.gate.set()
        async with asyncio.timeout(60):
            await good.writer.flush()
        assert [event["kind"] for event in await good.finish()] == ["delta", "refused"]
