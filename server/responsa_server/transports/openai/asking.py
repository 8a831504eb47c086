"""What a request of OpenAI's API asks, as a question of the contract."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, cast
from uuid import UUID, uuid5

from google.protobuf import json_format
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from responsa.chat.v1.chat_service_pb2 import AskRequest, EarlierMessage, GenerateTextRequest
from responsa.chat.v1.message_pb2 import Role
from responsa_server.calls.json_types import misfits, qualify
from responsa_server.calls.violations import invalid
from responsa_server.domain.errors import InvalidRequest
from responsa_server.transports.openai.exchange import Json, dump

_KEYS: Final = UUID("b7a4ad7c-6a1c-5e0f-9f0e-4a6d7f0f7c11")
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.]{1,64}")
_ROLES: Final = {"user": Role.ROLE_USER, "assistant": Role.ROLE_ASSISTANT}
_TEXTS: Final = ("text", "input_text", "output_text", "refusal")
_FORMATS: Final = "must have the type text, json_object, or json_schema with a json_schema that has a schema"
_TEXT_ONLY: Final = "must be of the type text; for JSON, use response_format in /v1/chat/completions (Agents SDK: set_default_openai_api)"
_OWN_TOOLS: Final = "must be auto or none; an agent calls its own tools and never those of a request"
_CHOICE: Final = (
    "must be auto, none, or the name of a function of tools, whose arguments are then written as JSON"
)
_TEXT: Final = Field("", description="must be a string")
_FLAG: Final = Field(False, description="must be true or false")
MOST_TOKENS: Final = 2**31 - 1
_CHORE: Final = (
    "### Task:\n",
    "\n### Guidelines:\n",
    "\n### Output:\n",
    "\n### Chat History:\n<chat_history>\n",
)
_CHORE_END: Final = "</chat_history>"
_LOGGER: Final = logging.getLogger(__name__)
_LIMIT: Final = Field(None, ge=1, description="must be a whole number, 1 or more")


class ModelVariant(StrEnum):
    """What the id of a model says behind the agent's, after a colon. MARKED: nothing. PLAIN: the bare text of the
    answer. CHORES: the agent's language model alone."""

    MARKED = ""
    PLAIN = "plain"
    CHORES = "chores"


class BodyFields(BaseModel):
    """Fields of a body. The description of a field says what to send instead of a wrong value."""

    model_config = ConfigDict(strict=True, extra="allow")


Checked = TypeVar("Checked", bound=BodyFields)
Words: TypeAlias = Annotated[str, Field(min_length=1)]
"""A text that is not empty."""


class _Plain(BodyFields):
    type: Literal["text"] = "text"


class _Object(BodyFields):
    type: Literal["json_object"]


class _Described(BodyFields):
    content: dict[str, Any] = Field({}, alias="schema")


class _Schema(BodyFields):
    type: Literal["json_schema"]
    json_schema: _Described


class _Function(BodyFields):
    name: str
    parameters: dict[str, Any] | None = None


class _Tool(BodyFields):
    type: Literal["function"] = "function"
    function: _Function


class _Tools(BodyFields):
    tools: list[_Tool] = Field([], description="must be a list of functions, each with a name and parameters")


class _Format(BodyFields):
    format: _Plain | None = None


class _StreamOptions(BodyFields):
    include_usage: bool | None = False


class _Conversation(BodyFields):
    id: str = ""


