"""Packs collected events into rows of the log, and merges deltas while a writer lags. All functions are pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from responsa_server.domain.events import (
    MAX_DELTA_BYTES,
    Answered,
    Citation,
    Cited,
    Delta,
    Event,
    Excerpt,
    NumberedEvent,
    Refused,
    Terminal,
    ToolCalled,
    ToolCitation,
    ToolReturned,
)
from responsa_server.domain.turns import Ending, FrameCodec, LogRow, OpenTurn

# A frame on the wire has at most 256 KiB. The events of a row take at most half of that, which leaves room
# for their envelopes.
MAX_ROW_BYTES: Final = 128 * 1024
MAX_ROW_EVENTS: Final = 256
_ENVELOPE_BYTES: Final = 64


@dataclass(slots=True)
class Happened:
    """An event and its time; deltas have no time. restarts: how many attempts have begun since the turn was claimed."""

    time: datetime | None
    event: Event
    restarts: int = 0


def utf8_length(text: str) -> int:
    """The length of a text in bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def merged(before: Event, after: Event, most_bytes: int = MAX_DELTA_BYTES) -> Delta | None:
    """Two neighbouring deltas as one delta of at most `most_bytes`; None if the events are not neighbouring deltas or are too long together."""
    if not isinstance(before, Delta) or not isinstance(after, Delta):
        return None
    size = utf8_length(before.text)
    if before.byte_offset + size != after.byte_offset or size + utf8_length(after.text) > most_bytes:
        return None
    return Delta(before.text + after.text, before.byte_offset)


def number(first_seq: int, attempt: int, events: Iterable[Happened]) -> Sequence[NumberedEvent]:
    """Number the events for the log, from first_seq on. attempt: the attempt that the claim began."""
    return [
        NumberedEvent(
            seq, attempt + one.restarts, None if isinstance(one.event, Delta) else one.time, one.event
        )
        for seq, one in enumerate(events, first_seq)
    ]


def pack(codec: FrameCodec, turn_id: UUID, events: Sequence[NumberedEvent]) -> Sequence[LogRow]:
    """Pack the events into contiguous rows. Each row has only deltas or no deltas, and fits into a frame."""
    rows: list[LogRow] = []
    group: list[NumberedEvent] = []
    weight = 0
    of_deltas = False

    def close() -> None:
        first, last = group[0].seq, group[-1].seq
        frame = codec.encode(turn_id, first - 1, last, group)
        rows.append(LogRow(first, last, of_deltas, frame))

    for event in events:
        what = event.event
        is_delta = isinstance(what, Delta)
        own = _ENVELOPE_BYTES + utf8_length(what.text) if is_delta else _weight(what)
        if group and (of_deltas != is_delta or weight + own > MAX_ROW_BYTES or len(group) == MAX_ROW_EVENTS):
            close()
            group, weight = [], 0
        of_deltas = is_delta
        group.append(event)
        weight += own
    if group:
        close()
    return rows


def ending(codec: FrameCodec, turn: OpenTurn, time: datetime, terminal: Terminal) -> Ending:
    """The end of a turn that was ended from outside its worker, as the next row of the turn's log."""
    events = number(turn.last_seq + 1, turn.attempt, [Happened(time, terminal)])
    (row,) = pack(codec, turn.turn_id, events)
    return Ending(row, codec.encode_terminal(events[0]))


def _weight(event: Event) -> int:
    """The approximate size of an event on the wire, in bytes."""
    match event:
        case Cited(citation=Citation() as one):
            return 4 * _ENVELOPE_BYTES + len((one.title + one.uri + one.quote + one.path).encode())
        case Cited(citation=ToolCitation() as one):
            texts = one.title + one.uri + one.quote + one.origin.call_id + one.origin.tool
            return 4 * _ENVELOPE_BYTES + len(texts.encode())
        case Answered(text=text, citations=citations, excerpts=excerpts, more_excerpts=more):
            cited = sum(_weight(Cited(citation)) for citation in citations)
            return 2 * _ENVELOPE_BYTES + len(text.encode()) + cited + _shown([*excerpts, *more])
        case Refused(message=message, excerpts=excerpts):
            return _ENVELOPE_BYTES + len(message.encode()) + _shown(excerpts)
        case ToolCalled(arguments=arguments):
            return 4 * _ENVELOPE_BYTES + 2 * len(str(arguments).encode())
        case ToolReturned(content=content, data=data, sources=sources):
            quoted = sum(
                2 * _ENVELOPE_BYTES + len((source.uri + source.title + source.text).encode())
                for source in sources
            )
            typed = 0 if data is None else 2 * len(str(data).encode())
            return 2 * _ENVELOPE_BYTES + len(content.encode()) + typed + quoted
        case _:
            return 4 * _ENVELOPE_BYTES


def _shown(excerpts: Sequence[Excerpt]) -> int:
    texts = (
        "".join((excerpt.title, *excerpt.headings, excerpt.uri, excerpt.text, excerpt.markdown, excerpt.path))
        for excerpt in excerpts
    )
    return sum(8 * _ENVELOPE_BYTES + len(text.encode()) for text in texts)
