from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.providers.sse import MAX_EVENT_BYTES, EventTooLarge, SseReader

STREAM = (
    ": a comment\r\n\r\n"
    'data: {"a": "ü"}\r\n\r\n'
    "event: other\nid: 7\ndata:first\ndata: second\n\n\n"
    "data: 東京\n\n"
    "data: never ended"
).encode()
EVENTS = ['{"a": "ü"}', "first\nsecond", "東京"]


def events_of(pieces: list[bytes]) -> list[str]:
    reader = SseReader()
    return [data.decode() for piece in pieces for data in reader.feed(piece)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(places)]
    assert events_of(pieces) == EVENTS


def test_events_are_the_same_byte_by_byte() -> None:
    assert events_of([bytes([one]) for one in STREAM]) == EVENTS


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: " + b"x" * 1000 + b"\n"])
def test_an_event_without_end_is_not_gathered_for_ever(piece: bytes) -> None:
    with pytest.raises(EventTooLarge):
        events_of([piece] * (MAX_EVENT_BYTES // 1000 + 2))
