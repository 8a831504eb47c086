"""Drawn pages and their encoding."""

from __future__ import annotations

import struct
import zlib

import pytest

from responsa_formats.parsers.pdf_pages import draw
from responsa_formats.text.drawn import MAX_HEIGHT, MAX_PIXELS, DrawnPage, png

PAGE = """%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Rotate {turn}/Contents 4 0 R>>endobj
4 0 obj<</Length 24>>stream
1 0 0 rg 0 0 10 10 re f
endstream endobj
trailer<</Root 1 0 R>>
%%EOF
"""


def pdf(box: str, turn: int = 0) -> bytes:
    """A PDF with a red square in the lower left corner of its page."""
    return PAGE.format(box=box, turn=turn).encode()


def pixel(page: DrawnPage, x: int, y: int) -> tuple[int, ...]:
    start = 3 * (y * page.width + x)
    return tuple(page.pixels[start : start + 3])


RED, WHITE = (255, 0, 0), (255, 255, 255)


def test_a_page_is_drawn_as_it_is_shown() -> None:
    page = draw(pdf("0 0 200 100"), 1, 400)
    assert (page.page_count, page.width, page.height) == (1, 400, 200)
    assert (pixel(page, 5, 195), pixel(page, 5, 5), pixel(page, 395, 195)) == (RED, WHITE, WHITE)
    turned = draw(pdf("0 0 200 100", 90), 1, 100)
    assert (turned.width, turned.height) == (100, 200)
    assert pixel(turned, 5, 5) == RED
    moved = draw(pdf("-50 -50 150 50"), 1, 200)
    assert pixel(moved, 55, 45) == RED


@pytest.mark.parametrize(
    ("box", "width", "height"),
    [
        ("0 0 14400 14400", 2000, 2000),
        ("0 0 100 14400", 55, MAX_HEIGHT),
        ("0 0 14400 1", 2000, 1),
        ("0 0 595 842", 1681, 2379),
        ("0 0 1 1", 2000, 2000),
    ],
)
def test_any_page_fits(box: str, width: int, height: int) -> None:
    page = draw(pdf(box), 1, 2000)
    assert (page.width, page.height) == (width, height)
    assert page.width * page.height <= MAX_PIXELS


def test_a_page_that_is_not_there() -> None:
    assert draw(pdf("0 0 9 9"), 2, 100) == DrawnPage(1)


def test_png_holds_the_pixels() -> None:
    page = DrawnPage(1, 2, 3, bytes(range(18)))
    data = png(page)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks: list[tuple[bytes, bytes]] = []
    place = 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", data, place + 8 + length) == (zlib.crc32(kind + content),)
        chunks.append((kind, content))
        place += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    assert chunks[0][1] == struct.pack(">IIBBBBB", 2, 3, 8, 2, 0, 0, 0)
    rows = zlib.decompress(chunks[1][1])
    assert rows == b"\0" + page.pixels[:6] + b"\0" + page.pixels[6:12] + b"\0" + page.pixels[12:]


@pytest.mark.parametrize(
    ("width", "height", "pixels"),
    [(2, 2, 11), (2001, 1, 6003), (1, 8001, 24003), (2000, 2001, 0), (-1, -1, 3)],
)
def test_what_is_no_drawn_page(width: int, height: int, pixels: int) -> None:
    with pytest.raises(ValueError, match="page"):
        DrawnPage(1, width, height, bytes(pixels))
