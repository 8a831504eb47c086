"""Messages that are made from values whose attributes have the names of the messages' fields, and the values that a request gives for columns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from responsa_server.calls.convert import structs
from responsa_server.calls.convert.values import timestamp

AnyMessage = TypeVar("AnyMessage", bound=Message)


def message(kind: type[AnyMessage], value: object, **others: object) -> AnyMessage:
    """Make a message. Each field gets the attribute of the value that has its name: a time, an enum whose members have the contract's names without their prefix, plain JSON values, or what the
    field itself takes; None leaves the field unset. others: the fields that do not come from such an attribute. Raises AttributeError for a field that has neither.
    """
    found = {
        name: given if (given := getattr(value, name)) is None else convert(given)
        for name, convert in _fields(kind.DESCRIPTOR)
        if name not in others
    }
    return kind(**found, **others)


def columns(path: str, given: Message, wanted: Iterable[str]) -> dict[str, object]:
    """The values of these fields of a resource, which are texts, numbers or plain JSON. path: the resource's field in the request. Raises InvalidRequest for JSON that cannot be stored."""
    values = {name: getattr(given, name) for name in wanted}
    return {
        name: structs.plain(f"{path}.{name}", value) if isinstance(value, Struct) else value
        for name, value in values.items()
    }


@functools.cache
def _fields(descriptor: Descriptor) -> Sequence[tuple[str, Callable[[Any], object]]]:
    """The fields of a message, each with the function that converts an attribute."""
    fields: Any = descriptor.fields  # the fast implementation has classes of its own
    return [(field.name, _converter(field)) for field in fields]


def _converter(field: FieldDescriptor) -> Callable[[Any], object]:
    if field.enum_type is not None:
        return functools.partial(_number, field.enum_type)
    type_name = "" if field.message_type is None else field.message_type.full_name
    if type_name == Timestamp.DESCRIPTOR.full_name:
        return timestamp
    if type_name == Struct.DESCRIPTOR.full_name:
        return lambda value: structs.of(value) if value else None
    return lambda value: value


def _number(enum: EnumDescriptor, member: StrEnum) -> int:
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return enum.values_by_name[prefix + member.name].number
