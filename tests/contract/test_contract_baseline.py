"""Compares the contract with its published state, from which clients were built: protos/baseline.binpb of the newest
release, or of this commit before the first one.

buf checks names, numbers and types. This test checks REST bindings and validation rules, which buf does not check: every binding must
stay, and every valid request must stay valid.
"""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from google.protobuf.message import Message

from responsa.rules import validate_pb2
from tools.baseline import CONTRACT, published
from tools.imported_protos import VALIDATE, validate_file, write

ROOT = Path(__file__).resolve().parents[2]
CURRENT = ROOT / "generated" / "descriptor.binpb"

# The stub of this extension is untyped.
HTTP: Any = annotations_pb2.http

# The number of an UPPER rule may only grow, and the number of a LOWER rule may only shrink. Any other change would refuse
# requests that are accepted now. All other rules must not change.
UPPER = frozenset({"max_len", "max_bytes", "max_items", "max_pairs", "lt", "lte"})
LOWER = frozenset({"min_len", "min_bytes", "min_items", "min_pairs", "gt", "gte"})


def load(path: Path) -> FileDescriptorSet:
    return FileDescriptorSet.FromString(path.read_bytes())


def ours(files: FileDescriptorSet) -> Iterator[FileDescriptorProto]:
    return (one for one in files.file if one.name.startswith("responsa/"))


def messages(prefix: str, descriptors: list[DescriptorProto] | Any) -> Iterator[tuple[str, DescriptorProto]]:
    for one in descriptors:
        name = f"{prefix}.{one.name}"
        yield name, one
        yield from messages(name, one.nested_type)


def flat(rules: Message, path: str = "") -> dict[str, object]:
    """The values of the rules, by path. The path of a CEL rule contains the rule's id."""
    result: dict[str, object] = {}
    for field, value in rules.ListFields():
        where = f"{path}.{field.name}".lstrip(".")
        if field.is_repeated and field.message_type is not None:
            result |= {f"{where}[{one.id}]": one.SerializeToString(deterministic=True) for one in value}
        elif field.is_repeated:
            result[where] = tuple(value)
        elif field.message_type is not None:
            result |= flat(value, where) or {where: True}
        else:
            result[where] = value
    return result


def bindings(files: FileDescriptorSet) -> dict[str, set[bytes]]:
    """The REST bindings of each method."""
    result: dict[str, set[bytes]] = {}
    for file in ours(files):
        for service in file.service:
            for method in service.method:
                rule = method.options.Extensions[HTTP]
                first = type(rule)()
                first.CopyFrom(rule)
                first.ClearField("additional_bindings")
                found = {
                    one.SerializeToString(deterministic=True) for one in (first, *rule.additional_bindings)
                }
                result[f"{file.package}.{service.name}.{method.name}"] = found - {b""}
    return result


def rules(files: FileDescriptorSet) -> dict[str, dict[str, object]]:
    """The validation rules of each field, oneof and message, by full name."""
    result: dict[str, dict[str, object]] = {}
    for file in ours(files):
        for name, message in messages(file.package, file.message_type):
            result[name] = flat(message.options.Extensions[validate_pb2.message])
            for field in message.field:
                result[f"{name}.{field.name}"] = flat(field.options.Extensions[validate_pb2.field])
            for oneof in message.oneof_decl:
                result[f"{name}.{oneof.name}"] = flat(oneof.options.Extensions[validate_pb2.oneof])
    return result


def broken(before: FileDescriptorSet, after: FileDescriptorSet) -> list[str]:
    """The differences in the contract `after` that break clients: missing REST bindings, rules that refuse requests which were valid
    before, and removed rules, because clients may rely on rules too.
    """
    breaks: list[str] = []
    new_bindings, new_rules = bindings(after), rules(after)
    for method, bound in bindings(before).items():
        if not bound <= new_bindings.get(method, set()):
            breaks.append(f"{method}: a REST binding is gone or changed")
    for name, old in rules(before).items():
        new = new_rules.get(name)
        if new is None:
            continue  # the whole field or message is gone; buf reports this
        breaks += [f"{name}: {rule} is new" for rule in sorted(set(new) - set(old))]
        for rule, value in old.items():
            if rule not in new:
                breaks.append(f"{name}: {rule} is gone")
            elif not _as_wide(rule.rpartition(".")[2], value, new[rule]):
                breaks.append(f"{name}: {rule} was {value!r} and is {new[rule]!r}")
    return breaks


def _as_wide(rule: str, old: Any, new: Any) -> bool:
    if rule in UPPER:
        return new >= old
    if rule in LOWER:
        return new <= old
    return new == old


