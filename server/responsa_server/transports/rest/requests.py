"""Makes the message of a call from the path, the query and the body of its HTTP request. What does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from responsa_server.calls import violations
from responsa_server.calls.http import json_object
from responsa_server.calls.json_types import TWICE, UNREADABLE, fields_of, misfits, nearest
from responsa_server.domain.errors import DocumentRejected, FieldViolation, InvalidRequest, Reason
from responsa_server.transports.rest.routes import Binding

_KIB: Final = 1024
MAX_BODY: Final = 64 * _KIB
"""The largest body of most calls, and of all bodies without a content-length, in bytes."""
SEARCH_BYTES: Final = 256 * _KIB
"""The largest body of a search, a batch of searches, or texts to embed, in bytes."""
DOCUMENT_BYTES: Final = 4096 * _KIB
"""The largest body with a document, in bytes."""
_KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
_CREATE_DOCUMENT: Final = _KNOWLEDGE + "CreateDocument"
_LARGER: Final[Mapping[str, int]] = {
    _KNOWLEDGE + "Search": SEARCH_BYTES,
    _KNOWLEDGE + "BatchSearch": SEARCH_BYTES,
    _KNOWLEDGE + "EmbedTexts": SEARCH_BYTES,
    _KNOWLEDGE + "UploadDocument": 2 * SEARCH_BYTES,  # of Connect: a piece of 256 KiB in base64
    _CREATE_DOCUMENT: DOCUMENT_BYTES,
}
_PARAMETER: Final = "unknown_parameter"
_MOST_NAMES: Final = 12
_MOST_DIGITS: Final = 10  # of 32 bits


def body_too_large(limit: int, remedy: str = "") -> InvalidRequest:
    """The error for a body of more than `limit` bytes. remedy: what to do about it."""
    return bad_request(f"The body is larger than {limit // _KIB} KiB{remedy}.")


def document_too_large(limit: int) -> DocumentRejected:
    """The error for a document in a body of more than `limit` bytes."""
    return DocumentRejected(
        Reason.DOCUMENT_TOO_LARGE,
        f"The body is larger than {limit // _KIB // _KIB} MiB; send documents with PUT /v1/uploads.",
        {"limit_bytes": str(limit)},
    )


def bad_request(message: str) -> InvalidRequest:
    """The error for a request that cannot be read."""
    return InvalidRequest(Reason.MALFORMED_MESSAGE, message, {"message_type": "application/json"})


def check_size(method: str, size: int, *, announced: bool) -> None:
    """Refuse a body that is too large. size: the bytes so far. announced: whether the request has a content-length.
    Raises InvalidRequest: MALFORMED_MESSAGE, DOCUMENT_TOO_LARGE."""
    limit = _LARGER.get(method, MAX_BODY)
    if size > MAX_BODY and not announced and limit > MAX_BODY:
        raise body_too_large(MAX_BODY, " and has no content-length; send its length")
    if size > limit:
        raise document_too_large(limit) if method == _CREATE_DOCUMENT else body_too_large(limit)


def message_of(binding: Binding, segments: Sequence[str], query: bytes, body: bytes) -> Message:
    """The message of a request. segments: the segments of its path. Raises InvalidRequest: MALFORMED_MESSAGE, INVALID_FIELD."""
    request = binding.method.request
    descriptor = cast("Descriptor", request.DESCRIPTOR)
    content: dict[str, Any] = {}
    doubtful = False
    if body.strip():
        fields, doubtful = _parse(body)
        content = _place_fields(binding, fields)
    if query:
        _add_parameters(binding, descriptor, query, content)
    message = request()
    if content:
        try:
            json_format.ParseDict(content, message)
        except UNREADABLE as error:
            _refuse_misfits(descriptor, content)
            raise bad_request(
                f"The body must be JSON in UTF-8 that matches the message {descriptor.full_name}."
            ) from error
        if doubtful:
            _refuse_misfits(descriptor, content)
    for variable in binding.variables:
        _set(message, variable.field, "/".join(segments[variable.start : variable.end]))
    return message


def _refuse_misfits(descriptor: Descriptor, content: Mapping[str, Any]) -> None:
    if problems := [*misfits(descriptor, content)]:
        raise violations.invalid(problems)


def _place_fields(binding: Binding, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of the request that the body contains."""
    if binding.body == "*":
        return fields
    if binding.body:
        return {binding.body: fields}
    if fields:
        remedy = "is in the body, but this call takes none; send it as a parameter of the query"
        raise violations.invalid([FieldViolation(name[:64], "misplaced", remedy) for name in fields])
    return {}


