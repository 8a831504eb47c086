"""What a request of OpenAI's API asks, as a question of the contract."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast
from uuid import UUID, uuid5

from google.protobuf import json_format

from responsa.chat.v1.chat_service_pb2 import AskRequest, EarlierMessage
from responsa.chat.v1.message_pb2 import Role
from responsa_server.domain.errors import InvalidRequest
from responsa_server.transports.openai.written import Written

Json = Mapping[str, Any]
Value = TypeVar("Value")

MAX_HISTORY: Final = 32
"""How many of a chat's earlier messages are sent with a question; the contract's limit."""
_MAX_HISTORY_BYTES: Final = 65_536
_MAX_STOPS: Final = 4
_KEYS: Final = UUID("b7a4ad7c-6a1c-5e0f-9f0e-4a6d7f0f7c11")
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.]{1,64}")
_ROLES: Final = {"user": Role.ROLE_USER, "assistant": Role.ROLE_ASSISTANT}
_INSTRUCTIONS: Final = ("system", "developer")
_TEXTS: Final = ("text", "input_text", "output_text")
_KINDS: Final[Mapping[type[Any], str]] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
_USED: Final = frozenset(
    {
        "audio",
        "background",
        "conversation",
        "function_call",
        "functions",
        "input",
        "logprobs",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "model",
        "n",
        "previous_response_id",
        "responsa",
        "response_format",
        "stop",
        "stream",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "user",
    }
)
"""The fields that have an effect, or that are refused unless they have none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question. request: without the conversation that a continued chat belongs to. earlier: the chat's earlier messages, oldest first. stop, most_tokens: where its text ends. usage: whether the stream
    ends with the usage. ignored: the names of what was given and has no effect. previous: the response that a response follows, "" for none.
    """

    request: AskRequest
    earlier: Sequence[EarlierMessage]
    stream: bool
    usage: bool = False
    stop: Sequence[str] = ()
    most_tokens: int | None = None
    ignored: Sequence[str] = ()
    background: bool = False
    previous: str = ""

    def written(self) -> Written:
        """The text of the answer, before its first piece."""
        return Written(self.stop, self.most_tokens)


@dataclass(slots=True)
class _Said:
    """The messages of a request. ignored: the places of those that no agent reads."""

    messages: list[EarlierMessage] = field(default_factory=list[EarlierMessage])
    ignored: list[str] = field(default_factory=list[str])


def of_chat(body: Json, headers: Mapping[str, str], agent: str | None) -> Asked:
    """The question of a chat completion. agent: the id in the path, before which `model` does not count. Raises InvalidRequest."""
    _refuse(body)
    if agent is not None:
        body = {**body, "model": agent}
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else value(body, "stop", list, [])
    if len(stops) > _MAX_STOPS or not all(isinstance(one, str) and one for one in stops):
        raise wrong("stop", f"must be a text or at most {_MAX_STOPS} texts, none of them empty")
    most = [_limit(body, name) for name in ("max_completion_tokens", "max_tokens")]
    options = value(body, "stream_options", dict, {})
    return _asked(
        body,
        headers,
        _messages("messages", value(body, "messages", list, [])),
        usage=value(options, "include_usage", bool, False),
        stop=stops,
        most_tokens=next((one for one in most if one is not None), None),
    )


def of_response(body: Json, headers: Mapping[str, str]) -> Asked:
    """The question of a response. Raises InvalidRequest."""
    _refuse(body)
    given = body.get("input")
    items: Sequence[object] = (
        [{"role": "user", "content": given}] if isinstance(given, str) else value(body, "input", list, [])
    )
    return _asked(
        body,
        headers,
        _messages("input", items),
        most_tokens=_limit(body, "max_output_tokens"),
        background=value(body, "background", bool, False),
        previous=value(body, "previous_response_id", str, ""),
    )


def value(body: Json, name: str, kind: type[Value], default: Value) -> Value:
    """A field; the default for null and for none. Raises InvalidRequest for a value of another type."""
    found = body.get(name)
    if found is None:
        return default
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise wrong(name, f"must be {_KINDS[kind]}")
    return found


def wrong(name: str, remedy: str) -> InvalidRequest:
    """The error for a field."""
    return InvalidRequest.of_field(name, "openai", remedy)


def agent_of(model: str) -> str:
    """The agent that a model's name means: `agents/{id}`, with its version if the name has one; "" for the default agent."""
    return model if not model or model.startswith("agents/") else f"agents/{model}"


def _asked(body: Json, headers: Mapping[str, str], said: _Said, **rest: Any) -> Asked:
    request = _own(value(body, "responsa", dict, {}))
    request.agent = agent_of(value(body, "model", str, ""))
    question = said.messages.pop()
    request.text = question.text
    given = headers.get("responsa-conversation") or _conversation(body)
    if given:
        request.conversation = given if given.startswith("conversations/") else f"conversations/{given}"
    if (key := headers.get("idempotency-key")) is not None:
        request.request_id = _request_id(key)
    if "x-mcp-mode" in headers or "mcp" in headers:
        request.options.parameters["raw"] = True
    unused = [name for name in body if name not in _USED and _NAME.fullmatch(name)]
    stream = value(body, "stream", bool, False)
    request.include_deltas = stream or bool(rest.get("stop")) or rest.get("most_tokens") is not None
    return Asked(request, said.messages, stream, ignored=(*said.ignored, *unused)[:16], **rest)


