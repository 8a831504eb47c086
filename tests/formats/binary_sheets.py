"""Small binary workbooks: .xls ([MS-XLS], in an OLE file) and .xlsb ([MS-XLSB], in a ZIP archive)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from responsa_formats.parsers.office_samples import relationships, zip_members
from tests.formats.outlook_files import ole

Value = str | float | bool
Rows = Sequence[Sequence[Value | None]]

DATE: Final = 1
"""The style of dates. All other cells have style 0."""


class Day(float):
    """A date, as the number of its day."""


def xls(
    sheets: Mapping[str, Rows], hidden: Sequence[str] = (), merged: Sequence[tuple[int, int, int, int]] = ()
) -> bytes:
    """merged: the first and last rows and columns of merged cells of each sheet."""
    begin = _record(0x809, struct.pack("<HHHHII", 0x600, 5, 0x0DBB, 1996, 0, 6))
    formats = b"".join(_record(0xE0, struct.pack("<HHH", 0, style, 0) + bytes(14)) for style in (0, 14))
    end = _record(0x0A, b"")
    bodies = [_xls_sheet(rows, merged) for rows in sheets.values()]
    names = [name.encode("utf-16-le") for name in sheets]
    place = len(begin) + len(formats) + len(end) + sum(12 + len(name) for name in names)
    about: list[bytes] = []
    for name, wide, body in zip(sheets, names, bodies, strict=True):
        head = struct.pack("<IBBBB", place, name in hidden, 0, len(name), 1)
        about.append(_record(0x85, head + wide))
        place += len(body)
    return ole({"Workbook": (begin + formats + b"".join(about) + end + b"".join(bodies)).ljust(4096, b"\0")})


def _xls_sheet(rows: Rows, merged: Sequence[tuple[int, int, int, int]]) -> bytes:
    parts = [_record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0x0DBB, 1996, 0, 6))]
    width = max(map(len, rows), default=0)
    parts.append(_record(0x200, struct.pack("<IIHHH", 0, len(rows), 0, width, 0)))
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            at = struct.pack("<HHH", row, column, DATE if isinstance(value, Day) else 0)
            if isinstance(value, bool):
                parts.append(_record(0x205, at + bytes([value, 0])))
            elif isinstance(value, str):
                parts.append(
                    _record(0x204, at + struct.pack("<HB", len(value), 1) + value.encode("utf-16-le"))
                )
            elif value is not None:
                parts.append(_record(0x203, at + struct.pack("<d", value)))
    if merged:
        parts.append(
            _record(
                0xE5, struct.pack(f"<H{4 * len(merged)}H", len(merged), *(n for one in merged for n in one))
            )
        )
    return b"".join(parts) + _record(0x0A, b"")


def _record(number: int, content: bytes) -> bytes:
    return struct.pack("<HH", number, len(content)) + content


def xlsb(sheets: Mapping[str, Rows], hidden: Sequence[str] = ()) -> bytes:
    about = b"".join(
        _part(156, struct.pack("<II", name in hidden, number) + _wide(f"r{number}") + _wide(name))
        for number, name in enumerate(sheets, 1)
    )
    targets = {f"worksheets/sheet{number}.bin": "worksheet" for number in range(1, len(sheets) + 1)}
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": relationships({"xl/workbook.bin": "officeDocument"}),
        "xl/workbook.bin": _part(131) + _part(143) + about + _part(144) + _part(132),
        "xl/_rels/workbook.bin.rels": relationships(targets),
        "xl/styles.bin": _styles(),
        **{f"xl/{target}": _xlsb_sheet(rows) for target, rows in zip(targets, sheets.values(), strict=True)},
    }
    return zip_members(members)


def _styles() -> bytes:
    styles = b"".join(_part(47, struct.pack("<HH", 0, number) + bytes(12)) for number in (0, 14))
    return _part(278) + _part(617, struct.pack("<I", 2)) + styles + _part(618) + _part(279)


def _xlsb_sheet(rows: Rows) -> bytes:
    width = max(map(len, rows), default=0)
    parts = [_part(129), _part(148, struct.pack("<IIII", 0, len(rows) - 1, 0, width - 1)), _part(145)]
    for row, values in enumerate(rows):
        parts.append(_part(0, struct.pack("<I", row) + bytes(13)))
        for column, value in enumerate(values):
            at = struct.pack("<II", column, DATE if isinstance(value, Day) else 0)
            if isinstance(value, bool):
                parts.append(_part(4, at + bytes([value])))
            elif isinstance(value, str):
                parts.append(_part(6, at + _wide(value)))
            elif value is not None:
                parts.append(_part(5, at + struct.pack("<d", value)))
    return b"".join([*parts, _part(146), _part(130)])


def _wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def _part(number: int, content: bytes = b"") -> bytes:
    return _varint(number) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])
