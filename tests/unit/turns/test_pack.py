from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from responsa_server.domain.events import (
    CancelCause,
    Cancelled,
    Delta,
    Event,
    Status,
    Step,
    ToolCalled,
    ToolOutcome,
    ToolReturned,
)
from responsa_server.turns.pack import (
    MAX_ROW_BYTES,
    MAX_ROW_EVENTS,
    PendingEvent,
    ending,
    number,
    pack,
)
from tests.plain_codec import PlainCodec, events_of

TURN = UUID(int=7)
NOW = datetime(2026, 11, 20, tzinfo=UTC)


def happened(kinds: list[bool]) -> list[PendingEvent]:
    """Deltas (True), which are contiguous in the text, and statuses."""
    offset = 0
    events: list[PendingEvent] = []
    for delta in kinds:
        event: Event = Delta("ab", offset) if delta else Status(Step.GRADING, "…")
        offset += 2 if delta else 0
        events.append(PendingEvent(NOW, event))
    return events


@given(st.lists(st.booleans(), min_size=1, max_size=600), st.integers(1, 10_000))
def test_rows_cover_the_events_without_gap_or_overlap(kinds: list[bool], first: int) -> None:
    rows = pack(PlainCodec(), TURN, number(first, 1, happened(kinds)))
    assert rows[0].first_seq == first
    assert rows[-1].last_seq == first + len(kinds) - 1
    assert all(before.last_seq + 1 == after.first_seq for before, after in pairwise(rows))
    assert all(row.last_seq - row.first_seq < MAX_ROW_EVENTS for row in rows)
    events = events_of(rows)
    assert [event["seq"] for event in events] == list(range(first, first + len(kinds)))
    assert [event["kind"] == "delta" for event in events] == kinds
    assert all(event["timed"] == (event["kind"] != "delta") for event in events)


def test_a_row_is_never_larger_than_a_frame_may_be() -> None:
    large = [PendingEvent(NOW, Delta("x" * 1024, 1024 * n)) for n in range(250)]
    rows = pack(PlainCodec(), TURN, number(1, 1, large))
    assert len(rows) == 3
    assert max(len(row.frame) for row in rows) < 256 * 1024


def test_what_tools_say_counts_for_a_rows_size() -> None:
    said = ToolReturned("c", ToolOutcome.OK, "x" * 8192)
    asked = ToolCalled("c", "tools/look", {"for": "y" * 8192})
    rows = pack(PlainCodec(), TURN, number(1, 1, [PendingEvent(NOW, one) for one in (asked, said) * 20]))
    assert len(rows) > 1
    assert all(len(row.frame) < 2 * MAX_ROW_BYTES for row in rows)


def test_the_end_of_a_turn_is_a_row_of_its_own() -> None:
    (event,) = number(8, 3, [PendingEvent(NOW, Cancelled(CancelCause.OWNER))])
    end = ending(PlainCodec(), TURN, event)
    assert (end.row.first_seq, end.row.last_seq, end.row.deltas) == (8, 8, False)
    (told,) = events_of([end.row])
    assert (told["seq"], told["attempt"], told["kind"]) == (8, 3, "cancelled")
    assert end.terminal == PlainCodec().event(event)
