"""The annotations for OpenAPI documents and generated clients. All are present, and each agrees with the contract.

To find the places that need an annotation, the test uses the methods, the rules, and the forms of names in comments, but not the
annotations themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from google.api import field_behavior_pb2, resource_pb2
from google.longrunning import operations_proto_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from responsa.rules import validate_pb2
from tests.contract.test_contract_baseline import CURRENT, load, messages, ours

# The stubs of these extensions are untyped.
BEHAVIOR: Any = field_behavior_pb2.field_behavior
RESOURCE: Any = resource_pb2.resource
DEFINITION: Any = resource_pb2.resource_definition
REFERENCE: Any = resource_pb2.resource_reference
OPERATION: Any = operations_proto_pb2.operation_info

REQUIRED = field_behavior_pb2.FieldBehavior.Value("REQUIRED")
IDENTIFIER = field_behavior_pb2.FieldBehavior.Value("IDENTIFIER")
ANY = "*"
"""The reference of a field that may name resources of more than one type."""
FORM = re.compile(r"`(\w+)/\{(?:uuid|id)\}(?:/(\w+)(?:/\{n\})?)?`")
"""A name in a comment, such as `turns/{uuid}` or `users/{uuid}/quota`."""

Types = Mapping[str, DescriptorProto]


def types_of(files: FileDescriptorSet) -> Types:
    """The contract's messages by full name. The generated entry messages of maps are left out."""
    return {
        f".{name}": message
        for file in ours(files)
        for name, message in messages(file.package, file.message_type)
        if not message.options.map_entry
    }


def methods(files: FileDescriptorSet) -> Iterator[tuple[str, MethodDescriptorProto]]:
    for file in ours(files):
        for service in file.service:
            for method in service.method:
                yield file.package, method


def fields_of(message: DescriptorProto) -> Iterator[FieldDescriptorProto]:
    """All fields except those of a oneof, because a request gives exactly one field of a oneof."""
    return (one for one in message.field if one.proto3_optional or not one.HasField("oneof_index"))


def closure(types: Types, names: set[str]) -> set[str]:
    """These messages and all messages that they contain."""
    reached: set[str] = set()
    while names:
        name = names.pop()
        if name in types and name not in reached:
            reached.add(name)
            names |= {one.type_name for one in types[name].field if one.type_name}
    return reached


def resources(files: FileDescriptorSet, types: Types) -> set[str]:
    """The messages that have a name and that methods return, alone or in a list."""
    answers = {method.output_type for _, method in methods(files)}
    lists = {answer for answer in answers if re.search(r"\.List\w+Response$", answer)}
    items = {field.type_name for one in lists for field in types[one].field}
    return {
        answer
        for answer in (answers - lists) | items
        if answer in types and any(field.name == "name" for field in types[answer].field)
    }


def comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(one.path): one.leading_comments for one in file.source_code_info.location}


def forms(files: FileDescriptorSet) -> Iterator[tuple[str, FieldDescriptorProto, set[tuple[str, str]]]]:
    """The fields that hold names, and the forms of names in the fields' comments. A form has the plural word, and that of its numbered
    parts, e.g. "versions", or of its only part of a kind, e.g. "limits"; "" for the name of a whole.
    """
    for file in ours(files):
        found = comments(file)
        for number, message in enumerate(file.message_type):
            for place, field in enumerate(message.field):
                if field.type != FieldDescriptorProto.TYPE_STRING:
                    continue
                shown = FORM.findall(found.get((4, number, 2, place), ""))
                if shown:
                    name = f"{file.package}.{message.name}.{field.name}"
                    yield name, field, set(shown)


def patterns(files: FileDescriptorSet, types: Types) -> dict[str, list[str]]:
    """The patterns of each type of resource."""
    routes: dict[str, list[str]] = {}
    for message in types.values():
        resource = message.options.Extensions[RESOURCE]
        if resource.type:
            routes[resource.type] = list(resource.pattern)
    for file in ours(files):
        for one in file.options.Extensions[DEFINITION]:
            routes[one.type] = list(one.pattern)
    return routes


