"""Writes the .proto files of others that ours import, so that `buf` and `protoc -I protos` read a clone.

Usage: python -m tools.imported_protos [FOLDER]   (FOLDER defaults to protos: `make generate`)

Google's come from their package. Protovalidate's package has its schema in memory alone, so its file is written from
its descriptor, without comments and options.
"""

from __future__ import annotations

import importlib.resources
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

ROOT: Final = Path(__file__).resolve().parent.parent
IMPORTS: Final = ROOT / "protos"
VALIDATE: Final = "buf/validate/validate.proto"
GOOGLE: Final = (
    "google/api/annotations.proto",
    "google/api/client.proto",
    "google/api/field_behavior.proto",
    "google/api/http.proto",
    "google/api/launch_stage.proto",
    "google/api/resource.proto",
    "google/longrunning/operations.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
)


def write(folder: Path) -> None:
    """Writes the files into a folder, under the names that Python modules register."""
    packages = Path(str(importlib.resources.files("google.api").joinpath(""))).parents[1]
    for name in GOOGLE:
        source = packages / name
        if not source.exists():
            # googleapis-common-protos ships operations.proto under a name that differs from the one that its module registers.
            source = source.with_name(f"{source.stem}_proto.proto")
        _written(folder / name, source.read_text(encoding="utf-8"))
    _written(folder / VALIDATE, "\n".join(_lines(validate_file())) + "\n")


def validate_file() -> FileDescriptorProto:
    """The descriptor of protovalidate's rules."""
    from protovalidate._gen.buf.validate import validate_pb  # the package has no other access to its schema

    file = FileDescriptorProto()
    file.ParseFromString(validate_pb.desc().proto.to_binary())
    return file


def _written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _lines(file: FileDescriptorProto) -> Iterator[str]:
    yield f'syntax = "{file.syntax or "proto2"}";'
    yield f"package {file.package};"
    for name in file.dependency:
        yield f'import "{name}";'
    for enum in file.enum_type:
        yield from _enum(enum)
    for message in file.message_type:
        yield from _message(message)
    for field in file.extension:
        yield f"extend {field.extendee} {{ {_field(field)} }}"


def _message(message: DescriptorProto) -> Iterator[str]:
    if message.options.map_entry:
        sys.exit(f"imported_protos: {message.name} is a map, which no file had so far")
    yield f"message {message.name} {{"
    for enum in message.enum_type:
        yield from _enum(enum)
    for nested in message.nested_type:
        yield from _message(nested)
    for index, fields in groupby(
        message.field, lambda field: field.oneof_index if field.HasField("oneof_index") else None
    ):
        if index is None:
            yield from map(_field, fields)
        else:
            yield f"oneof {message.oneof_decl[index].name} {{"
            yield from (_field(field, labelled=False) for field in fields)
            yield "}"
    # The end of a range is not part of it.
    for extensions in message.extension_range:
        yield f"extensions {extensions.start} to {_last(extensions.end)};"
    for reserved in message.reserved_range:
        yield f"reserved {reserved.start} to {_last(reserved.end)};"
    yield from _reserved_names(message.reserved_name)
    yield "}"


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    for value in enum.value:
        yield f"{value.name} = {value.number};"
    for reserved in enum.reserved_range:
        yield f"reserved {reserved.start} to {reserved.end};"
    yield from _reserved_names(enum.reserved_name)
    yield "}"


def _reserved_names(names: Sequence[str]) -> Iterator[str]:
    if names:
        quoted = ", ".join(f'"{name}"' for name in names)
        yield f"reserved {quoted};"


def _last(end: int) -> str:
    return "max" if end > (1 << 29) - 1 else str(end - 1)


def _field(field: FieldDescriptorProto, *, labelled: bool = True) -> str:
    label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower() + " "
    kind = field.type_name or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"{label if labelled else ''}{kind} {field.name} = {field.number};"


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else IMPORTS)
