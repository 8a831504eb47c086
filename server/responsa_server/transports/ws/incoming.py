"""The messages that a client may send. Each message is one JSON object."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal, TypeAlias

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError

from responsa.chat.v1.chat_service_pb2 import AskOptions, AskRequest
from responsa_server.calls.http import json_object
from responsa_server.calls.json_types import qualify
from responsa_server.calls.status import MAX_VIOLATIONS
from responsa_server.calls.violations import invalid
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason

TUTOR: Final = "tutor"
"""The agent for questions that name a teacher but no agent."""
_NEW: Final = "new"
_MOST_NAME: Final = 64


def _conversation(value: str) -> str:
    identity = value.removeprefix("conversations/").lower()
    return "" if identity == _NEW else qualify("conversations", identity)


TurnName: TypeAlias = Annotated[str, AfterValidator(partial(qualify, "turns"))]


class _ClientMessage(BaseModel, strict=True, extra="forbid"):
    """A message. A client may send an id in place of a name; a validator completes it to a name. The RPC refuses invalid names."""


class Ping(_ClientMessage):
    """The server replies with a pong."""

    type: Literal["ping"]


class SignIn(_ClientMessage):
    """The first message of a client that cannot send a token with the handshake, or a renewed token of the same user."""

    type: Literal["auth"]
    token: str = Field(repr=False)


class QuestionMessage(_ClientMessage):
    """A question. conversation_id: the conversation; "" for a new one. teacher_id: the same as the parameter of this name."""

    type: Literal["ask"]
    content: str
    conversation_id: Annotated[str, AfterValidator(_conversation)] = ""
    agent: Annotated[str, AfterValidator(partial(qualify, "agents"))] = ""
    teacher_id: str = ""
    request_id: str = ""
    deltas: bool = False
    tools: bool = False
    parameters: dict[str, object] = {}

    @property
    def teacher(self) -> str:
        """The id of the teacher that the question names; "" if it names no teacher."""
        return self.teacher_id.removeprefix("teachers/") or teacher_in(self.parameters)

    def request(self, request_id: str, default_agent: str) -> AskRequest:
        """The question as the RPC's request, with this request_id. default_agent: the id of the agent for a question
        that names neither an agent nor a teacher.

        Raises:
            InvalidRequest: the parameters cannot be encoded, or name another teacher.
        """
        return AskRequest(
            conversation=self.conversation_id,
            text=self.content,
            request_id=request_id,
            agent=self.agent or qualify("agents", TUTOR if self.teacher else default_agent),
            options=AskOptions(parameters=self._parameters()),
            include_deltas=self.deltas,
        )

    def _parameters(self) -> Struct | None:
        content = dict(self.parameters)
        if self.teacher_id and content.setdefault("teacher_id", self.teacher_id) != self.teacher_id:
            raise InvalidRequest.of_field(
                "teacher_id", "parameters.twice", "the parameters name another teacher; name one teacher"
            )
        try:
            return json_format.ParseDict(content, Struct()) if content else None
        except json_format.ParseError as error:
            raise InvalidRequest.of_field(
                "parameters", "struct.value", "is nested too deeply; flatten it"
            ) from error


class Resume(_ClientMessage):
    """Follows a turn, beginning after a seq."""

    type: Literal["resume"]
    turn: TurnName
    after_seq: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    deltas: bool = False
    tools: bool = False


class CancelMessage(_ClientMessage):
    """Cancels a turn."""

    type: Literal["cancel"]
    turn: TurnName


Incoming: TypeAlias = Ping | SignIn | QuestionMessage | Resume | CancelMessage

_TYPES: Final[dict[str, type[_ClientMessage]]] = {
    "ping": Ping, "auth": SignIn, "ask": QuestionMessage, "resume": Resume, "cancel": CancelMessage
}  # fmt: skip
_MESSAGES: Final[TypeAdapter[Incoming]] = TypeAdapter(Annotated[Incoming, Field(discriminator="type")])
_PROBLEMS: Final = {
    "missing": ("required", "is missing"),
    "string_type": ("field.type", "must be a string"),
    "bool_type": ("field.type", "must be true or false"),
    "int_type": ("field.type", "must be a whole number"),
    "dict_type": ("field.type", "must be an object"),
    "greater_than_equal": ("int64", "has more than 64 bits"),
    "less_than": ("int64", "has more than 64 bits"),
}
"""The rule and the description for each of Pydantic's errors about a value."""


def parse(text: str | None, most_bytes: int) -> Incoming:
    """Read a message. text: the message; None if it is binary. most_bytes: the size limit. A field with the value null counts as left out.

    Raises:
        InvalidRequest: the message is binary, too large or not a JSON object (MALFORMED_MESSAGE), or its type or one of
            its fields is not valid (INVALID_FIELD).
    """
    content = {
        "type": "ask",
        **{key: value for key, value in _object(text, most_bytes).items() if value is not None},
    }
    surplus = _surplus(content)
    for key in surplus:
        del content[key]
    try:
        return _MESSAGES.validate_python(content)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        described = [_violation(detail["type"], detail["loc"]) for detail in details[:MAX_VIOLATIONS]]
        raise invalid(described, len(details) + len(surplus)) from None


def teacher_in(parameters: dict[str, object]) -> str:
    """The id of the teacher that the parameters name; "" if they name no teacher."""
    teacher = parameters.get("teacher_id")
    return teacher.removeprefix("teachers/") if isinstance(teacher, str) else ""


def _surplus(content: dict[str, object]) -> list[str]:
    """The unknown fields beyond the first `MAX_VIOLATIONS`. The caller removes them, because Pydantic would build an
    error for each of them on the event loop."""
    kind = content["type"]
    if not (isinstance(kind, str) and kind in _TYPES):
        return []
    unknown = content.keys() - _TYPES[kind].model_fields.keys()
    return [key for key in content if key in unknown][MAX_VIOLATIONS:]


def _violation(problem: str, path: tuple[int | str, ...]) -> FieldViolation:
    """The violation for one of Pydantic's errors. path: the message's type and the field; empty if the type is unknown."""
    if not path:
        return FieldViolation(
            "type", "type.unknown", f"there is no such type; the types are {', '.join(_TYPES)}"
        )
    kind, field = str(path[0]), str(path[1])[:_MOST_NAME]
    if problem == "extra_forbidden":
        known = ", ".join(name for name in _TYPES[kind].model_fields if name != "type")
        remedy = f"the fields are {known}" if known else "a message of this type has no field except “type”"
        return FieldViolation(field, "field.unknown", f"there is no such field; {remedy}")
    return FieldViolation(field, *_PROBLEMS[problem])


def _object(text: str | None, limit: int) -> dict[str, object]:
    if text is None:
        raise _unreadable_message("it is binary; send text")
    if len(text) > limit or len(text.encode(errors="replace")) > limit:
        raise _unreadable_message(f"it is larger than {limit >> 10} KiB")
    return json_object(text, _unreadable_message)


def _unreadable_message(why: str) -> InvalidRequest:
    message = f'A message must be a JSON object, such as {{"content": "What is a lease?"}}: {why}.'
    return InvalidRequest(Reason.MALFORMED_MESSAGE, message, {"message_type": "application/json"})
