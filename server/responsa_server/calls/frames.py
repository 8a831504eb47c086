"""Encodes the rows of a turn's log. The same bytes are the frames of the turn's streams, so each event is encoded once and then copied.

The frame of a row is a complete `AskResponse` that covers the row; a `ResumeTurnResponse` has the same bytes. The turns
package uses these bytes through the port `FrameCodec` and does not import protobuf.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, MutableSequence, Sequence
from typing import Protocol, TypeVar, assert_never
from uuid import UUID

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa.type.v1 import scope_pb2
from responsa_server.calls.convert import chat, enums, structs
from responsa_server.calls.convert.chat import event as convert_event
from responsa_server.domain import names
from responsa_server.domain.events import Delta, NumberedEvent
from responsa_server.domain.turns import (
    WITHHELD,
    Followed,
    Heartbeat,
    LogRow,
    OnBusy,
    Question,
    Reconnect,
    Snapshot,
    WithoutDocuments,
)

# Tags of AskResponse: turn = 1, after_seq = 2, through_seq = 3, events = 4. `encode` writes them in this order and omits zeros.
# Tags are numbers, to compare with a byte. Those that `_delta` writes in front of a number are bytes, to save time.
_TURN, _AFTER, _THROUGH, _EVENTS = 0x0A, 0x10, 0x18, 0x22
# TurnEvent: seq = 1, attempt = 2, delta = 6; TurnDelta: text = 1, byte_offset = 2.
_SEQ, _ATTEMPT, _DELTA, _DELTA_TEXT, _DELTA_OFFSET = b"\x08", b"\x10", 0x32, 0x0A, b"\x10"
_ONE_BYTE = tuple(bytes([value]) for value in range(0x80))
# TurnEvent.snapshot = 15; TurnSnapshot.through_seq = 1, terminal_event = 2.
_SNAPSHOT, _SNAPSHOT_THROUGH, _SNAPSHOT_TERMINAL = 0x7A, 0x08, 0x12
_LAST = frozenset({"answer", "refused", "failed", "cancelled", "snapshot", "reconnect"})


class AskFrames:
    """Implements `FrameCodec`, which describes the methods and their parameters."""

    def event(self, event: NumberedEvent) -> bytes:
        """The event as a `TurnEvent`."""
        if isinstance(event.event, Delta) and event.time is None:
            return _delta(event, event.event)
        return convert_event(event).SerializeToString(deterministic=True)

    def frame(self, turn_id: UUID, after_seq: int, through_seq: int, events: Sequence[bytes]) -> bytes:
        """A frame that covers (after_seq, through_seq] and holds these events."""
        parts = [empty(turn_id, after_seq, through_seq)]
        parts += [_wrap(_EVENTS, event) for event in events]
        return b"".join(parts)

    def encode_question(self, question: Question) -> bytes:
        """The question as a `StartTurnRequest`. Equal questions give equal bytes; a field with its default value adds no bytes."""
        return chat_service_pb2.StartTurnRequest(
            conversation=""
            if question.conversation_id is None
            else names.conversation(question.conversation_id),
            text=question.text,
            options=chat_service_pb2.AskOptions(
                scope=scope_pb2.Scope(
                    collections=[names.collection(collection) for collection in sorted(question.collections)],
                    filter=question.document_filter,
                ),
                # REJECT is omitted, because the bytes of questions are compared, and who says nothing means REJECT.
                on_busy=enums.ON_BUSY.number(None if question.on_busy is OnBusy.REJECT else question.on_busy),
                parameters=structs.of_text(question.parameters) if question.parameters else None,
                # If the question sets no limits, these fields are omitted for the same reason, and the agent's own limits apply.
                max_cost_usd_micros=question.max_cost_micros or None,
                max_output_tokens=question.max_output_tokens or None,
                history=[
                    chat_service_pb2.EarlierMessage(role=enums.SPEAKER.number(past.speaker), text=past.text)
                    for past in question.history
                ],
            ),
            agent=_agent(question),
        ).SerializeToString(deterministic=True)

    def decode_question(self, data: bytes) -> Question:
        """The inverse of `encode_question`."""
        return chat.question(chat_service_pb2.StartTurnRequest.FromString(data))

    def without_documents(
        self, terminal: bytes, documents: Collection[UUID], notice: str, *, has_read: bool
    ) -> WithoutDocuments:
        event = turn_pb2.TurnEvent.FromString(terminal)
        kind = event.WhichOneof("event")
        if kind == "answer":
            answer = event.answer
            if has_read or any(_is_of(citation.document_version, documents) for citation in answer.citations):
                refused = turn_pb2.TurnRefused(
                    reason=turn_pb2.REFUSAL_REASON_SOURCE_ERASED,
                    message=notice,
                    usage=answer.usage,
                    intent=answer.intent,
                    fallbacks=answer.fallbacks,
                )
                event.refused.CopyFrom(refused)
                return WithoutDocuments(event.SerializeToString(deterministic=True), withdrawn=True)
            removed = _without(answer.more_excerpts, documents)
        elif kind == "refused":
            removed = _without(event.refused.excerpts, documents)
        else:
            return WithoutDocuments(terminal, withdrawn=False)
        if not removed:
            return WithoutDocuments(terminal, withdrawn=False)
        return WithoutDocuments(event.SerializeToString(deterministic=True), withdrawn=False)

    def withhold(self, terminal: bytes) -> bytes:
        event = turn_pb2.TurnEvent.FromString(terminal)
        match event.WhichOneof("event"):
            case "answer":
                ended = event.answer
            case "refused":
                ended = event.refused
            case _:
                return terminal
        refused = turn_pb2.TurnRefused(
            reason=turn_pb2.REFUSAL_REASON_NOT_PERMITTED,
            message=WITHHELD,
            usage=ended.usage,
            intent=ended.intent,
            fallbacks=ended.fallbacks,
        )
        event.refused.CopyFrom(refused)
        return event.SerializeToString(deterministic=True)


class _Named(Protocol):
    """A message that names the version of a document."""

    document_version: str


_Message = TypeVar("_Message", bound=_Named)


def _without(entries: MutableSequence[_Message], documents: Collection[UUID]) -> int:
    """Remove what names one of the documents. Returns how many entries were removed."""
    rest = [entry for entry in entries if not _is_of(entry.document_version, documents)]
    removed = len(entries) - len(rest)
    if removed:
        del entries[:]
        entries.extend(rest)
    return removed


def _is_of(document_version: str, documents: Collection[UUID]) -> bool:
    # A citation of a tool's source names no document.
    return bool(document_version) and UUID(document_version.split("/")[1]) in documents


def _agent(question: Question) -> str:
    if not question.agent:
        return ""
    if question.agent_version is None:
        return names.agent(question.agent)
    return names.agent_version(question.agent, question.agent_version)


def after(frame: bytes, after_seq: int) -> bytes:
    """A copy of the frame with a new after_seq, for example to cover deltas that were left out before the frame. The frame's events are not
    parsed.
    """
    end_of_turn = _field_end(frame, 0, _TURN, length=True)
    end_of_after = _field_end(frame, end_of_turn, _AFTER)
    changed = bytes([_AFTER]) + _varint(after_seq) if after_seq else b""
    return frame[:end_of_turn] + changed + frame[end_of_after:]


def rest(frame: bytes, after_seq: int) -> bytes:
    """The rest of a frame that contains the event `after_seq`: the events that follow this event.

    Events are copied, not parsed. If an past version of the contract wrote an event, encoding that event again could
    order its fields differently.
    """
    position = events = _events(frame)
    while position < len(frame) and _seq(frame, position) <= after_seq:
        position = _field_end(frame, position, _EVENTS, length=True)
    return after(frame[:events], after_seq) + frame[position:]


def without_deltas(frame: bytes) -> bytes:
    """The frame without its deltas. The other events are copied, not parsed."""
    position = _events(frame)
    parts = [frame[:position]]
    while position < len(frame):
        end = _field_end(frame, position, _EVENTS, length=True)
        if not _is_delta(frame, position):
            parts.append(frame[position:end])
        position = end
    return b"".join(parts)


def empty(turn_id: UUID, after_seq: int, through_seq: int) -> bytes:
    """A frame with no events."""
    return chat_service_pb2.AskResponse(
        turn=names.turn(turn_id), after_seq=after_seq, through_seq=through_seq
    ).SerializeToString(deterministic=True)


def heartbeat(turn_id: UUID, at_seq: int, queue_place: int) -> bytes:
    """A heartbeat frame. It covers no events. queue_place: the number of turns of the conversation that come before this turn."""
    event = turn_pb2.TurnEvent(heartbeat=turn_pb2.TurnHeartbeat(queue_place=queue_place))
    return _frame_outside_log(turn_id, at_seq, event)


def reconnect(turn_id: UUID, at_seq: int, after_seconds: float) -> bytes:
    """A frame that asks the client to reconnect, and ends the stream. It covers no events."""
    event = turn_pb2.TurnEvent(reconnect=turn_pb2.TurnReconnect())
    event.reconnect.after.FromNanoseconds(int(after_seconds * 1e9))
    return _frame_outside_log(turn_id, at_seq, event)


def _frame_outside_log(turn_id: UUID, at_seq: int, event: turn_pb2.TurnEvent) -> bytes:
    return chat_service_pb2.AskResponse(
        turn=names.turn(turn_id), after_seq=at_seq, through_seq=at_seq, events=[event]
    ).SerializeToString(deterministic=True)


def snapshot(turn_id: UUID, after_seq: int, through_seq: int, terminal: bytes) -> bytes:
    """A frame that covers the rest of a pruned log. terminal: the terminal event's bytes, which are copied and not parsed."""
    end = bytes([_SNAPSHOT_THROUGH]) + _varint(through_seq) + _wrap(_SNAPSHOT_TERMINAL, terminal)
    return empty(turn_id, after_seq, through_seq) + _wrap(_EVENTS, _wrap(_SNAPSHOT, end))


