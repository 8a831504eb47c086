"""Chat completions: `POST /v1/chat/completions`, with or without a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import time
from typing import Final
from uuid import uuid4

from responsa.chat.v1.chat_service_pb2 import EarlierMessage, GenerateTextRequest, GenerateTextResponse
from responsa.chat.v1.message_pb2 import Role
from responsa.chat.v1.turn_pb2 import AnswerOutcome, RefusalReason
from responsa_server.calls.methods import CHAT
from responsa_server.transports.openai.asking import MOST_TOKENS, ApiQuestion, JsonShape, model_of
from responsa_server.transports.openai.exchange import ApiExchange, Json, dump
from responsa_server.transports.openai.following import HEARTBEAT, TurnProgress, annotation, link
from responsa_server.transports.openai.marking import Marking
from responsa_server.transports.openai.written import AppendOnlyText

_AS_JSON: Final = (
    "The assistant has answered the user's question from documents. Write what this answer "
    "says as JSON. Add nothing that the answer does not say; where it says nothing of a "
    "value, write null or an empty value."
)
_ASK_JSON: Final = "Write your answer as JSON."


class Completion:
    """Sends a chat completion. A refusal is a message like an answer, with the closest passages; `refusal` has the
    message alone. Its `finish_reason` is `content_filter` if the model declined."""

    def __init__(self, exchange: ApiExchange, question: ApiQuestion) -> None:
        self._exchange = exchange
        self._asked = question
        self._head = ""
        self._marking = Marking() if question.marks else None
        self.over = False

    async def show(self, reading: TurnProgress, text: str) -> None:
        self.over = reading.terminal is not None
        if (failure := reading.failure) is not None:
            await self._exchange.fail(failure)
        elif self.over and not reading.refusal and self._asked.shape is not None:
            await self._send_as_json(reading, self._asked.shape)
        elif self._asked.stream:
            text = await self._mark(reading, text)
            lines = "".join(self._lines(reading, text)) or (HEARTBEAT if reading.beats else "")
            await self._exchange.write(lines, ends=self.over)
        elif self.over:
            text = await self._mark(reading, reading.text)
            await self._exchange.json(self._whole(reading, text))

    async def _send_as_json(self, reading: TurnProgress, shape: JsonShape) -> None:
        """Send what the answer says as JSON, which the agent's language model writes."""
        question, read = self._asked, reading.tokens
        talk = (Role.ROLE_USER, question.request.text), (Role.ROLE_ASSISTANT, reading.text)
        request = GenerateTextRequest(
            agent=reading.agent_version,
            instructions=_AS_JSON,
            messages=[
                EarlierMessage(role=role, text=text) for role, text in (*talk, (Role.ROLE_USER, _ASK_JSON))
            ],
            max_output_tokens=min(question.most_tokens or 0, MOST_TOKENS),
            json_schema=shape.schema,
        )
        draft = await _generate(self._exchange, request)
        draft = replace(draft, read=draft.read + read[0], wrote=draft.wrote + read[1])
        await _send(self._exchange, question, draft, self._head_of(reading, _kind(question)))

    async def _mark(self, reading: TurnProgress, text: str) -> str:
        """The next part of the text as it is sent: with its marks, and with what stands above the first part and below the last."""
        marking, written = self._marking, reading.written
        if marking is None:
            return text
        marked = await marking.part(written.text, written.sent - len(text), written.sent, reading.known)
        if not self.over or reading.refusal:
            return marked
        address, why = partial(link, page=self._exchange.page), reading.why
        if why and written.sent == len(text):  # nothing was sent before, as nearly always
            marked, why = marking.above(why) + marked, ""
        return marked + marking.below(reading.text, reading.cited, address, why, reading.unsourced)

    def _annotations(self, reading: TurnProgress) -> Sequence[Json]:
        text, page = reading.written.text, self._exchange.page
        return [
            {"type": "url_citation", "url_citation": annotation(citation, text, page, self._marking)}
            for citation in reading.cited
        ]

    def _lines(self, reading: TurnProgress, text: str) -> Iterator[str]:
        if not self._head:
            self._head = dump(self._head_of(reading, "chat.completion.chunk"))[:-1]
            yield self._chunk({"role": "assistant", "content": ""})
        if text:
            yield self._chunk({"content": text})
        if not self.over:
            return
        if refusal := reading.refusal:
            # What was sent of an answer cannot be taken back.
            yield self._chunk(
                {**({} if reading.written.sent else {"content": reading.refused}), "refusal": refusal}
            )
        if annotations := self._annotations(reading):
            yield self._chunk({"annotations": annotations})
        yield self._chunk({}, _finish(reading))
        yield _end(self._head, _usage_of(*reading.tokens) if self._asked.usage else None)

    def _head_of(self, reading: TurnProgress, kind: str) -> Json:
        model = model_of(reading.agent, self._asked.kind)
        return _head(reading.id, kind, model, reading.begun, reading.agent_version)

    def _chunk(self, delta: Json, finish: str | None = None) -> str:
        return _chunk(self._head, delta, finish)

    def _whole(self, reading: TurnProgress, text: str) -> Json:
        message = {
            "role": "assistant",
            "content": reading.refused or text,
            "refusal": reading.refusal or None,
            "annotations": self._annotations(reading),
        }
        return _whole(
            self._head_of(reading, "chat.completion"), message, _finish(reading), _usage_of(*reading.tokens)
        )