def buf(*arguments: str | Path, home: Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run buf in a folder, offline, with a separate home."""
    program = Path(sys.executable).parent / "buf"
    environment = {**os.environ, "HOME": str(home), "BUF_CACHE_DIR": str(home), "NO_COLOR": "1"}
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def image(path: Path) -> str:
    return f"{path}#format=binpb"


def test_nothing_that_was_bound_or_valid_is_broken() -> None:
    assert broken(FileDescriptorSet.FromString(published(CONTRACT)), load(CURRENT)) == []


@pytest.fixture(name="baseline")
def published_image(tmp_path: Path) -> str:
    path = tmp_path / "baseline.binpb"
    path.write_bytes(published(CONTRACT))
    return image(path)


def test_buf_sees_no_break(baseline: str, tmp_path: Path) -> None:
    done = buf("breaking", image(CURRENT), "--against", baseline, home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_buf_lints(tmp_path: Path) -> None:
    done = buf("lint", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_written_as_their_package_has_them(tmp_path: Path) -> None:
    write(tmp_path)
    assert {path for path in differences(tmp_path, ROOT / "protos") if path[:7] != "respons"} == {
        "baseline.binpb"
    }
    out = tmp_path / "rules.binpb"
    protoc = (sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={tmp_path}")
    subprocess.run([*protoc, f"--descriptor_set_out={out}", VALIDATE], check=True)
    assert plain(load(out).file[0]) == plain(validate_file())


def plain(file: FileDescriptorProto) -> FileDescriptorProto:
    """A file without options, and without what follows from names."""
    file.ClearField("options")
    messages, enums, fields = [*file.message_type], [*file.enum_type], [*file.extension]
    for message in messages:
        messages += message.nested_type
        enums += message.enum_type
        fields += message.field
        for part in (message, *message.oneof_decl, *message.extension_range):
            part.ClearField("options")
    for enum in enums:
        for part in (enum, *enum.value):
            part.ClearField("options")
    for field in fields:
        field.ClearField("json_name")
        field.ClearField("options")
    return file


def test_protos_are_formatted(tmp_path: Path) -> None:
    done = buf("format", "protos", "--path", "protos/responsa", "--diff", "--exit-code", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


# The following tests put faults into the contract, to show that each fault is found.


def message_of(files: FileDescriptorSet, name: str) -> DescriptorProto:
    return next(
        one for file in ours(files) for full, one in messages(file.package, file.message_type) if full == name
    )


def field_of(files: FileDescriptorSet, message: str, name: str) -> FieldDescriptorProto:
    return next(one for one in message_of(files, message).field if one.name == name)


def method_of(files: FileDescriptorSet, name: str) -> MethodDescriptorProto:
    return next(
        one for file in ours(files) for service in file.service for one in service.method if one.name == name
    )


def question(files: FileDescriptorSet) -> validate_pb2.FieldRules:
    return field_of(files, "responsa.chat.v1.AskRequest", "text").options.Extensions[validate_pb2.field]


def _tighten(files: FileDescriptorSet) -> None:
    question(files).string.max_bytes -= 1


def _raise_the_least(files: FileDescriptorSet) -> None:
    question(files).string.min_bytes += 1


def _drop(files: FileDescriptorSet) -> None:
    question(files).string.ClearField("max_bytes")


def _change_the_pattern(files: FileDescriptorSet) -> None:
    question(files).string.pattern = "^[A-Z]"


def _add(files: FileDescriptorSet) -> None:
    field = field_of(files, "responsa.chat.v1.Turn", "text")
    field.options.Extensions[validate_pb2.field].string.max_len = 5


def _require(files: FileDescriptorSet) -> None:
    field_of(files, "responsa.chat.v1.AskRequest", "options").options.Extensions[
        validate_pb2.field
    ].required = True


def _change_cel(files: FileDescriptorSet) -> None:
    field = field_of(files, "responsa.chat.v1.UpdateConversationRequest", "conversation")
    field.options.Extensions[validate_pb2.field].cel[0].expression = "false"


def _free_the_oneof(files: FileDescriptorSet) -> None:
    message = message_of(files, "responsa.knowledge.v1.UploadDocumentRequest")
    message.oneof_decl[0].options.ClearExtension(validate_pb2.oneof)


def _unbind(files: FileDescriptorSet) -> None:
    method_of(files, "Answer").options.ClearExtension(HTTP)


def _move(files: FileDescriptorSet) -> None:
    method_of(files, "Answer").options.Extensions[HTTP].post = "/v1/elsewhere"


def _unbind_the_second(files: FileDescriptorSet) -> None:
    method_of(files, "VerifyCitations").options.Extensions[HTTP].ClearField("additional_bindings")


@pytest.mark.parametrize(
    "plant",
    [
        _tighten,
        _raise_the_least,
        _drop,
        _change_the_pattern,
        _add,
        _require,
        _change_cel,
        _free_the_oneof,
        _unbind,
        _move,
        _unbind_the_second,
    ],
)
def test_each_fault_is_caught(plant: Callable[[FileDescriptorSet], None]) -> None:
    changed = load(CURRENT)
    plant(changed)
    assert len(broken(load(CURRENT), changed)) == 1


def test_what_only_widens_is_no_fault() -> None:
    changed = load(CURRENT)
    question(changed).string.max_bytes += 1
    message_of(changed, "responsa.chat.v1.Turn").field.add(name="more", number=99)
    assert broken(load(CURRENT), changed) == []


def differences(left: Path, right: Path) -> list[str]:
    """The paths of files that differ between the two folders; Python's caches are ignored."""
    names = {
        path.relative_to(folder)
        for folder in (left, right)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(
        str(name)
        for name in names
        if not (left / name).is_file()
        or not (right / name).is_file()
        or not filecmp.cmp(left / name, right / name, shallow=False)
    )


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.generate", "--out", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert differences(tmp_path / "python" / "responsa", ROOT / "generated" / "python" / "responsa") == []
    assert differences(tmp_path / "ts" / "src", ROOT / "generated" / "ts" / "src") == []
    assert (tmp_path / "descriptor.binpb").read_bytes() == CURRENT.read_bytes()
    assert filecmp.cmp(
        tmp_path / "connection_limit.wasm", ROOT / "generated" / "connection_limit.wasm", shallow=False
    )