class _Body(BodyFields):
    """The fields that have an effect, or that are refused unless they have none."""

    model: str = _TEXT
    messages: list[Any] = Field([], description="must be a list")
    input: str | list[Any] = Field([], description="must be a string or a list")
    stream: bool = _FLAG
    stream_options: _StreamOptions = Field(
        _StreamOptions(), description="must be an object with include_usage, which is true or false"
    )
    stop: Words | Annotated[list[Words], Field(max_length=4)] = Field(
        [], description="must be a string or at most 4 strings, none of them empty"
    )
    max_completion_tokens: int | None = _LIMIT
    max_tokens: int | None = _LIMIT
    max_output_tokens: int | None = _LIMIT
    background: bool = _FLAG
    previous_response_id: str = _TEXT
    conversation: str | _Conversation = Field("", description="must be a string, or an object with an id")
    responsa: dict[str, Any] = Field({}, description="must be an object")
    n: Literal[1] = Field(1, description="must be 1; ask once more for another answer")
    tool_choice: Literal["auto", "none", "required"] | _Tool = Field("auto", description=_CHOICE)
    function_call: Literal["auto", "none"] = Field("auto", description=_OWN_TOOLS)
    modalities: list[Literal["text"]] = Field(
        [], max_length=1, description='must be ["text"]; agents write only text'
    )
    response_format: _Plain | _Object | _Schema | None = Field(None, description=_FORMATS)
    text: _Format = Field(_Format(), description=f"its format {_TEXT_ONLY}")
    audio: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    tools: Any = None
    functions: Any = None
    user: Any = None


@dataclass(frozen=True, slots=True)
class JsonShape:
    """The JSON object that a request wants. schema: its JSON Schema. field: where the request has it. function: the
    function whose arguments it is; "" for the content of the message."""

    schema: str
    field: str
    function: str = ""


@dataclass(frozen=True, slots=True)
class ApiQuestion:
    """A question. request: without the conversation that a continued chat belongs to. earlier: the chat's earlier
    messages, oldest first. path: where the request has the question. stop, most_tokens: where its text ends. shape:
    what the answer is written as; None for its text. kind: what the model's id asks for. generation: what is asked of
    the model alone, in place of the question; None for a question. marks: whether the text has the marks of citations
    and the list of its sources. usage: whether the stream ends with the usage. ignored: the names of what was given and
    has no effect. previous: the response that a response follows, "" for none.
    """

    request: AskRequest
    earlier: Sequence[EarlierMessage]
    path: str
    stream: bool
    usage: bool = False
    stop: Sequence[str] = ()
    most_tokens: int | None = None
    ignored: Sequence[str] = ()
    background: bool = False
    previous: str = ""
    kind: ModelVariant = ModelVariant.MARKED
    marks: bool = False
    generation: GenerateTextRequest | None = None
    shape: JsonShape | None = None


@dataclass(slots=True)
class _Talk:
    """The messages of a request. path: of the last one. instructions: the texts of `system` and `developer`. ignored:
    the places of those that no agent reads."""

    messages: list[EarlierMessage] = field(default_factory=list[EarlierMessage])
    instructions: list[str] = field(default_factory=list[str])
    path: str = ""
    ignored: list[str] = field(default_factory=list[str])


def of_chat(body: Json, headers: Mapping[str, str], agent: str | None, *, marks: bool) -> ApiQuestion:
    """The question of a chat completion. agent: the id in the path, before which `model` does not count. marks: whether
    answers have marks. Raises InvalidRequest."""
    fields = _body(body)
    fields.model = fields.model if agent is None else agent
    kind = ModelVariant.CHORES if _is_chore(fields.messages) else kind_of(fields.model)
    # A program that reads the answer gets it bare.
    reads = fields.response_format or fields.tools or fields.functions
    shape = _shape(fields, body)
    if kind is ModelVariant.CHORES:
        return _generation(fields, shape)
    return _question_of(
        fields,
        headers,
        _messages("messages", fields.messages),
        usage=bool(fields.stream_options.include_usage),
        stop=[fields.stop] if isinstance(fields.stop, str) else fields.stop,
        most_tokens=fields.max_completion_tokens or fields.max_tokens,
        kind=kind,
        marks=marks and kind is ModelVariant.MARKED and not reads,
        shape=shape,
    )


def _is_chore(messages: object) -> bool:
    """Whether a request is one that Open WebUI makes beside a question, such as for the title of a chat: its only
    message has the whole frame of those requests."""
    match messages:
        case [{"role": "user", "content": str(text)}] if _has_frame(text.strip()):
            _LOGGER.info("a front end's chore, known by its frame, goes to the agent's language model alone")
            return True
        case _:
            return False