def _parse(body: bytes) -> tuple[dict[str, Any], bool]:
    """The JSON object in a body, and whether it is doubtful: whether an object in it has the same name in both
    spellings, as two fields of an object of a caller may have. Raises InvalidRequest."""
    doubtful = False

    def look(members: dict[str, Any]) -> None:
        nonlocal doubtful
        doubtful = doubtful or any("_" in name and _camel(name) in members for name in members)

    content = json_object(body, lambda why: bad_request(f"The body must be a JSON object: {why}."), look)
    return content, doubtful


def _add_parameters(
    binding: Binding, descriptor: Descriptor, query: bytes, content: MutableMapping[str, Any]
) -> None:
    """Add the parameters of a query to the fields. Raises InvalidRequest."""
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict")
    except ValueError as error:
        raise bad_request("The query must be UTF-8 in percent-encoding.") from error
    taken = {variable.field for variable in binding.variables}
    problems: list[FieldViolation] = []
    for name, text in pairs:
        path = None if binding.body == "*" else _path(descriptor, name)
        if path is None or (dotted := ".".join(field.name for field in path)) in taken:
            problems.append(FieldViolation(name[:64], _PARAMETER, _unknown(binding, descriptor, name, taken)))
        elif path[0].name == binding.body:
            remedy = f"belongs into the body, which is the field {binding.body}"
            problems.append(FieldViolation(dotted, "misplaced", remedy))
        elif not _put(content, path, text):
            problems.append(FieldViolation(dotted, TWICE, "is given twice; give it once"))
    if problems:
        raise violations.invalid(problems)


def _put(content: MutableMapping[str, Any], path: Sequence[FieldDescriptor], text: str) -> bool:
    """Add the value of a parameter. Returns False if the field has a value and takes only one."""
    for outer in path[:-1]:
        content = content.setdefault(outer.name, {})
    field = path[-1]
    if field.is_repeated:
        content.setdefault(field.name, []).append(_value(field, text))
    elif field.name in content:
        return False
    else:
        content[field.name] = _value(field, text)
    return True


def _value(field: FieldDescriptor, text: str) -> object:
    """A text of a query as proto-JSON."""
    inner = field.message_type
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "false": False}.get(text.lower(), text)
    if field.enum_type is not None and text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS:
        return int(text)
    if inner is not None and inner.full_name == "google.protobuf.FieldMask":
        # The JSON of protobuf has only lowerCamelCase; the names of fields are accepted everywhere else.
        return ",".join(_camel(path) for path in text.split(","))
    return text


def _camel(path: str) -> str:
    first, *others = path.split("_")
    return first + "".join(f"{part[:1].upper()}{part[1:]}" for part in others)


def _path(descriptor: Descriptor, name: str) -> Sequence[FieldDescriptor] | None:
    """The fields that lead from the request to the field of a parameter, such as `options.scope.filter`; None if there
    is no such field, or if a query cannot have its value."""
    fields: list[FieldDescriptor] = []
    inner: Descriptor | None = descriptor
    for part in name.split("."):
        field = None if inner is None else fields_of(inner).get(part)
        if field is None:
            return None
        fields.append(field)
        inner = field.message_type if not field.is_repeated and _has_parts(field) else None
    return None if _has_parts(fields[-1]) else fields


def _has_parts(field: FieldDescriptor) -> bool:
    """Whether the value of a field is an object in JSON."""
    inner = field.message_type
    return inner is not None and inner.full_name not in _IN_TEXTS


_IN_TEXTS: Final = frozenset(f"google.protobuf.{name}" for name in ("Timestamp", "Duration", "FieldMask"))
"""The messages whose JSON is a text."""


def _unknown(binding: Binding, descriptor: Descriptor, name: str, taken: set[str]) -> str:
    """The remedy for a parameter that does not exist."""
    if binding.body == "*":
        return "there is no such parameter; this path takes none, so send fields in the body"
    known = [
        field.json_name
        for field in descriptor.fields
        if field.name not in taken and field.name != binding.body
    ]
    if (near := nearest(name, known)) is not None:
        return f"there is no such parameter; did you mean {near}?"
    if not known:
        return "there is no such parameter; this path takes none"
    more = ", …" if len(known) > _MOST_NAMES else ""
    return f"there is no such parameter; the parameters are {', '.join(known[:_MOST_NAMES])}{more}"


def _set(message: Message, path: str, value: str) -> None:
    """Set the field of a variable of the path. Raises InvalidRequest if the body has another value."""
    *outer, last = path.split(".")
    inner: Any = message
    for name in outer:
        inner = getattr(inner, name)
    present = getattr(inner, last)
    if present and present != value:
        raise InvalidRequest.of_field(path, "misplaced", f"is {value} in the path; leave it out of the body")
    try:
        setattr(inner, last, value)
    except UnicodeEncodeError as error:
        raise violations.invalid([violations.not_utf8(path)]) from error
