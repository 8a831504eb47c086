"""The two dialects of A2A's JSON-RPC: 1.0 has the JSON of A2A's protobuf, and the SDK translates 0.3. Importing this
module takes a tenth of a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from a2a.compat.v0_3 import conversions, types
from a2a.types import a2a_pb2 as a2a
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from pydantic import BaseModel, ValidationError

from responsa_server.calls.violations import invalid
from responsa_server.domain.errors import FieldViolation
from responsa_server.transports.a2a.service import parsed

Json = Mapping[str, Any]
_SERVICE: Final = a2a.DESCRIPTOR.services_by_name["A2AService"]
_LEGACY_PUSH: Final = "tasks/pushNotificationConfig/"


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of JSON-RPC. path: the method of the service. request: makes its message from the params; raises
    InvalidRequest. result: makes the result of a response."""

    path: str
    request: Callable[[object], Any]
    response: type[Message]
    result: Callable[[Any], Json]
    streams: bool


def operation(method: str) -> Operation | None:
    """The operation of a method; None if neither dialect has it."""
    if method.startswith(_LEGACY_PUSH):
        return _OPERATIONS["CreateTaskPushNotificationConfig"]
    return _OPERATIONS.get(method)


def card_json(card: a2a.AgentCard) -> Json:
    """A card that clients of both dialects read."""
    return _merged(_of_model(conversions.to_compat_agent_card(card)), MessageToDict(card))


def _merged(first: Any, second: Any) -> Any:
    """The fields of both; where both have one that is no object, that of the second."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    one, other = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
    return one | {name: _merged(one.get(name), value) for name, value in other.items()}


def _of_model(model: BaseModel) -> Json:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _operations() -> Mapping[str, Operation]:
    operations: dict[str, Operation] = {}
    for method in _SERVICE.methods:
        request, response = (
            getattr(a2a, kind.name, Message) for kind in (method.input_type, method.output_type)
        )

        def read(params: object, request: type[Message] = request) -> Message:
            return parsed(params, request())

        path = f"/{_SERVICE.full_name}/{method.name}"
        result = _page if response is a2a.ListTasksResponse else MessageToDict
        operations[method.name] = Operation(path, read, response, result, method.server_streaming)
    for legacy, (name, model, convert) in _LEGACY.items():
        now = operations[name]

        def read_legacy(
            params: object,
            legacy: str = legacy,
            model: type[BaseModel] = model,
            convert: Callable[[Any], Message] = convert,
        ) -> Message:
            given = {"jsonrpc": "2.0", "id": 0, "method": legacy, "params": params}
            try:
                return convert(model.model_validate(given))
            except ValidationError as error:
                raise invalid([*map(_violation, error.errors())]) from None

        operations[legacy] = Operation(now.path, read_legacy, now.response, _legacy_json, now.streams)
    return operations


def _page(response: Message) -> Json:
    """A page of tasks. Its fields are required, also those that are empty."""
    return {"tasks": [], "nextPageToken": "", "pageSize": 0, "totalSize": 0, **MessageToDict(response)}


def _violation(error: Any) -> FieldViolation:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"][1:])
    return FieldViolation(path[1:] or "params", str(error["type"]), str(error["msg"]))


def _legacy_json(response: object) -> Json:
    match response:
        case a2a.SendMessageResponse():
            return _of_model(conversions.to_compat_task(response.task))
        case a2a.Task():
            return _of_model(conversions.to_compat_task(response))
        case a2a.StreamResponse():
            return _of_model(conversions.to_compat_stream_response(response).result)
        case _:
            return _of_model(conversions.to_compat_agent_card(cast("a2a.AgentCard", response)))


_SEND: Final = conversions.to_core_send_message_request
_FOLLOW: Final = conversions.to_core_subscribe_to_task_request
_CARD: Final = conversions.to_core_get_extended_agent_card_request
_LEGACY: Final[Mapping[str, tuple[str, type[BaseModel], Callable[[Any], Message]]]] = {
    "message/send": ("SendMessage", types.SendMessageRequest, _SEND),
    "message/stream": ("SendStreamingMessage", types.SendStreamingMessageRequest, _SEND),
    "tasks/get": ("GetTask", types.GetTaskRequest, conversions.to_core_get_task_request),
    "tasks/cancel": ("CancelTask", types.CancelTaskRequest, conversions.to_core_cancel_task_request),
    "tasks/resubscribe": ("SubscribeToTask", types.TaskResubscriptionRequest, _FOLLOW),
    "agent/getAuthenticatedExtendedCard": (
        "GetExtendedAgentCard",
        types.GetAuthenticatedExtendedCardRequest,
        _CARD,
    ),
}
_OPERATIONS: Final = _operations()
