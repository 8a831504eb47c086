"""Messages that are made from values whose attributes have the names of the messages' fields, and the values that a request gives for columns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from responsa_server.calls.convert import structs
from responsa_server.calls.convert.values import timestamp

AnyMessage = TypeVar("AnyMessage", bound=Message)

_STRUCT: Final = "google.protobuf.Struct"
_TIME: Final = "google.protobuf.Timestamp"


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
    fields = {name: given.DESCRIPTOR.fields_by_name[name] for name in wanted}
    return {
        name: structs.plain(f"{path}.{name}", getattr(given, name))
        if _type(field) == _STRUCT
        else getattr(given, name)
        for name, field in fields.items()
    }


@functools.cache
def _fields(descriptor: Descriptor) -> Sequence[tuple[str, Callable[[Any], object]]]:
    """The fields of a message, each with the function that converts an attribute."""
    return [(field.name, _converter(field)) for field in descriptor.fields_by_name.values()]


def _converter(field: FieldDescriptor) -> Callable[[Any], object]:
    if field.enum_type is not None:
        return functools.partial(_number, field.enum_type)
    if _type(field) == _TIME:
        return timestamp
    if _type(field) == _STRUCT:
        return lambda value: structs.of(value) if value else None
    return lambda value: value


def _number(enum: EnumDescriptor, member: StrEnum) -> int:
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return enum.values_by_name[prefix + member.name].number


def _type(field: FieldDescriptor) -> str:
    return "" if field.message_type is None else field.message_type.full_name
