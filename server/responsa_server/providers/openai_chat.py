"""Language models behind servers that speak OpenAI's chat completions, streamed: OpenAI itself, vLLM, Ollama, llama.cpp
and similar servers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, cast

from pydantic import AliasChoices, Field, JsonValue

from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
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
    bearer,
    ending,
    status_of,
    stop_of,
    tokens,
    with_prefix,
)
from responsa_server.providers.learned import limit_name
from responsa_server.providers.settings import CompatibleSettings

_DONE: Final = "[DONE]"
# The names of servers for a model's reasoning, in answers and in the messages that want it back.
_REASONING: Final = ("reasoning_content", "reasoning", "reasoning_details")
_EXTRA: Final = "extra_content"  # Gemini wants it back with its call
# OpenAI's reasons, and those of Mistral, Hugging Face's TGI and older compatible servers.
_STOPS: Final = {
    **dict.fromkeys(("stop", "tool_calls", "function_call", "eos_token", "stop_sequence", "eos"), Stop.END),
    **dict.fromkeys(("length", "model_length", "max_tokens"), Stop.LIMIT),
    "content_filter": Stop.UNSAFE,
}
FAULTS: Final = {
    "invalid_api_key": ModelFault.CREDENTIAL,
    "insufficient_quota": ModelFault.CREDENTIAL,
    "billing_hard_limit_reached": ModelFault.CREDENTIAL,
    "rate_limit_exceeded": ModelFault.RATE_LIMITED,
    "server_error": ModelFault.OVERLOADED,
    "overloaded_error": ModelFault.OVERLOADED,
}


class _Function(WireModel):
    name: str | None = None
    arguments: JsonValue = None


class _ToolCall(WireModel):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    extra_content: JsonValue = None


class _Part(WireModel):
    type: str = "text"
    text: str | None = None


class _Delta(WireModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    reasoning_content: JsonValue = None
    reasoning: JsonValue = None
    reasoning_details: JsonValue = None


class _Choice(WireModel):
    # An answer that arrives whole has a message.
    delta: _Delta | None = Field(None, validation_alias=AliasChoices("delta", "message"))
    finish_reason: str | None = None


class _Details(WireModel):
    cached_tokens: object = None
    cache_write_tokens: object = None


class _Usage(WireModel):
    prompt_tokens: object = None
    completion_tokens: object = None
    prompt_tokens_details: _Details | None = None


class _Chunk(WireModel):
    model: object = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class OpenAiChat(HttpModel):
    """OpenAI's chat completions as a `ChatModel`."""

    def __init__(self, server: CompatibleSettings, model: str) -> None:
        super().__init__(server, model, bearer(server), complaint, FAULTS)

    @property
    def takes_prefix(self) -> bool:
        return self._server.prefill != "none"

    def _send(self, prompt: ModelPrompt) -> AbstractAsyncContextManager[Events]:
        label = {"x-client-request-id": prompt.label} if prompt.label else None
        return self._events(prompt, "/chat/completions", self._body(prompt), label)

    async def _pieces(self, prompt: ModelPrompt, events: Events) -> AsyncGenerator[ModelPiece, None]:
        """The pieces in the chunks. An answer is complete after a finish reason. Then some servers send `[DONE]`, with or
        without usage before it, and others just end the body.
        """
        calls, finish, wrote, refused, model = _Calls(), "", False, False, None
        reasoning = dict[str, Any]()
        async for event in events:
            if not event.data:
                continue
            if event.data == _DONE:
                await self._rest(events)
                break
            chunk = _Chunk.model_validate_json(event.data)
            if chunk.error is not None:
                raise self._error_of({"error": chunk.error})
            if "choices" not in chunk.model_fields_set:
                raise ModelError(ModelFault.MALFORMED, "a chunk without choices")
            model = chunk.model or model
            if chunk.usage is not None and (spent := _to_spent(chunk.usage)) is not None:
                yield spent
            for choice in (chunk.choices or ())[:1]:
                delta = choice.delta or _Delta()
                for name in _REASONING:
                    part, before = getattr(delta, name), reasoning.get(name)
                    if part and {type(part), type(before or part)} in ({str}, {list}):
                        reasoning[name] = before + part if before else part
                        yield Alive()
                if content := _text(delta.content):
                    wrote = True
                    yield TextPiece(content)
                refused |= bool(delta.refusal)
                for call in delta.tool_calls or ():
                    calls.add(call)
                finish = choice.finish_reason or finish
        if not finish:
            raise ModelError(ModelFault.CUT, "the stream ended without a finish reason")
        signed = next((each.signature for each in calls.requested.requests()), "")
        for request in calls.requested.requests(reasoning | json.loads(signed or "{}")):
            yield request
        stop = Stop.UNSAFE if refused else stop_of(finish, _STOPS)
        yield ending(prompt, stop, wrote=wrote or bool(calls.requested), model=model)

    def _body(self, prompt: ModelPrompt) -> dict[str, Any]:
        more = {"continuous_usage_stats": True} if self._server.continuous_usage else {}
        body: dict[str, Any] = {
            "model": self._model,
            "stream": True,
            "messages": _messages(with_prefix(prompt)),
        }
        if "stream_options" not in prompt.without:
            body["stream_options"] = {"include_usage": True, **more}
        if name := limit_name(prompt.without, completion=self._server.completion_limit):
            body[name] = prompt.max_tokens
        if prompt.prefix and self._server.prefill == "continue":
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        elif prompt.prefix and self._server.prefill == "marked":
            body["messages"][-1]["prefix"] = True
        if prompt.temperature is not None:
            body["temperature"] = prompt.temperature
        if prompt.schema is not None:
            named = {"name": "answer", "strict": _strict(prompt.schema), "schema": dict(prompt.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        if prompt.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": card.id,
                        "description": card.description,
                        "parameters": dict(card.parameters),
                    },
                }
                for card in prompt.tools
            ]
        return body