async def stream(
    turn_id: UUID, rows: AsyncIterator[Followed], *, include_deltas: bool, after_seq: int = 0
) -> AsyncIterator[bytes]:
    """The frames of a stream. The first frame begins at after_seq. Each later frame begins where the previous frame
    ended, even if deltas were left out.

    If a row of deltas is left out, the next frame also covers that row, so no extra frame is sent for it. A heartbeat
    or a reconnect frame covers no seqs, and its position is the end of the last frame sent. A client that resumes there
    with deltas therefore misses no delta. Raises RuntimeError if seqs are missing between two rows.
    """
    sent = read = after_seq
    async for row in rows:
        match row:
            case LogRow():
                if row.last_seq <= read:
                    continue
                if row.first_seq > read + 1:
                    # A frame that covered the gap would hide the gap. The reader should see a broken stream and
                    # resume.
                    raise RuntimeError(f"{names.turn(turn_id)} continues at {row.first_seq} after {read}")
                if row.deltas and not include_deltas:
                    read = row.last_seq
                    continue
                frame = row.frame if include_deltas else without_deltas(row.frame)
                if row.first_seq <= read:
                    frame = rest(frame, read)
                yield frame if sent == max(read, row.first_seq - 1) else after(frame, sent)
                sent = read = row.last_seq
            case Heartbeat():
                yield heartbeat(turn_id, sent, row.queue_place)
            case Reconnect():
                yield reconnect(turn_id, sent, row.after_seconds)
                return
            case Snapshot():
                yield snapshot(turn_id, sent, row.through_seq, row.terminal)
                return
            case _:
                assert_never(row)
    if sent < read:
        yield empty(turn_id, sent, read)


