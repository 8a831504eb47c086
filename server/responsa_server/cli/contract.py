"""The methods of the contract with their fields and comments, all read from the generated descriptor set. Pure but for that file."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

from google.api import annotations_pb2, field_behavior_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
)
from google.protobuf.message import Message

from responsa_server.cli.output import EXIT_USAGE, CommandFailed
from responsa_server.system.instance import locate_generated

OPERATION: Final = "google.longrunning.Operation"
MASK: Final = "google.protobuf.FieldMask"
STRUCT: Final = "google.protobuf.Struct"
_GIVEN_AS_TEXT: Final = {
    "google.protobuf.Timestamp": "TIME",
    "google.protobuf.Duration": "SECONDS",
    MASK: "FIELDS",
}
"""The messages that proto-JSON writes as a text, and their names in a help text."""
_DEEPEST: Final = 4


@cache
def _files() -> Sequence[descriptor_pb2.FileDescriptorProto]:
    return descriptor_pb2.FileDescriptorSet.FromString(locate_generated("descriptor.binpb").read_bytes()).file


@cache
def services() -> Mapping[str, ServiceDescriptor]:
    """All services of the contract, by their names without the package; those of Google last."""
    descriptors: dict[str, ServiceDescriptor] = {}
    for file in sorted(_files(), key=lambda file: file.package.startswith("google.")):
        if file.service:
            # The import adds the file to the pool.
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        for service in file.service:
            name = f"{file.package}.{service.name}"
            descriptors[service.name] = descriptor_pool.Default().FindServiceByName(name)
    return descriptors


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    """All methods, by names such as "AdminService.CreateUser"."""
    for service in services().values():
        for method in service.methods:
            yield f"{service.name}.{method.name}", method


def method_named(wanted: str) -> MethodDescriptor:
    """Return the method with this name. Raises CommandFailed, with the name that was probably meant."""
    known = dict(methods())
    if wanted in known:
        return known[wanted]
    by_own_name = {name.rpartition(".")[2].lower(): name for name in known}
    near = nearest(wanted, (*known, *services())) or by_own_name.get(
        nearest(wanted.rpartition(".")[2], by_own_name), ""
    )
    raise CommandFailed(
        f"There is no method {wanted!r}.",
        f"Did you mean {near}?" if near else "`responsa call` lists all methods.",
        EXIT_USAGE,
    )


def nearest(wanted: str, known: Iterable[str]) -> str:
    """The name that was probably meant; "" if none is similar."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(wanted.lower(), list(names), n=1)
    return names[near[0]] if near else ""


def path_of(method: MethodDescriptor) -> str:
    """The path of a call, such as "/responsa.admin.v1.AdminService/CreateUser"."""
    return f"/{method.containing_service.full_name}/{method.name}"


def http_verb(method: MethodDescriptor) -> str:
    """The HTTP method that serves the method over REST, such as "get"; "" if none does."""
    options = cast("Any", method.GetOptions())
    return str(options.Extensions[annotations_pb2.http].WhichOneof("pattern") or "")


def kind_of(message: Message) -> Descriptor:
    """The descriptor of a message."""
    return cast("Descriptor", message.DESCRIPTOR)


def items_field(message: Descriptor) -> FieldDescriptor | None:
    """The field that holds the items of the response of a list or a report; None for other messages."""
    if not message.name.startswith(("List", "Query")):
        return None
    return next((field for field in message.fields if field.is_repeated and field.message_type), None)


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def has_fields(field: FieldDescriptor) -> bool:
    """Whether options can name the fields of the message in this field."""
    kind = field.message_type
    return kind is not None and not field.is_repeated and not kind.full_name.startswith("google.protobuf.")


def required(field: FieldDescriptor) -> bool:
    """Whether a request must have the field."""
    return field_behavior_pb2.REQUIRED in _behaviour(field)


def _behaviour(field: FieldDescriptor) -> Sequence[int]:
    options = cast("Any", field.GetOptions())
    return cast("Sequence[int]", options.Extensions[field_behavior_pb2.field_behavior])


