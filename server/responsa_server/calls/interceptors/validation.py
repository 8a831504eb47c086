"""Parses each message of a request and holds it against the rules of the contract."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message
from protovalidate import Validator

from responsa_server.calls import methods, violations, wire
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.shape import Interceptor, Received
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason


class Validation(Interceptor[None]):
    """Parses in the chain, not in gRPC's deserialiser, where what is malformed would end as UNKNOWN without a reason."""

    def __init__(self) -> None:
        self._validator = Validator()

    def warm(self, types: Sequence[type[Message]]) -> None:
        """Compile the rules of these types ahead: the first message of a type takes milliseconds otherwise."""
        for one in types:
            self._validator.collect_violations(one(), fail_fast=True)

    async def on_start(self, call: Call) -> None:
        """Do nothing: there is no message yet."""

    def on_request(self, call: Call, message: object) -> object:
        """Parse and validate. Raises InvalidRequest: MALFORMED_MESSAGE, INVALID_FIELD."""
        assert isinstance(message, Received)
        data = message.data
        try:
            parsed = message.parse(data)
        except (DecodeError, UnicodeDecodeError) as error:
            raise _malformed(call.method, data) from error
        found = self._validator.collect_violations(parsed)
        if found:
            raise violations.invalid(violations.told(found))
        # Zero bytes stand in numbers and in chunks too, so only their presence makes looking worthwhile.
        if b"\x00" in data and (nul := tuple(violations.nul_characters(parsed))):
            raise violations.invalid(nul)
        return parsed


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
