"""Packs collected events into rows of the log, and merges deltas while a writer lags. All functions are pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from responsa_server.domain.events import MAX_DELTA_BYTES, Delta, Event, NumberedEvent
from responsa_server.domain.turns import Ending, FrameCodec, LogRow

# A frame on the wire has at most 256 KiB. The events of a row take at most half of that, unless it has only one.
MAX_ROW_BYTES: Final = 128 * 1024
MAX_ROW_EVENTS: Final = 256
# The tag and the length of an event in a frame.
_ENVELOPE_BYTES: Final = 4


@dataclass(slots=True)
class PendingEvent:
    """An event and its time; deltas have no time. restarts: how many attempts have begun since the turn was claimed."""

    time: datetime | None
    event: Event
    restarts: int = 0


def utf8_length(text: str) -> int:
    """The length of a text in bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def merge(before: Event, after: Event, most_bytes: int = MAX_DELTA_BYTES) -> Delta | None:
    """Two neighbouring deltas as one delta of at most `most_bytes`; None if the events are not neighbouring deltas or
    are too long together."""
    if not isinstance(before, Delta) or not isinstance(after, Delta):
        return None
    size = utf8_length(before.text)
    if before.byte_offset + size != after.byte_offset or size + utf8_length(after.text) > most_bytes:
        return None
    return Delta(before.text + after.text, before.byte_offset)


def number(first_seq: int, attempt: int, events: Iterable[PendingEvent]) -> Sequence[NumberedEvent]:
    """Number the events for the log, from first_seq on. attempt: the attempt that the claim began."""
    return [
        NumberedEvent(
            seq, attempt + entry.restarts, None if isinstance(entry.event, Delta) else entry.time, entry.event
        )
        for seq, entry in enumerate(events, first_seq)
    ]


def pack(codec: FrameCodec, turn_id: UUID, events: Sequence[NumberedEvent]) -> Sequence[LogRow]:
    """Pack the events into contiguous rows, each of which fits into a frame."""
    rows: list[LogRow] = []
    group: list[bytes] = []
    size, after_seq, deltas = 0, 0, True
    for event in events:
        encoded = codec.event(event)
        if group and (size + len(encoded) > MAX_ROW_BYTES or len(group) == MAX_ROW_EVENTS):
            rows.append(_row(codec, turn_id, after_seq, group, deltas=deltas))
            group = []
        if not group:
            size, after_seq, deltas = 0, event.seq - 1, True
        group.append(encoded)
        size += _ENVELOPE_BYTES + len(encoded)
        deltas = deltas and isinstance(event.event, Delta)
    if group:
        rows.append(_row(codec, turn_id, after_seq, group, deltas=deltas))
    return rows


def ending(codec: FrameCodec, turn_id: UUID, event: NumberedEvent) -> Ending:
    """A turn's terminal event, for its followers and for the turn."""
    terminal = codec.event(event)
    return Ending(_row(codec, turn_id, event.seq - 1, [terminal], deltas=False), terminal)


def _row(
    codec: FrameCodec, turn_id: UUID, after_seq: int, events: Sequence[bytes], *, deltas: bool
) -> LogRow:
    through_seq = after_seq + len(events)
    return LogRow(after_seq + 1, through_seq, deltas, codec.frame(turn_id, after_seq, through_seq, events))
