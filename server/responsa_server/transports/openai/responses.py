"""Responses: `POST /v1/responses`, and a response that is stored, runs in the background, is followed from a place in its stream, or is cancelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.turn_pb2 import Turn, TurnState
from responsa_server.transports.openai import errors
from responsa_server.transports.openai.completions import HEARTBEAT, usage_of
from responsa_server.transports.openai.exchange import Exchange, dumped
from responsa_server.transports.openai.following import Reading, annotation, tokens
from responsa_server.transports.openai.written import Written

Json = Mapping[str, Any]

FIRST: Final = 3
"""The sequence number before the first character of the text. The number of an event with text is this number and the number of characters sent so far, so a number says exactly what a client has."""
_STATES: Final = {
    TurnState.TURN_STATE_QUEUED: "queued",
    TurnState.TURN_STATE_PENDING: "queued",
    TurnState.TURN_STATE_RUNNING: "in_progress",
    TurnState.TURN_STATE_ANSWERED: "completed",
    TurnState.TURN_STATE_REFUSED: "completed",
    TurnState.TURN_STATE_FAILED: "failed",
    TurnState.TURN_STATE_CANCELLED: "cancelled",
}


class ResponseOutput:
    """Sends a response. A refusal is a part of the type `refusal`."""

    def __init__(
        self, exchange: Exchange, *, stream: bool, after: int = -1, background: bool = False
    ) -> None:
        """after: the sequence number of the last event that the client has; -1 for none."""
        self._exchange = exchange
        self._stream = stream
        self._after = after
        self._background = background
        self._opened = False
        self._begun = False
        self.over = False
        exchange.last_event = lambda error: _event("error", self._after + 1, error)

    async def show(self, reading: Reading, text: str) -> None:
        if not self._stream:
            if reading.terminal is not None:
                self.over = True
                await self._exchange.json(of_reading(reading, self._exchange, background=self._background))
            elif self._background:
                self.over = True
                await self._exchange.json(_response(reading, "in_progress", background=True))
            return
        events = [*self._events(reading, text)]
        if reading.terminal is not None:
            self.over = True
        lines = (_event(kind, number, content) for number, kind, content in events if number > self._after)
        await self._exchange.write("".join(lines) or (HEARTBEAT if reading.beats else ""))
        if events:
            self._after = max(self._after, events[-1][0])
        if self.over:
            await self._exchange.end()

    def _events(self, reading: Reading, text: str) -> Iterator[tuple[int, str, Json]]:
        item = f"msg_{reading.turn.removeprefix('turns/')}"
        place = {"item_id": item, "output_index": 0, "content_index": 0}
        refused = reading.terminal is not None and reading.terminal.HasField("refused")
        if not self._begun:
            self._begun = True
            response = _response(reading, "in_progress", background=self._background)
            yield 0, "response.created", {"response": response}
            yield 1, "response.in_progress", {"response": response}
            message: Json = {
                "id": item,
                "type": "message",
                "role": "assistant",
                "status": "in_progress",
                "content": [],
            }
            yield 2, "response.output_item.added", {"output_index": 0, "item": message}
        if not self._opened and (text or reading.written.sent or reading.terminal is not None):
            self._opened = True
            part = _refusal("") if refused and not reading.written.sent else _text("", ())
            yield FIRST, "response.content_part.added", {**place, "part": part}
        number = FIRST + reading.written.sent
        if text:
            yield number, "response.output_text.delta", {**place, "delta": text, "logprobs": []}
        if reading.terminal is None:
            return
        whole = of_reading(reading, self._exchange, background=self._background)
        for kind, content in _ending(whole, place, sent=bool(reading.written.sent)):
            number += 1
            yield number, kind, content


def _ending(whole: Json, place: Json, *, sent: bool) -> Iterator[tuple[str, Json]]:
    """The last events of a stream. sent: whether it has a text."""
    for item in whole["output"]:
        for part in item["content"]:
            if part["type"] == "refusal":
                if sent:
                    place = {**place, "content_index": 1}
                    yield "response.content_part.added", {**place, "part": _refusal("")}
                yield "response.refusal.delta", {**place, "delta": part["refusal"]}
                yield "response.refusal.done", {**place, "refusal": part["refusal"]}
            else:
                for index, one in enumerate(part["annotations"]):
                    yield (
                        "response.output_text.annotation.added",
                        {**place, "annotation_index": index, "annotation": one},
                    )
                yield "response.output_text.done", {**place, "text": part["text"], "logprobs": []}
            yield "response.content_part.done", {**place, "part": part}
        yield "response.output_item.done", {"output_index": 0, "item": item}
    kind = whole["status"] if whole["status"] in ("completed", "incomplete", "failed") else "failed"
    yield f"response.{kind}", {"response": whole}


def of_turn(turn: Turn, exchange: Exchange, *, background: bool = True) -> Json:
    """A stored response."""
    reading = Reading(Written())
    reading.turn, reading.conversation, reading.agent_version = (
        turn.name,
        turn.conversation,
        turn.agent_version,
    )
    reading.begun = turn.create_time.seconds
    if not turn.HasField("terminal_event"):
        return _response(reading, _STATES[turn.state], background=background)
    reading.take(chat.AskResponse(events=[turn.terminal_event]))
    reading.written.take(whole=True)
    return of_reading(reading, exchange, background=background)


def of_reading(reading: Reading, exchange: Exchange, *, background: bool) -> Json:
    """The response to a turn that has ended."""
    terminal, written = reading.terminal, reading.written
    assert terminal is not None, "the turn has ended"
    kind = terminal.WhichOneof("event")
    if kind == "failed":
        error = errors.error_of(terminal.failed.status)
        told = {"code": error["code"], "message": error["message"]}
        return {**_response(reading, "failed", background=background), "error": told}
    if kind == "cancelled":
        return _response(reading, "cancelled", background=background)
    if kind == "refused":
        content = _refusal(terminal.refused.message)
    else:
        text = written.text[: written.sent]
        marks = [{"type": "url_citation", **annotation(one, text, exchange.base)} for one in reading.cited()]
        content = _text(text, marks)
    state = "incomplete" if reading.cut else "completed"
    read, wrote = tokens(usage_of(reading))
    item = {
        "id": f"msg_{reading.turn.removeprefix('turns/')}",
        "type": "message",
        "role": "assistant",
        "status": state,
        "content": [content],
    }
    return {
        **_response(reading, state, background=background),
        "incomplete_details": {"reason": "max_output_tokens"} if reading.cut else None,
        "output": [item],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": wrote,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + wrote,
        },
    }


def _response(reading: Reading, state: str, *, background: bool) -> Json:
    return {
        "id": f"resp_{reading.turn.removeprefix('turns/')}",
        "object": "response",
        "created_at": reading.begun,
        "status": state,
        "background": background,
        "conversation": {"id": reading.conversation},
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": reading.agent,
        "output": [],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }


def _text(text: str, annotations: Sequence[object]) -> Json:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def _refusal(text: str) -> Json:
    return {"type": "refusal", "refusal": text}


def _event(kind: str, number: int, content: Json) -> str:
    return f"event: {kind}\ndata: {dumped({**content, 'type': kind, 'sequence_number': number})}\n\n"