def _conversation(body: Json) -> str:
    given = body.get("conversation")
    return (
        value(cast("Json", given), "id", str, "")
        if isinstance(given, dict)
        else value(body, "conversation", str, "")
    )


def _own(given: Json) -> AskRequest:
    """The field `responsa`: an AskRequest without what OpenAI's fields say."""
    if taken := {"text", "agent", "includeDeltas", "include_deltas"} & set(given):
        raise wrong(f"responsa.{min(taken)}", "use messages, model and stream instead")
    try:
        return json_format.ParseDict(dict(given), AskRequest())
    except (json_format.ParseError, RecursionError) as error:
        raise wrong(
            "responsa",
            'must be an AskRequest in JSON, e.g. {"options": {"scope": {"collections": ["collections/handbook"]}}}',
        ) from error


def _request_id(key: str) -> str:
    """The request_id of an Idempotency-Key: the key itself if it is a UUID, otherwise one that follows from it."""
    if not _KEY.fullmatch(key):
        raise wrong("Idempotency-Key", "must be 1 to 255 printable ASCII characters, such as a UUID")
    try:
        return str(UUID(key))
    except ValueError:
        return str(uuid5(_KEYS, key))


def _limit(body: Json, name: str) -> int | None:
    found = value(body, name, int, 0)
    if body.get(name) is not None and found < 1:
        raise wrong(name, "must be 1 or more")
    return found or None


def _messages(field_name: str, given: Sequence[object]) -> _Said:
    said = _Said()
    for place, one in enumerate(given):
        where = f"{field_name}[{place}]"
        if not isinstance(one, dict):
            raise wrong(where, "must be an object with role and content")
        message = cast("Json", one)
        role, kind = message.get("role"), message.get("type", "message")
        if kind != "message" or role in ("tool", "function"):
            # A tool's call or its result, of a chat that another model began.
            said.ignored.append(where)
        elif role in _INSTRUCTIONS:
            _text(where, message.get("content"))
            said.ignored.append(where)
        elif role not in _ROLES:
            raise wrong(f"{where}.role", "must be system, developer, user, assistant or tool")
        elif text := _text(where, message.get("content")):
            said.messages.append(EarlierMessage(role=_ROLES[role], text=text))
    if not said.messages or said.messages[-1].role != Role.ROLE_USER:
        raise wrong(
            field_name, "must end with a message of the role user that has a text, which is the question"
        )
    return said


def _text(where: str, content: object) -> str:
    if content is None:
        return ""
    parts = cast(
        "Sequence[object]", content if isinstance(content, list) else [{"type": "text", "text": content}]
    )
    texts: list[str] = []
    for place, one in enumerate(parts):
        part = cast("Json", one if isinstance(one, dict) else {})
        text = part.get("refusal" if part.get("type") == "refusal" else "text")
        if part.get("type") not in (*_TEXTS, "refusal") or not isinstance(text, str):
            here = f"{where}.content[{place}]" if isinstance(content, list) else f"{where}.content"
            raise wrong(
                here, "must be a text; agents read no images, sounds and files, so upload documents instead"
            )
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise wrong(f"{where}.content", "must not contain halves of surrogate pairs")
        texts.append(text)
    return "\n".join(texts)


def _refuse(body: Json) -> None:
    """Refuse what would change an answer and cannot be done. Raises InvalidRequest."""
    if value(body, "n", int, 1) != 1:
        raise wrong("n", "must be 1; ask once more for another answer")
    if body.get("logprobs") or body.get("top_logprobs"):
        raise wrong("logprobs", "must be false; agents give no probabilities")
    for name in ("tool_choice", "function_call"):
        if body.get(name) not in (None, "auto", "none"):
            raise wrong(
                name, "must be auto or none; an agent calls its own tools and never those of a request"
            )
    if body.get("audio") or any(one != "text" for one in value(body, "modalities", list, [])):
        raise wrong("modalities", 'must be ["text"]; agents write texts only')
    name = "response_format" if body.get("response_format") else "text.format"
    shape = body.get("response_format") or value(body, "text", dict, {}).get("format")
    if shape and (not isinstance(shape, dict) or cast("Json", shape).get("type") != "text"):
        raise wrong(name, "must be of the type text; agents write Markdown with citations")


def fitting(earlier: Sequence[EarlierMessage]) -> Iterator[EarlierMessage]:
    """The last of the earlier messages, at most as many as the contract takes, oldest first."""
    kept: list[EarlierMessage] = []
    size = 0
    for message in reversed(earlier[-MAX_HISTORY:]):
        size += len(message.text.encode())
        if size > _MAX_HISTORY_BYTES:
            break
        kept.append(message)
    return reversed(kept)
