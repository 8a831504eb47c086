"""Messages that are made from values whose attributes have the names of the messages' fields, and the values that a
request gives for columns."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import Enum
from operator import attrgetter
from typing import Any, TypeVar

from google.api import resource_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status

from responsa_server.calls import status
from responsa_server.calls.convert import structs
from responsa_server.calls.convert.values import timestamp
from responsa_server.domain import names
from responsa_server.domain.uris import safe_uri

AnyMessage = TypeVar("AnyMessage", bound=Message)

# The stubs of these extensions are untyped.
_RESOURCE: Any = resource_pb2.resource
_REFERENCE: Any = resource_pb2.resource_reference


def message(kind: type[AnyMessage], value: object, /, **others: object) -> AnyMessage:
    """Make a message. Each field gets the attribute of the value that has its name: a time (in JSON a text), a member of
    an enum, or the name of one in lower case, without the contract's prefix, plain JSON values, an error for its status, a
    value that such a message is made of, or what the field itself takes, and a repeated field a sequence of these; None
    leaves the field unset. The name of a resource can also come from its id: `user` from `user` or `user_id`, and its own
    `name` from `id`; a range `source_range` can come from `source`. An address `uri` is one that a browser does not run. others: the
    fields that do not come from such an attribute. Raises AttributeError for a field that has none.
    """
    values = {name: read(value) for name, read in _fields(kind.DESCRIPTOR) if name not in others}
    return kind(**values, **others)


def columns(path: str, message: Message, wanted: Iterable[str]) -> dict[str, object]:
    """The values of these fields of a resource, which are texts, numbers, plain JSON or lists. path: the resource's field in
    the request. Raises InvalidRequest for JSON that cannot be stored."""
    values = {name: getattr(message, name) for name in wanted}
    return {
        name: structs.plain(f"{path}.{name}", value)
        if isinstance(value, Struct)
        else value
        if isinstance(value, str | int | float)
        else [
            MessageToDict(item, preserving_proto_field_name=True) if isinstance(item, Message) else item
            for item in value
        ]
        for name, value in values.items()
    }


@functools.cache
def _fields(descriptor: Descriptor) -> Sequence[tuple[str, Callable[[object], object]]]:
    """The fields of a message, each with the function that reads it from a value."""
    fields: Any = descriptor.fields  # the fast implementation has classes of its own
    own = descriptor.GetOptions().Extensions[_RESOURCE]
    return [
        (field.name, _name_reader(field, _identity(own), own.type))
        if field.name == "name" and own.type
        else (field.name, _name_reader(field, f"{field.name}_id", of))
        if (of := field.GetOptions().Extensions[_REFERENCE].type.removesuffix("*"))
        else (field.name, _reader(field))
        for field in fields
    ]


def _identity(resource: resource_pb2.ResourceDescriptor) -> str:
    """The attribute with the id in a resource's own name: `id`, or `user_id` if its pattern is `users/{user}/quota`."""
    variable = re.findall(r"\{(\w+)\}", resource.pattern[0])[-1]
    return "id" if variable.replace("_", "") == resource.singular.lower() else f"{variable}_id"


def _reader(field: FieldDescriptor) -> Callable[[object], object]:
    convert = _converter(field)
    if not field.name.endswith("_range"):
        return attrgetter(field.name) if convert is None else functools.partial(_read, field.name, convert)
    return functools.partial(_read_range, field.name, convert or (lambda value: value))


def _read(name: str, convert: Callable[[Any], object], value: object) -> object:
    return content if (content := getattr(value, name)) is None else convert(content)


def _read_range(name: str, convert: Callable[[Any], object], value: object) -> object:
    return _read(name if hasattr(value, name) else name.removesuffix("_range"), convert, value)


def _name_reader(field: FieldDescriptor, identity: str, kind: str) -> Callable[[object], object]:
    """Reads the name of a resource, or those of several. identity: the attribute with its id. kind: its type."""
    form, many = names.of_id(kind.rpartition("/")[2]), field.is_repeated

    def to_name(key: Any) -> object:
        return form(key) if key and "/" not in str(key) else key

    def read(value: object) -> object:
        # A column `agent` beside `agent_id` is the id of an agent, but the attribute `name` beside `id` is the name.
        if field.name == "name" and hasattr(value, "name"):
            return getattr(value, "name")  # noqa: B009 - the type has no such attribute
        key = getattr(value, identity if hasattr(value, identity) else field.name)
        if many:
            return [to_name(part) for part in key or ()]
        return key if not key or "/" in str(key) else form(key)

    return read


def _converter(field: FieldDescriptor) -> Callable[[Any], object] | None:
    convert = _part_converter(field)
    if convert is None or not field.is_repeated:
        return convert
    return lambda parts: [convert(part) for part in parts]


def _part_converter(field: FieldDescriptor) -> Callable[[Any], object] | None:
    """What converts a value of the field; None if the field takes it as it is."""
    if field.enum_type is not None:
        return functools.partial(_number, field.enum_type)
    kind = field.message_type
    if kind is None:
        return safe_uri if field.name == "uri" else None
    if kind.full_name == Timestamp.DESCRIPTOR.full_name:
        return lambda time: timestamp(datetime.fromisoformat(time) if isinstance(time, str) else time)
    if kind.full_name == Struct.DESCRIPTOR.full_name:
        return lambda value: structs.of(value) if value else None
    if kind.full_name == Status.DESCRIPTOR.full_name:
        return status.of
    if kind.full_name.startswith("google.") or kind.GetOptions().map_entry:
        return None
    inner = message_factory.GetMessageClass(kind)

    def convert(value: object) -> object:
        return value if isinstance(value, Message) or hasattr(value, "keys") else message(inner, value)

    return convert


def _number(enum: EnumDescriptor, member: str) -> int:
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    name = member.name if isinstance(member, Enum) else member.upper()
    return enum.values_by_name[prefix + name].number
