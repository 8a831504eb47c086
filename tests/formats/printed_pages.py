"""Small PDFs, written by hand from lines of text."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from responsa_formats.parsers.pdf_pages import draw

WIDTH, HEIGHT = 600, 800

# The widths of the letters of Helvetica from U+0020 to U+007E, in thousandths of the size, as Adobe's font metrics state them.
_WIDTHS = (
    *(278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278),
    *(556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556),
    *(1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778),
    *(667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556),
    *(333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556),
    *(556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584),
)


@dataclass(frozen=True, slots=True)
class Text:
    """A text at a place, in points from the lower left corner. turned: whether it is read upwards. spacing: how much
    wider its spaces are."""

    x: float
    y: float
    text: str
    size: float = 10
    turned: bool = False
    spacing: float = 0


def width(text: str, size: float = 10) -> float:
    """The width of a text of ASCII characters, in points."""
    return sum(_WIDTHS[ord(letter) - 32] for letter in text) * size / 1000


def lines(x: float, y: float, *texts: str, size: float = 10, leading: float = 12) -> list[Text]:
    """Lines below each other."""
    return [Text(x, y - place * leading, text, size) for place, text in enumerate(texts)]


def pdf(
    *pages: Sequence[Text],
    more: Sequence[str] = (),
    catalog: str = "",
    page: str = "",
    below: str = "",
    above: str = "",
) -> bytes:
    """A PDF. more: further objects, from number 100 on. catalog, page: further entries of the catalog and of each page.
    below, above: what each page draws before and after its texts.

    Letters are in Latin-1, but `{` to `~` are the Hebrew letters alef to dalet, and U+007F is the Arabic ligature lam-alef.
    """
    objects = {
        1: f"<</Type/Catalog/Pages 2 0 R{catalog}>>",
        2: f"<</Type/Pages/Count {len(pages)}/Kids[{' '.join(f'{10 + 2 * n} 0 R' for n in range(len(pages)))}]>>",
        3: "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding<</BaseEncoding/WinAnsiEncoding"
        "/Differences[123/afii57664/afii57665/afii57666/afii57667/uniFEFB]>>>>",
        **{100 + n: text for n, text in enumerate(more)},
    }
    for number, texts in enumerate(pages):
        drawn = "\n".join([below, *map(_drawn, texts), above])
        objects[10 + 2 * number] = (
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {WIDTH} {HEIGHT}]/Resources<</Font<</F 3 0 R>>>>"
            f"/Contents {11 + 2 * number} 0 R{page}>>"
        )
        objects[11 + 2 * number] = f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream"
    return _file({number: text.encode("latin-1") for number, text in objects.items()})


def scan(printed: bytes) -> bytes:
    """A PDF with one picture, of the first page of another PDF."""
    shown = draw(printed, 1, 1240)
    packed = zlib.compress(shown.pixels)
    content = b"q %d 0 0 %d 0 0 cm /I Do Q" % (WIDTH, HEIGHT)
    return _file(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Resources<</XObject<</I 5 0 R>>>>/Contents 4 0 R>>"
            % (WIDTH, HEIGHT),
            4: b"<</Length %d>>stream\n%b\nendstream" % (len(content), content),
            5: (
                b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB/BitsPerComponent 8"
                b"/Filter/FlateDecode/Length %d>>stream\n%b\nendstream"
            )
            % (shown.width, shown.height, len(packed), packed),
        }
    )


def bomb(factor: int) -> bytes:
    """A PDF whose page is `factor` MiB of spaces, packed twice."""
    packed = zlib.compress(zlib.compress(b" " * 1024 * 1024 * factor, 9), 9)
    return _file(
        {
            1: b"<</Type/Catalog/Pages 2 0 R>>",
            2: b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            3: b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>",
            4: b"<</Filter[/FlateDecode/FlateDecode]/Length %d>>stream\n%b\nendstream"
            % (len(packed), packed),
        }
    )


def _drawn(piece: Text) -> str:
    escaped = piece.text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    matrix = "0 1 -1 0" if piece.turned else "1 0 0 1"
    return f"BT /F {piece.size} Tf {piece.spacing} Tw {matrix} {piece.x} {piece.y} Tm ({escaped}) Tj ET\n"


def _file(objects: dict[int, bytes]) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    places: dict[int, int] = {}
    for number, content in sorted(objects.items()):
        places[number] = len(out)
        out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 1\n0000000000 65535 f \n"
    for number, place in places.items():
        out += b"%d 1\n%010d 00000 n \n" % (number, place)
    out += b"trailer\n<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n" % (max(objects) + 1, start)
    return bytes(out)
