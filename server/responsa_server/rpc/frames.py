"""The bytes of a turn's log, which are the frames of its streams: what was encoded once is copied ever after.

A row's frame is a whole `AskResponse` that covers the row. Turns see these bytes through the port `FrameCodec` and know nothing of protobuf.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import cast
from uuid import UUID

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa_server.domain import names
from responsa_server.domain.turns import LogRow, NumberedEvent, Question
from responsa_server.rpc.convert import chat

# Tags of AskResponse: turn = 1, after_seq = 2. They come first in what `encode` makes, in this order; a zero is left out.
_TURN, _AFTER = 0x0A, 0x10


class AskFrames:
    """Implements `FrameCodec`."""

    def encode(
        self, turn_id: UUID, after_seq: int, through_seq: int, events: Sequence[NumberedEvent]
    ) -> bytes:
        """A frame over (after_seq, through_seq], which holds these events."""
        return chat_service_pb2.AskResponse(
            turn=names.turn(turn_id),
            after_seq=after_seq,
            through_seq=through_seq,
            events=[chat.event(one) for one in events],
        ).SerializeToString(deterministic=True)

    def encode_terminal(self, event: NumberedEvent) -> bytes:
        """The terminal event alone, as a turn's row keeps it: a `TurnEvent`."""
        return chat.event(event).SerializeToString(deterministic=True)

    def encode_question(self, question: Question) -> bytes:
        """The question as meant, as a `StartTurnRequest`; equal questions give equal bytes."""
        return chat_service_pb2.StartTurnRequest(
            conversation=""
            if question.conversation_id is None
            else names.conversation(question.conversation_id),
            text=question.text,
            options=chat_service_pb2.AskOptions(
                scope=turn_pb2.Scope(
                    collections=[names.collection(one) for one in sorted(question.collections)]
                )
            ),
        ).SerializeToString(deterministic=True)

    def decode_question(self, data: bytes) -> Question:
        """The question that `encode_question` was given."""
        return chat.question(chat_service_pb2.StartTurnRequest.FromString(data))


def as_response(frame: bytes) -> chat_service_pb2.AskResponse:
    """Pass a frame where gRPC's stubs want a message: the chain's serialiser sends bytes as they are."""
    return cast("chat_service_pb2.AskResponse", frame)


def after(frame: bytes, after_seq: int) -> bytes:
    """The same frame, beginning after another seq: it covers what was left out before it as well. Its events are not looked at."""
    end_of_turn = _field_end(frame, 0, _TURN, length=True)
    end_of_after = _field_end(frame, end_of_turn, _AFTER)
    changed = bytes([_AFTER]) + _varint(after_seq) if after_seq else b""
    return frame[:end_of_turn] + changed + frame[end_of_after:]


def empty(turn_id: UUID, after_seq: int, through_seq: int) -> bytes:
    """A frame without events; with both numbers the same it is a heartbeat."""
    return AskFrames().encode(turn_id, after_seq, through_seq, ())


async def stream(
    turn_id: UUID, rows: AsyncIterator[LogRow | None], *, include_deltas: bool, after_seq: int = 0
) -> AsyncIterator[bytes]:
    """The frames of a stream: each begins where the one before ended, whether or not deltas were left out.

    A row of deltas that was not asked for is covered by the frame after it, so leaving out costs no frame. None among the rows makes a heartbeat.
    """
    sent = read = after_seq
    async for row in rows:
        if row is None:
            yield empty(turn_id, sent, sent)
            continue
        read = row.last_seq
        if row.deltas and not include_deltas:
            continue
        yield row.frame if sent == row.first_seq - 1 else after(row.frame, sent)
        sent = read
    if sent < read:
        yield empty(turn_id, sent, read)


def _field_end(frame: bytes, position: int, tag: int, *, length: bool = False) -> int:
    """Where the field that may begin at the position ends; the position itself when it is another field."""
    if position >= len(frame) or frame[position] != tag:
        return position
    value, position = _read_varint(frame, position + 1)
    return position + value if length else position


def _read_varint(frame: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = frame[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7


def _varint(value: int) -> bytes:
    result = bytearray()
    while value >= 0x80:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
