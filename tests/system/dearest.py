"""The dearest valid request of each method, made from the descriptors: every repeated field and every text at its limit,
and the words of texts from the caller's own documents."""

from __future__ import annotations

import codecs
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from protovalidate import Validator

from responsa.rules import validate_pb2
from responsa_formats.containers import OLE_MAGIC, ZIP_MAGIC
from responsa_formats.parsers.table import FORMATS
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.interceptors.validation import MAX_BYTES, check_sizes
from responsa_server.calls.methods import METHODS
from tests.rpc.sweeping import BEHAVIOUR, READ_ONLY, REFERENCE, UNANNOTATED, resource_names, tries

CONSONANTS: Final = "bcdfghjklmnprstvwz"
WORDS: Final = ["".join(letters) for letters in itertools.product(CONSONANTS, "aeiou", CONSONANTS)]
"""The words of all texts: 1,620 of three letters."""
MAGICS: Final = (
    *(ZIP_MAGIC, OLE_MAGIC, codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE),
    *(
        b"",
        b"%PDF-",
        b"{\\rtf",
        b"%!PS",
        b"\x78\x9f\x3e\x22",
        b"WEBVTT\n",
        b"BEGIN:VCALENDAR\n",
        b"<!--",
        b"<html>",
    ),
    *(
        b"Content-Type: multipart/mixed\n",
        b"\x1f\x8b\x08",
        b"\x89PNG\r\n\x1a\n",
        b"\x7fELF",
        b"MZ\x90\x00",
        b"\xe9",
    ),
)
"""The beginnings of files that are told by them, and of some that are not read."""
SUFFIXES: Final = (*(row.suffixes[0] for row in FORMATS), "doc", "bin")
_RULES: Any = validate_pb2.field
_VALIDATOR: Final = Validator()
_SHRINKING: Final = 12
_SHRINK: Final = 0.7
_OF_A_LANGUAGE: Final = frozenset(
    {
        "name",
        "update_mask",
        "request_id",
        "etag",
        "page_token",
        "validate_only",
        "filter",
        "order_by",
        "embedding",
    }
)
"""Fields that the server reads as something else than words."""


def text_of(size: int, dice: random.Random) -> str:
    """A text of at most `size` bytes with as many different words as fit."""
    words = dice.sample(WORDS, len(WORDS))
    return " ".join(itertools.islice(itertools.cycle(words), max(size // 4, 1)))[: max(size, 1)].strip()


def document(passages: int, dice: random.Random) -> str:
    """A text in Markdown that is stored as so many passages. Only twenty of them differ, so that few vectors are computed."""
    sections = [f"# Section\n\n{text_of(800, dice)}." for _ in range(20)]
    return "\n\n".join(itertools.islice(itertools.cycle(sections), passages))


def methods_of_users() -> Sequence[str]:
    """The methods that a plain user may call. Those that delete, end or change what others use come last."""
    mine = [path for path in METHODS if RULES.get(path) in (Rule.MEMBER, Rule.OWN)]
    changing = ("Revoke", "Cancel", "Change", "Update", "Restore", "Reindex", "Unlink")
    names = {path: path.rpartition("/")[2] for path in mine}
    return sorted(
        mine,
        key=lambda path: (
            names[path].startswith("Delete"),
            names[path].startswith(changing),
            names[path] == "DeleteMe",
        ),
    )


def dearest(path: str, own: Mapping[str, Sequence[str]], dice: random.Random) -> Message:
    """The dearest valid request of a method. own: the names of the caller's resources, by type."""
    names = {**resource_names(), **own}
    kind = message_factory.GetMessageClass(METHODS[path].input_type)
    requests = [kind.FromString(made.request) for made in tries(names) if made.method == path]
    message = next(filter(_is_valid, requests), kind())
    _enlarge(message, message, dice)
    return message


def _enlarge(root: Message, message: Message, dice: random.Random) -> None:
    fields: Any = message.DESCRIPTOR.fields
    for field in fields:
        oneof = field.containing_oneof
        other = message.WhichOneof(oneof.name) if oneof is not None else None
        if _names_something(field) or (other not in (None, field.name)):
            continue
        before = message.SerializeToString()
        for _ in _largest_first(message, field, dice):
            if _is_valid(root):
                break
            message.ParseFromString(before)


def _names_something(field: Any) -> bool:
    options = field.GetOptions()
    reference = options.Extensions[REFERENCE]
    return (
        bool(reference.type or reference.child_type)
        or field.full_name in UNANNOTATED
        or field.name in _OF_A_LANGUAGE
        or bool(READ_ONLY & set(options.Extensions[BEHAVIOUR]))
    )


def _largest_first(message: Message, field: Any, dice: random.Random) -> Iterator[None]:
    """Give the field one value after the other, the dearest first."""
    rules = field.GetOptions().Extensions[_RULES]
    if field.is_repeated:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return
        most, of_item = rules.repeated.max_items or 16, rules.repeated.items
        for step in range(_SHRINKING):
            values: Any = getattr(message, field.name)
            del values[:]
            for _ in range(most):
                if field.message_type is not None:
                    _fill_item(values.add(), dice, step)
                elif (value := _scalar(field, of_item, dice, step)) is not None:
                    values.append(value)
            yield
    elif field.message_type is not None:
        if message.HasField(field.name):
            _fill_item(getattr(message, field.name), dice, 0)
            yield
    elif not message.DESCRIPTOR.GetOptions().map_entry:
        for step in range(_SHRINKING):
            if (value := _scalar(field, rules, dice, step)) is None:
                return
            setattr(message, field.name, value)
            yield


def _fill_item(item: Message, dice: random.Random, step: int) -> None:
    fields: Any = item.DESCRIPTOR.fields
    for field in fields:
        if not _names_something(field) and field.containing_oneof is None:
            rules = field.GetOptions().Extensions[_RULES]
            if field.is_repeated and field.message_type is None:
                values = [_scalar(field, rules.repeated.items, dice, step)] * (rules.repeated.max_items or 1)
                if None not in values:
                    del getattr(item, field.name)[:]
                    getattr(item, field.name).extend(values)
            elif field.message_type is None and not field.is_repeated and step < _SHRINKING // 2:
                value = _scalar(field, rules, dice, step)
                if value is not None:
                    setattr(item, field.name, value)


def _scalar(field: Any, rules: Any, dice: random.Random, step: int) -> object:
    """A value at the field's limit, made smaller `step` times; None to leave the field alone."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_STRING:
            size = int((rules.string.max_bytes or rules.string.max_len) * _SHRINK**step)
            return text_of(size, dice) if size else None
        case FieldDescriptor.CPPTYPE_INT32 | FieldDescriptor.CPPTYPE_INT64:
            most = (rules.int32 if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else rules.int64).lte
            return int(most * _SHRINK**step) or None
        case _:
            return None


def _is_valid(root: Message) -> bool:
    return (
        root.ByteSize() <= MAX_BYTES and check_sizes(root) is None and not _VALIDATOR.collect_violations(root)
    )
