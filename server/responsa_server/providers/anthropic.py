"""Language models behind Anthropic's messages API, streamed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, cast

import httpx2

from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    MOST_QUOTED,
    Alive,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    PromptMessage,
    Role,
    Spent,
    Stop,
    TextPiece,
)
from responsa_server.providers.http_model import (
    Complaint,
    Events,
    HttpModel,
    ToolRequests,
    WireModel,
    alternating,
    bearer,
    ending,
    stop_of,
    tokens,
    with_prefix,
)
from responsa_server.providers.settings import CompatibleSettings

# The API version that the vendor's own library of November 2026 sends.
_VERSION: Final = "2026-10-21"
_STOPS: Final = {
    **dict.fromkeys(("end_turn", "stop_sequence", "tool_use"), Stop.END),
    "max_tokens": Stop.LIMIT,
    "model_context_window_exceeded": Stop.LIMIT,
    "pause_turn": Stop.LIMIT,
    "refusal": Stop.UNSAFE,
}
# The models that continue their last message at the end of a prompt. From version 4.6 on, models refuse such a prompt with the status 400.
_TAKES_PREFIX: Final = re.compile(
    r"claude-(?:[23]|instant|(?:opus|sonnet|haiku)-(?:3|4(?!-(?:[6-9]|\d\d(?!\d)))))"
)
_UNMARKED: Final = (
    "The numbered passages are documents here, and what you write from them is cited by itself: write no marks for them. "
    "Only results of tools have marks."
)
_QUOTED_WORDS: Final = 12
# The kinds of blocks with reasoning, and the fields that travel back.
_THOUGHTS: Final = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}
_FAULTS: Final = {
    "authentication_error": ModelFault.CREDENTIAL,
    "permission_error": ModelFault.CREDENTIAL,
    "billing_error": ModelFault.CREDENTIAL,
    "rate_limit_error": ModelFault.RATE_LIMITED,
    "overloaded_error": ModelFault.OVERLOADED,
    "api_error": ModelFault.OVERLOADED,
    "timeout_error": ModelFault.OVERLOADED,
}


class _Usage(WireModel):
    input_tokens: object = None
    output_tokens: object = None
    cache_read_input_tokens: object = None
    cache_creation_input_tokens: object = None


class _Message(WireModel):
    model: object = None
    usage: _Usage = _Usage()


class _Cited(WireModel):
    cited_text: str = ""
    document_index: int = -1


class _Delta(WireModel):
    type: str = ""
    citation: _Cited = _Cited()
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None


class _Block(WireModel):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Any = None
    thinking: str = ""
    signature: str = ""
    data: str = ""


class _Event(WireModel):
    type: str = ""
    index: int = 0
    message: _Message = _Message()
    content_block: _Block | None = None
    delta: _Delta = _Delta()
    usage: _Usage | None = None
    error: Any = None
    # Of a message that arrives whole.
    content: Sequence[dict[str, Any]] = ()
    stop_reason: str | None = None


def _event(kind: str, **fields: object) -> httpx2.ServerSentEvent:
    return httpx2.ServerSentEvent(event=kind, data=json.dumps({"type": kind, **fields}))


class AnthropicMessages(HttpModel):
    """Anthropic's messages as a `ChatModel`."""

    _models_path = "/models?limit=1000"

    def __init__(self, server: CompatibleSettings, model: str) -> None:
        headers = {"anthropic-version": _VERSION, **bearer(server)}
        super().__init__(server, model, headers, complaint, _FAULTS)

    @property
    def takes_prefix(self) -> bool:
        """See `HttpModel.takes_prefix`. The setting adds the models of a user's own server."""
        return self._server.prefill != "none" or _TAKES_PREFIX.match(self._model) is not None

    def _send(self, prompt: ModelPrompt) -> AbstractAsyncContextManager[Events]:
        return self._events(prompt, "/messages", self._body(prompt))

    async def _pieces(self, prompt: ModelPrompt, events: Events) -> AsyncGenerator[ModelPiece, None]:
        """The pieces in the events. An answer ends with a stop reason and then `message_stop`. The adapter skips
        unknown kinds of events, blocks and deltas."""
        requested, spent, reason, stopped, wrote = ToolRequests(), _Usage(), "", False, False
        model: object = None
        cited, thoughts = _Citing(active=self._cites(prompt)), dict[int, dict[str, str]]()
        async for event in events:
            if not event.data:
                continue
            data = _Event.model_validate_json(event.data)
            match data.type:
                case "message_start":
                    spent, model = data.message.usage, data.message.model
                    yield _to_spent(spent)
                case "content_block_start" if data.content_block is not None:
                    block = data.content_block
                    if block.type == "tool_use":
                        requested.add(
                            data.index, block.id, block.name, json.dumps(block.input) if block.input else ""
                        )
                    elif fields := _THOUGHTS.get(block.type):
                        thoughts[data.index] = {name: getattr(block, name) for name in ("type", *fields)}
                    elif block.type == "text" and block.text:
                        wrote = True
                        yield TextPiece(cited.add(block.text))
                case "content_block_delta" if data.delta.type == "text_delta" and data.delta.text:
                    wrote = True
                    yield TextPiece(cited.add(data.delta.text))
                case "content_block_delta" if data.index in thoughts:
                    thought = thoughts[data.index]
                    thought |= {
                        name: thought[name] + getattr(data.delta, name, "")
                        for name in thought
                        if name != "type"
                    }
                    yield Alive()
                case "content_block_delta" if data.delta.type == "citations_delta":
                    cited.marks.append(data.delta.citation)
                case "content_block_stop" if marks := cited.end():
                    yield TextPiece(marks)
                case "content_block_delta" if data.delta.type == "input_json_delta":
                    requested.add(data.index, arguments=data.delta.partial_json)
                case "message_delta":
                    reason = data.delta.stop_reason or reason
                    if data.usage is not None:
                        spent = spent.model_copy(update=data.usage.model_dump(exclude_none=True))
                        yield _to_spent(spent)
                case "error":
                    raise self._error_of({"error": data.error})
                case "message_stop":
                    stopped = True
                    await self._rest(events)
                    break
                case _:
                    pass
        if not (stopped and reason):
            raise ModelError(ModelFault.CUT, "the stream ended without message_stop")
        for request in requested.requests(list(thoughts.values())):
            yield request
        yield ending(prompt, stop_of(reason, _STOPS), wrote=wrote or bool(requested), model=model)

    async def _completion(self, whole: Any) -> Events:
        """The events of a message that arrived whole."""
        message = _Event.model_validate(whole)
        yield _event("message_start", message=whole)
        if message.error:
            yield _event("error", error=message.error)
        for index, block in enumerate(message.content):
            yield _event("content_block_start", index=index, content_block=block)
        yield _event("message_delta", delta={"stop_reason": message.stop_reason})
        yield _event("message_stop")

    def _cites(self, prompt: ModelPrompt) -> bool:
        """Whether the passages are documents, which the model cites itself. No schema is accepted beside them."""
        documents = any(message.documents for message in prompt.messages)
        return self._server.documents and prompt.cites and prompt.schema is None and documents

    def _body(self, prompt: ModelPrompt) -> dict[str, Any]:
        """The JSON body of the request. This version of the API does not accept a temperature."""
        documents = self._cites(prompt)
        body: dict[str, Any] = {
            "model": self._model,
            "stream": True,
            "max_tokens": prompt.max_tokens,
            "messages": messages(with_prefix(prompt), documents=documents),
        }
        system = [message.text for message in prompt.messages if message.role is Role.SYSTEM]
        if system := [text for text in (*system, _UNMARKED if documents else "") if text]:
            body["system"] = [{"type": "text", "text": text} for text in system]
        if prompt.schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": dict(prompt.schema)}}
        if prompt.tools:
            body["tools"] = [
                {"name": card.id, "description": card.description, "input_schema": dict(card.parameters)}
                for card in prompt.tools
            ]
        return body


