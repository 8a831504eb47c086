"""Frames: valid bytes of the contract, cut together without being read."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.turns import (
    Answered,
    AnswerOutcome,
    ByteRange,
    Citation,
    Cited,
    Delta,
    Event,
    Failed,
    LogRow,
    NumberedEvent,
    Question,
    RefusalReason,
    Refused,
    Started,
    Status,
    Step,
    Usage,
)
from responsa_server.rpc import frames, status
from responsa_server.rpc.frames import AskFrames

TURN = UUID("0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10")
NOW = datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)
QUOTE = "The river is 7 km long."
CITATION = Citation(
    UUID(int=1),
    UUID(int=2),
    3,
    "Rivers",
    "rivers.md",
    ByteRange(5, 28),
    QUOTE,
    hashlib.sha256(QUOTE.encode()).digest(),
    ByteRange(0, 23),
    0.5,
)
EVENTS: Sequence[tuple[str, Event]] = (
    ("started", Started(UUID(int=9), "agents/default/versions/1", created_conversation=True)),
    ("status", Status(Step.RETRIEVING, "Searching knowledge base...")),
    ("delta", Delta("The river", 0)),
    ("citation", Cited(CITATION)),
    (
        "answer",
        Answered(QUOTE, CITATION.sha256, [CITATION], AnswerOutcome.COMPLETE, 4, Usage(7), "How long is it?"),
    ),
    ("refused", Refused(RefusalReason.NO_SUPPORT, "Nothing found.", Usage(3))),
    ("failed", Failed(Unavailable(Reason.WORKER_LOST, "Lost.", {"turn": "turns/x"}), retriable=True)),
)


def numbered(event: Event, seq: int = 1) -> NumberedEvent:
    return NumberedEvent(seq, 1, None if isinstance(event, Delta) else NOW, event)


def row(first: int, last: int, *, deltas: bool) -> LogRow:
    event: Event = Delta("x", 0) if deltas else Status(Step.GRADING, "")
    frame = AskFrames().encode(
        TURN, first - 1, last, [numbered(event, seq) for seq in range(first, last + 1)]
    )
    return LogRow(first, last, deltas, frame)


async def sent(rows: Sequence[LogRow | None], *, include_deltas: bool) -> list[chat_service_pb2.AskResponse]:
    async def follow() -> AsyncIterator[LogRow | None]:
        for one in rows:
            yield one

    found = frames.stream(TURN, follow(), include_deltas=include_deltas)
    return [chat_service_pb2.AskResponse.FromString(frame) async for frame in found]


@pytest.mark.parametrize(("kind", "event"), EVENTS)
def test_each_event_is_a_frame_of_the_contract(kind: str, event: Event) -> None:
    codec = AskFrames()
    frame = chat_service_pb2.AskResponse.FromString(codec.encode(TURN, 4, 5, [numbered(event, 5)]))
    assert (frame.turn, frame.after_seq, frame.through_seq) == (f"turns/{TURN}", 4, 5)
    (one,) = frame.events
    assert one.WhichOneof("event") == kind
    assert (one.seq, one.attempt) == (5, 1)
    assert one.HasField("create_time") == (kind != "delta")


def test_every_kind_of_the_contract_is_made() -> None:
    assert {kind for kind, _ in EVENTS} == {
        one.name for one in turn_pb2.TurnEvent.DESCRIPTOR.oneofs[0].fields
    }


def test_a_failure_is_the_status_that_a_call_would_carry() -> None:
    event = EVENTS[-1][1]
    assert isinstance(event, Failed)
    made = turn_pb2.TurnEvent.FromString(AskFrames().encode_terminal(numbered(event)))
    assert made.failed.retriable
    assert made.failed.status == status.of(event.error)


@given(
    st.text(max_size=200),
    st.one_of(st.none(), st.uuids()),
    st.lists(st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True), max_size=4, unique=True),
)
def test_a_question_is_the_same_there_and_back(
    text: str, conversation: UUID | None, collections: list[str]
) -> None:
    codec = AskFrames()
    question = Question(text, conversation, tuple(sorted(collections)))
    data = codec.encode_question(question)
    assert codec.decode_question(data) == question
    assert (
        codec.encode_question(Question(text, conversation, tuple(sorted(collections, reverse=True)))) == data
    )


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 3))
def test_where_a_frame_begins_can_be_changed_without_reading_it(
    before: int, wanted: int, events: int
) -> None:
    made = AskFrames().encode(
        TURN, before, before + events, [numbered(Delta("é", 0), before + 1 + n) for n in range(events)]
    )
    expected = chat_service_pb2.AskResponse.FromString(made)
    expected.after_seq = wanted
    changed = frames.after(made, wanted)
    assert changed == expected.SerializeToString(deterministic=True)


async def test_with_deltas_rows_are_passed_on_as_they_are() -> None:
    rows = [row(1, 3, deltas=False), row(4, 7, deltas=True), row(8, 8, deltas=False)]
    found = await sent(rows, include_deltas=True)
    assert [one.SerializeToString(deterministic=True) for one in found] == [one.frame for one in rows]


async def test_without_deltas_the_next_frame_covers_them() -> None:
    rows = [
        row(1, 3, deltas=False),
        row(4, 7, deltas=True),
        row(8, 9, deltas=True),
        row(10, 10, deltas=False),
    ]
    found = await sent(rows, include_deltas=False)
    assert [(one.after_seq, one.through_seq, len(one.events)) for one in found] == [(0, 3, 3), (3, 10, 1)]


async def test_a_heartbeat_does_not_advance() -> None:
    rows = [row(1, 1, deltas=False), None, row(2, 4, deltas=True), None, row(5, 5, deltas=False)]
    found = await sent(rows, include_deltas=False)
    assert [(one.after_seq, one.through_seq) for one in found] == [(0, 1), (1, 1), (1, 1), (1, 5)]


async def test_what_was_left_out_at_the_end_is_covered_too() -> None:
    found = await sent([row(1, 1, deltas=False), row(2, 4, deltas=True)], include_deltas=False)
    assert [(one.after_seq, one.through_seq, len(one.events)) for one in found] == [(0, 1, 1), (1, 4, 0)]


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.booleans()), max_size=12), st.booleans())
async def test_frames_follow_each_other_without_a_hole(
    shape: list[tuple[int, bool, bool]], include_deltas: bool
) -> None:
    rows: list[LogRow | None] = []
    seq = 0
    for length, deltas, heartbeat in shape:
        rows.append(row(seq + 1, seq + length, deltas=deltas))
        seq += length
        if heartbeat:
            rows.append(None)
    at = 0
    for frame in await sent(rows, include_deltas=include_deltas):
        assert frame.after_seq == at
        assert frame.through_seq >= at
        assert all(at < event.seq <= frame.through_seq for event in frame.events)
        at = frame.through_seq
    assert at == seq