def fields_of(message: Descriptor, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, FieldDescriptor]]:
    """The fields that a request may have, also within its messages, by paths such as "user.display_name"; each message
    before its own fields."""
    for field in message.fields:
        if field_behavior_pb2.OUTPUT_ONLY in _behaviour(field):
            continue
        path = f"{prefix}{field.name}"
        yield path, field
        if field.message_type and has_fields(field) and depth < _DEEPEST:
            yield from fields_of(field.message_type, f"{path}.", depth + 1)


def options_of(message: Descriptor) -> Mapping[str, tuple[str, FieldDescriptor]]:
    """The options of a request: each field with its path, by the shortest option that `resolve_path` reads as this path,
    such as "--email" for "user.email"."""
    paths = dict(fields_of(message))
    options: dict[str, tuple[str, FieldDescriptor]] = {}
    for path, field in paths.items():
        if has_fields(field):
            continue
        parts = path.split(".")
        endings = (".".join(parts[start:]) for start in range(len(parts) - 1, 0, -1))
        short = next((ending for ending in endings if resolve_path(ending, paths) == path), path)
        options[f"--{short.replace('_', '-')}"] = path, field
    return options


def resolve_path(path: str, paths: Iterable[str]) -> str:
    """The path that a path or its last parts mean: a path itself, or else the one that ends so with the fewest parts;
    "" if there is none, or if several do."""
    known = list(paths)
    if path in known:
        return path
    ending = sorted((name for name in known if name.endswith(f".{path}")), key=lambda name: name.count("."))
    if len(ending) > 1 and ending[0].count(".") == ending[1].count("."):
        return ""
    return ending[0] if ending else ""


def short_names(enum: EnumDescriptor) -> Mapping[str, str]:
    """The values of an enum by their short names, such as {"admin": "USER_ROLE_ADMIN"}."""
    names = [value.name for value in enum.values]
    unset = names[0]
    # By convention, the first value is the prefix of all values with UNSPECIFIED.
    prefix = unset.removesuffix("UNSPECIFIED") if unset.endswith("_UNSPECIFIED") else ""
    return {
        name.removeprefix(prefix).lower().replace("_", "-"): name
        for name in names
        if name != unset or not prefix
    }


def value_form(field: FieldDescriptor) -> str:
    """What a user gives as the value of a field, such as "TEXT" or "user|admin"."""
    if is_map(field) or (field.message_type and field.message_type.full_name == STRUCT):
        return "KEY=VALUE"
    if field.enum_type:
        return "|".join(short_names(field.enum_type))
    if field.message_type:
        return _GIVEN_AS_TEXT.get(field.message_type.full_name, "JSON")
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return "BYTES" if field.type == FieldDescriptor.TYPE_BYTES else "TEXT"
        case FieldDescriptor.CPPTYPE_BOOL:
            return "[true|false]"
        case _:
            return "NUMBER"


def comment(name: str) -> str:
    """The comment above a service, method or field, without line breaks within its paragraphs; "" if there is none.
    name: its full name in the contract."""
    paragraphs = _comments().get(name, "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()


@cache
def _comments() -> Mapping[str, str]:
    comments: dict[str, str] = {}
    for file in _files():
        names = dict(_names(file))
        for location in file.source_code_info.location:
            if location.leading_comments and (name := names.get(tuple(location.path))):
                comments[name] = location.leading_comments
    return comments


def _names(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """The services, methods and fields of a file: their places, as SourceCodeInfo numbers them, and their full names."""
    for number, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (6, number), name
        for index, method in enumerate(service.method):
            yield (6, number, 2, index), f"{name}.{method.name}"
    messages = [((4, number), file.package, message) for number, message in enumerate(file.message_type)]
    for path, around, message in messages:
        name = f"{around}.{message.name}"
        for index, field in enumerate(message.field):
            yield (*path, 2, index), f"{name}.{field.name}"
        messages += [((*path, 3, index), name, inner) for index, inner in enumerate(message.nested_type)]
