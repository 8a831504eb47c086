"""Shows messages of the contract to people, without side effects: a list as a table, anything else as one field a line."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from responsa_server.cli.contract import is_map, kind_of, short_names
from responsa_server.cli.output import one_line, safe_name

_CELL: Final = 60
"""The maximum width of a cell, except in the first column, whose names further calls take."""


_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With what a formula of a spreadsheet may begin; the last four are the full-width forms of the first (OWASP, CSV Injection)."""


def table(items: Sequence[Message]) -> str:
    """Return a table with a row for each item. The columns are the fields that have one value and that an item has; etag is left out."""
    if not items:
        return ""
    columns = [
        field
        for field in kind_of(items[0]).fields
        if field.name != "etag" and _is_simple(field) and any(_is_set(item, field) for item in items)
    ]
    rows = [[field.name.replace("_", "-") for field in columns]]
    for item in items:
        texts = [_text(field, getattr(item, field.name)) if _is_set(item, field) else "" for field in columns]
        rows.append(
            [safe_name(one_line(text, _CELL if index else len(text))) for index, text in enumerate(texts)]
        )
    widths = [max(len(row[index]) for row in rows) for index in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def csv_of(kind: Descriptor, items: Sequence[Message]) -> str:
    """Return a CSV table (RFC 4180) with a header and a row for each item. The columns are all fields of the items'
    message; a field with several values, or with fields, is JSON. A text that a spreadsheet would run as a formula
    begins with an apostrophe.
    """
    lines = io.StringIO()
    # Every cell is quoted: a spreadsheet that divides at semicolons would find formulas behind those of a text.
    writer = csv.writer(lines, quoting=csv.QUOTE_ALL)
    writer.writerow([field.name for field in kind.fields])
    for item in items:
        plain = json_format.MessageToDict(
            item, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        writer.writerow([_cell(plain.get(field.name, "")) for field in kind.fields])
    return lines.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return value if _NUMBER.fullmatch(value) else f"'{value}"
    return value


def facts(message: Message) -> str:
    """Return one line for each field of a message and of its messages, as `display-name: Ada`. A text of several lines
    stands below its field."""
    lines: list[str] = []
    for path, text in leaves(message):
        name = path.replace("_", "-")
        if "\n" in text.strip():
            lines += [f"{name}:", *(f"  {line}".rstrip() for line in text.strip("\n").split("\n"))]
        else:
            lines.append(f"{name}: {text.strip()}")
    return "\n".join(lines)


def bytes_of(message: Message, path: str) -> bytes | None:
    """The bytes of a field; None if the path names no field of bytes."""
    name, _, rest = path.partition(".")
    field = kind_of(message).fields_by_name.get(name)
    if field is None or field.is_repeated:
        return None
    if rest:
        return bytes_of(getattr(message, name), rest) if field.message_type else None
    return getattr(message, name) if field.type == FieldDescriptor.TYPE_BYTES else None


def leaves(message: Message, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The fields that are set, in the contract's order: their paths, such as "user.display_name" or "rows.1.title", and
    their values as text."""
    for field, value in sorted(message.ListFields(), key=lambda pair: pair[0].index):
        path = f"{prefix}{field.name}"
        if is_map(field):
            for key in sorted(value):
                yield f"{path}.{key}", str(value[key])
        elif field.is_repeated and not field.message_type:
            yield path, ", ".join(_text(field, item) for item in value)
        elif field.is_repeated:
            for number, item in enumerate(value, 1):
                yield from _inner(field, item, f"{path}.{number}")
        else:
            yield from _inner(field, value, path)


def _inner(field: FieldDescriptor, value: Any, path: str) -> Iterator[tuple[str, str]]:
    message = unpack(value) if isinstance(value, any_pb2.Any) else value
    if _is_simple(field):
        yield path, _text(field, value)
    else:
        yield from leaves(message, f"{path}.")


def unpack(packed: any_pb2.Any) -> Message:
    """The message in an Any; the Any itself if its type is not part of the contract."""
    try:
        kind = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
    except KeyError:
        return packed
    return message_factory.GetMessageClass(kind).FromString(packed.value)


def _is_simple(field: FieldDescriptor) -> bool:
    if field.is_repeated:
        return False
    kind = field.message_type
    return kind is None or (
        kind.full_name.startswith("google.protobuf.") and kind.name not in ("Any", "Empty")
    )


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    return any(field.name == known.name for known, _ in message.ListFields())


def _text(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type:
        names = {long: short for short, long in short_names(field.enum_type).items()}
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else names.get(known.name, known.name)
    if field.message_type:
        plain = cast("object", json.loads(json_format.MessageToJson(value, indent=None)))
        return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, sort_keys=True)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return f"{len(value)} bytes"
    return str(value).lower() if isinstance(value, bool) else str(value)
