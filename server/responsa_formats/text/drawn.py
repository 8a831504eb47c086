"""A drawn page of a document, and its encoding as PNG."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

MAX_PIXELS: Final = 4_000_000
"""The maximum number of pixels of a drawn page."""
MAX_HEIGHT: Final = 8_000
"""The maximum height of a drawn page, in pixels."""
MAX_WIDTH: Final = 2_000
"""The maximum width of a drawn page, in pixels."""

_CHANNELS: Final = 3
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_LEVEL: Final = 6
_COLOURS: Final = bytes((8, 2, 0, 0, 0))
"""The end of the header: 8 bits a channel, red, green and blue, not interlaced."""


@dataclass(frozen=True, slots=True)
class DrawnPage:
    """A page as pixels.

    page_count: the number of pages of the document. pixels: a byte each of red, green and blue, row by row; empty, with
    the width and height 0, if the document has no such page. label: that of the page, or ''.
    """

    page_count: int
    width: int = 0
    height: int = 0
    pixels: bytes = b""
    label: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError if the numbers do not fit the pixels or the limits."""
        if not (
            0 <= self.page_count < 2**31 and 0 <= self.width <= MAX_WIDTH and 0 <= self.height <= MAX_HEIGHT
        ):
            raise ValueError("not the size of a drawn page")
        if self.width * self.height > MAX_PIXELS or len(self.pixels) != self.width * self.height * _CHANNELS:
            raise ValueError("the pixels do not fit the size of the page")


def png(page: DrawnPage) -> bytes:
    """Encode a page as PNG (RFC 2083): 8 bits a channel, no filter, no metadata."""
    row = page.width * _CHANNELS
    pixels = memoryview(page.pixels)
    # Each row begins with the number of its filter; 0 stands for no filter. Text on white paper is smallest without a filter.
    rows = b"".join(
        part for start in range(0, len(pixels), row) for part in (b"\x00", pixels[start : start + row])
    )
    return _encode(page.width, page.height, rows)


def _encode(width: int, height: int, rows: bytes) -> bytes:
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">II", width, height) + _COLOURS),
            _chunk(b"IDAT", zlib.compress(rows, _LEVEL)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))))
