"""Reads what a PDF page draws besides letters: the rules of tables, pictures, and what hides a text."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple, cast

from pypdfium2 import raw

from responsa_formats.parsers.page_layout import Box
from responsa_formats.parsers.pdf_lines import View
from responsa_formats.parsers.pdf_pages import is_blank
from responsa_formats.parsers.ruled_tables import RuledLine

# The library's functions have no type annotations.
_pdfium = cast("Any", raw)

_MAX_OBJECTS: Final = 20_000
"""Of a page with more objects, which is a map or a drawing, the others are not looked at."""
_MAX_DEPTH: Final = 4
_MAX_POINTS: Final = 400
"""A path with more points is no rule of a table."""
_INVISIBLE: Final = (3, 7)
"""The rendering modes of text that is not painted (PDF 32000-1, 9.3.6)."""
_THIN: Final = 3.0
"""The greatest width of a rule, in points."""
_SHORT: Final = 6.0
_STRAIGHT: Final = 0.5
_BAND: Final = 20
_MAX_BANDS: Final = 500
_LEAST_PICTURE: Final = 16.0
_MAX_STEPS: Final = 200_000
"""How many objects are turned on or off to see which layers are off; what is left is read."""
_ALIKE: Final = 6
"""How far apart the parts of two colours are at most that a reader cannot tell apart."""
_WHITE: Final = (255, 255, 255)
_OPTIONAL: Final = "OC\0".encode("utf-16-le")

Colour = tuple[int, int, int]


class _Matrix(NamedTuple):
    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f

    def within(self, outer: _Matrix) -> _Matrix:
        (e, f), (a, b), (c, d) = outer.at(self.e, self.f), outer.at(self.a, self.b), outer.at(self.c, self.d)
        return _Matrix(a - outer.e, b - outer.f, c - outer.e, d - outer.f, e, f)


_SAME: Final = _Matrix(1, 0, 0, 1, 0, 0)


@dataclass(slots=True)
class _PaintedText:
    """A text that is painted. colour: None if it is not filled with one."""

    address: int
    box: Box
    colour: Colour | None


@dataclass(slots=True)
class Drawn:
    """What a page draws. off: the number of texts in layers that are off. hidden: the addresses of the other text objects
    that are not seen. turned: whether a text is not horizontal in the file."""

    off: int = 0
    hidden: set[int] = field(default_factory=set[int])
    rules: list[RuledLine] = field(default_factory=list[RuledLine])
    pictures: int = 0
    turned: bool = False


def read_drawn(document: Any, page: Any, view: View, *, layered: bool) -> Drawn:
    """Read what the library's page draws. layered: whether it may have layers that are off (optional content, PDF 32000-1,
    8.11). What these have is deactivated, so that nothing else reads it."""
    objects = list(_objects(page, layered=layered))
    off = _deactivate(document, page, objects) if layered and view.width > 0 < view.height else ()
    drawn = Drawn(
        off=sum(kind == _pdfium.FPDF_PAGEOBJ_TEXT and layer in off for kind, _, _, layer in objects)
    )
    texts: list[_PaintedText] = []
    unpainted: list[_PaintedText] = []
    pictures: list[Box] = []
    fills: defaultdict[int, list[tuple[Box, Colour | None]]] = defaultdict(list)
    bands: defaultdict[int, list[_PaintedText]] = defaultdict(list)
    for kind, thing, matrix, layer in objects:
        box = None if layer in off else _box(thing, matrix)
        if box is None:
            continue
        if kind == _pdfium.FPDF_PAGEOBJ_TEXT:
            text = _PaintedText(_address(thing), box, _colour(thing))
            drawn.turned = drawn.turned or _is_turned(thing, matrix)
            mode = _pdfium.FPDFTextObj_GetTextRenderMode(thing)
            if not _meet(box, (view.left, view.bottom, view.right, view.top)) or _is_clipped(
                thing, box, matrix
            ):
                drawn.hidden.add(text.address)
            elif mode in _INVISIBLE:
                unpainted.append(text)
            elif mode == 0 and text.colour is not None and _is_background(text, fills, pictures):
                drawn.hidden.add(text.address)
            else:
                texts.append(text)
                for band in _bands(box):
                    bands[band].append(text)
        elif kind in (_pdfium.FPDF_PAGEOBJ_IMAGE, _pdfium.FPDF_PAGEOBJ_SHADING):
            pictures.append(box)
            large = min(box[2] - box[0], box[3] - box[1]) > _LEAST_PICTURE
            drawn.pictures += large and kind == _pdfium.FPDF_PAGEOBJ_IMAGE
        elif kind == _pdfium.FPDF_PAGEOBJ_PATH:
            rectangle, filled = _read_path(thing, matrix, view, drawn.rules, box)
            if filled:
                colour = _colour(thing) if rectangle else None
                for band in _bands(box):
                    fills[band].append((box, colour))
                if colour is not None and not _pdfium.FPDFPageObj_HasTransparency(thing):
                    drawn.hidden.update(_texts_under(box, bands))
    # Text without paint over a picture is what OCR has read of it.
    drawn.hidden.update(
        text.address for text in unpainted if not any(_meet(text.box, picture) for picture in pictures)
    )
    return drawn


def _objects(page: Any, *, layered: bool) -> Iterator[tuple[int, Any, _Matrix, int]]:
    """The objects of a page in the order of painting, with their kinds, the matrices of the forms that they are in, and
    the address of the mark of optional content or the form that is next around them; 0 if there is none."""
    left = _MAX_OBJECTS
    stack: list[tuple[Any, Any, Any, int, _Matrix, int]] = [
        (page, _pdfium.FPDFPage_GetObject, _pdfium.FPDFPage_CountObjects(page), 0, _SAME, 0)
    ]
    while stack and left > 0:
        source, get, count, number, matrix, around = stack.pop()
        while number < count and left > 0:
            thing = get(source, number)
            number += 1
            left -= 1
            kind = _pdfium.FPDFPageObj_GetType(thing)
            if kind == _pdfium.FPDF_PAGEOBJ_FORM and len(stack) < _MAX_DEPTH:
                stack.append((source, get, count, number, matrix, around))
                source, get, number = thing, _pdfium.FPDFFormObj_GetObject, 0
                count, matrix = _pdfium.FPDFFormObj_CountObjects(thing), _matrix(thing).within(matrix)
                around = _address(thing)
            elif thing:
                yield kind, thing, matrix, _find_layer(thing, around) if layered else 0


def _find_layer(thing: Any, around: int) -> int:
    name, size = (ctypes.c_ushort * 3)(), ctypes.c_ulong()
    for number in range(_pdfium.FPDFPageObj_CountMarks(thing)):
        mark = _pdfium.FPDFPageObj_GetMark(thing, number)
        if _pdfium.FPDFPageObjMark_GetName(mark, name, 6, size) and bytes(name) == _OPTIONAL:
            around = _address(mark)
    return around


def _deactivate(document: Any, page: Any, objects: Sequence[tuple[int, Any, _Matrix, int]]) -> set[int]:
    """Deactivate what is in layers that are off, and return these. The library tells the state of a layer only by drawing:
    nothing of a layer that is off is drawn with the page, but its texts are when they are drawn alone."""
    texts: defaultdict[int, list[Any]] = defaultdict(list)
    for kind, thing, _, layer in objects:
        if layer and kind == _pdfium.FPDF_PAGEOBJ_TEXT:
            texts[layer].append(thing)
    off: set[int] = set()
    for layer in islice(texts, _MAX_STEPS // max(len(objects), 1)):
        _activate(objects, {layer})
        if is_blank(page) and any(_is_painted(document, page, text) for text in texts[layer]):
            off.add(layer)
    if texts:
        _activate(objects, {layer for *_, layer in objects} - off)
    return off


def _activate(objects: Sequence[tuple[int, Any, _Matrix, int]], layers: Container[int]) -> None:
    for _, thing, _, layer in objects:
        _pdfium.FPDFPageObj_SetIsActive(thing, layer in layers)


def _is_painted(document: Any, page: Any, text: Any) -> bool:
    bitmap = _pdfium.FPDFTextObj_GetRenderedBitmap(document, page, text, 0.1)
    if bitmap:
        _pdfium.FPDFBitmap_Destroy(bitmap)
    return bool(bitmap) and _pdfium.FPDFTextObj_GetTextRenderMode(text) not in _INVISIBLE


def _address(thing: Any) -> int:
    return ctypes.cast(thing, ctypes.c_void_p).value or 0


def _matrix(thing: Any) -> _Matrix:
    matrix = _pdfium.FS_MATRIX()
    if not _pdfium.FPDFPageObj_GetMatrix(thing, matrix):
        return _SAME
    return _Matrix(matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f)


def _is_turned(text: Any, matrix: _Matrix) -> bool:
    a, b, *_ = _matrix(text).within(matrix)
    return abs(b) > 0.1 * abs(a)


def _box(thing: Any, matrix: _Matrix) -> Box | None:
    edges = [ctypes.c_float() for _ in range(4)]
    if not _pdfium.FPDFPageObj_GetBounds(thing, *edges):
        return None
    left, bottom, right, top = (edge.value for edge in edges)
    if matrix is _SAME:
        return left, bottom, right, top
    return _around([matrix.at(x, y) for x in (left, right) for y in (bottom, top)])


def _around(points: Sequence[tuple[float, float]]) -> Box:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def _meet(box: Box, other: Box) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def _colour(thing: Any) -> Colour | None:
    """The colour that fills an object; None if it is filled with something else, or not opaque."""
    parts = [ctypes.c_uint() for _ in range(4)]
    if not _pdfium.FPDFPageObj_GetFillColor(thing, *parts):
        return None
    red, green, blue, alpha = (part.value for part in parts)
    return (red, green, blue) if alpha == 255 else None


def _bands(box: Box) -> range:
    """The stripes of the page, each as high as _BAND, that a box lies in."""
    first = max(int(box[1]) // _BAND, -_MAX_BANDS)
    return range(first, min(int(box[3]) // _BAND, first + _MAX_BANDS) + 1)


def _is_background(
    text: _PaintedText, fills: Mapping[int, Sequence[tuple[Box, Colour | None]]], pictures: Sequence[Box]
) -> bool:
    """Whether a text has the colour of what is painted below it."""
    box, colour = text.box, text.colour
    if colour is None or any(_meet(box, picture) for picture in pictures):
        return False
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    below = next(
        (
            paint
            for fill, paint in reversed(fills.get(int(y) // _BAND, ()))
            if fill[0] <= x <= fill[2] and fill[1] <= y <= fill[3]
        ),
        _WHITE,
    )
    return below is not None and all(
        abs(part - other) <= _ALIKE for part, other in zip(colour, below, strict=True)
    )


def _texts_under(box: Box, bands: dict[int, list[_PaintedText]]) -> Iterator[int]:
    """The texts that lie under a rectangle."""
    left, bottom, right, top = box
    for band in _bands(box):
        for text in bands.get(band, ()):
            if left <= text.box[0] and bottom <= text.box[1] and text.box[2] <= right and text.box[3] <= top:
                yield text.address


def _is_clipped(text: Any, box: Box, matrix: _Matrix) -> bool:
    """Whether a text lies outside of the area in which it is painted."""
    clip = _pdfium.FPDFPageObj_GetClipPath(text)
    for number in range(min(_pdfium.FPDFClipPath_CountPaths(clip), 10) if clip else 0):
        count = _pdfium.FPDFClipPath_CountPathSegments(clip, number)
        segments = (
            _pdfium.FPDFClipPath_GetPathSegment(clip, number, n) for n in range(min(count, _MAX_POINTS))
        )
        points = [matrix.at(*_point(segment)) for segment in segments]
        if points and count <= _MAX_POINTS and not _meet(box, _around(points)):
            return True
    return False


def _point(segment: Any) -> tuple[float, float]:
    x, y = ctypes.c_float(), ctypes.c_float()
    _pdfium.FPDFPathSegment_GetPoint(segment, x, y)
    return x.value, y.value


def _read_path(path: Any, matrix: _Matrix, view: View, rules: list[RuledLine], box: Box) -> tuple[bool, bool]:
    """Add the rules that a path draws. Returns whether it is one rectangle, and whether it is filled."""
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    _pdfium.FPDFPath_GetDrawMode(path, fill, stroke)
    count = _pdfium.FPDFPath_CountSegments(path)
    if count > _MAX_POINTS or not (fill.value or stroke.value):
        return False, bool(fill.value)
    width, height = box[2] - box[0], box[3] - box[1]
    own = _matrix(path).within(matrix)
    corners = straight = 0
    start = last = (0.0, 0.0)
    shown: list[RuledLine] = []
    for number in range(count):
        segment = _pdfium.FPDFPath_GetPathSegment(path, number)
        kind = _pdfium.FPDFPathSegment_GetType(segment)
        point = own.at(*_point(segment))
        if kind == _pdfium.FPDF_SEGMENT_MOVETO:
            start = point
        elif kind == _pdfium.FPDF_SEGMENT_LINETO:
            corners += 1
            straight += abs(point[0] - last[0]) < _STRAIGHT or abs(point[1] - last[1]) < _STRAIGHT
            shown += _rule(last, point, view)
        else:
            corners += count
        if _pdfium.FPDFPathSegment_GetClose(segment):
            shown += _rule(point, start, view)
        last = point
    rectangle = 3 <= corners <= 5 and straight == corners
    if fill.value and min(width, height) <= _THIN < max(width, height):
        middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        ends = (
            ((box[0], middle_y), (box[2], middle_y))
            if width > height
            else ((middle_x, box[1]), (middle_x, box[3]))
        )
        rules += _rule(*ends, view)
    elif stroke.value or (rectangle and _colour(path) not in (None, _WHITE)):
        rules += shown
    return rectangle, bool(fill.value)


def _rule(start: tuple[float, float], end: tuple[float, float], view: View) -> Iterator[RuledLine]:
    (x, y), (other_x, other_y) = view.at(*start), view.at(*end)
    if abs(y - other_y) < _STRAIGHT and abs(x - other_x) > _SHORT:
        yield RuledLine(False, (y + other_y) / 2, min(x, other_x), max(x, other_x))
    elif abs(x - other_x) < _STRAIGHT and abs(y - other_y) > _SHORT:
        yield RuledLine(True, (x + other_x) / 2, min(y, other_y), max(y, other_y))
