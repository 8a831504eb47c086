from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.web import WebProblem, lines, web_messages


class Body:
    """Bytes that arrive in the given pieces."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._pieces: list[bytes] = []
        place = 0
        for size in sizes:
            if data[place : place + size]:
                self._pieces.append(data[place : place + size])
            place += size
        if data[place:]:
            self._pieces.append(data[place:])

    def read1(self, n: int = -1, /) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


SIZES = st.lists(st.integers(1, 7), max_size=30)


def framed(flags: int, data: bytes) -> bytes:
    return struct.pack(">BI", flags, len(data)) + data


@given(st.lists(st.binary(max_size=12), max_size=5), SIZES)
def test_messages_are_found_however_the_bytes_come(messages: list[bytes], sizes: list[int]) -> None:
    data = b"".join(framed(0, one) for one in messages) + framed(0x80, b"grpc-status: 0\r\n")
    assert list(web_messages(Body(data, sizes))) == messages


@pytest.mark.parametrize("end", [b"", framed(0x80, b"grpc-status: 5\r\ngrpc-message: no\r\n")])
def test_a_body_that_does_not_end_well_is_a_problem(end: bytes) -> None:
    with pytest.raises(WebProblem, match="grpc-status"):
        list(web_messages(Body(framed(0, b"x") + end, [])))


@given(SIZES)
def test_lines_are_found_however_the_bytes_come(sizes: list[int]) -> None:
    assert list(lines(Body(b'{"a":1}\n{"b":2}\n', sizes))) == [b'{"a":1}', b'{"b":2}']
    assert list(lines(Body(b'{"whole":1}', sizes))) == [b'{"whole":1}']
