"""The plan of a client: what every language needs to know about the contract's calls, read from the descriptor set. It
names nothing of any language.

Usage: python -m tools.clients.plan   prints the plan as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from google.api import annotations_pb2, field_behavior_pb2, resource_pb2
from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    MethodOptions,
)

ROOT: Final = Path(__file__).resolve().parents[2]
DESCRIPTOR: Final = ROOT / "generated" / "descriptor.binpb"
# The stubs of these extensions are untyped.
_HTTP: Any = annotations_pb2.http
_BEHAVIOR: Any = field_behavior_pb2.field_behavior
_RESOURCE: Any = resource_pb2.resource
_REFERENCE: Any = resource_pb2.resource_reference
_OPERATION: Any = operations_pb2.operation_info
_SCALARS: Final = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
    FieldDescriptorProto.TYPE_FLOAT: "double",
    FieldDescriptorProto.TYPE_INT32: "int32",
    FieldDescriptorProto.TYPE_INT64: "int64",
    FieldDescriptorProto.TYPE_UINT32: "uint32",
    FieldDescriptorProto.TYPE_UINT64: "uint64",
}
_PAGING: Final = frozenset({"page_size", "page_token"})
_REASON: Final = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|\bOVERLOADED\b|\bDRAINING\b")


class Retry(StrEnum):
    """Whether a client may repeat a call whose response was lost."""

    ALWAYS = "always"
    WITHOUT_ETAG = "without_etag"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request, or of the resource in a request.

    type: a scalar's name, or the full name of a message or an enum.
    kind: "scalar", "enum", "message" or "map" (whose type is that of its values; keys are strings).
    presence: whether an unset scalar differs from an empty one.
    pattern: the pattern of the names of the resource that the field names, e.g. "teachers/{teacher}"; "" for other
    fields, and for names with several patterns.
    zero: the name of an enum's value 0.
    """

    name: str
    type: str
    kind: str
    repeated: bool
    required: bool
    presence: bool
    pattern: str
    zero: str
    comment: str


@dataclass(frozen=True, slots=True)
class Error:
    """A reason for which a call fails, its gRPC code, and when it does; "" if the reason says it all."""

    reason: str
    code: str
    when: str

    @property
    def description(self) -> str:
        """The reason, and when."""
        return f"{self.reason} ({self.when})" if self.when else self.reason


@dataclass(frozen=True, slots=True)
class Method:
    """A call.

    resource: the field with the resource that the call creates or changes, whose fields are arguments too; "" for other calls.
    resource_type: the full name of the resource's message.
    resource_pattern: the pattern of the resource's name.
    fields: the arguments in the request, in the order of their numbers, so that new ones come last. Paging, the update
    mask and the resource are not among them.
    resource_fields: the arguments in the resource, in the same order.
    update_mask: whether the call changes only the fields that its mask names.
    request_id: whether the client fills in a request_id.
    etag: where the etag stands: "request", "resource" or "".
    items: the field of the response with a page's items; "" for a call that does not list pages.
    only: the only field of the response; "" if there are several or none, and for resources and pages.
    operation_result: the full name of the operation's result, if the call returns a long-running operation.
    operation_metadata: the full name of the operation's metadata.
    """

    name: str
    comment: str
    errors: Sequence[Error]
    request: str
    response: str
    client_streams: bool
    server_streams: bool
    retry: Retry
    resource: str
    resource_type: str
    resource_pattern: str
    fields: Sequence[Field]
    resource_fields: Sequence[Field]
    update_mask: bool
    request_id: bool
    etag: str
    items: Field | None
    only: Field | None
    operation_result: str
    operation_metadata: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service of the contract and its calls, in the contract's order."""

    name: str
    package: str
    comment: str
    methods: Sequence[Method]


@dataclass(frozen=True, slots=True)
class Plan:
    """The services. files: the .proto file of each message and enum, by its full name."""

    services: Sequence[Service]
    files: Mapping[str, str]


