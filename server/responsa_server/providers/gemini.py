"""Language models behind Google's Gemini API, streamed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import Any, Final, cast
from urllib.parse import quote

from pydantic import ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
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
    ending,
    status_of,
    stop_of,
    tokens,
)
from responsa_server.providers.settings import CompatibleSettings

_UNSAFE: Final = (
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
    "ESCALATION",
)
_STOPS: Final = {
    "STOP": Stop.END,
    "MAX_TOKENS": Stop.LIMIT,
    "CONTINUATION": Stop.LIMIT,
    **dict.fromkeys(_UNSAFE, Stop.UNSAFE),
}
_FAILED: Final = {
    "MALFORMED_FUNCTION_CALL": ModelFault.MALFORMED,
    "UNEXPECTED_TOOL_CALL": ModelFault.MALFORMED,
    "TOO_MANY_TOOL_CALLS": ModelFault.MALFORMED,
    "MALFORMED_RESPONSE": ModelFault.MALFORMED,
    "MISSING_THOUGHT_SIGNATURE": ModelFault.REFUSED,
    "PUP_LIMITED_DISABLED": ModelFault.CREDENTIAL,
}
FAULTS: Final = {
    "API_KEY_INVALID": ModelFault.CREDENTIAL,
    "UNAUTHENTICATED": ModelFault.CREDENTIAL,
    "PERMISSION_DENIED": ModelFault.CREDENTIAL,
    "RESOURCE_EXHAUSTED": ModelFault.RATE_LIMITED,
    "INTERNAL": ModelFault.OVERLOADED,
    "UNAVAILABLE": ModelFault.OVERLOADED,
    "DEADLINE_EXCEEDED": ModelFault.OVERLOADED,
}


class _Model(WireModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _FunctionCall(_Model):
    id: str | None = None
    name: str
    args: dict[str, JsonValue] | None = None


class _Part(_Model):
    text: str | None = None
    thought: bool = False
    function_call: _FunctionCall | None = None
    thought_signature: str | None = None


class _Content(_Model):
    parts: list[_Part] | None = None


class _Candidate(_Model):
    content: _Content = _Content()
    finish_reason: str | None = None


class _Feedback(_Model):
    block_reason: str | None = None


class _Usage(_Model):
    prompt_token_count: object = None
    tool_use_prompt_token_count: object = None
    cached_content_token_count: object = None
    candidates_token_count: object = None
    thoughts_token_count: object = None


class _Chunk(_Model):
    model_version: object = None
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    error: Any = None


class Gemini(HttpModel):
    """Gemini's `streamGenerateContent` as a `ChatModel`."""

    _models_path = "/models?pageSize=1000"

    def __init__(self, server: CompatibleSettings, model: str) -> None:
        self._path = f"/models/{quote(model, safe='')}:streamGenerateContent?alt=sse"
        super().__init__(server, model, key_of(server), complaint, FAULTS)

    def _send(self, prompt: ModelPrompt) -> AbstractAsyncContextManager[Events]:
        return self._events(prompt, self._path, body_of(prompt))

    async def _pieces(self, prompt: ModelPrompt, events: Events) -> AsyncGenerator[ModelPiece, None]:
        """The pieces in the chunks. An answer is complete if a finish reason came before the body ended. Usage may
        still follow the finish reason."""
        requested, finish, blocked, wrote, model = ToolRequests(), "", False, False, None
        used_ids = {request.call_id for message in prompt.messages for request in message.requests}
        async for event in events:
            if not event.data:
                continue
            chunk = _Chunk.model_validate_json(event.data)
            if chunk.error is not None:
                raise self._error_of({"error": chunk.error})
            model = chunk.model_version or model
            if chunk.usage_metadata is not None:
                yield _to_spent(chunk.usage_metadata)
            blocked |= chunk.prompt_feedback is not None and bool(chunk.prompt_feedback.block_reason)
            for candidate in (chunk.candidates or ())[:1]:
                for part in candidate.content.parts or ():
                    if part.function_call is not None:
                        _gather(requested, part.function_call, part.thought_signature or "", used_ids)
                    elif part.text and not part.thought:
                        wrote = True
                        yield TextPiece(part.text)
                finish = candidate.finish_reason or finish
        if not (finish or blocked):
            raise ModelError(ModelFault.CUT, "the stream ended without a finish reason")
        if finish in _FAILED:
            raise ModelError(_FAILED[finish], f"the answer stopped with {finish}")
        for request in requested.requests():
            yield request
        # Any other reason (OTHER, LANGUAGE, …) means that the answer is incomplete.
        stop = Stop.UNSAFE if blocked else stop_of(finish, _STOPS)
        yield ending(prompt, stop, wrote=wrote or bool(requested), model=model)


