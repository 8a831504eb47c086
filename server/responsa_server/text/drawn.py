"""A drawn page of a document, its encoding as PNG, and marks on it."""

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
_BEFORE_SIZE: Final = _SIGNATURE + struct.pack(">I", 13) + b"IHDR"
_HEADER_BYTES: Final = len(_BEFORE_SIZE) + 13 + 4
_HIGHLIGHTED: Final = bytes(blue * 2 // 5 for blue in range(256))
"""The share of blue under a yellow mark."""


@dataclass(frozen=True, slots=True)
class DrawnPage:
    """A page as pixels.

    page_count: the number of pages of the document. pixels: a byte each of red, green and blue, row by row; empty, with the width and height 0, if the
    document has no such page.
    """

    page_count: int
    width: int = 0
    height: int = 0
    pixels: bytes = b""

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
    return _encoded(page.width, page.height, rows)


def marked(image: bytes, box: tuple[int, int, int, int]) -> bytes:
    """Return an image of `png` with a part of the page in yellow, as if by a highlighter: dark text stays dark.

    box: the left, top, right and bottom edge, in thousandths of the page's width and height. The mark is at least one pixel wide and high.

    Raises:
        ValueError: the bytes are not an image of the form that `png` makes.
    """
    width, height, rows = _decoded(image)
    left, right = _span(box[0], box[2], width)
    top, bottom = _span(box[1], box[3], height)
    for y in range(top, bottom):
        pixels = y * (1 + width * _CHANNELS) + 1
        blue = slice(pixels + left * _CHANNELS + 2, pixels + right * _CHANNELS, _CHANNELS)
        rows[blue] = rows[blue].translate(_HIGHLIGHTED)
    return _encoded(width, height, rows)


def _span(start: int, end: int, pixels: int) -> tuple[int, int]:
    """The first pixel of a stretch in thousandths, and the pixel after its last."""
    first = min(start * pixels // 1000, pixels - 1)
    return first, max(first + 1, min(-(-end * pixels // 1000), pixels))


def _encoded(width: int, height: int, rows: bytes | bytearray) -> bytes:
    """Make an image of rows that begin with the number of their filter."""
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">II", width, height) + _COLOURS),
            _chunk(b"IDAT", zlib.compress(rows, _LEVEL)),
            _chunk(b"IEND", b""),
        )
    )


def _decoded(image: bytes) -> tuple[int, int, bytearray]:
    """The width, the height and the rows of an image that `_encoded` has made."""
    if not image.startswith(_BEFORE_SIZE) or len(image) < _HEADER_BYTES + 8:
        raise ValueError("not an image of a page")
    width, height = struct.unpack_from(">II", image, len(_BEFORE_SIZE))
    length, kind = struct.unpack_from(">I4s", image, _HEADER_BYTES)
    if not (0 < width <= MAX_WIDTH and 0 < height <= MAX_HEIGHT and width * height <= MAX_PIXELS):
        raise ValueError("not the size of a page")
    size = height * (1 + width * _CHANNELS)
    try:
        data = image[_HEADER_BYTES + 8 : _HEADER_BYTES + 8 + length]
        rows = bytearray(zlib.decompressobj().decompress(data, size))
    except zlib.error:
        raise ValueError("the pixels of the image are damaged") from None
    plain = image[len(_BEFORE_SIZE) + 8 :].startswith(_COLOURS) and kind == b"IDAT"
    if not plain or len(rows) != size or any(rows[:: 1 + width * _CHANNELS]):
        raise ValueError("not an image of a page")
    return width, height, rows


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))))
