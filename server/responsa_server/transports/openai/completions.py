"""Chat completions: `POST /v1/chat/completions`, with or without a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from google.rpc.status_pb2 import Status

from responsa.chat.v1.turn_pb2 import RefusalReason, TurnRefused, Usage
from responsa_server.calls import status
from responsa_server.domain.errors import Cancelled, Reason
from responsa_server.transports.openai.asking import Asked
from responsa_server.transports.openai.exchange import Exchange, dumped
from responsa_server.transports.openai.following import Reading, annotation, tokens

HEARTBEAT: Final = ": heartbeat\n\n"


class Completion:
    """Sends a chat completion. A refusal is a message like an answer, which `refusal` repeats; its `finish_reason` is `content_filter` if the model declined."""

    def __init__(self, exchange: Exchange, asked: Asked) -> None:
        self._exchange = exchange
        self._asked = asked
        self._head = ""
        self.over = False

    async def show(self, reading: Reading, text: str) -> None:
        ends = reading.terminal is not None
        self.over = ends
        if (failure := failure_of(reading)) is not None:
            await self._exchange.refuse(failure)
            return
        if not self._asked.stream:
            if ends:
                await self._whole(reading)
            return
        lines: list[str] = []
        if not self._head:
            self._head = dumped(_head(reading, "chat.completion.chunk"))[:-1]
            lines.append(self._chunk({"role": "assistant", "content": ""}))
        if text:
            lines.append(self._chunk({"content": text}))
        if ends:
            lines.extend(self._ending(reading))
        await self._exchange.write("".join(lines) or (HEARTBEAT if reading.beats else ""))
        if ends:
            await self._exchange.end()

    def _chunk(self, delta: Mapping[str, object], finish: str | None = None) -> str:
        reason = "null" if finish is None else f'"{finish}"'
        return f'data: {self._head},"choices":[{{"index":0,"delta":{dumped(delta)},"logprobs":null,"finish_reason":{reason}}}]}}\n\n'

    def _ending(self, reading: Reading) -> Sequence[str]:
        lines: list[str] = []
        refused = _refused(reading)
        if refused is not None:
            # What was sent of an answer cannot be taken back.
            told = {} if reading.written.sent else {"content": refused.message}
            lines.append(self._chunk({**told, "refusal": refused.message}))
        if annotations := _annotations(reading, self._exchange):
            lines.append(self._chunk({"annotations": annotations}))
        lines.append(self._chunk({}, _finish(reading, refused)))
        if self._asked.usage:
            lines.append(f'data: {self._head},"choices":[],"usage":{dumped(_usage(usage_of(reading)))}}}\n\n')
        return [*lines, "data: [DONE]\n\n"]

    async def _whole(self, reading: Reading) -> None:
        refused = _refused(reading)
        message = {
            "role": "assistant",
            "content": reading.written.text[: reading.written.sent] if refused is None else refused.message,
            "refusal": None if refused is None else refused.message,
            "annotations": _annotations(reading, self._exchange),
        }
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": _finish(reading, refused),
        }
        await self._exchange.json(
            {**_head(reading, "chat.completion"), "choices": [choice], "usage": _usage(usage_of(reading))}
        )


def failure_of(reading: Reading) -> Status | None:
    """The error of a turn that failed or was cancelled."""
    terminal = reading.terminal
    if terminal is not None and terminal.HasField("cancelled"):
        return status.of(
            Cancelled(Reason.CANCELLED, "The answer was cancelled; ask again with another Idempotency-Key.")
        )
    return terminal.failed.status if terminal is not None and terminal.HasField("failed") else None


def usage_of(reading: Reading) -> Usage:
    """What the turn cost."""
    terminal = reading.terminal
    return (
        Usage()
        if terminal is None
        else terminal.refused.usage
        if terminal.HasField("refused")
        else terminal.answer.usage
    )


def _refused(reading: Reading) -> TurnRefused | None:
    terminal = reading.terminal
    return terminal.refused if terminal is not None and terminal.HasField("refused") else None


def _finish(reading: Reading, refused: TurnRefused | None) -> str:
    if refused is not None and refused.reason == RefusalReason.REFUSAL_REASON_UNSAFE:
        return "content_filter"
    return reading.cut or "stop"


def _head(reading: Reading, kind: str) -> Mapping[str, object]:
    return {
        "id": f"chatcmpl-{reading.turn.removeprefix('turns/')}",
        "object": kind,
        "created": reading.begun,
        "model": reading.agent,
        "system_fingerprint": reading.agent_version,
    }


def _annotations(reading: Reading, exchange: Exchange) -> Sequence[object]:
    text, base = reading.written.text, exchange.base
    return [{"type": "url_citation", "url_citation": annotation(one, text, base)} for one in reading.cited()]


def _usage(usage: Usage) -> Mapping[str, int]:
    read, wrote = tokens(usage)
    return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
