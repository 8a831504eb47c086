"""What to send instead of a JSON value that does not have the type of its field. The transports that read JSON say the same about the same mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from responsa_server.domain.errors import FieldViolation

_INTEGER: Final = "must be a whole number"
OBJECT: Final = "must be an object"
LIST: Final = "must be a list"
RULE: Final = "field.type"
"""The rule of a violation for a value of a wrong type."""
REMEDIES: Final[Mapping[str, str]] = {
    "TYPE_STRING": "must be a text",
    "TYPE_BYTES": "must be bytes in base64",
    "TYPE_BOOL": "must be true or false",
    **dict.fromkeys(("TYPE_INT32", "TYPE_SINT32", "TYPE_SFIXED32"), f"{_INTEGER} of at most 32 bits"),
    **dict.fromkeys(("TYPE_INT64", "TYPE_SINT64", "TYPE_SFIXED64"), f"{_INTEGER} of at most 64 bits"),
    **dict.fromkeys(("TYPE_UINT32", "TYPE_FIXED32"), f"{_INTEGER} of at most 32 bits, and not negative"),
    **dict.fromkeys(("TYPE_UINT64", "TYPE_FIXED64"), f"{_INTEGER} of at most 64 bits, and not negative"),
    **dict.fromkeys(("TYPE_FLOAT", "TYPE_DOUBLE"), "must be a number"),
    "google.protobuf.Timestamp": "must be a time such as 2026-01-31T09:30:00Z",
    "google.protobuf.Duration": "must be a number of seconds with the letter s, such as 2.5s",
    "google.protobuf.FieldMask": "must be a text with the names of fields, separated by commas",
}
"""The remedies for the types of protobuf, by the names of the types."""


def one_of(values: Sequence[str]) -> str:
    """The remedy for an enum. values: the names of all its values. The first one means that the field is left out, so the remedy does not name it."""
    return f"must be one of {', '.join(values[1:])}"


def misfit(descriptor: Descriptor, content: Mapping[str, Any], prefix: str = "") -> FieldViolation | None:
    """The violation of the first field whose value has a wrong type; None if all values have the types of their fields. Unknown fields are ignored, as over REST.

    descriptor: the type of the message that the JSON object `content` stands for. prefix: the path of the message in the request, with a dot at its end.
    """
    names = {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
    for name, value in content.items():
        if (field := names.get(name)) is None or value is None:
            continue
        path = prefix + field.name
        inner = field.message_type
        if inner is not None and not inner.full_name.startswith("google.protobuf."):
            entry = cast("object", value)
            if isinstance(entry, dict) and (
                found := misfit(inner, cast("dict[str, Any]", entry), f"{path}.")
            ):
                return found
        if field.enum_type is not None and not _names_value(field, value):
            return FieldViolation(path, RULE, one_of([one.name for one in field.enum_type.values]))
        try:
            alone = message_factory.GetMessageClass(descriptor)()
            json_format.ParseDict({name: value}, alone, ignore_unknown_fields=True)
        except json_format.ParseError:
            return FieldViolation(path, RULE, _remedy(field, value))
    return None


def _names_value(field: FieldDescriptor, value: object) -> bool:
    """Whether a value can stand for a value of an enum. Numbers are checked with the other rules of the contract."""
    entries = cast("list[object]", value) if field.is_repeated and isinstance(value, list) else [value]
    assert field.enum_type is not None
    return all(not isinstance(entry, str) or entry in field.enum_type.values_by_name for entry in entries)


def _remedy(field: FieldDescriptor, value: object) -> str:
    if field.is_repeated and not isinstance(value, list | dict):
        return LIST
    if field.enum_type is not None:
        return one_of([one.name for one in field.enum_type.values])
    if field.message_type is not None:
        return REMEDIES.get(field.message_type.full_name, OBJECT)
    return REMEDIES[FieldDescriptorProto.Type.Name(cast("Any", field.type))]
