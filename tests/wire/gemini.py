"""The server's side of Google's Gemini API, written from the types in google-genai 3.4.0 on 2026-11-20."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.domain.models import Stop
from responsa_server.providers.gemini import Gemini as Adapter
from responsa_server.providers.settings import CompatibleSettings
from tests.wire.speaking import KEY, Complaint, Scene, sse

_FINISH = {Stop.END: "STOP", Stop.LIMIT: "MAX_TOKENS", Stop.UNSAFE: "SAFETY"}
_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    529: "UNAVAILABLE",
}


class Gemini:
    root = "/v1"

    def model(self, server: CompatibleSettings, model: str = "m-1") -> Adapter:
        return Adapter(server, model)

    def events(self, scene: Scene) -> Sequence[bytes]:
        read, cached, _, said = scene.usage
        parts: list[Mapping[str, object]] = [{"text": text} for text in scene.texts]
        for call in scene.calls:
            part = {"functionCall": {"id": call.call_id, "name": call.tool, "args": dict(call.arguments)}}
            parts.append(part | ({"thoughtSignature": call.signature} if call.signature else {}))
        usage = {
            "promptTokenCount": read,
            "cachedContentTokenCount": cached,
            "candidatesTokenCount": max(0, said - 1),
            "thoughtsTokenCount": min(1, said),
            "totalTokenCount": read + said,
        }
        return [
            *(_chunk([part]) for part in parts),
            _chunk([{"text": ""}] if parts else None, _FINISH[scene.stop], usage),
        ]

    def unfinished(self, *texts: str) -> Sequence[bytes]:
        return [_chunk([{"text": text}]) for text in texts]

    def strange(self) -> Sequence[bytes]:
        return [
            b": keep-alive\n\n",
            _chunk([{"text": "hm", "thought": True}, {"laterPart": {"a": 1}}]),
            sse({"laterField": [1], "modelVersion": "m-1-2026-01-01"}),
        ]

    def failing(self) -> bytes:
        return sse({"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}})

    def complaint(self, status: int, key: str = "") -> Complaint:
        message = f"API key not valid: {key}" if key else "no"
        error = {"code": status, "message": message, "status": _ERRORS[status]}
        return Complaint(status, {"error": error})

    def check(self, exchange: LoopbackExchange) -> Mapping[str, Any]:
        request = exchange.request
        assert (request.method, request.path) == (
            "POST",
            "/v1/models/m-1:streamGenerateContent?alt=sse",
        )
        assert request.headers["x-goog-api-key"] == KEY
        assert request.headers["content-type"] == "application/json"
        body = json.loads(request.body)
        assert {one["role"] for one in body["contents"]} <= {"user", "model"}
        return body


def _chunk(
    parts: Sequence[Mapping[str, object]] | None,
    finish: str | None = None,
    usage: Mapping[str, int] | None = None,
) -> bytes:
    candidate: dict[str, object] = {"index": 0, "content": {"role": "model"}}
    if parts is not None:
        candidate["content"] = {"role": "model", "parts": parts}
    if finish:
        candidate["finishReason"] = finish
    chunk: dict[str, object] = {
        "candidates": [candidate],
        "modelVersion": "m-1-2026-01-01",
        "responseId": "r",
    }
    return sse(chunk | ({"usageMetadata": usage} if usage else {}))