def ends(frame: bytes) -> bool:
    """Whether the frame is the last one of its stream."""
    events = chat_service_pb2.AskResponse.FromString(frame).events
    return bool(events) and events[-1].WhichOneof("event") in _LAST


def _field_end(frame: bytes, position: int, tag: int, *, length: bool = False) -> int:
    """The end of the field at this position; the position itself if the field there has another tag."""
    if position >= len(frame) or frame[position] != tag:
        return position
    value, position = _read_varint(frame, position + 1)
    return position + value if length else position


def _events(frame: bytes) -> int:
    """Where the events of the frame begin."""
    return _field_end(frame, _field_end(frame, _field_end(frame, 0, _TURN, length=True), _AFTER), _THROUGH)


def _seq(frame: bytes, position: int) -> int:
    """The seq of the event at this position. The seq is the first field of every event in the log."""
    _, begin = _read_varint(frame, position + 1)
    assert frame[begin : begin + 1] == _SEQ
    return _read_varint(frame, begin + 1)[0]


def _is_delta(frame: bytes, position: int) -> bool:
    """Whether the event at this position is a delta. No delta of the log has a time, so the field `delta` directly
    follows seq and attempt."""
    _, begin = _read_varint(frame, position + 1)
    index = _field_end(frame, _field_end(frame, begin, _SEQ[0]), _ATTEMPT[0])
    return frame[index : index + 1] == _ONE_BYTE[_DELTA]


def _read_varint(frame: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = frame[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7


def _delta(numbered: NumberedEvent, delta: Delta) -> bytes:
    """A delta as a `TurnEvent`. Most events are deltas, and encoding them by hand takes a third of the time that protobuf needs."""
    content = _wrap(_DELTA_TEXT, delta.text.encode()) if delta.text else b""
    if delta.byte_offset:
        content += _DELTA_OFFSET + _varint(delta.byte_offset)
    head = _SEQ + _varint(numbered.seq) + _ATTEMPT + _varint(numbered.attempt)
    return head + _wrap(_DELTA, content)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _ONE_BYTE[value]
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def _wrap(tag: int, content: bytes) -> bytes:
    return _ONE_BYTE[tag] + _varint(len(content)) + content
