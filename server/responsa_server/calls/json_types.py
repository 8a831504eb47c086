"""What to send instead of a JSON value that does not fit its field. The transports that read JSON say the same about the same mistake."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message import Message

from responsa_server.domain.errors import FieldViolation

_INTEGER: Final = "must be a whole number"
_OBJECT: Final = "must be an object"
_LIST: Final = "must be a list"
UNREADABLE: Final = (json_format.ParseError, ValueError, RecursionError, AttributeError, TypeError)
"""What `ParseDict` raises; the last two for an Any whose @type is no text."""
_TYPE: Final = "field.type"
TWICE: Final = "field.twice"
"""The rule of a violation for a field with several values."""
UNKNOWN: Final = "field.unknown"
"""The rule of a violation for a field that does not exist."""
_GOOGLE: Final = "google.protobuf."
_MAX_NAME: Final = 64
_MAX_DEPTH: Final = 4
_REMEDIES: Final[Mapping[str, str]] = {
    "TYPE_STRING": "must be a string",
    "TYPE_BYTES": "must be bytes in base64",
    "TYPE_BOOL": "must be true or false",
    **dict.fromkeys(("TYPE_INT32", "TYPE_SINT32", "TYPE_SFIXED32"), f"{_INTEGER} of at most 32 bits"),
    **dict.fromkeys(("TYPE_INT64", "TYPE_SINT64", "TYPE_SFIXED64"), f"{_INTEGER} of at most 64 bits"),
    **dict.fromkeys(("TYPE_UINT32", "TYPE_FIXED32"), f"{_INTEGER} of at most 32 bits, and not negative"),
    **dict.fromkeys(("TYPE_UINT64", "TYPE_FIXED64"), f"{_INTEGER} of at most 64 bits, and not negative"),
    **dict.fromkeys(("TYPE_FLOAT", "TYPE_DOUBLE"), "must be a number"),
    "google.protobuf.Timestamp": "must be a time such as 2026-01-31T09:30:00Z",
    "google.protobuf.Duration": "must be a number of seconds with the letter s, such as 2.5s",
    "google.protobuf.FieldMask": "must be a string with the names of fields, separated by commas",
}


def to_json(message: Message) -> bytes:
    """A message as the JSON of protobuf: names in lowerCamelCase, 64-bit integers as texts, and no fields with default values."""
    content = json_format.MessageToDict(message)
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def qualify(kind: str, name: str) -> str:
    """The name of a resource, from its name or its id; "" stays."""
    return name if not name or name.startswith(f"{kind}/") else f"{kind}/{name}"


def one_of(values: Sequence[str]) -> str:
    """The remedy for an enum. values: the names of all its values. The first one means that the field is left out, so
    the remedy does not name it."""
    return f"must be one of {', '.join(values[1:])}"


@cache
def fields_of(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """The fields of a message by both of their names, that of the contract and that of JSON."""
    return {name: field for field in descriptor.fields for name in (field.name, field.json_name)}


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that somebody may have meant; None if none is similar."""
    matches = difflib.get_close_matches(name[:_MAX_NAME], known, 1, 0.7)
    return matches[0] if matches else None


def misfits(descriptor: Descriptor, content: Mapping[str, Any], prefix: str = "") -> Iterator[FieldViolation]:
    """The violations of a JSON object that should fit a message of this type: unknown fields, fields that are given
    twice, and values of wrong types. prefix: the path of the message in the request, with a dot at its end."""
    seen: set[str] = set()
    for name, value in content.items():
        field = fields_of(descriptor).get(name)
        if field is None:
            yield FieldViolation(f"{prefix}{name[:_MAX_NAME]}", UNKNOWN, _hint(descriptor, name, prefix))
            continue
        path, oneof = prefix + field.name, field.containing_oneof
        choice = field.name if oneof is None else oneof.name
        if value is None:
            continue
        if choice in seen:
            yield FieldViolation(
                path,
                TWICE,
                "is given twice, or together with a field that excludes it; give only one of them",
            )
        seen.add(choice)
        yield from _misfit(field, value, path)


def _misfit(field: FieldDescriptor, value: object, path: str) -> Iterator[FieldViolation]:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        if not isinstance(value, dict):
            yield FieldViolation(path, _TYPE, _OBJECT)
            return
        for key, entry in cast("dict[str, object]", value).items():
            yield from _misfit_entry(inner.fields_by_name["value"], entry, f'{path}["{key[:_MAX_NAME]}"]')
    elif field.is_repeated:
        if not isinstance(value, list):
            yield FieldViolation(path, _TYPE, _LIST)
            return
        for index, entry in enumerate(cast("list[object]", value)):
            yield from _misfit_entry(field, entry, f"{path}[{index}]")
    else:
        yield from _misfit_entry(field, value, path)


def _misfit_entry(field: FieldDescriptor, value: object, path: str) -> Iterator[FieldViolation]:
    inner = field.message_type
    if inner is not None and not inner.full_name.startswith(_GOOGLE):
        if isinstance(value, dict):
            yield from misfits(inner, cast("dict[str, Any]", value), f"{path}.")
        else:
            yield FieldViolation(path, _TYPE, _OBJECT)
        return
    holder = message_factory.GetMessageClass(cast("Descriptor", field.containing_type))()
    try:
        json_format.ParseDict({field.name: [value] if field.is_repeated else value}, holder)
    except UNREADABLE:
        yield FieldViolation(path, _TYPE, _remedy(field))


def _remedy(field: FieldDescriptor) -> str:
    if field.enum_type is not None:
        return one_of([value.name for value in field.enum_type.values])
    if field.message_type is not None:
        return _REMEDIES.get(field.message_type.full_name, _OBJECT)
    return _REMEDIES[FieldDescriptorProto.Type.Name(cast("Any", field.type))]


def _hint(descriptor: Descriptor, name: str, prefix: str) -> str:
    """The remedy for an unknown field: where a field of this name is, or a similar name."""
    if (path := _elsewhere(descriptor, name, _MAX_DEPTH)) is not None:
        return f"there is no such field here; send it as {prefix}{path}"
    names = [field.json_name for field in descriptor.fields]
    if (near := nearest(name, names)) is not None:
        return f"there is no such field; did you mean {near}?"
    return f"there is no such field; the fields of {descriptor.full_name} are {', '.join(names) or 'none'}"


def _elsewhere(descriptor: Descriptor, name: str, depth: int) -> str | None:
    """The path of the nearest field of this name within the fields of a message; None if there is none."""
    inner = {
        field.json_name: field.message_type
        for field in descriptor.fields
        if field.message_type is not None
        and not field.is_repeated
        and not field.message_type.full_name.startswith(_GOOGLE)
    }
    for outer, kind in inner.items():
        if (field := fields_of(kind).get(name)) is not None:
            return f"{outer}.{field.json_name}"
    for outer, kind in inner.items() if depth > 1 else ():
        if (path := _elsewhere(kind, name, depth - 1)) is not None:
            return f"{outer}.{path}"
    return None