class _Citing:
    """Writes the citations of a block of text as marks behind it: `[2: "the words"]`. White space at the end of a piece
    is held back, so that a mark stands before it."""

    def __init__(self, *, active: bool) -> None:
        self.marks: list[_Cited] = []
        self._active = active
        self._space = ""

    def add(self, text: str) -> str:
        """The text that can be passed on, which may be empty."""
        if not self._active:
            return text
        whole = self._space + text
        shown = whole.rstrip()
        self._space = whole[len(shown) :]
        return shown

    def end(self) -> str:
        """The marks of a block that ends."""
        marks = dict.fromkeys(
            # The first paragraph of a document is its title.
            f' [{cited.document_index + 1}: "{_first_words(cited.cited_text)}"]'
            for cited in self.marks
            if cited.document_index >= 0 and cited.cited_text.strip()
        )
        self.marks.clear()
        return "".join(marks)


def _first_words(text: str) -> str:
    paragraph = text.strip().rpartition("\n\n")[2]
    return " ".join(paragraph.split()[:_QUOTED_WORDS])[:MOST_QUOTED]


def messages(prompt_messages: Sequence[PromptMessage], *, documents: bool = False) -> list[dict[str, Any]]:
    """A prompt's messages without the system message. Successive messages of one role are joined into one message,
    which begins with its tool results. documents: whether passages are blocks of their own, which the model cites."""
    turns = alternating(
        prompt_messages,
        lambda message: _documents(message) if documents and message.documents else _blocks(message),
        assistant="assistant",
        field="content",
    )
    for turn in turns:
        turn["content"].sort(key=_late)
    return turns


def _late(block: Mapping[str, Any]) -> bool:
    return block["type"] != "tool_result"


def _documents(message: PromptMessage) -> list[dict[str, Any]]:
    return [
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": text},
            "title": f"[{number}]",
            "citations": {"enabled": True},
        }
        for number, text in enumerate(message.documents, 1)
    ]


def _blocks(message: PromptMessage) -> list[dict[str, Any]]:
    if message.role is Role.TOOL:
        return [{"type": "tool_result", "tool_use_id": message.answers, "content": message.text}]
    # A block of text must not be empty.
    text = [{"type": "text", "text": message.text}] if message.text.strip() else []
    # Another vendor's signature is no list.
    signed = [request.signature for request in message.requests if request.signature.startswith("[")]
    thoughts = [block for signature in signed for block in json.loads(signature)]
    requests = [
        {"type": "tool_use", "id": request.call_id, "name": request.tool, "input": dict(request.arguments)}
        for request in message.requests
    ]
    return [*thoughts, *text, *requests]


def complaint(body: Mapping[str, Any]) -> Complaint:
    """Reads a body of the form `{"type": "error", "error": {"type", "message"}}`."""
    error = body.get("error")
    if not isinstance(error, dict):
        return Complaint(message=str(error or body))
    fields = cast("dict[str, Any]", error)
    return Complaint(str(fields.get("type", "")), str(fields.get("message", "")))


def _to_spent(usage: _Usage) -> Spent:
    """The usage in our form. Anthropic's count of input tokens excludes the tokens that were read from the cache or
    written to it, so these tokens are added here.
    """
    cached, written = tokens(usage.cache_read_input_tokens), tokens(usage.cache_creation_input_tokens)
    return Spent(
        Usage(
            input_tokens=tokens(usage.input_tokens, cached, written),
            output_tokens=tokens(usage.output_tokens),
        ),
        cached_input_tokens=cached,
        cache_write_tokens=written,
    )