def _has_frame(text: str) -> bool:
    """Whether a text has the frame of a chore, whole."""
    position = 0
    for part in _CHORE:
        position = text.find(part, position) + len(part)
        if position < len(part):
            return False
    return text.startswith(_CHORE[0]) and text.endswith(_CHORE_END, position)


def _shape(fields: _Body, body: Json) -> JsonShape | None:
    """The JSON object that a request wants; None for none. Raises InvalidRequest."""
    choice, form = fields.tool_choice, fields.response_format
    if choice in ("auto", "none"):
        if isinstance(form, _Schema):
            return JsonShape(dump(form.json_schema.content), "response_format")
        return JsonShape("{}", "response_format") if isinstance(form, _Object) else None
    functions = {
        tool.function.name: tool.function.parameters or {}
        for tool in parse_fields(_Tools, {"tools": body.get("tools")}).tools
    }
    name = choice.function.name if isinstance(choice, _Tool) else min(functions, default="")
    if name not in functions or (choice == "required" and len(functions) > 1):
        raise wrong("tool_choice", _CHOICE)
    return JsonShape(dump(functions[name]), "tool_choice", name)


def _generation(fields: _Body, shape: JsonShape | None) -> ApiQuestion:
    talk = _messages("messages", fields.messages)
    limit = fields.max_completion_tokens or fields.max_tokens or 0
    request = GenerateTextRequest(
        agent=agent_of(fields.model),
        instructions="\n\n".join(filter(None, talk.instructions)),
        messages=talk.messages,
        max_output_tokens=min(limit, MOST_TOKENS),
        json_schema=shape.schema if shape else "",
    )
    return ApiQuestion(
        AskRequest(),
        (),
        "messages",
        fields.stream,
        usage=bool(fields.stream_options.include_usage),
        stop=[fields.stop] if isinstance(fields.stop, str) else fields.stop,
        kind=ModelVariant.CHORES,
        generation=request,
        shape=shape,
    )


def of_response(body: Json, headers: Mapping[str, str]) -> ApiQuestion:
    """The question of a response. Raises InvalidRequest."""
    fields = _body(body)
    if kind_of(fields.model) is ModelVariant.CHORES:
        raise wrong("model", f"must be an agent; ask {fields.model} for chat completions")
    if fields.tool_choice not in ("auto", "none"):
        raise wrong("tool_choice", _OWN_TOOLS)
    text = fields.input
    if isinstance(text, str):
        talk = _messages("input", [{"role": "user", "content": text}])
        talk.path = "input"
    else:
        talk = _messages("input", text)
    return _question_of(
        fields,
        headers,
        talk,
        most_tokens=fields.max_output_tokens,
        background=fields.background,
        previous=fields.previous_response_id,
    )


def kind_of(model: str) -> ModelVariant:
    """What the id of a model asks for."""
    return next((kind for kind in ModelVariant if kind and model.endswith(f":{kind}")), ModelVariant.MARKED)


def model_of(agent: str, kind: ModelVariant) -> str:
    """The id of a model. agent: the agent's id, "" if it is not known."""
    return f"{agent}:{kind}" if agent and kind else agent


def agent_of(model: str) -> str:
    """The agent that the id of a model names, as the contract does."""
    kind = kind_of(model)
    return qualify("agents", model.removesuffix(f":{kind}") if kind else model)


def parse_fields(kind: type[Checked], body: Json) -> Checked:
    """The fields of a body; null is the same as none. Raises InvalidRequest."""
    try:
        return kind.model_validate({name: value for name, value in body.items() if value is not None})
    except ValidationError as error:
        name = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
        raise wrong(name, kind.model_fields[name].description or "") from None


def wrong(name: str, remedy: str) -> InvalidRequest:
    """The error for a field."""
    return InvalidRequest.of_field(name, "openai", remedy)


def _body(body: Json) -> _Body:
    fields = parse_fields(_Body, body)
    if fields.logprobs or fields.top_logprobs:
        raise wrong("logprobs", "must be false; agents give no probabilities")
    if fields.audio:
        raise wrong("modalities", 'must be ["text"]; agents write only text')
    return fields


