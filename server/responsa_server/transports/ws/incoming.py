"""The messages that a client may send: one JSON object each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from responsa.chat.v1.chat_service_pb2 import AskOptions, AskRequest
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason

MAX_BYTES = 262_144
"""Per message. A longer one, up to the library's own limit, is refused with a frame."""
MOST_VIOLATIONS = 16
"""Per message, the same number as in a Status. Checking stops after that many."""
NEW = "new"
TUTOR = "tutor"
"""The agent for a question that names a teacher and no agent."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Ping:
    """`{"type": "ping"}`: answered with a pong."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """`{"type": "auth", "token"}`: the first message of a client that cannot send a token with the handshake."""

    token: str

    def __repr__(self) -> str:
        return "SignIn()"


@dataclass(frozen=True, slots=True)
class Question:
    """`{"conversation_id"?, "content", "agent"?, "teacher_id"?, "parameters"?, "request_id"?, "deltas"?}`, with `"type": "ask"` or without a type.

    conversation_id: a UUID, or "" for a new conversation. agent: an id; "" for the tutor if a teacher is named, else for the default agent. teacher_id: one
    of the parameters. The RPC refuses ids that are not valid.
    """

    content: str
    conversation_id: str = ""
    agent: str = ""
    teacher_id: str = ""
    request_id: str = ""
    deltas: bool = False
    parameters: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def teacher(self) -> str:
        """The id of the teacher that the question names, "" for none."""
        return self.teacher_id.removeprefix("teachers/") or teacher_in(self.parameters)

    def request(self, request_id: str) -> AskRequest:
        """The question as the RPC's request, with this request_id.

        Raises:
            InvalidRequest: the parameters cannot be encoded, or name another teacher.
        """
        return AskRequest(
            conversation=named("conversations", self.conversation_id),
            text=self.content,
            request_id=request_id,
            agent=named("agents", self.agent or (TUTOR if self.teacher else "")),
            options=AskOptions(include_deltas=self.deltas, parameters=self._parameters()),
        )

    def _parameters(self) -> Struct | None:
        content = dict(self.parameters)
        if self.teacher_id and content.setdefault("teacher_id", self.teacher_id) != self.teacher_id:
            raise InvalidRequest.of_field(
                "teacher_id", "parameters.twice", "parameters name another teacher; give it once"
            )
        try:
            return json_format.ParseDict(content, Struct()) if content else None
        except (json_format.ParseError, UnicodeEncodeError, ArithmeticError) as error:
            raise InvalidRequest.of_field(
                "parameters",
                "struct.value",
                "holds what cannot be carried on: a number that is none or beyond all measure, half a character, or too many levels",
            ) from error


@dataclass(frozen=True, slots=True)
class Resume:
    """`{"type": "resume", "turn", "after_seq"?, "deltas"?}`: follows a turn from after a seq. turn: `turns/{uuid}`."""

    turn: str
    after_seq: int = 0
    deltas: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """`{"type": "cancel", "turn"}`: cancels a turn. turn: `turns/{uuid}`."""

    turn: str


Incoming: TypeAlias = "Ping | SignIn | Question | Resume | Cancel"

_FIELDS: Mapping[str, Mapping[str, type]] = {
    "ping": {},
    "auth": {"token": str},
    "ask": {
        "conversation_id": str,
        "content": str,
        "agent": str,
        "teacher_id": str,
        "parameters": dict,
        "request_id": str,
        "deltas": bool,
    },
    "resume": {"turn": str, "after_seq": int, "deltas": bool},
    "cancel": {"turn": str},
}
"""The fields of each type besides `type`. A null counts as left out."""
_REQUIRED: Mapping[str, str] = {"auth": "token", "ask": "content", "resume": "turn", "cancel": "turn"}
_SPOKEN: Mapping[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    dict: "an object",
}
_MOST_SEQ = 2**63 - 1


def parse(text: str | None, most_bytes: int = MAX_BYTES) -> Incoming:
    """Read a message of at most `most_bytes` bytes. None stands for a binary message.

    Raises:
        InvalidRequest: it is not one of the above (MALFORMED_MESSAGE), or has fields that do not belong to it (INVALID_FIELD).
    """
    content = _object(text, most_bytes)
    kind = content.pop("type", "ask")
    if not isinstance(kind, str) or kind not in _FIELDS:
        known = ", ".join(_FIELDS)
        raise InvalidRequest.of_field("type", "type.unknown", f"there is no such type; known are {known}")
    _check(kind, content)
    match kind:
        case "ping":
            return Ping()
        case "auth":
            return SignIn(_text(content, "token"))
        case "resume":
            after_seq, turn = cast("int", content.get("after_seq", 0)), _text(content, "turn")
            return Resume(named("turns", turn), after_seq, bool(content.get("deltas")))
        case "cancel":
            return Cancel(named("turns", _text(content, "turn")))
        case _:
            return _question(content)


def named(kind: str, value: str) -> str:
    """`kind/{id}` for an id or for that name itself; "" for ""."""
    return value if not value or value.startswith(f"{kind}/") else f"{kind}/{value}"


def teacher_in(parameters: Mapping[str, object]) -> str:
    """The id of the teacher that parameters name, "" for none."""
    found = parameters.get("teacher_id")
    return found.removeprefix("teachers/") if isinstance(found, str) else ""


def _question(content: Mapping[str, object]) -> Question:
    conversation = _text(content, "conversation_id").removeprefix("conversations/").lower()
    if conversation == NEW:
        conversation = ""
    elif conversation and not _UUID.fullmatch(conversation):
        raise InvalidRequest.of_field(
            "conversation_id", "string.uuid", 'give the UUID of a conversation, or "new", or leave it out'
        )
    return Question(
        content=_text(content, "content"),
        conversation_id=conversation,
        agent=_text(content, "agent"),
        teacher_id=_text(content, "teacher_id"),
        request_id=_text(content, "request_id"),
        deltas=bool(content.get("deltas")),
        parameters=cast("Mapping[str, object]", content.get("parameters", {})),
    )


def _object(text: str | None, most: int) -> dict[str, object]:
    if text is None:
        raise _malformed("it is binary; send text")
    if len(text) > most or len(text.encode(errors="replace")) > most:
        raise _malformed(f"it is larger than {most >> 10} KiB")
    try:
        content = cast("object", json.loads(text, object_pairs_hook=_once_each))
    except (ValueError, RecursionError) as error:
        raise _malformed("it is no JSON") from error
    if not isinstance(content, dict):
        raise _malformed("it is JSON, but no object")
    return {key: value for key, value in cast("dict[str, object]", content).items() if value is not None}


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object at any depth. Refuses repeated keys; JSON's own reader would silently drop all values but the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        seen = set[str]()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise InvalidRequest.of_field(_whole(twice[:64]), "field.twice", "is given twice; give it once")
    return content


def _check(kind: str, content: Mapping[str, object]) -> None:
    known = _FIELDS[kind]
    violations: list[FieldViolation] = []
    for name, value in content.items():
        wanted = known.get(name)
        shown = _whole(name[:64])
        if wanted is None:
            names = ", ".join(known) or "none but type"
            violations.append(
                FieldViolation(shown, "field.unknown", f"there is no such field; known are {names}")
            )
        elif not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            violations.append(FieldViolation(shown, "field.type", f"must be {_SPOKEN[wanted]}"))
        elif isinstance(value, str) and _whole(value) != value:
            # JSON can contain lone surrogates, which no encoding can carry.
            violations.append(FieldViolation(shown, "string.utf8", "holds half a character (a surrogate)"))
        elif isinstance(value, int) and abs(value) > _MOST_SEQ:
            violations.append(FieldViolation(shown, "int64", "has more than 64 bits"))
        if len(violations) == MOST_VIOLATIONS:
            break
    required = _REQUIRED.get(kind)
    if required is not None and required not in content and len(violations) < MOST_VIOLATIONS:
        violations.append(FieldViolation(required, "required", "is missing"))
    if violations:
        first = violations[0]
        raise InvalidRequest(
            Reason.INVALID_FIELD,
            f"{first.field}: {first.description}",
            {"violations": str(len(violations))},
            tuple(violations),
        )


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


def _text(content: Mapping[str, object], name: str) -> str:
    return cast("str", content.get(name, ""))


def _malformed(why: str) -> InvalidRequest:
    message = f'A message must be a JSON object, such as {{"content": "What is a lease?"}}: {why}.'
    return InvalidRequest(Reason.MALFORMED_MESSAGE, message, {"message_type": "application/json"})
