"""Writes the contract's enums as those of the domain, the gRPC code of each reason, the patterns of names and the limits
of texts.

Usage: python tools/contract_facts.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from google.api import resource_pb2
from google.protobuf.descriptor_pb2 import EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet

from responsa.rules import validate_pb2

# The stubs of these extensions are untyped.
_RESOURCE: Any = resource_pb2.resource
_DEFINITION: Any = resource_pb2.resource_definition
ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "generated/python/responsa_contract/__init__.py"
NAMES: Final[Mapping[str, str]] = {
    "responsa.chat.v1.CitationVerdict": "Verdict",
    "responsa.chat.v1.ExcerptGrade": "Grade",
    "responsa.chat.v1.Role": "Speaker",
    "responsa.chat.v1.ToolEffect": "Effect",
    "responsa.auth.v1.UsageDimension": "Dimension",
    "responsa.auth.v1.UsageGranularity": "Granularity",
    "responsa.auth.v1.UserRole": "Role",
}
"""What the domain calls an enum, if not as the contract does."""
LEFT: Final = frozenset(
    {
        # With methods or an order of their own, in modules of the domain.
        "responsa.admin.v1.ExperimentMetric",
        "responsa.auth.v1.UsageGranularity",
        "responsa.chat.v1.Rating",
        "responsa.chat.v1.TurnState",
        "responsa.type.v1.CollectionKind",
        # Whose values the domain does not need, or of which it has more.
        "responsa.admin.v1.ExperimentVerdict",
        "responsa.admin.v1.SyncStage",
        "responsa.chat.v1.ConversationOrigin",
        "responsa.type.v1.Access",
        "responsa.type.v1.RecentSession",
    }
)
"""The enums that are not generated."""
UNNAMED: Final = frozenset({"etag", "filter", "name", "order_by", "page_token", "parent", "request_id"})
REASONS: Final = "responsa.errors.v1.Reason"
HEAD: Final = '''"""The enums of the contract, the codes of its reasons, the names of its resources and the limits of its texts.

`make generate` writes this file from protos/.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final
'''


def enums() -> Iterator[tuple[FileDescriptorProto, EnumDescriptorProto, Mapping[tuple[int, ...], str]]]:
    """The enums that are generated, with the file of each and the file's comments."""
    files = FileDescriptorSet.FromString((ROOT / "generated/descriptor.binpb").read_bytes())
    for file in sorted(files.file, key=lambda file: file.name):
        if file.package.startswith("responsa."):
            comments = {tuple(one.path): one.leading_comments for one in file.source_code_info.location}
            for enum in file.enum_type:
                if f"{file.package}.{enum.name}" not in LEFT:
                    yield file, enum, comments


def patterns() -> Iterator[str]:
    files = FileDescriptorSet.FromString((ROOT / "generated/descriptor.binpb").read_bytes())
    for file in sorted(files.file, key=lambda file: file.name):
        annotated = [message.options.Extensions[_RESOURCE] for message in file.message_type]
        for one in [*file.options.Extensions[_DEFINITION], *annotated]:
            if one.type:
                yield f'    "{one.type.rpartition("/")[2]}": "{one.pattern[0]}",\n'


def limits() -> Iterator[str]:
    """The limits of texts, without those of names, filters and the like, which no code but the validation knows."""
    files = FileDescriptorSet.FromString((ROOT / "generated/descriptor.binpb").read_bytes())
    limits = {
        f"{message.name}.{field.name}": field.options.Extensions[validate_pb2.field].string.max_bytes
        for file in files.file
        if file.package.startswith("responsa.")
        for message in file.message_type
        for field in message.field
        if field.name not in UNNAMED
    }
    return (f'    "{name}": {most},\n' for name, most in sorted(limits.items()) if most)


def class_of(file: FileDescriptorProto, enum: EnumDescriptorProto) -> str:
    return NAMES.get(f"{file.package}.{enum.name}", enum.name)


def upper(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def page() -> str:
    """The enums: the value of `PREFIX_NAME` is `name`, that of a reason `NAME`. `PREFIX_UNSPECIFIED` is None."""
    parts, codes = list[str](), list[str]()
    for file, enum, comments in enums():
        place = list(file.enum_type).index(enum)
        is_reason = f"{file.package}.{enum.name}" == REASONS
        parts.append(f"\n\nclass {class_of(file, enum)}(StrEnum):\n")
        parts.append(_docstring(_text(comments[5, place])) + "\n")
        for number, value in list(enumerate(enum.value))[1:]:
            name = value.name.removeprefix(upper(enum.name) + "_")
            comment = _text(comments[5, place, 2, number])
            parts.append(f'    {name} = "{name if is_reason else name.lower()}"\n')
            parts.append(_docstring(comment))
            if is_reason and (code := re.match("[A-Z_]+", comment)):
                codes.append(f'    Reason.{name}: "{code[0]}",\n')
    parts.append("\n\nREASON_CODES: Final[Mapping[Reason, str]] = {\n" + "".join(codes) + "}\n")
    parts.append('"""The gRPC code of each reason, with which its comment begins."""\n')
    parts.append("\n\nPATTERNS: Final[Mapping[str, str]] = {\n" + "".join(patterns()) + "}\n")
    parts.append('"""The pattern of the names of each type of resource."""\n')
    parts.append("\n\nMAX_BYTES: Final[Mapping[str, int]] = {\n" + "".join(limits()) + "}\n")
    parts.append('"""The maximum length of each text in UTF-8, by `Message.field`."""\n')
    command = [Path(sys.executable).with_name("ruff"), "format", "-"]
    text = HEAD + "".join(parts)
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def _docstring(text: str) -> str:
    return (
        textwrap.fill(
            f'"""{text}"""', 120, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
        )
        + "\n"
    )


def _text(comment: str) -> str:
    return " ".join(comment.split()).replace('"', "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
