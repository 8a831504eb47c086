"""Broken rules of the contract, told so that a person knows what to send instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from protovalidate import Violation

from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_EXAMPLE = "0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"
_SLUG_FORM = "1 to 63 of a-z, 0-9 and hyphen, not beginning with a hyphen"
_MAX_KEY_CHARS = 64

# A regular expression is for machines: each one of the contract stands here with what it asks for. A test holds the two together.
PATTERNS: Mapping[str, str] = {
    r"[^\s]": "must hold at least one character that is not white space",
    r"^[a-z0-9][a-z0-9-]{0,62}$": f"must be {_SLUG_FORM}, e.g. handbook",
    r"^collections/[a-z0-9][a-z0-9-]{0,62}$": f"must be the name of a collection, collections/{{id}}, the id {_SLUG_FORM}; e.g. collections/handbook",
    r"^agents/[a-z0-9][a-z0-9-]{0,62}$": f"must be the name of an agent, agents/{{id}}, the id {_SLUG_FORM}; e.g. agents/default",
    f"^conversations/{_UUID}$": f"must be the name of a conversation as the server gave it, e.g. conversations/{_EXAMPLE}",
    f"^turns/{_UUID}$": f"must be the name of a turn as the server gave it, e.g. turns/{_EXAMPLE}",
    f"^messages/{_UUID}$": f"must be the name of a message as the server gave it, e.g. messages/{_EXAMPLE}",
    f"^(turns|messages)/{_UUID}$": f"must be the name of a turn or a message as the server gave it, e.g. turns/{_EXAMPLE}",
    f"^documents/{_UUID}$": f"must be the name of a document as the server gave it, e.g. documents/{_EXAMPLE}",
    f"^documents/{_UUID}(/versions/[1-9][0-9]{{0,8}})?$": "must be the name of a document or of one of its versions, "
    f"e.g. documents/{_EXAMPLE}/versions/1",
    f"^passages/{_UUID}$": f"must be the name of a passage as the server gave it, e.g. passages/{_EXAMPLE}",
    f"^teachers/{_UUID}$": f"must be the name of a teacher as the server gave it, e.g. teachers/{_EXAMPLE}",
    f"^apiKeys/{_UUID}$": f"must be the name of an API key as the server gave it, e.g. apiKeys/{_EXAMPLE}",
}


def invalid(violations: Sequence[FieldViolation]) -> InvalidRequest:
    """The error for broken rules; all are counted, the first one is in the message."""
    first = violations[0]
    more = f" ({len(violations) - 1} more)" if len(violations) > 1 else ""
    subject = first.field or "the request"
    return InvalidRequest(
        Reason.INVALID_FIELD,
        f"{subject}: {first.description}{more}",
        {"violations": str(len(violations))},
        tuple(violations),
    )


def told(found: Sequence[Violation]) -> Sequence[FieldViolation]:
    """Tell each broken rule, at most one a field: the first."""
    result: dict[str, FieldViolation] = {}
    for one in found:
        path = _path(one)
        result.setdefault(path, FieldViolation(path, one.proto.rule_id or "", _remedy(one)))
    return tuple(result.values())


def nul_characters(message: Message, path: str = "") -> Iterator[FieldViolation]:
    """Find texts with U+0000, which valid UTF-8 may hold and the database cannot."""
    for field, value in message.ListFields():
        where = f"{path}.{field.name}" if path else field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, item in value.items():
                yield from _nul(item, f'{where}["{_cut(str(key))}"]')
                if isinstance(key, str) and "\x00" in key:
                    yield _nul_violation(where)
        elif field.is_repeated:
            for index, item in enumerate(value):
                yield from _nul(item, f"{where}[{index}]")
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            yield from _nul(value, where)


def _nul(value: Any, path: str) -> Iterator[FieldViolation]:
    # Plain JSON values are told by their own keys, not by those of the messages that carry them.
    if isinstance(value, Struct):
        for key, item in value.fields.items():
            yield from _nul(key, path)
            yield from _nul(item, f"{path}.{_cut(key)}")
    elif isinstance(value, ListValue):
        for index, item in enumerate(value.values):
            yield from _nul(item, f"{path}[{index}]")
    elif isinstance(value, Value):
        kind = value.WhichOneof("kind")
        yield from _nul(None if kind is None else getattr(value, kind), path)
    elif isinstance(value, Message):
        yield from nul_characters(value, path)
    elif isinstance(value, str) and "\x00" in value:
        yield _nul_violation(path)


def _nul_violation(path: str) -> FieldViolation:
    return FieldViolation(path, "string.no_nul", "must not hold the character U+0000; leave it out")


def _path(violation: Violation) -> str:
    parts: list[str] = []
    field = violation.proto.field
    for element in field.elements if field is not None else ():
        parts.append(f".{element.field_name}" if parts else element.field_name or "")
        subscript = element.subscript
        if subscript is not None:
            value = subscript.value
            parts.append(f'["{_cut(value)}"]' if isinstance(value, str) else f"[{value}]")
    return "".join(parts)


def _remedy(violation: Violation) -> str:
    limit, value = violation.rule_value, violation.field_value
    match violation.proto.rule_id:
        case "string.pattern":
            return PATTERNS.get(str(limit), "has not the form that the contract asks for")
        case "string.uuid":
            return f"must be a UUID, e.g. {_EXAMPLE}, or empty"
        case "string.min_bytes" | "bytes.min_len" if limit == 1:
            return "must not be empty"
        case "string.max_bytes" if isinstance(value, str):
            return f"must be at most {limit} bytes of UTF-8 and has {len(value.encode())}; shorten it"
        case "bytes.max_len" if isinstance(value, bytes):
            return f"must be at most {limit} bytes and has {len(value)}; send it in smaller pieces"
        case "repeated.min_items" if limit == 1:
            return "must hold at least one"
        case "repeated.max_items" | "map.max_pairs":
            return f"must hold at most {limit} entries; leave some out"
        case "int64.gte":
            return f"must be {limit} or more"
        case "repeated.unique":
            return "must not hold the same entry twice"
        case "enum.defined_only":
            return "must be one of the values that the contract lists"
        case "required":
            return (
                "exactly one of its fields must be given"
                if "oneof" in (violation.proto.message or "")
                else "must be given"
            )
        case _:
            return violation.proto.message or "breaks a rule of the contract"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_KEY_CHARS else text[:_MAX_KEY_CHARS] + "…"
