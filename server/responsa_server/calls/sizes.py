"""Limits the sizes of lists, maps and objects in a request. Checked before the rules, which read every entry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from buf.validate import validate_pb2
from responsa_server.calls import violations
from responsa_server.calls.convert import structs
from responsa_server.domain.errors import FieldViolation, InvalidRequest

_GOOGLE = "google.protobuf."


@dataclass(frozen=True, slots=True)
class _Sized:
    """A list or map with a limit of entries, or an object (rule and limit empty). path: the names of the fields from the message to it."""

    path: tuple[str, ...]
    rule: str = ""
    limit: int = 0


def check(message: Message) -> InvalidRequest | None:
    """The error for lists, maps and objects of a request that are too large; None when all are within their limits."""
    found: list[FieldViolation] = []
    for sized in _sized_fields(type(message)):
        value: Any = message
        for name in sized.path:
            value = getattr(value, name)
        if isinstance(value, Struct):
            found.extend(structs.too_large(".".join(sized.path), value))
        elif len(value) > sized.limit:
            found.append(violations.too_many(".".join(sized.path), sized.rule, sized.limit))
    return violations.invalid(found) if found else None


@cache
def _sized_fields(message_type: type[Message]) -> tuple[_Sized, ...]:
    return tuple(_within(cast("Descriptor", message_type.DESCRIPTOR), ()))


def _within(descriptor: Descriptor, path: tuple[str, ...]) -> Iterator[_Sized]:
    for field in descriptor.fields:
        here = (*path, field.name)
        inner = field.message_type
        if field.is_repeated:
            yield from _limit(field, here)
        elif inner is not None and inner.full_name == Struct.DESCRIPTOR.full_name:
            yield _Sized(here)
        elif inner is not None and not inner.full_name.startswith(_GOOGLE):
            yield from _within(inner, here)


def _limit(field: FieldDescriptor, path: tuple[str, ...]) -> Iterator[_Sized]:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if rules.repeated.HasField("max_items"):
        yield _Sized(path, "repeated.max_items", rules.repeated.max_items)
    elif rules.map.HasField("max_pairs"):
        yield _Sized(path, "map.max_pairs", rules.map.max_pairs)
    elif rules.ByteSize():
        raise ValueError(f"{'.'.join(path)} of a request has rules for its entries and no limit of how many")