def refuses_nothing_given(field: FieldDescriptorProto) -> bool:
    """Whether the rules of a field reject a request without it."""
    rules = field.options.Extensions[validate_pb2.field]
    if rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE or field.proto3_optional:
        return False
    return (
        rules.required
        or bool(rules.string.pattern)
        or rules.string.min_bytes > 0
        or rules.repeated.min_items > 0
    )


def missing(files: FileDescriptorSet) -> list[str]:
    """The places that lack an annotation, or whose annotation contradicts the contract."""
    types, lacking = types_of(files), list[str]()
    made = resources(files, types)
    known = patterns(files, types)
    for name in sorted(made):
        resource = types[name].options.Extensions[RESOURCE]
        if resource.type != f"responsa.example.org/{types[name].name}" or not resource.pattern:
            lacking.append(f"{name}: no resource")
        behaviors = [
            list(one.options.Extensions[BEHAVIOR]) for one in types[name].field if one.name == "name"
        ]
        if behaviors != [[IDENTIFIER]]:
            lacking.append(f"{name}: its name is not its identifier")
    requests = closure(types, {method.input_type for _, method in methods(files)})
    for name in sorted(requests | made):
        for field in fields_of(types[name]):
            behaviors = field.options.Extensions[BEHAVIOR]
            if not behaviors:
                lacking.append(f"{name}.{field.name}: no field_behavior")
            elif refuses_nothing_given(field) and REQUIRED not in behaviors:
                lacking.append(
                    f"{name}.{field.name}: the rules require the field, but its field_behavior does not"
                )
    for name, field, shown in forms(files):
        if IDENTIFIER in field.options.Extensions[BEHAVIOR]:
            continue
        reference = field.options.Extensions[REFERENCE].type
        parts = [pattern.split("/") for pattern in known.get(reference, ())]
        heads = {(part[0], part[2] if len(part) > 2 else "") for part in parts}
        if not reference:
            lacking.append(f"{name}: no resource_reference")
        elif (reference == ANY) != (len(shown) > 1) or (reference != ANY and heads != shown):
            lacking.append(f"{name}: a reference to {reference}, and names of {sorted(shown)}")
    for package, method in methods(files):
        if method.output_type == ".google.longrunning.Operation":
            info = method.options.Extensions[OPERATION]
            if not all(f".{package}.{one}" in types for one in (info.response_type, info.metadata_type)):
                lacking.append(f"{method.name}: no operation_info")
    return lacking


@cache
def current() -> FileDescriptorSet:
    return load(CURRENT)


def test_no_annotation_is_missing() -> None:
    assert missing(current()) == []


def test_what_needs_one_is_found() -> None:
    """This shows that the test above finds places to check. If it found no place, the test above would always pass."""
    types = types_of(current())
    annotated = {name for name, one in types.items() if one.options.Extensions[RESOURCE].type}
    assert resources(current(), types) == annotated
    assert len(annotated) > 20
    assert len(list(forms(current()))) > 60
    names = {name for name, _, _ in forms(current())}
    for package, method in methods(current()):
        request = types[method.input_type]
        lone = {
            f"{package}.{request.name}.{one.name}"
            for one in request.field
            if one.name in ("name", "parent", "turn")
        }
        assert lone <= names


def test_turns_conversations_and_keys_have_an_owner() -> None:
    types = types_of(current())
    owned = {
        name.rpartition(".")[2]: one.options.Extensions[REFERENCE].type
        for name, message in types.items()
        for one in message.field
        if one.name == "owner"
    }
    assert owned == dict.fromkeys(
        ("Turn", "Conversation", "ApiKey", "Collection", "Document"), "responsa.example.org/User"
    )


# The following tests put faults into the contract, to show that `missing` finds each fault.


def field(files: FileDescriptorSet, message: str, name: str) -> FieldDescriptorProto:
    return next(one for one in types_of(files)[f".responsa.{message}"].field if one.name == name)
