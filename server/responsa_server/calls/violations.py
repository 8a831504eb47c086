"""Finds broken rules of the contract, and describes them so that a person knows what to send instead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.unknown_fields import UnknownFieldSet

from responsa.rules import validate_pb2
from responsa_server.calls.json_types import one_of
from responsa_server.calls.status import MAX_VIOLATIONS
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason, ResponsaError

if TYPE_CHECKING:
    # `responsa mcp` describes its own errors with what stands here, and has no protovalidate.
    from protovalidate import Violation

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
EXAMPLE = "0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"
"""A UUID for examples."""
_SLUG_FORM = "1 to 63 of a-z, 0-9 and hyphen, not beginning with a hyphen"
_MAX_KEY_CHARS = 64
# A rule refuses 0 only for fields that have a default. A caller gets the default by leaving the field out.
_OMIT = "; leave it out for the default"

# What stands in the regular expressions of names, as a reader sees it, and an example.
_PARTS = (
    (_UUID, "{uuid}", EXAMPLE),
    (r"[a-z0-9][a-z0-9-]{0,62}", "{id}", "handbook"),
    (r"[1-9][0-9]{0,8}", "{n}", "2"),
)
_UNKNOWN = "does not have the form that the contract requires"

# The requirement of each regular expression of the contract other than that of a single form of names, in words.
_PATTERNS: Mapping[str, str] = {
    r"[^\s]": "must contain at least one character that is not white space",
    r"^[a-z0-9][a-z0-9-]{0,62}$": f"must be {_SLUG_FORM}, e.g. handbook",
    r"^[a-z0-9][a-z0-9-]{0,31}$": "must be the name of a provider, e.g. openai",
    r"^[A-Za-z0-9_./@:+-]{1,200}$": "must be what the provider calls the model, e.g. gpt-5.6-luna",
    r"^[A-Z][A-Z0-9_]{0,55}_API_KEY$": (
        "must be the name of a secret file or an environment variable, e.g. OPENAI_API_KEY; "
        "never enter the key itself"
    ),
    r"^[!-~]+$": "must be the key alone, without spaces",
    r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$": "must be the name of a branch, e.g. main",
    r"^[^:\x00-\x20\x7f]{1,200}$": "must be the name of a user, without spaces and colons",
    r"^[^\x00-\x1f\x7f]+$": "must be one line, without control characters",
    r"^[a-z0-9-]{1,63}$": "must be the name of a region, e.g. eu-central-1",
    r"^agents/[a-z0-9][a-z0-9-]{0,62}(/versions/[1-9][0-9]{0,8})?$": (
        f"must be the name of an agent, agents/{{id}}, where the id is {_SLUG_FORM}, "
        "or of one of its versions; e.g. agents/default or agents/default/versions/1"
    ),
    r"^agents/[a-z0-9][a-z0-9-]{0,62}$": f"must be the name of an agent, agents/{{id}}, where the id is {_SLUG_FORM}; e.g. agents/default",
    r"^tools/[a-z][a-z0-9_-]{0,126}$": "must be the name of a tool, tools/{id}, e.g. tools/knowledge_search",
    f"^users/{_UUID}$|@": f"must be the name of a user, e.g. users/{EXAMPLE}, or an e-mail address such as ada@example.org",
    f"^(turns|messages)/{_UUID}$": f"must be the name of a turn or a message as returned by the server, e.g. turns/{EXAMPLE}",
    f"^documents/{_UUID}(/versions/[1-9][0-9]{{0,8}})?$": "must be the name of a document or of one of its versions, "
    f"e.g. documents/{EXAMPLE}/versions/1",
}


def in_words(pattern: str) -> str:
    """The requirement of a regular expression of the contract, in words."""
    if pattern in _PATTERNS:
        return _PATTERNS[pattern]
    form = example = pattern.removeprefix("^").removesuffix("$")
    for expression, placeholder, value in _PARTS:
        form, example = form.replace(expression, placeholder), example.replace(expression, value)
    if re.escape(form) != re.sub(r"([{}])", r"\\\1", form):
        return _UNKNOWN
    whose_id = f", where the id is {_SLUG_FORM}" if "{id}" in form else " as returned by the server"
    return f"must be a name of the form {form}{whose_id}; e.g. {example}"


def invalid(violations: Sequence[FieldViolation], count: int | None = None) -> InvalidRequest:
    """The error for broken rules; its message describes the first. count: the number of broken rules, when `violations`
    does not hold all of them."""
    total = len(violations) if count is None else count
    first = violations[0]
    more = f" ({total - 1} more)" if total > 1 else ""
    subject = first.field or "the request"
    return InvalidRequest(
        Reason.INVALID_FIELD,
        f"{subject}: {first.description}{more}",
        {"violations": str(total)},
        tuple(violations),
    )


def unreadable(why: str, media_type: str = "application/json") -> InvalidRequest:
    """The error for a request that cannot be read."""
    message = f"This server cannot read the request: {why}."
    return InvalidRequest(Reason.MALFORMED_MESSAGE, message, {"message_type": media_type})


def rename_fields(error: ResponsaError, name_of: Callable[[str], str]) -> ResponsaError:
    """The same error in the names of a transport. name_of: the name of a field of the contract."""
    message, violations = error.message, list[FieldViolation]()
    for violation in error.violations:
        name = name_of(violation.field)
        message = message.replace(f"{violation.field}: ", f"{name}: ", 1)
        violations.append(replace(violation, field=name))
    return replace(error, message=message, violations=violations)


def within(fields: Mapping[str, str]) -> Callable[[str], str]:
    """Names fields, and those below them, for `rename_fields`. fields: the names by those of the contract. Other fields keep theirs."""

    def name_of(path: str) -> str:
        above = next((key for key in fields if path == key or path.startswith((f"{key}.", f"{key}["))), None)
        return path if above is None else fields[above] + path.removeprefix(above)

    return name_of


def check_texts(resource: str, **texts: str | None) -> None:
    """Refuse a change that empties a text. The contract's rules cannot check this, because they do not see which fields
    the mask names. texts: the new texts by field; None if the field does not change. Raises InvalidRequest."""
    violations = [
        FieldViolation(
            f"{resource}.{name}",
            f"{resource}.{name}",
            "must have at least one character that is not white space; leave it out of update_mask to keep it",
        )
        for name, value in texts.items()
        if value is not None and not value.strip()
    ]
    if violations:
        raise invalid(violations)


def describe_violations(descriptor: Descriptor, violations: Sequence[Violation]) -> InvalidRequest:
    """The error for the violations that the validator found in a message of this type; only the first broken rule of each field counts.

    The error describes at most as many violations as a status can contain, and only counts the others,
    because describing a violation costs far more than finding it.
    """
    by_path: dict[str, Violation] = {}
    for violation in violations:
        by_path.setdefault(_path(violation), violation)
    described = [
        FieldViolation(path, violation.proto.rule_id or "", _remedy(violation, descriptor))
        for path, violation in list(by_path.items())[:MAX_VIOLATIONS]
    ]
    return invalid(described, len(by_path))


def too_large(size: int, limit: int) -> InvalidRequest:
    """The error for a message that is larger than its method accepts. size, limit: in bytes."""
    remedy = f"must be at most {limit} bytes, but has {size}; send less at once"
    return invalid([FieldViolation("", "message.max_bytes", remedy)])


def too_many(path: str, rule: str, limit: int) -> FieldViolation:
    """The violation for a list or map with too many entries. rule: `repeated.max_items` or `map.max_pairs`."""
    return FieldViolation(path, rule, f"must contain at most {limit} entries; leave some out")


def not_utf8(path: str) -> FieldViolation:
    """The violation of a text whose bytes are not UTF-8."""
    return FieldViolation(path, "string.utf8", "is not valid UTF-8; encode it as UTF-8")


def nul_characters(message: Message) -> InvalidRequest | None:
    """The error for texts with U+0000; None if no text contains it."""
    paths = list(_texts_with_nul(message, ""))
    if not paths:
        return None
    described = [FieldViolation.of_nul(path.removeprefix(".")) for path in paths[:MAX_VIOLATIONS]]
    return invalid(described, len(paths))


def _texts_with_nul(value: Any, path: str) -> Iterator[str]:
    # Inside plain JSON, the path consists of the JSON's keys. The protobuf fields that carry the JSON are left out.
    if isinstance(value, str):
        if "\x00" in value:
            yield path
    elif isinstance(value, Struct):
        for key, item in value.fields.items():
            yield from _texts_with_nul(key, path)
            yield from _texts_with_nul(item, f"{path}.{_cut(key)}")
    elif isinstance(value, ListValue):
        yield from _texts_with_nul(list(value.values), path)
    elif isinstance(value, Value):
        yield from _texts_with_nul(getattr(value, value.WhichOneof("kind") or "", None), path)
    elif isinstance(value, Message):
        for field, item in value.ListFields():
            yield from _texts_with_nul(item, f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            yield from _texts_with_nul(key, path)
            yield from _texts_with_nul(item, f'{path}["{_cut(str(key))}"]')
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, item in enumerate(cast("Sequence[object]", value)):
            yield from _texts_with_nul(item, f"{path}[{index}]")


def _path(violation: Violation) -> str:
    parts: list[str] = []
    field = violation.proto.field
    for element in field.elements if field is not None else ():
        parts.append(f".{element.field_name}" if parts else element.field_name or "")
        subscript = element.subscript
        if subscript is not None:
            value = subscript.value
            parts.append(f'["{_cut(value)}"]' if isinstance(value, str) else f"[{value}]")
    if inner := _inner(violation):
        parts.append(f".{inner}")
    return "".join(parts)


def _inner(violation: Violation) -> str:
    """The field that a rule of the contract in CEL is about, if the rule belongs to the message that contains the
    field. The id of such a rule ends with the field's name."""
    name = (violation.proto.rule_id or "").rpartition(".")[2]
    value = violation.field_value
    return name if isinstance(value, Message) and name in value.DESCRIPTOR.fields_by_name else ""


