"""The server's side of OpenAI's chat completions, written from the types in openai 3.52.0 on 2026-11-20. Compatible
servers differ in the fields that they leave out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.domain.models import Stop
from responsa_server.providers.openai_chat import OpenAiChat
from responsa_server.providers.settings import CompatibleSettings
from tests.wire.speaking import KEY, Complaint, Scene, sse

_FINISH = {Stop.END: "stop", Stop.LIMIT: "length", Stop.UNSAFE: "content_filter"}
_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", "overloaded"),
    529: ("server_error", None),
}


class OpenAi:
    root = "/v1"

    def model(self, server: CompatibleSettings, model: str = "m-1") -> OpenAiChat:
        return OpenAiChat(server, model)

    def events(self, scene: Scene) -> Sequence[bytes]:
        finish = "tool_calls" if scene.calls else _FINISH[scene.stop]
        deltas = [*self._opening(), *({"content": text} for text in scene.texts)]
        for index, call in enumerate(scene.calls):
            arguments = json.dumps(dict(call.arguments))
            half = len(arguments) // 2
            first = {"name": call.tool, "arguments": ""}
            deltas.append(
                {"tool_calls": [{"index": index, "id": call.call_id, "type": "function", "function": first}]}
            )
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
                for part in (arguments[:half], arguments[half:])
            ]
        read, cached, written, said = scene.usage
        usage = {
            "prompt_tokens": read,
            "completion_tokens": said,
            "total_tokens": read + said,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "completion_tokens_details": {"reasoning_tokens": 1},
        }
        return [
            *(_chunk(delta) for delta in deltas),
            _chunk({}, finish),
            sse({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage}),
            sse("[DONE]"),
        ]

    def unfinished(self, *texts: str) -> Sequence[bytes]:
        return [_chunk(one) for one in [*self._opening(), *({"content": text} for text in texts)]]

    def strange(self) -> Sequence[bytes]:
        return [
            b": keep-alive\n\n",
            b"event: ping\n\n",
            sse(
                {"object": "chat.completion.chunk", "choices": [], "obfuscation": "x7Gh", "later": {"a": [1]}}
            ),
            _chunk({"reasoning_content": "hm", "annotations": []}),
        ]

    def failing(self) -> bytes:
        return sse({"error": {"message": "busy", "type": "server_error", "code": None, "param": None}})

    def complaint(self, status: int, key: str = "") -> Complaint:
        kind, code = _ERRORS[status]
        message = f"Incorrect API key provided: {key}." if key else "no"
        error = {"message": message, "type": kind, "param": None, "code": code}
        return Complaint(status, {"error": error})

    def check(self, exchange: LoopbackExchange) -> Mapping[str, Any]:
        request = exchange.request
        assert (request.method, request.path) == ("POST", "/v1/chat/completions")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/json"
        body = json.loads(request.body)
        assert body["stream"] is True
        # The first step of a test leaves everything out.
        assert body.get("stream_options", {"include_usage": True})["include_usage"] is True
        return body

    def _opening(self) -> list[dict[str, Any]]:
        return [{"role": "assistant", "content": "", "refusal": None}]


def _chunk(delta: Mapping[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return sse(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_790_000_000,
            "model": "m-1-2026-01-01",
            "service_tier": "default",
            "choices": [choice],
            "usage": None,
        }
    )
