"""Translates the contract's field names in errors to those of the socket's messages: the contract's `text` is the socket's `content`."""

from __future__ import annotations

from typing import Final

from google.protobuf.any_pb2 import Any as Packed
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status

_NAMES: Final = {
    "text": "content",
    "conversation": "conversation_id",
    "name": "turn",
    "options.parameters.teacher_id": "teacher_id",
}
_PREFIX: Final = "options."


def in_socket_words(found: Status) -> Status:
    """The Status of a refused message, with its fields named as in that message."""
    told = Status()
    told.CopyFrom(found)
    for detail in told.details:
        bad = BadRequest()
        if detail.Unpack(bad):
            for one in bad.field_violations:
                name = _name(one.field)
                told.message = told.message.replace(f"{one.field}: ", f"{name}: ", 1)
                one.field = name
            packed = Packed()
            packed.Pack(bad)
            detail.CopyFrom(packed)
    return told


def _name(field: str) -> str:
    return _NAMES.get(field) or field.removeprefix(_PREFIX)
