"""Responses: `POST /v1/responses`, and a response that is stored, runs in the background, is followed from a place in
its stream, or is cancelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from responsa.chat.v1.chat_service_pb2 import AskResponse
from responsa.chat.v1.turn_pb2 import Turn, TurnState
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.transports.openai.exchange import ApiExchange, Json, dump, error_of
from responsa_server.transports.openai.following import HEARTBEAT, TurnProgress, annotation
from responsa_server.transports.openai.written import AppendOnlyText

FIRST: Final = 3
"""The sequence number before the first character of the text. The number of an event with text is this number and the
number of characters sent so far, so a number says exactly what a client has."""


class ResponseOutput:
    """Sends a response. A refusal is a part of the type `refusal`."""

    def __init__(
        self, exchange: ApiExchange, *, stream: bool, after: int = -1, background: bool = False
    ) -> None:
        """after: the sequence number of the last event that the client has; -1 for none."""
        self._exchange = exchange
        self._stream = stream
        self._after = after
        self._background = background
        self._opened = self._begun = self.over = False
        exchange.last_event = lambda error: _event("error", self._after + 1, error)

    async def show(self, reading: TurnProgress, text: str) -> None:
        ended = reading.terminal is not None
        self.over = ended or (self._background and not self._stream)
        if self._stream:
            events = [*self._events(reading, text)]
            last = events[-1][0] if ended else FIRST + reading.written.longest
            if self._after > last:
                raise _beyond_end(reading, last)
            lines = (
                _event(kind, number, content) for number, kind, content in events if number > self._after
            )
            written = "".join(lines) or (HEARTBEAT if reading.beats else "")
            self._after = max(self._after, *(number for number, _, _ in events), -1)
            await self._exchange.write(written, ends=self.over)
        elif self.over:
            await self._exchange.json(of_reading(reading, self._exchange))

    def _events(self, reading: TurnProgress, text: str) -> Iterator[tuple[int, str, Json]]:
        ended, sent = reading.terminal is not None, reading.written.sent
        position = {"item_id": f"msg_{reading.id}", "output_index": 0, "content_index": 0}
        if not self._begun:
            self._begun = True
            response = _response(reading, "in_progress")
            yield 0, "response.created", {"response": response}
            yield 1, "response.in_progress", {"response": response}
            item = _message(reading, "in_progress", ())
            yield 2, "response.output_item.added", {"output_index": 0, "item": item}
        if not self._opened and (text or sent or ended):
            self._opened = True
            part = _refusal("") if reading.refusal and not sent else _text("", ())
            yield FIRST, "response.content_part.added", {**position, "part": part}
        if text:
            yield FIRST + sent, "response.output_text.delta", {**position, "delta": text, "logprobs": []}
        if ended:
            whole = of_reading(reading, self._exchange)
            ending = _ending(whole, position, sent=bool(sent))
            yield from ((number, *event) for number, event in enumerate(ending, FIRST + sent + 1))


def _ending(whole: Json, position: Json, *, sent: bool) -> Iterator[tuple[str, Json]]:
    """The last events of a stream. sent: whether it has a text."""
    for item in whole["output"]:
        for part in item["content"]:
            if part["type"] == "refusal":
                if sent:
                    position = {**position, "content_index": 1}
                    yield "response.content_part.added", {**position, "part": _refusal("")}
                yield "response.refusal.delta", {**position, "delta": part["refusal"]}
                yield "response.refusal.done", {**position, "refusal": part["refusal"]}
            else:
                for index, annotation in enumerate(part["annotations"]):
                    content = {**position, "annotation_index": index, "annotation": annotation}
                    yield "response.output_text.annotation.added", content
                yield "response.output_text.done", {**position, "text": part["text"], "logprobs": []}
            yield "response.content_part.done", {**position, "part": part}
        yield "response.output_item.done", {"output_index": 0, "item": item}
    kind = whole["status"] if whole["status"] in ("completed", "incomplete") else "failed"
    yield f"response.{kind}", {"response": whole}


def of_turn(turn: Turn, exchange: ApiExchange, previous: str) -> Json:
    """A stored response. previous: the id of the turn before its own."""
    reading = TurnProgress(AppendOnlyText())
    reading.of(turn)
    reading.previous = previous
    if not turn.HasField("terminal_event"):
        state = "in_progress" if turn.state == TurnState.TURN_STATE_RUNNING else "queued"
        return _response(reading, state)
    reading.take(AskResponse(events=[turn.terminal_event]))
    reading.written.take(whole=True)
    return of_reading(reading, exchange)


def of_reading(reading: TurnProgress, exchange: ApiExchange) -> Json:
    """The response to a turn."""
    if reading.terminal is None:
        return _response(reading, "in_progress")
    kind = reading.terminal.WhichOneof("event")
    if kind in ("failed", "cancelled"):
        response = _response(reading, kind)
        if (failure := reading.failure) is not None and kind == "failed":
            told = error_of(failure)
            response |= {"error": {"code": told["code"], "message": told["message"]}}
        return response
    text = reading.text
    marks = [{"type": "url_citation", **annotation(item, text, exchange.page)} for item in reading.cited]
    content = _refusal(reading.refused) if kind == "refused" else _text(text, marks)
    state = "incomplete" if reading.cut else "completed"
    read, wrote = reading.tokens
    return {
        **_response(reading, state),
        "incomplete_details": {"reason": "max_output_tokens"} if reading.cut else None,
        "output": [_message(reading, state, [content])],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": wrote,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + wrote,
        },
    }


def _response(reading: TurnProgress, state: str) -> dict[str, object]:
    return {
        "id": f"resp_{reading.id}",
        "object": "response",
        "created_at": reading.begun,
        "status": state,
        "background": True,
        "previous_response_id": f"resp_{reading.previous}" if reading.previous else None,
        "conversation": {"id": reading.conversation} if reading.conversation else None,
        "metadata": {},
        "model": reading.agent,
        "output": [],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        **dict.fromkeys(("error", "incomplete_details", "instructions", "usage")),
    }


def _message(reading: TurnProgress, state: str, content: Sequence[Json]) -> Json:
    item = {"id": f"msg_{reading.id}", "type": "message", "role": "assistant"}
    return {**item, "status": state, "content": content}


def _text(text: str, annotations: Sequence[object]) -> Json:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def _refusal(text: str) -> Json:
    return {"type": "refusal", "refusal": text}


def _beyond_end(reading: TurnProgress, last: int) -> InvalidRequest:
    remedy = (
        f"the stream ends at {last}; send the sequence_number of the last event of this response that arrived"
    )
    metadata = {"turn": reading.turn, "last_seq": str(reading.seq)}
    violation = FieldViolation("starting_after", "openai", remedy)
    return InvalidRequest(Reason.AFTER_SEQ_BEYOND_END, f"starting_after: {remedy}", metadata, (violation,))


def _event(kind: str, number: int, content: Json) -> str:
    return f"event: {kind}\ndata: {dump({**content, 'type': kind, 'sequence_number': number})}\n\n"
