"""Chat completions: `POST /v1/chat/completions`, with or without a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from responsa.chat.v1.turn_pb2 import RefusalReason
from responsa_server.transports.openai.asking import Asked
from responsa_server.transports.openai.exchange import Exchange, Json, dumped
from responsa_server.transports.openai.following import HEARTBEAT, Reading, annotation


class Completion:
    """Sends a chat completion. A refusal is a message like an answer, which `refusal` repeats; its `finish_reason` is `content_filter` if the model declined."""

    def __init__(self, exchange: Exchange, asked: Asked) -> None:
        self._exchange = exchange
        self._asked = asked
        self._head = ""
        self.over = False

    async def show(self, reading: Reading, text: str) -> None:
        self.over = reading.terminal is not None
        if (failure := reading.failure) is not None:
            await self._exchange.fail(failure)
        elif self._asked.stream:
            lines = "".join(self._lines(reading, text)) or (HEARTBEAT if reading.beats else "")
            await self._exchange.write(lines, ends=self.over)
        elif self.over:
            await self._exchange.json(self._whole(reading))

    def _lines(self, reading: Reading, text: str) -> Iterator[str]:
        if not self._head:
            self._head = dumped(_head(reading, "chat.completion.chunk"))[:-1]
            yield self._chunk({"role": "assistant", "content": ""})
        if text:
            yield self._chunk({"content": text})
        if not self.over:
            return
        if refusal := reading.refusal:
            # What was sent of an answer cannot be taken back.
            yield self._chunk({**({} if reading.written.sent else {"content": refusal}), "refusal": refusal})
        if annotations := _annotations(reading, self._exchange):
            yield self._chunk({"annotations": annotations})
        yield self._chunk({}, _finish(reading))
        if self._asked.usage:
            yield f'data: {self._head},"choices":[],"usage":{dumped(_usage(reading))}}}\n\n'
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: Json, finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return f'data: {self._head},"choices":[{dumped(choice)}]}}\n\n'

    def _whole(self, reading: Reading) -> Json:
        message = {
            "role": "assistant",
            "content": reading.refusal or reading.text,
            "refusal": reading.refusal or None,
            "annotations": _annotations(reading, self._exchange),
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reading)}
        return {**_head(reading, "chat.completion"), "choices": [choice], "usage": _usage(reading)}


def _finish(reading: Reading) -> str:
    end = reading.terminal
    if end is not None and end.refused.reason == RefusalReason.REFUSAL_REASON_UNSAFE:
        return "content_filter"
    return reading.cut or "stop"


def _head(reading: Reading, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{reading.id}",
        "object": kind,
        "created": reading.begun,
        "model": reading.agent,
        "system_fingerprint": reading.agent_version,
    }


def _annotations(reading: Reading, exchange: Exchange) -> Sequence[Json]:
    return [
        {"type": "url_citation", "url_citation": annotation(one, reading.written.text, exchange.base)}
        for one in reading.cited()
    ]


def _usage(reading: Reading) -> Json:
    read, wrote = reading.tokens
    return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