def key_of(server: CompatibleSettings) -> dict[str, str]:
    """The header with the server's key."""
    return {"x-goog-api-key": server.api_key.get_secret_value()}


def body_of(prompt: ModelPrompt) -> dict[str, Any]:
    """The JSON body of the request."""
    config: dict[str, Any] = {"maxOutputTokens": prompt.max_tokens}
    if prompt.temperature is not None:
        config["temperature"] = prompt.temperature
    if prompt.schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": dict(prompt.schema)}
    body: dict[str, Any] = {"contents": contents(prompt.messages), "generationConfig": config}
    if system := [
        message.text for message in prompt.messages if message.role is Role.SYSTEM and message.text
    ]:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    if prompt.tools:
        body["tools"] = [
            {
                "functionDeclarations": [
                    {
                        "name": card.id,
                        "description": card.description,
                        "parametersJsonSchema": dict(card.parameters),
                    }
                    for card in prompt.tools
                ]
            }
        ]
    return body


def contents(prompt_messages: Sequence[PromptMessage]) -> list[dict[str, Any]]:
    """A prompt's messages without the system message. Successive messages of one role are joined."""
    tools = {request.call_id: request.tool for message in prompt_messages for request in message.requests}
    return alternating(prompt_messages, lambda turn: _parts(turn, tools), assistant="model", field="parts")


def _parts(message: PromptMessage, tools: Mapping[str, str]) -> list[dict[str, Any]]:
    if message.role is Role.TOOL:
        name = tools.get(message.answers, message.answers)
        response = {"id": message.answers, "name": name, "response": {"result": message.text}}
        return [{"functionResponse": response}]
    parts: list[dict[str, Any]] = [{"text": message.text}] if message.text else []
    for request in message.requests:
        part: dict[str, Any] = {
            "functionCall": {"id": request.call_id, "name": request.tool, "args": dict(request.arguments)}
        }
        if request.signature and request.signature[0] not in "{[":  # another vendor's
            part["thoughtSignature"] = request.signature
        parts.append(part)
    return parts


def complaint(body: Mapping[str, Any]) -> Complaint:
    """Reads a body of the form `{"error": {"code", "message", "status", "details": […]}}`, which is a
    google.rpc.Status. Its details may contain an ErrorInfo with a reason, and a RetryInfo with a delay.
    """
    error = body.get("error")
    if not isinstance(error, dict):
        return Complaint(message=str(error or body))
    fields = cast("dict[str, Any]", error)
    kind, delay = str(fields.get("status", "")), None
    details = fields.get("details")
    for item in cast("list[object]", details) if isinstance(details, list) else ():
        if isinstance(item, dict):
            detail = cast("dict[str, Any]", item)
            if str(detail.get("reason")) in FAULTS:
                kind = str(detail["reason"])
            with contextlib.suppress(KeyError, ValueError):
                delay = max(0.0, float(str(detail["retryDelay"]).removesuffix("s")))
    return Complaint(kind, str(fields.get("message", "")), delay, status_of(fields.get("code")))


def _gather(requested: ToolRequests, call: _FunctionCall, signature: str, used_ids: set[str]) -> None:
    """Adds a call. A call always arrives whole. If it has no id, it gets an id. used_ids: the ids that this answer and earlier
    answers of the conversation use; the call's id is added to them.
    """
    numbered = (f"call-{number}" for number in count(len(used_ids) + 1))
    call_id = call.id or next(id_ for id_ in numbered if id_ not in used_ids)
    used_ids.add(call_id)
    arguments = json.dumps(call.args or {}, ensure_ascii=False)
    requested.add(len(requested), call_id, call.name, arguments, signature)


def _to_spent(usage: _Usage) -> Spent:
    """The usage in our form. Gemini's counts are totals since the beginning of the answer. Gemini counts thoughts
    separately from the other output, so the two counts are added.
    """
    return Spent(
        Usage(
            input_tokens=tokens(usage.prompt_token_count, usage.tool_use_prompt_token_count),
            output_tokens=tokens(usage.candidates_token_count, usage.thoughts_token_count),
        ),
        cached_input_tokens=tokens(usage.cached_content_token_count),
    )