@dataclass(frozen=True, slots=True)
class _Generated:
    """What a language model alone has written. read, wrote: tokens. version: the agent's."""

    text: str
    limited: bool
    read: int
    wrote: int
    version: str


async def generate(exchange: ApiExchange, question: ApiQuestion, generation: GenerateTextRequest) -> None:
    """Send what the agent's language model alone writes. Raises ResponsaError."""
    if question.shape is not None:
        exchange.fields["json_schema"] = question.shape.field
    draft = await _generate(exchange, generation, question.stop)
    model = model_of(draft.version.split("/")[1], question.kind)
    await _send(
        exchange, question, draft, _head(uuid4().hex, _kind(question), model, int(time()), draft.version)
    )


async def _generate(
    exchange: ApiExchange, request: GenerateTextRequest, stop: Sequence[str] = ()
) -> _Generated:
    response = await exchange.answer(CHAT + "GenerateText", request, GenerateTextResponse)
    written = AppendOnlyText(stop)
    written.add(response.text)
    text = written.take(whole=True)
    limited = response.outcome == AnswerOutcome.ANSWER_OUTCOME_OUTPUT_LIMIT and not written.cut
    usage = response.usage
    return _Generated(text, limited, usage.input_tokens, usage.output_tokens, response.agent_version)


async def _send(exchange: ApiExchange, question: ApiQuestion, draft: _Generated, head: Json) -> None:
    """Send a whole text, in a stream as one piece."""
    message: dict[str, object] = {"role": "assistant", "content": draft.text}
    finish = "stop"
    if question.shape is not None and question.shape.function:
        finish, function = "tool_calls", {"name": question.shape.function, "arguments": draft.text}
        call = {"index": 0, "id": f"call_{uuid4().hex}", "type": "function", "function": function}
        message |= {"content": None, "tool_calls": [call]}
    finish = "length" if draft.limited else finish
    usage = _usage_of(draft.read, draft.wrote)
    if not question.stream:
        await exchange.json(_whole(head, {**message, "refusal": None, "annotations": []}, finish, usage))
        return
    begun = dump(head)[:-1]
    lines = _chunk(begun, message) + _chunk(begun, {}, finish)
    await exchange.write(lines + _end(begun, usage if question.usage else None), ends=True)


def _kind(question: ApiQuestion) -> str:
    return "chat.completion.chunk" if question.stream else "chat.completion"


def _chunk(head: str, delta: Json, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return f'data: {head},"choices":[{dump(choice)}]}}\n\n'


def _end(head: str, usage: Json | None) -> str:
    asked = f'data: {head},"choices":[],"usage":{dump(usage)}}}\n\n' if usage else ""
    return f"{asked}data: [DONE]\n\n"


def _whole(head: Json, message: Json, finish: str, usage: Json) -> Json:
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {**head, "choices": [choice], "usage": usage}


def _finish(reading: TurnProgress) -> str:
    end = reading.terminal
    if end is not None and end.refused.reason == RefusalReason.REFUSAL_REASON_UNSAFE:
        return "content_filter"
    return reading.cut or "stop"


def _head(reply: str, kind: str, model: str, begun: int, version: str) -> Json:
    """What each object of a chat completion begins with."""
    return {
        "id": f"chatcmpl-{reply}",
        "object": kind,
        "created": begun,
        "model": model,
        "system_fingerprint": version,
    }


def _usage_of(read: int, wrote: int) -> Json:
    return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