class _Reader:
    def __init__(self, files: FileDescriptorSet) -> None:
        self._files = files
        self._messages: dict[str, DescriptorProto] = {}
        self._comments: dict[str, str] = {}
        self._patterns: dict[str, str] = {}
        self._codes: dict[str, str] = {}
        self._zeros: dict[str, str] = {}
        self.homes: dict[str, str] = {}
        for file in files.file:
            for name, message in _messages(file.package, file.message_type):
                self._messages[name] = message
                self.homes[name] = file.name
                resource = message.options.Extensions[_RESOURCE]
                if len(resource.pattern) == 1:
                    self._patterns[resource.type] = resource.pattern[0]
            for enum in file.enum_type:
                self.homes[f"{file.package}.{enum.name}"] = file.name
                self._zeros[f"{file.package}.{enum.name}"] = enum.value[0].name
            self._read_comments(file)
        for name, comment in self._comments.items():
            if name.startswith("responsa.errors.v1.Reason.REASON_"):
                self._codes[name.rpartition(".REASON_")[2]] = comment.partition(".")[0].partition(" ")[0]

    def plan(self) -> Plan:
        services = [
            Service(
                service.name,
                file.package,
                self._comments.get(f"{file.package}.{service.name}", ""),
                [self._method(f"{file.package}.{service.name}", method) for method in service.method],
            )
            for file in self._files.file
            if file.package.startswith("responsa.")
            for service in file.service
        ]
        return Plan(sorted(services, key=lambda service: service.name), self.homes)

    def _read_comments(self, file: FileDescriptorProto) -> None:
        for location in file.source_code_info.location:
            if location.leading_comments:
                here: Any = file
                names = [file.package]
                for number, index in zip(location.path[::2], location.path[1::2], strict=False):
                    here = getattr(here, here.DESCRIPTOR.fields_by_number[number].name)
                    if not hasattr(here, "__getitem__"):
                        break
                    here = here[index]
                    if not hasattr(here, "name"):
                        break
                    names.append(here.name)
                else:
                    self._comments[".".join(names)] = " ".join(location.leading_comments.split())

    def _method(self, service: str, method: MethodDescriptorProto) -> Method:
        request_name, response_name = method.input_type[1:], method.output_type[1:]
        request, response = self._messages[request_name], self._messages[response_name]
        names = {field.name: field for field in request.field}
        http = method.options.Extensions[_HTTP]
        resource = self._resource(method, names)
        type_name = names[resource].type_name[1:] if resource else ""
        inner = self._messages[type_name].field if resource else ()
        etag = "request" if "etag" in names else ""
        if "update_mask" in names and any(field.name == "etag" for field in inner):
            etag = "resource"
        fixed = {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER}
        left_out = _PAGING | {resource, "update_mask"}
        paged = "page_token" in names
        items = next((field for field in response.field if field.label == field.LABEL_REPEATED), None)
        alone = response.field[0] if len(response.field) == 1 and response_name.endswith("Response") else None
        operation = method.options.Extensions[_OPERATION]
        text, errors = self._errors(self._comments.get(f"{service}.{method.name}", ""))
        return Method(
            name=method.name,
            comment=text,
            errors=errors,
            request=request_name,
            response=response_name,
            client_streams=method.client_streaming,
            server_streams=method.server_streaming,
            retry=_retry(method, http.WhichOneof("pattern") or "", names, response, etag),
            resource=resource,
            resource_type=type_name,
            resource_pattern=self._pattern_of(type_name) if resource else "",
            fields=[
                self._field(request_name, field) for field in request.field if field.name not in left_out
            ],
            resource_fields=[
                self._field(type_name, field)
                for field in _ordered(inner)
                if field.name != "etag"
                and not set(field.options.Extensions[_BEHAVIOR])
                & (fixed | {field_behavior_pb2.IMMUTABLE} if "update_mask" in names else fixed)
            ],
            update_mask="update_mask" in names,
            request_id="request_id" in names,
            etag=etag,
            items=self._field(response_name, items) if paged and items else None,
            only=self._field(response_name, alone) if alone else None,
            operation_result=operation.response_type,
            operation_metadata=operation.metadata_type,
        )

    def _resource(self, method: MethodDescriptorProto, fields: Mapping[str, FieldDescriptorProto]) -> str:
        """The field with the resource of a call such as CreateTeacher or UpdateTeacher."""
        for name, field in fields.items():
            made = method.name.startswith("Create") or "update_mask" in fields
            if made and field.type == field.TYPE_MESSAGE and field.label != field.LABEL_REPEATED:
                kind = self._messages[field.type_name[1:]].options.Extensions[_RESOURCE]
                if kind.type:
                    return name
        return ""

    def _pattern_of(self, message: str) -> str:
        return self._patterns.get(self._messages[message].options.Extensions[_RESOURCE].type, "")

    def _field(self, message: str, field: FieldDescriptorProto) -> Field:
        kind, type_name = "scalar", _SCALARS.get(field.type, field.type_name[1:])
        repeated = field.label == field.LABEL_REPEATED
        if field.type == field.TYPE_ENUM:
            kind = "enum"
        elif field.type == field.TYPE_MESSAGE:
            entry = self._messages[type_name]
            kind = "map" if entry.options.map_entry else "message"
            if kind == "map":
                repeated = False
                type_name = _SCALARS.get(entry.field[1].type, entry.field[1].type_name[1:])
        reference = field.options.Extensions[_REFERENCE]
        pattern = self._patterns.get(reference.type, "")
        if not pattern and reference.child_type:
            pattern = self._patterns.get(reference.child_type, "").rpartition("/{")[0].rpartition("/")[0]
        return Field(
            name=field.name,
            type=type_name,
            kind=kind,
            repeated=repeated,
            required=field_behavior_pb2.REQUIRED in field.options.Extensions[_BEHAVIOR],
            presence=field.proto3_optional,
            pattern=pattern,
            zero=self._zeros[type_name] if kind == "enum" else "",
            comment=self._comments.get(f"{message}.{field.name}", ""),
        )

    def _errors(self, comment: str) -> tuple[str, list[Error]]:
        """The comment of a call without its list of errors, and this list."""
        text, _, listed = comment.partition(" Errors: ")
        errors: list[Error] = []
        for part in re.split(r", (?![^(]*\))", listed.removesuffix(".")):
            reasons, _, when = part.partition(" (")
            errors += [
                Error(reason, self._codes[reason], when.removesuffix(")"))
                for reason in _REASON.findall(reasons)
                if reason in self._codes
            ]
        return text, errors


