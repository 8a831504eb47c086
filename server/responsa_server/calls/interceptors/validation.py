"""Parses each message of a request and checks it against the rules of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message
from protovalidate import Validator

from responsa_server.calls import methods, sizes, violations, wire
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.shape import Interceptor, Received
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason

MAX_BYTES: Final = 256 * 1024
"""The limit for a message of a request. Any message that the contract's rules allow is far smaller: the largest is a Search with eight terms of 16 KiB. The gateway's limits (envoy/routes.yaml) agree."""
_LARGER: Final[Mapping[str, int]] = {
    "/responsa.knowledge.v1.KnowledgeService/CreateDocument": 4 * 1024 * 1024,
    "/responsa.knowledge.v1.KnowledgeService/UploadDocument": 4 * 1024 * 1024,
}
"""The methods with a higher limit: as much as gRPC accepts, so that the rule for the text or the chunk can name the field."""


class Validation(Interceptor[None]):
    """Parses in the chain, not in gRPC's deserialiser, where malformed bytes would end the call as UNKNOWN without a reason.

    The cost of a message is bounded before its fields are read: first its size, then the sizes of its lists, maps and objects, then all rules.
    """

    def __init__(self) -> None:
        self._validator = Validator()

    def warm(self, types: Sequence[type[Message]]) -> None:
        """Compile the rules of these types in advance: otherwise the first message of a type takes milliseconds."""
        for one in types:
            self._check(one(), b"")

    async def on_start(self, call: Call) -> None:
        """Do nothing: there is no message yet."""

    def on_request(self, call: Call, message: object) -> object:
        """Parse and validate. Raises InvalidRequest: MALFORMED_MESSAGE, INVALID_FIELD."""
        assert isinstance(message, Received)
        data = message.data
        limit = _LARGER.get(call.method, MAX_BYTES)
        if len(data) > limit:
            raise violations.too_large(len(data), limit)
        try:
            parsed = message.parse(data)
        except (DecodeError, UnicodeDecodeError) as error:
            raise _malformed(call.method, data) from error
        if error := self._check(parsed, data):
            raise error
        return parsed

    def _check(self, message: Message, data: bytes) -> InvalidRequest | None:
        if error := sizes.check(message):
            return error
        if found := self._validator.collect_violations(message):
            return violations.broken_rules(found)
        # Numbers and chunks hold zero bytes too; without a zero byte there is nothing to search for.
        return violations.nul_characters(message) if b"\x00" in data else None


def _malformed(method: str, data: bytes) -> InvalidRequest:
    descriptor = methods.input_type(method)
    name = "" if descriptor is None else descriptor.full_name
    path = None if descriptor is None else wire.invalid_text(descriptor, data)
    metadata = {"message_type": name}
    if path is None:
        what = f"The request's bytes are no valid {name or 'message'}; encode it with the published protos, or send JSON to the REST path."
        return InvalidRequest(Reason.MALFORMED_MESSAGE, what, metadata)
    remedy = "must be text in UTF-8 and holds other bytes; encode it as UTF-8"
    return InvalidRequest(
        Reason.MALFORMED_MESSAGE,
        f"{path}: {remedy}",
        metadata,
        (FieldViolation(path, "string.utf8", remedy),),
    )


def request_types(service_methods: Sequence[str]) -> Sequence[type[Message]]:
    """The message classes of these methods' requests."""
    found = [methods.input_type(one) for one in service_methods]
    return [message_factory.GetMessageClass(one) for one in found if one is not None]
