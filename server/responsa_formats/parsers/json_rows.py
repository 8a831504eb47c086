"""JSON (RFC 8259) and JSON Lines. Each value is said with its path, as in `limits.memory: 512`, and each object of an array is a row.

The single values of an object come first. Its arrays of objects follow, each below a heading with its path. Numbers
keep their digits, and a key that an object repeats keeps all its values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, cast

from responsa_formats.parsers.csv_rows import MAX_NAME_CHARS, RowWriter, lines
from responsa_formats.parsers.sniff import Original
from responsa_formats.rejections import Rejected
from responsa_formats.text.canonical import ParsedDocument

MAX_DEPTH: Final = 200
_LIST_CHARS: Final = 300


class _Object(list[tuple[str, object]]):
    pass


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str, strict=False
)


def parse(original: Original) -> ParsedDocument:
    """Parse JSON.

    Raises Rejected if the document is not valid JSON, has no values, is nested more than MAX_DEPTH deep, or is
    larger than the server stores.
    """
    writer = RowWriter()
    _Document(writer).write(_decode(original.text, 1))
    return writer.document(original)


def parse_lines(original: Original) -> ParsedDocument:
    """Parse JSON Lines: one value on each line. Raises Rejected as `parse` does."""
    writer = RowWriter()
    for number, line in enumerate(lines(original.text), start=1):
        if line.strip():
            writer.row(_cells(_decode(line, number), "", 1), f"line {number}")
    return writer.document(original)


def _decode(text: str, line: int) -> object:
    """The value. line: the number of the text's first line in the document."""
    try:
        return cast("object", _DECODER.decode(text))
    except json.JSONDecodeError as error:
        position = f"Line {line + error.lineno - 1}, column {error.colno}"
        raise Rejected.as_malformed(f"{position} is not valid JSON: {error.msg.lower()}.") from None
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> Rejected:
    return Rejected.as_over_limit(
        f"The JSON values are nested more than {MAX_DEPTH} deep.", "Flatten the document and upload it again."
    )


class _Document:
    def __init__(self, writer: RowWriter) -> None:
        self._writer = writer
        self._tables: list[tuple[str, str, list[object]]] = []
        """The name, the JSON Pointer (RFC 6901) and the elements of each array that is a table."""

    def write(self, value: object) -> None:
        self._value(value, "", "", 0)
        for name, pointer, elements in self._tables:
            self._writer.heading(name, pointer)
            for index, element in enumerate(elements):
                self._writer.row(_cells(element, "", 1), f"{pointer}/{index}")

    def _value(self, value: object, name: str, pointer: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _too_deep()
        if isinstance(value, _Object):
            for key, member in value:
                escaped = key.replace("~", "~0").replace("/", "~1")
                self._value(member, _path(name, key), f"{pointer}/{escaped}", depth + 1)
            return
        if isinstance(value, list):
            elements = cast("list[object]", value)
            if not name or _join(elements) is None:
                self._tables.append((name, pointer, elements))
                return
        self._writer.row(_cells(cast("object", value), name, depth), pointer)


def _cells(value: object, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """The names and values of everything in a value. name: the path of the value in its row."""
    if depth > MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, _Object):
        for key, member in value:
            yield from _cells(member, _path(name, key), depth + 1)
    elif isinstance(value, list):
        elements = cast("list[object]", value)
        joined = _join(elements)
        if joined is not None:
            yield name, joined
            return
        for index, element in enumerate(elements):
            yield from _cells(element, _path(name, str(index)), depth + 1)
    else:
        yield name, _text(value)


def _path(name: str, key: str) -> str:
    """The path of a member. Only its end is kept if it is long: the nearest names say the most, and each row repeats them."""
    return (f"{name}.{key}" if name else key)[-MAX_NAME_CHARS:]


def _join(elements: list[object]) -> str | None:
    """The elements of an array as one text; None if one of them is an array or an object, or if the text is long."""
    parts: list[str] = []
    size = 0
    for element in elements:
        if isinstance(element, list):
            return None
        part = _text(element)
        size += len(part) + 2
        if size > _LIST_CHARS:
            return None
        parts.append(part)
    return ", ".join(parts)


def _text(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
