"""Servers of OpenAI's protocol that refuse one thing each, in the form and the place in which such servers do, with words of our
own. What they say was found in documentation and public reports in November 2026 (docs/providers.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from responsa_lab.testing.loopback import LoopbackExchange, as_json
from tests.wire.odd_replies import call, chunk

Body = Mapping[str, Any]
LAKE: Final = "The lake is 12 km long [1]."


def _error(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> tuple[int, object]:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return status, {"error": error}


def roles(body: Body) -> list[str]:
    return [message["role"] for message in body["messages"]]


def _alternates(body: Body) -> bool:
    rest = [role for role in roles(body) if role != "system"]
    return all(role == ("user", "assistant")[index % 2] for index, role in enumerate(rest))


def tokens(body: Body) -> int:
    """The size of a request by the servers' own tokenizer, with the room for its answer."""
    texts = "".join(str(message["content"]) for message in body["messages"]) + json.dumps(
        body.get("tools", [])
    )
    return len(texts) // 4 + body.get("max_tokens", body.get("max_completion_tokens", 0))


@dataclass(frozen=True, slots=True)
class Refusal:
    """refuses: whether a request is refused. error: status and body. learned: the facts afterwards."""

    refuses: Callable[[Body], bool]
    error: tuple[int, object]
    learned: Mapping[str, float]


def window(size: int, error: tuple[int, object] | None = None) -> Refusal:
    message = f"The maximum context length of this model is {size} tokens, and the request has more."
    return Refusal(
        lambda body: tokens(body) > size,
        error or _error(400, message, "messages", "context_length_exceeded"),
        {"window": size},
    )