def _choices(descriptor: Descriptor, violation: Violation) -> str:
    """The remedy for a value that a field with an enum does not accept."""
    inner: Descriptor | None = descriptor
    field: FieldDescriptor | None = None
    for element in violation.proto.field.elements if violation.proto.field is not None else ():
        field = None if inner is None else inner.fields_by_name.get(element.field_name or "")
        inner = None if field is None else field.message_type
    if field is None or field.enum_type is None:
        return "must be one of the values that the contract lists"
    excluded = field.GetOptions().Extensions[validate_pb2.field].enum.not_in
    values = field.enum_type.values
    return one_of([values[0].name, *(value.name for value in values[1:] if value.number not in excluded)])


def _remedy(violation: Violation, descriptor: Descriptor) -> str:
    limit, value = violation.rule_value, violation.field_value
    match violation.proto.rule_id:
        case "string.pattern":
            return in_words(str(limit))
        case "string.uuid":
            return f"must be a UUID, e.g. {EXAMPLE}, or empty"
        case "string.min_bytes" | "bytes.min_len" if limit == 1:
            return "must not be empty"
        case "string.max_bytes" if isinstance(value, str):
            return f"must be at most {limit} bytes of UTF-8, but has {len(value.encode())}; shorten it"
        case "bytes.max_len" if isinstance(value, bytes):
            return f"must be at most {limit} bytes, but has {len(value)}; send it in smaller pieces"
        case "repeated.min_items" if limit == 1:
            return "must contain at least one entry"
        case "int32.gte" | "int64.gte":
            return f"must be {limit} or more{_OMIT if value == 0 else ''}"
        case "int32.gte_lte" if value == 0:
            return f"{violation.proto.message}{_OMIT}"
        case "repeated.unique":
            return "must not contain the same entry twice"
        case "enum.defined_only" | "enum.not_in":
            return _choices(descriptor, violation)
        case "bool.const":
            return f"must be {str(limit).lower()}, or be left out"
        case "required":
            return (
                "exactly one of its fields must be given"
                if "oneof" in (violation.proto.message or "")
                else "must be given"
            )
        case _:
            message = violation.proto.message or "breaks a rule of the contract"
            # The name of the field stands in front of the remedy.
            return message.removeprefix(f"{_inner(violation)} ")


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_KEY_CHARS else text[:_MAX_KEY_CHARS] + "…"


_MAX_DEPTH = 16
_LENGTH = 2
"""The wire type of texts and messages."""
MAX_PARTS = 10_000
"""The maximum number of values of a message in which a text is searched. A request within the contract's limits has fewer."""


def invalid_text(descriptor: Descriptor, data: bytes, depth: int = 0) -> str | None:
    """The path of the first text field whose bytes are not UTF-8, e.g. `options.scope.collections[1]`; None if all are
    UTF-8. It runs only after parsing has failed, so its code favours clarity over speed."""
    try:
        values = UnknownFieldSet(Empty.FromString(data))
    except DecodeError:
        return None
    if len(values) > MAX_PARTS:
        return None
    seen = Counter[int]()
    for value in values:
        field = descriptor.fields_by_number.get(value.field_number)
        if field is None or value.wire_type != _LENGTH:
            continue
        name = f"{field.name}[{seen[field.number]}]" if field.is_repeated else field.name
        seen[field.number] += 1
        if field.type == FieldDescriptor.TYPE_STRING and not _is_text(value.data):
            return name
        if field.message_type is not None and depth < _MAX_DEPTH:
            inner = invalid_text(field.message_type, value.data, depth + 1)
            if inner is not None:
                return f"{name}.{inner}"
    return None


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