def complaint(body: Mapping[str, Any]) -> Complaint:
    """Reads a body of the form `{"error": {"message", "type", "code"}}`. Compatible servers also send `{"error": "…"}`
    and `{"message": "…"}`."""
    error = body.get("error", body)
    if not isinstance(error, dict):
        return Complaint(message=str(error))
    fields = cast("dict[str, Any]", error)
    status = status_of(fields.get("code"))
    words = ["" if status else str(fields.get("code") or ""), str(fields.get("type") or "")]
    kind = next((word for word in words if word in FAULTS), words[0] or words[1])
    # FastAPI's servers name the field in a list of details, others in `param`.
    named = [f"{name}: {fields[name]}" for name in ("detail", "n_ctx", "param") if fields.get(name)]
    message = " ".join([str(fields.get("message") or ""), *named]).strip()
    return Complaint(kind, message, status=status)


def _text(content: str | Sequence[_Part] | None) -> str:
    """The text of a content. Mistral's servers send parts, of which some are reasoning or references."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text or "" for part in content if part.type == "text")


class _Calls:
    """Collects the calls of tools from their parts. An id that is new begins a call, whatever its index: Ollama gives
    all parallel calls the index 0. Without an index, so does a name. Any other part belongs to the latest call with its
    index, or to the last one.
    """

    def __init__(self) -> None:
        self.requested = ToolRequests()
        # The latest call with each index of the server, and the id of each call.
        self._places: dict[int | None, int] = {}
        self._ids: dict[int, str] = {}

    def add(self, call: _ToolCall) -> None:
        function = call.function or _Function()
        index = self._places.get(call.index, -1)
        known = self._ids.get(index, "")
        again = bool(call.id) and call.id == known
        if index < 0 or (not again and bool((call.id and known) or (function.name and call.index is None))):
            index = self.requested.last + 1
        self._places[call.index] = self._places[None] = index
        raw = function.arguments
        if raw is None:
            arguments = ""
        else:
            arguments = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)
        # With an id, a later part may repeat the name.
        called, named = ("", "") if again else (call.id or "", function.name or "")
        extra = json.dumps({_EXTRA: call.extra_content}) if call.extra_content else ""
        self.requested.add(index, called, named, arguments, extra if index > self.requested.last else "")
        if call.id:
            self._ids[index] = call.id


def _to_spent(usage: _Usage) -> Spent | None:
    """The usage in our form; None if a count is missing, as if nothing was reported."""
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    details = usage.prompt_tokens_details or _Details()
    return Spent(
        Usage(input_tokens=tokens(usage.prompt_tokens), output_tokens=tokens(usage.completion_tokens)),
        cached_input_tokens=tokens(details.cached_tokens),
        cache_write_tokens=tokens(details.cache_write_tokens),
    )


def _messages(messages: Sequence[PromptMessage]) -> list[dict[str, Any]]:
    """The messages. Successive ones of one role are one, and the first one after the system's is the user's, because templates of
    models refuse others."""
    written = list[dict[str, Any]]()
    for message in messages:
        plain = _message(message)
        if plain["role"] == Role.ASSISTANT and (not written or written[-1]["role"] == Role.SYSTEM):
            plain["role"] = Role.USER.value
        if written and written[-1]["role"] == plain["role"] != Role.TOOL and "tool_calls" not in written[-1]:
            plain["content"] = "\n\n".join(filter(None, (written.pop()["content"], plain["content"])))
        written.append(plain)
    return written


def _message(message: PromptMessage) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role.value, "content": message.text}
    if message.requests:
        plain["tool_calls"] = [
            {
                "id": request.call_id,
                "type": "function",
                "function": {"name": request.tool, "arguments": json.dumps(dict(request.arguments))},
            }
            for request in message.requests
        ]
        # Another vendor's signature is no JSON object.
        for request, call in zip(message.requests, plain["tool_calls"], strict=True):
            if request.signature.startswith("{"):
                plain |= json.loads(request.signature)
                call |= {_EXTRA: plain.pop(_EXTRA)} if _EXTRA in plain else {}
    if message.answers:
        plain["tool_call_id"] = message.answers
    return plain


def _strict(schema: object) -> bool:
    """Whether a schema obeys OpenAI's rules for strict schemas: every object declares its keys, requires all of them,
    and allows no other keys."""
    if isinstance(schema, list):
        return all(_strict(item) for item in cast("list[object]", schema))
    if not isinstance(schema, dict):
        return True
    known = cast("dict[str, Any]", schema)
    if known.get("type") == "object" and (
        known.get("additionalProperties") is not False
        or set(known.get("properties", {})) != set(known.get("required", ()))
    ):
        return False
    return all(_strict(item) for item in known.values())