REFUSALS: Final[Mapping[str, Refusal]] = {
    "OpenAI: temperature of models that reason": Refusal(
        lambda body: body.get("temperature", 1) != 1,
        _error(
            400, "Only the default is supported for 'temperature' here.", "temperature", "unsupported_value"
        ),
        {"temperature": 0},
    ),
    "OpenAI: max_tokens": Refusal(
        lambda body: "max_tokens" in body,
        _error(
            400,
            "'max_tokens' is unsupported; use 'max_completion_tokens'.",
            "max_tokens",
            "unsupported_parameter",
        ),
        {"max_tokens": 0},
    ),
    "Mistral: extra fields": Refusal(
        lambda body: "stream_options" in body,
        (
            422,
            {
                "detail": [
                    {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "no extra inputs"}
                ]
            },
        ),
        {"stream_options": 0},
    ),
    "Ollama: a model without tools": Refusal(
        lambda body: "tools" in body or "tool" in roles(body),
        _error(400, "registry/library/m:4b does not support tools"),
        {"tools": 0},
    ),
    "OpenRouter: no endpoint with tools": Refusal(
        lambda body: "tools" in body,
        (404, {"error": {"message": "No endpoint was found that supports tool use.", "code": 404}}),
        {"tools": 0},
    ),
    "DeepSeek: a JSON schema": Refusal(
        lambda body: "response_format" in body,
        _error(400, "This response_format type is unavailable now"),
        {"response_format": 0},
    ),
    "llama.cpp: a template without a system role": Refusal(
        lambda body: "system" in roles(body),
        (
            500,
            {"error": {"code": 500, "message": "Jinja: System role not supported", "type": "server_error"}},
        ),
        {"system": 0},
    ),
    "vLLM: roles that alternate": Refusal(
        lambda body: not _alternates(body) and "tool" not in roles(body),
        _error(400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        {},
    ),
    "vLLM: a server without a parser of tools": Refusal(
        lambda body: "tools" in body,
        _error(400, '"auto" tool choice needs --enable-auto-tool-choice to be set'),
        {"tools": 0},
    ),
    "Groq: a JSON schema in a stream": Refusal(
        lambda body: "response_format" in body,
        _error(400, "response_format is not there for streaming"),
        {"response_format": 0},
    ),
    "OpenAI: a window of 8,192": window(8192),
    "llama.cpp: a window of 4,096": window(
        4096,
        (
            400,
            {
                "error": {
                    "code": 400,
                    "message": "exceeds the context size",
                    "n_prompt_tokens": 9999,
                    "n_ctx": 4096,
                }
            },
        ),
    ),
    "LM Studio: a window of 4,096": window(
        4096,
        (400, {"error": "More tokens to keep than the context length has (n_keep: 9999>= n_ctx: 4096)."}),
    ),
    "Together: a window of 4,096": window(
        4096,
        (
            422,
            {
                "error": {
                    "message": "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 9999 and 1024"
                }
            },
        ),
    ),
}
NAMELESS: Final = (400, {"error": {"message": "Bad request", "type": "invalid_request_error"}})


class RefusingServer:
    """A server that answers with LAKE, unless one of the refusals says otherwise. It asks for a tool once if one of `asks` is offered.
    bodies: the requests. Refuses also what has calls of tools without the reasoning that came with them if `reasons`.
    whole: whether the answer is one JSON value, although it was to be a stream; it begins with `mark`. extra: of each call."""

    def __init__(
        self,
        *refusals: Refusal,
        asks: str = "",
        reasons: bool = False,
        whole: bool = False,
        text: str = LAKE,
        mark: bytes = b"",
        extra: object = None,
    ) -> None:
        self._mark, self._extra = mark, {"extra_content": extra} if extra else {}
        self.bodies: list[Body] = []
        self.refused = 0
        self.text = text
        self._refusals, self._asks, self._reasons, self._whole = refusals, asks, reasons, whole

    async def handle(self, exchange: LoopbackExchange) -> None:
        if exchange.request.method == "GET":
            await exchange.reply(200, as_json({"data": [{"id": "m", "max_model_len": 4096}]}))
            return
        body = json.loads(exchange.request.body)
        self.bodies.append(body)
        called = [message for message in body["messages"] if message.get("tool_calls")]
        error = next((each.error for each in self._refusals if each.refuses(body)), None)
        if self._reasons and any("reasoning_content" not in message for message in called):
            error = _error(400, "The `reasoning_content` of thinking must be passed back.")
        if error is not None:
            self.refused += 1
            await exchange.reply(error[0], as_json(error[1]))
            return
        if schema := body.get("response_format", {}).get("json_schema", {}).get("schema"):
            await self._tell(exchange, json.dumps(_filled(schema)))
        elif self._asks in [tool["function"]["name"] for tool in body.get("tools", [])] and not called:
            arguments = '{"query": "lake", "shop": "x"}'
            await self._tell(exchange, "", [{**call(0, "c1", self._asks, arguments), **self._extra}])
        else:
            await self._tell(exchange, self.text)

    async def _tell(self, exchange: LoopbackExchange, text: str, calls: Sequence[object] = ()) -> None:
        finish = "tool_calls" if calls else "stop"
        delta: dict[str, Any] = {"content": text, **({"tool_calls": calls} if calls else {})}
        if self._whole:
            message = {"role": "assistant", **delta}
            usage = {"prompt_tokens": 900, "completion_tokens": 9}
            whole = {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}
            body = self._mark + as_json(whole)
            await exchange.reply(200, body, {"content-type": "application/json"})
            return
        await exchange.begin("text/plain")
        thoughts = (
            [chunk(reasoning_content="I "), chunk(reasoning_content="search.")] if self._reasons else []
        )
        for data in [*thoughts, chunk(**delta), chunk(finish), "[DONE]"]:
            await exchange.piece(f"data: {data}\n\n".encode())
        await exchange.end()


def _filled(schema: Mapping[str, Any]) -> object:
    """A value of a schema: what leads to the documents, where there is a choice."""
    if "enum" in schema:
        return next(
            (word for word in ("qa", "retrieve", "fact") if word in schema["enum"]), schema["enum"][0]
        )
    match schema.get("type"):
        case "object":
            return {name: _filled(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return []
        case "boolean":
            return True
        case "integer" | "number":
            return 1
        case _:
            return "lake"
