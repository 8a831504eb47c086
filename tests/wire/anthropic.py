"""The server's side of Anthropic's Messages API, written from the types in anthropic 2.11.0 on 2026-11-20."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.domain.models import Stop
from responsa_server.providers.anthropic import AnthropicMessages
from responsa_server.providers.settings import CompatibleSettings
from tests.wire.speaking import KEY, Complaint, Scene, sse

_REASONS = {Stop.END: "end_turn", Stop.LIMIT: "max_tokens", Stop.UNSAFE: "refusal"}
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    529: "overloaded_error",
}


class Anthropic:
    root = "/v1"

    def model(self, server: CompatibleSettings, model: str = "m-1") -> AnthropicMessages:
        return AnthropicMessages(server, model)

    def events(self, scene: Scene) -> Sequence[bytes]:
        read, cached, written, said = scene.usage
        events = [self._start(read - cached - written, cached, written)]
        index = 0
        if scene.texts:
            events += self._text(index, *scene.texts)
            events.append(_event("content_block_stop", index=index))
            index += 1
        for place, call in enumerate(scene.calls, index):
            block: dict[str, object] = {
                "type": "tool_use",
                "id": call.call_id,
                "name": call.tool,
                "input": {},
            }
            events.append(_event("content_block_start", index=place, content_block=block))
            arguments = json.dumps(dict(call.arguments))
            half = len(arguments) // 2
            for part in ("", arguments[:half], arguments[half:]):
                delta = {"type": "input_json_delta", "partial_json": part}
                events.append(_event("content_block_delta", index=place, delta=delta))
            events.append(_event("content_block_stop", index=place))
        reason = "tool_use" if scene.calls else _REASONS[scene.stop]
        delta = {"stop_reason": reason, "stop_sequence": None}
        return [
            *events,
            _event("message_delta", delta=delta, usage={"output_tokens": said, "input_tokens": None}),
            _event("message_stop"),
        ]

    def citing(self, *blocks: tuple[str, Sequence[tuple[int, str]]]) -> Sequence[bytes]:
        """An answer in blocks of text, each with what it cites: the document's index, and the words."""
        events = [self._start(7, 0, 0)]
        for index, (text, cited) in enumerate(blocks):
            half = len(text) // 2
            events += self._text(index, text[:half])
            for document, words in cited:
                citation = {
                    "type": "char_location",
                    "cited_text": words,
                    "document_index": document,
                    "document_title": f"[{document + 1}]",
                    "start_char_index": 0,
                    "end_char_index": len(words),
                }
                delta = {"type": "citations_delta", "citation": citation}
                events.append(_event("content_block_delta", index=index, delta=delta))
            events += self._text(index, text[half:])[1:]
            events.append(_event("content_block_stop", index=index))
        return [
            *events,
            _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}),
            _event("message_stop"),
        ]

    def unfinished(self, *texts: str) -> Sequence[bytes]:
        return [self._start(7, 0, 0), *self._text(0, *texts)]

    def strange(self) -> Sequence[bytes]:
        thinking = {"type": "thinking", "thinking": "", "signature": ""}
        return [
            _event("ping"),
            _event("content_block_start", index=9, content_block=thinking),
            _event("content_block_delta", index=9, delta={"type": "thinking_delta", "thinking": "hm"}),
            _event("content_block_delta", index=9, delta={"type": "signature_delta", "signature": "c2ln"}),
            _event("content_block_stop", index=9),
            _event("content_block_start", index=10, content_block={"type": "later", "what": [1]}),
            _event("something_later", what={"a": 1}),
        ]

    def failing(self) -> bytes:
        return _event("error", error={"type": "overloaded_error", "message": "Overloaded"})

    def complaint(self, status: int, key: str = "") -> Complaint:
        message = f"invalid key {key}" if key else "no"
        error = {"type": _ERRORS[status], "message": message}
        return Complaint(status, {"type": "error", "error": error, "request_id": "req_1"})

    def check(self, exchange: LoopbackExchange) -> Mapping[str, Any]:
        request = exchange.request
        assert (request.method, request.path) == ("POST", "/v1/messages")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["anthropic-version"] == "2026-10-21"
        assert request.headers["content-type"] == "application/json"
        body = json.loads(request.body)
        assert body["stream"] is True
        assert body["max_tokens"] > 0
        assert "temperature" not in body
        roles = [one["role"] for one in body["messages"]]
        assert roles[0] == "user"
        assert all(one != other for one, other in pairwise(roles))
        return body

    def _start(self, read: int, cached: int, written: int) -> bytes:
        usage = {
            "input_tokens": read,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": written,
            "output_tokens": 1,
            "service_tier": "standard",
        }
        message: dict[str, object] = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m-1-2026-01-01",
            "content": [],
            "usage": usage,
        }
        return _event("message_start", message={**message, "stop_reason": None})

    def _text(self, index: int, *texts: str) -> list[bytes]:
        return [
            _event("content_block_start", index=index, content_block={"type": "text", "text": ""}),
            *(
                _event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})
                for text in texts
            ),
        ]


def _event(kind: str, **fields: object) -> bytes:
    return sse({"type": kind, **fields}, kind)