def _question_of(fields: _Body, headers: Mapping[str, str], talk: _Talk, **rest: Any) -> ApiQuestion:
    request = _own(fields.responsa)
    request.agent = agent_of(fields.model)
    request.text = talk.messages.pop().text
    inner = fields.conversation
    name = headers.get("responsa-conversation") or (inner if isinstance(inner, str) else inner.id)
    request.conversation = qualify("conversations", name)
    if (key := headers.get("idempotency-key")) is not None:
        request.request_id = _request_id(key)
    if "x-mcp-mode" in headers or "mcp" in headers:
        request.options.parameters["raw"] = True
    unused = [name for name in fields.model_extra or () if _NAME.fullmatch(name)]
    whole = rest.get("shape") is not None
    request.include_deltas = not whole and (
        fields.stream or bool(rest.get("stop")) or rest.get("most_tokens") is not None
    )
    return ApiQuestion(
        request, talk.messages, talk.path, fields.stream, ignored=(*talk.ignored, *unused)[:16], **rest
    )


def _own(content: Json) -> AskRequest:
    """The field `responsa`: an AskRequest without what OpenAI's fields say."""
    if taken := {"text", "agent", "includeDeltas", "include_deltas"} & set(content):
        raise wrong(f"responsa.{min(taken)}", "use messages, model and stream instead")
    try:
        return json_format.ParseDict(dict(content), AskRequest())
    except (json_format.ParseError, RecursionError) as error:
        if problems := [*misfits(AskRequest.DESCRIPTOR, content, "responsa.")]:
            raise invalid(problems) from error
        example = '{"options": {"scope": {"collections": ["collections/handbook"]}}}'
        raise wrong("responsa", f"must be an AskRequest in JSON, e.g. {example}") from error


def _request_id(key: str) -> str:
    """The request_id of an Idempotency-Key: the key itself if it is a UUID, otherwise one that follows from it."""
    if not _KEY.fullmatch(key):
        raise wrong("Idempotency-Key", "must be 1 to 255 printable ASCII characters, such as a UUID")
    try:
        return str(UUID(key))
    except ValueError:
        return str(uuid5(_KEYS, key))


def _messages(name: str, messages: Sequence[object]) -> _Talk:
    talk = _Talk()
    for index, item in enumerate(messages):
        where = f"{name}[{index}]"
        if not isinstance(item, dict):
            raise wrong(where, "must be an object with role and content")
        message = cast("Json", item)
        role = message.get("role")
        if message.get("type", "message") != "message" or role in ("tool", "function"):
            # A tool's call or its result, of a chat that another model began.
            talk.ignored.append(where)
            continue
        text = _text(f"{where}.content", message.get("content"))
        if role in ("system", "developer"):
            talk.ignored.append(where)
            talk.instructions.append(text)
        elif role not in _ROLES:
            raise wrong(f"{where}.role", "must be system, developer, user, assistant or tool")
        elif text:
            talk.messages.append(EarlierMessage(role=_ROLES[role], text=text))
            talk.path = f"{where}.content"
    if not talk.messages or talk.messages[-1].role != Role.ROLE_USER:
        raise wrong(name, "must end with a message of the role user that has a text, which is the question")
    return talk


def _text(where: str, content: object) -> str:
    plain = [{"type": "text", "text": "" if content is None else content}]
    parts = cast("Sequence[object]", content if isinstance(content, list) else plain)
    texts: list[str] = []
    for index, item in enumerate(parts):
        part = cast("Json", item if isinstance(item, dict) else {})
        kind = part.get("type")
        text = part.get("refusal" if kind == "refusal" else "text")
        if kind not in _TEXTS or not isinstance(text, str):
            here = f"{where}[{index}]" if isinstance(content, list) else where
            raise wrong(
                here, "must be a string; agents read no images, sounds or files, so upload documents instead"
            )
        texts.append(text)
    return "\n".join(texts)
