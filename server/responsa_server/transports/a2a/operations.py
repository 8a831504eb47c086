"""The methods of A2A's JSON-RPC, which have the JSON of A2A's protobuf. Importing this module imports the SDK's messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from a2a.types import a2a_pb2 as a2a
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from responsa_server.transports.a2a.service import fill_message

Json = Mapping[str, Any]
_SERVICE: Final = a2a.DESCRIPTOR.services_by_name["A2AService"]


@dataclass(frozen=True, slots=True)
class A2aOperation:
    """A method of JSON-RPC. path: the method of the service. request: makes its message from the params; raises
    InvalidRequest. result: makes the result of a response."""

    path: str
    request: Callable[[object], Any]
    response: type[Message]
    result: Callable[[Any], Json]
    streams: bool


def operation(method: str) -> A2aOperation | None:
    """The operation of a method; None if there is none."""
    return _OPERATIONS.get(method)


def card_json(card: a2a.AgentCard) -> Json:
    """The JSON of a card."""
    return MessageToDict(card)


def _operations() -> Mapping[str, A2aOperation]:
    operations: dict[str, A2aOperation] = {}
    for method in _SERVICE.methods:
        request, response = (
            getattr(a2a, kind.name, Message) for kind in (method.input_type, method.output_type)
        )

        def read(params: object, request: type[Message] = request) -> Message:
            return fill_message(params, request())

        path = f"/{_SERVICE.full_name}/{method.name}"
        result = _page if response is a2a.ListTasksResponse else MessageToDict
        operations[method.name] = A2aOperation(path, read, response, result, method.server_streaming)
    return operations


def _page(response: Message) -> Json:
    """A page of tasks. Its fields are required, also those that are empty."""
    return {"tasks": [], "nextPageToken": "", "pageSize": 0, "totalSize": 0, **MessageToDict(response)}


_OPERATIONS: Final = _operations()
