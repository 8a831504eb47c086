"""Parses each message of a request and checks it against the rules of the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct
from protovalidate import Validator

from responsa.rules import validate_pb2
from responsa_server.calls import violations
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call, Interceptor, Received
from responsa_server.calls.convert import structs
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason

MAX_BYTES: Final = 256 * 1024
"""The limit for a message of a request, in bytes. Any message that the contract's rules allow is far smaller: the
largest is a Search with eight terms of 16 KiB. The gateway's limits (envoy/routes.yaml) agree."""
PUBLIC_BYTES: Final = 4096
"""The limit for the contract's methods that need no credential, because anyone can send their messages."""
_LARGER: Final[Mapping[str, int]] = {
    "/responsa.knowledge.v1.KnowledgeService/CreateDocument": 4 * 1024 * 1024,
    "/responsa.knowledge.v1.KnowledgeService/UploadDocument": 4 * 1024 * 1024,
}
"""The methods with a higher limit, which equals gRPC's own limit. A text or a chunk that is too large thus breaks the
rule for its field, and the error names this field."""

_LIMITS: Final[Mapping[str, int]] = {
    **{
        method: PUBLIC_BYTES
        for method, rule in RULES.items()
        if rule is Rule.PUBLIC and method.startswith("/responsa.")
    },
    **_LARGER,
}


_VALIDATOR: Final = Validator()
"""Keeps the compiled rules of all types. They are the same for all servers of a process."""


class Validation(Interceptor[None]):
    """Parses in the chain, not in gRPC's deserialiser, where malformed bytes would end the call with UNKNOWN and no reason.

    The cheap checks come first, so that no message costs much: the size of the message, then the sizes of its lists,
    maps and objects, then all rules.
    """

    def warm(self, types: Sequence[type[Message]]) -> None:
        """Compile the rules of these types in advance: otherwise, checking the first message of a type takes milliseconds."""
        for kind in types:
            self._check(kind(), b"")

    async def on_start(self, call: Call) -> None:
        """Do nothing: there is no message yet."""

    def on_request(self, call: Call, message: object) -> object:
        """Parse and validate. Raises InvalidRequest: MALFORMED_MESSAGE, INVALID_FIELD."""
        assert isinstance(message, Received)
        data = message.data
        limit = _LIMITS.get(call.method, MAX_BYTES)
        if len(data) > limit:
            raise violations.too_large(len(data), limit)
        try:
            parsed = message.parse(data)
        except (DecodeError, UnicodeDecodeError) as error:
            raise _unreadable(call.method, data) from error
        if error := self._check(parsed, data):
            raise error
        return parsed

    def _check(self, message: Message, data: bytes) -> InvalidRequest | None:
        if error := check_sizes(message):
            return error
        if broken := _VALIDATOR.collect_violations(message):
            return violations.describe_violations(cast("Descriptor", message.DESCRIPTOR), broken)
        # U+0000 in a text is a zero byte, so a message without zero bytes needs no search. A zero byte can also come from a number or a
        # chunk.
        return violations.nul_characters(message) if b"\x00" in data else None


def _unreadable(method: str, data: bytes) -> InvalidRequest:
    descriptor = input_type(method)
    name = "" if descriptor is None else descriptor.full_name
    path = None if descriptor is None else violations.invalid_text(descriptor, data)
    metadata = {"message_type": name}
    if path is None:
        what = (
            f"The request's bytes are not a valid {name or 'message'}; encode it with the published "
            "protos, or send JSON to the REST path."
        )
        return InvalidRequest(Reason.MALFORMED_MESSAGE, what, metadata)
    wrong = violations.not_utf8(path)
    return InvalidRequest(Reason.MALFORMED_MESSAGE, f"{path}: {wrong.description}", metadata, (wrong,))


def request_types(service_methods: Sequence[str]) -> Sequence[type[Message]]:
    """The message classes of these methods' requests."""
    types = [input_type(service_method) for service_method in service_methods]
    return [message_factory.GetMessageClass(kind) for kind in types if kind is not None]


def input_type(method: str) -> Descriptor | None:
    """The type of a method's request; None for a method that no loaded file declares. method: `/package.Service/Method`."""
    try:
        declared = descriptor_pool.Default().FindMethodByName(method.lstrip("/").replace("/", "."))
    except KeyError:
        return None
    return declared.input_type


_GOOGLE = "google.protobuf."
_UNBOUNDED: Final = ("responsa.chat.v1.AgentVersion.content",)
"""The objects that only the size of the message limits."""


@dataclass(frozen=True, slots=True)
class _Sized:
    """A list, map or object whose size is limited. path: the names of the fields that lead from the message to this
    field. rule, limit: the rule for the number of entries, and the maximum number; not used for objects. messages:
    whether the entries are messages of the contract, whose own fields are checked too."""

    path: tuple[str, ...]
    rule: str = ""
    limit: int = 0
    messages: bool = False


def check_sizes(message: Message) -> InvalidRequest | None:
    """The error for lists, maps and objects of a request that are too large; None when all are within their limits."""
    violation = _find_oversized(message, "")
    return violations.invalid(violation) if violation else None


def _find_oversized(message: Message, prefix: str) -> list[FieldViolation]:
    """prefix: the path of the message in the request, with a dot at its end; "" for the request itself."""
    oversized_fields: list[FieldViolation] = []
    for sized in _size_limits(type(message)):
        value: Any = message
        for name in sized.path:
            value = getattr(value, name)
        where = prefix + ".".join(sized.path)
        if isinstance(value, Struct):
            oversized_fields.extend(structs.too_large(where, value))
        elif len(value) > sized.limit:
            oversized_fields.append(violations.too_many(where, sized.rule, sized.limit))
        elif sized.messages:
            for index, entry in enumerate(value):
                oversized_fields.extend(_find_oversized(entry, f"{where}[{index}]."))
    return oversized_fields


@cache
def _size_limits(message_type: type[Message]) -> tuple[_Sized, ...]:
    return tuple(_within(cast("Descriptor", message_type.DESCRIPTOR), ()))


def _within(descriptor: Descriptor, path: tuple[str, ...]) -> Iterator[_Sized]:
    for field in descriptor.fields:
        here = (*path, field.name)
        inner = field.message_type
        if field.is_repeated:
            yield from _limit(field, here)
        elif inner is not None and inner.full_name == Struct.DESCRIPTOR.full_name:
            if field.full_name not in _UNBOUNDED:
                yield _Sized(here)
        elif inner is not None and not inner.full_name.startswith(_GOOGLE):
            yield from _within(inner, here)


def _limit(field: FieldDescriptor, path: tuple[str, ...]) -> Iterator[_Sized]:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if rules.repeated.HasField("max_items"):
        inner = field.message_type
        messages = inner is not None and not inner.full_name.startswith(_GOOGLE)
        yield _Sized(path, "repeated.max_items", rules.repeated.max_items, messages)
    elif rules.map.HasField("max_pairs"):
        yield _Sized(path, "map.max_pairs", rules.map.max_pairs)
    elif rules.ByteSize():
        raise ValueError(
            f"{'.'.join(path)} of a request has rules for its entries, but no limit on their number"
        )
