"""Frames: the bytes of valid messages, joined from stored bytes that are not parsed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_server.calls import frames, status
from responsa_server.calls.convert import chat
from responsa_server.calls.convert.chat import event as converted
from responsa_server.calls.frames import AskFrames
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    AnyCitation,
    AttemptRestarted,
    ByteRange,
    CancelCause,
    Cancelled,
    Citation,
    Cited,
    Delta,
    Event,
    Failed,
    ModelUsed,
    NumberedEvent,
    ProviderSwitched,
    RefusalReason,
    Refused,
    Started,
    Status,
    Step,
    ToolCalled,
    ToolCitation,
    ToolOrigin,
    ToolOutcome,
    ToolReturned,
    Usage,
    VersionRead,
    versions_read,
)
from responsa_server.domain.turns import (
    Followed,
    Heartbeat,
    LogRow,
    OnBusy,
    Question,
    Reconnect,
    Snapshot,
    WithoutDocuments,
)
from tests.unit.agents.evidence import excerpt

TURN = UUID("0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10")
_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
"""JSON values, with whole numbers as integers."""
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
        Answered(
            QUOTE, CITATION.sha256, [CITATION], AnswerOutcome.COMPLETE, 4, Usage(7, 30, 12), "How long is it?"
        ),
    ),
    (
        "tool_call",
        ToolCalled("call-1", "gauge", {"river": "Po", "days": 3, "which": ["a", None], "of": {"x": True}}),
    ),
    ("tool_result", ToolReturned("call-1", ToolOutcome.UNKNOWN, "The worker was lost.")),
    ("provider_switched", ProviderSwitched("openai:large", "gemini:small", "rate_limited")),
    ("usage", ModelUsed("gemini:small", Usage(input_tokens=9, output_tokens=3, cost_micros=40))),
    ("attempt_restarted", AttemptRestarted(7, 20)),
    ("refused", Refused(RefusalReason.NO_SUPPORT, "Nothing found.", Usage(3))),
    ("cancelled", Cancelled(CancelCause.ADMINISTRATOR)),
    ("failed", Failed(Unavailable(Reason.WORKER_LOST, "Lost.", {"turn": "turns/x"}), retriable=True)),
)
TERMINAL = AskFrames().event(
    NumberedEvent(
        9, 2, NOW, Answered(QUOTE, CITATION.sha256, [CITATION], AnswerOutcome.COMPLETE, 4, Usage(7))
    )
)


def numbered(event: Event, seq: int = 1) -> NumberedEvent:
    return NumberedEvent(seq, 1, None if isinstance(event, Delta) else NOW, event)


def encoded(after_seq: int, events: Sequence[NumberedEvent]) -> bytes:
    codec = AskFrames()
    return codec.frame(TURN, after_seq, after_seq + len(events), [codec.event(event) for event in events])


def row(first: int, last: int, *, deltas: bool | None) -> LogRow:
    """deltas: whether the row has deltas or statuses; None: both, in turn."""
    kinds: tuple[Event, Event] = (Delta("x", 0), Status(Step.GRADING, ""))
    events = [
        numbered(kinds[seq % 2 if deltas is None else not deltas], seq) for seq in range(first, last + 1)
    ]
    return LogRow(first, last, bool(deltas), encoded(first - 1, events))


async def sent(
    rows: Sequence[Followed], *, include_deltas: bool, after_seq: int = 0
) -> list[chat_service_pb2.ResumeTurnResponse]:
    async def follow() -> AsyncIterator[Followed]:
        for one in rows:
            yield one

    found = frames.stream(TURN, follow(), include_deltas=include_deltas, after_seq=after_seq)
    result: list[chat_service_pb2.ResumeTurnResponse] = []
    async for frame in found:
        as_asked = chat_service_pb2.AskResponse.FromString(frame)
        result.append(chat_service_pb2.ResumeTurnResponse.FromString(frame))
        # For both Ask and ResumeTurn, a frame that is built from pieces equals the encoded message.
        assert as_asked.SerializeToString(deterministic=True) == frame
        assert result[-1].SerializeToString(deterministic=True) == frame
        assert as_asked.turn == f"turns/{TURN}"
    return result


def kinds(responses: Sequence[chat_service_pb2.ResumeTurnResponse]) -> list[list[str | None]]:
    return [[event.WhichOneof("event") for event in frame.events] for frame in responses]


@pytest.mark.parametrize(("kind", "event"), EVENTS)
def test_each_event_is_a_frame_of_the_contract(kind: str, event: Event) -> None:
    frame = chat_service_pb2.AskResponse.FromString(encoded(4, [numbered(event, 5)]))
    assert (frame.turn, frame.after_seq, frame.through_seq) == (f"turns/{TURN}", 4, 5)
    (one,) = frame.events
    assert one.WhichOneof("event") == kind
    assert (one.seq, one.attempt) == (5, 1)
    assert one.HasField("create_time") == (kind != "delta")


def test_every_kind_of_the_contract_is_made() -> None:
    beside_the_log = {"snapshot", "reconnect", "heartbeat"}
    assert {kind for kind, _ in EVENTS} | beside_the_log == {
        field.name for field in turn_pb2.TurnEvent.DESCRIPTOR.oneofs[0].fields
    }


def test_what_a_tool_is_called_with_is_told_as_it_is() -> None:
    called = next(event for kind, event in EVENTS if kind == "tool_call")
    assert isinstance(called, ToolCalled)
    made = turn_pb2.TurnEvent.FromString(AskFrames().event(numbered(called)))
    assert made.tool_call.tool == "tools/gauge"
    assert json_format.MessageToDict(made.tool_call.arguments) == called.arguments


FETCHED = ToolCitation(
    ToolOrigin("tool-1", "web_search", 0, NOW),
    "A page",
    "https://example.org/",
    ByteRange(0, len(QUOTE.encode())),
    QUOTE,
    CITATION.sha256,
    ByteRange(0, len(QUOTE.encode())),
    0.5,
)


def test_an_answer_that_cites_a_tool_is_withdrawn_only_for_the_documents_that_it_cites() -> None:
    codec = AskFrames()

    def terminal(*citations: AnyCitation) -> bytes:
        answer = Answered(QUOTE, CITATION.sha256, citations, AnswerOutcome.COMPLETE, 4, Usage(7))
        return codec.event(numbered(answer))

    fetched, both = terminal(FETCHED), terminal(FETCHED, CITATION)
    gone = [CITATION.document_id]
    assert codec.without_documents(fetched, gone, "Gone.", has_read=False) == WithoutDocuments(
        fetched, withdrawn=False
    )
    assert codec.without_documents(both, gone, "Gone.", has_read=False).withdrawn
    assert codec.without_documents(fetched, gone, "Gone.", has_read=True).withdrawn
    # It names no version that the turn has read.
    assert versions_read(Cited(FETCHED)) == ()
    assert (
        len(versions_read(Answered(QUOTE, b"", (FETCHED, CITATION), AnswerOutcome.COMPLETE, 1, Usage()))) == 1
    )


def test_a_failure_is_the_status_that_a_call_would_carry() -> None:
    event = EVENTS[-1][1]
    assert isinstance(event, Failed)
    made = turn_pb2.TurnEvent.FromString(AskFrames().event(numbered(event)))
    assert made.failed.retriable
    assert made.failed.status == status.of(event.error)


@given(
    st.text(max_size=200),
    st.one_of(st.none(), st.uuids()),
    st.lists(st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True), max_size=4, unique=True),
    st.one_of(st.just(""), st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)),
    st.sampled_from(OnBusy),
    st.dictionaries(st.text(max_size=8), _PLAIN, max_size=4),
    st.integers(0, 2**62),
    st.sampled_from(["", "labels.team = legal", 'date >= 2025 OR NOT title = "a*"']),
)
def test_a_question_is_the_same_there_and_back(
    text: str,
    conversation: UUID | None,
    collections: list[str],
    agent: str,
    on_busy: OnBusy,
    parameters: dict[str, object],
    most: int,
    document_filter: str,
) -> None:
    codec = AskFrames()
    canonical = json.dumps(parameters, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    stored = "" if not parameters else canonical
    question = Question(
        text,
        conversation,
        tuple(sorted(collections)),
        agent,
        on_busy,
        stored,
        most,
        document_filter=document_filter,
    )
    data = codec.encode_question(question)
    assert codec.decode_question(data) == question
    other = replace(question, collections=tuple(sorted(collections, reverse=True)))
    assert codec.encode_question(other) == data


def test_parameters_in_another_order_are_the_same_question() -> None:
    codec = AskFrames()
    one, other = (
        Question("Why?", parameters=text) for text in ('{"a":1,"b":[1.5,null]}', '{"b":[1.5,null],"a":1.0}')
    )
    assert codec.encode_question(one) == codec.encode_question(other)
    assert codec.decode_question(codec.encode_question(other)) == one


def test_who_says_reject_asks_the_same_question_as_who_says_nothing() -> None:
    explicit = chat_service_pb2.AskRequest(
        text="Why?", options=chat_service_pb2.AskOptions(on_busy=chat_service_pb2.ON_BUSY_REJECT)
    )
    codec = AskFrames()
    assert codec.encode_question(chat.question(explicit)) == codec.encode_question(Question("Why?"))


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 3))
def test_where_a_frame_begins_can_be_changed_without_reading_it(
    before: int, wanted: int, events: int
) -> None:
    made = encoded(before, [numbered(Delta("é", 0), before + 1 + n) for n in range(events)])
    expected = chat_service_pb2.AskResponse.FromString(made)
    expected.after_seq = wanted
    changed = frames.after(made, wanted)
    assert changed == expected.SerializeToString(deterministic=True)


async def test_a_heartbeat_does_not_advance() -> None:
    rows = [
        row(1, 1, deltas=False),
        Heartbeat(3),
        row(2, 4, deltas=True),
        Heartbeat(),
        row(5, 5, deltas=False),
    ]
    found = await sent(rows, include_deltas=False)
    assert [(one.after_seq, one.through_seq) for one in found] == [(0, 1), (1, 1), (1, 1), (1, 5)]
    assert kinds(found) == [["status"], ["heartbeat"], ["heartbeat"], ["status"]]
    assert [one.events[0].heartbeat.queue_place for one in found[1:3]] == [3, 0]
    assert found[1].events[0].seq == 0


async def test_a_reconnect_is_the_last_and_goes_on_before_what_was_left_out() -> None:
    rows = [row(1, 1, deltas=False), row(2, 4, deltas=True), Reconnect(1.25), row(5, 5, deltas=False)]
    found = await sent(rows, include_deltas=False)
    assert [(one.after_seq, one.through_seq) for one in found] == [(0, 1), (1, 1)]
    (last,) = found[-1].events
    assert (last.seq, last.reconnect.after.ToTimedelta().total_seconds()) == (0, 1.25)


@pytest.mark.parametrize("after_seq", [0, 3, 200])
async def test_a_snapshot_covers_what_was_pruned(after_seq: int) -> None:
    (frame,) = await sent([Snapshot(300, TERMINAL)], include_deltas=True, after_seq=after_seq)
    assert (frame.after_seq, frame.through_seq) == (after_seq, 300)
    (event,) = frame.events
    assert (event.seq, event.snapshot.through_seq) == (0, 300)
    assert event.snapshot.terminal_event.SerializeToString(deterministic=True) == TERMINAL


async def test_a_stream_begins_where_it_was_asked_to_also_within_a_row() -> None:
    rows = [row(1, 3, deltas=False), row(4, 9, deltas=True), row(10, 12, deltas=False)]
    whole = await sent(rows, include_deltas=True)
    for after_seq in range(13):
        for include_deltas in (True, False):
            found = await sent(rows, include_deltas=include_deltas, after_seq=after_seq)
            at = after_seq
            for frame in found:
                assert frame.after_seq == at
                at = frame.through_seq
            assert at == 12
            wanted = [
                event
                for frame in whole
                for event in frame.events
                if event.seq > after_seq and (include_deltas or event.WhichOneof("event") != "delta")
            ]
            assert [event for frame in found for event in frame.events] == wanted


async def test_a_hole_in_the_rows_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="continues at 5 after 3"):
        await sent([row(1, 3, deltas=False), row(5, 6, deltas=False)], include_deltas=False)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([False, True, None]), st.booleans()), max_size=12),
    st.booleans(),
    st.integers(0, 12),
)
async def test_frames_follow_each_other_without_a_hole(
    shape: list[tuple[int, bool | None, bool]], include_deltas: bool, after_seq: int
) -> None:
    rows: list[Followed] = []
    wanted: list[int] = []
    seq = 0
    for length, deltas, heartbeat in shape:
        wanted += [
            number
            for number in range(seq + 1, seq + length + 1)
            if deltas is False or include_deltas or (deltas is None and number % 2)
        ]
        # Rows that end at or before after_seq are not read.
        if seq + length > after_seq:
            rows.append(row(seq + 1, seq + length, deltas=deltas))
        seq += length
        if heartbeat:
            rows.append(Heartbeat())
    at, got = after_seq, list[int]()
    for frame in await sent(rows, include_deltas=include_deltas, after_seq=after_seq):
        assert frame.after_seq == at
        assert frame.through_seq >= at
        assert all(
            at < event.seq <= frame.through_seq or event.WhichOneof("event") == "heartbeat"
            for event in frame.events
        )
        assert include_deltas or not any(event.HasField("delta") for event in frame.events)
        got += [event.seq for event in frame.events if event.seq]
        at = frame.through_seq
    assert at == max(seq, after_seq)
    assert got == [one for one in wanted if one > after_seq]


@given(
    pieces=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), min_size=1, max_size=5),
    after_seq=st.integers(0, 2**40),
    offset=st.integers(0, 2**40),
    attempt=st.integers(1, 2**20),
)
def test_frames_of_deltas_are_the_bytes_that_protobuf_makes(
    pieces: list[str], after_seq: int, offset: int, attempt: int
) -> None:
    events = [
        NumberedEvent(seq, attempt, None, Delta(piece, offset if seq > after_seq + 1 else 0))
        for seq, piece in enumerate(pieces, after_seq + 1)
    ]
    through_seq = after_seq + len(events)
    expected = chat_service_pb2.AskResponse(
        turn=f"turns/{TURN}",
        after_seq=after_seq,
        through_seq=through_seq,
        events=[converted(event) for event in events],
    ).SerializeToString(deterministic=True)
    assert encoded(after_seq, events) == expected


def test_a_turn_has_read_the_excerpts_that_it_shows() -> None:
    shown, more, closest = (
        replace(excerpt("Noon"), document_id=UUID(int=number), version=number) for number in (1, 2, 3)
    )
    answer = Answered(
        QUOTE,
        CITATION.sha256,
        (FETCHED,),
        AnswerOutcome.COMPLETE,
        4,
        Usage(),
        excerpts=(shown,),
        more_excerpts=(more,),
    )
    assert versions_read(answer) == [VersionRead(UUID(int=1), 1), VersionRead(UUID(int=2), 2)]
    refused = Refused(RefusalReason.NO_SUPPORT, "", Usage(), excerpts=(closest,))
    assert versions_read(refused) == [VersionRead(UUID(int=3), 3)]