def _ordered(fields: Iterable[FieldDescriptorProto]) -> Sequence[FieldDescriptorProto]:
    return sorted(fields, key=lambda field: field.number)


def _messages(prefix: str, messages: Any) -> Iterator[tuple[str, DescriptorProto]]:
    for message in messages:
        name = f"{prefix}.{message.name}"
        yield name, message
        yield from _messages(name, message.nested_type)


def _retry(
    method: MethodDescriptorProto,
    verb: str,
    request: Mapping[str, FieldDescriptorProto],
    response: DescriptorProto,
    etag: str,
) -> Retry:
    """A call is safe to repeat if it reads, if the method says so (idempotency_level), or if its request_id makes it
    so. A second response has no secret, so it does not replace the first."""
    if verb == "get" or method.options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS:
        return Retry.ALWAYS
    if "request_id" in request:
        return Retry.NEVER if any(field.name == "secret" for field in response.field) else Retry.ALWAYS
    if verb == "patch" or method.options.idempotency_level == MethodOptions.IDEMPOTENT:
        return Retry.WITHOUT_ETAG if etag else Retry.ALWAYS
    return Retry.NEVER


def read(path: Path = DESCRIPTOR) -> Plan:
    """The plan of the contract in a descriptor set."""
    return _Reader(FileDescriptorSet.FromString(path.read_bytes())).plan()


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(read()), indent=2, ensure_ascii=False))
