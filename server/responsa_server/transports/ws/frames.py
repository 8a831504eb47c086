"""The frames that the server sends: `{"type": …}` with the fields of its type; each frame of a turn also has `turn` and `seq`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from responsa.chat.v1.citation_pb2 import Citation
from responsa.chat.v1.turn_pb2 import (
    AnswerOutcome,
    Fallback,
    FallbackKind,
    Intent,
    RefusalReason,
    Step,
    TurnAnswer,
    TurnEvent,
    TurnRefused,
)
from responsa_server.calls import status as statuses
from responsa_server.domain.errors import Reason
from responsa_server.transports.ws import html
from responsa_server.transports.ws.html import Rendering

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
TERMINAL = ("answer", "refused", "failed", "cancelled")
"""The kinds of event that end a turn."""

LLM_ERROR = "LLM_ERROR"
RATE_LIMIT = "RATE_LIMIT"
INVALID_INPUT = "INVALID_INPUT"
UNAUTHENTICATED = "UNAUTHENTICATED"
NOT_FOUND = "NOT_FOUND"
INTERNAL = "INTERNAL"

CODES: Mapping[int, str] = {
    Code.INVALID_ARGUMENT: INVALID_INPUT,
    Code.ALREADY_EXISTS: INVALID_INPUT,
    Code.ABORTED: INVALID_INPUT,
    Code.OUT_OF_RANGE: INVALID_INPUT,
    Code.FAILED_PRECONDITION: INVALID_INPUT,
    Code.RESOURCE_EXHAUSTED: RATE_LIMIT,
    Code.UNAUTHENTICATED: UNAUTHENTICATED,
    Code.PERMISSION_DENIED: UNAUTHENTICATED,
    Code.NOT_FOUND: NOT_FOUND,
}
"""The frame's code by the code of the Status; other codes become INTERNAL."""
BY_REASON: Mapping[str, str] = {Reason.MODEL_UNAVAILABLE.value: LLM_ERROR}
"""Reasons that have a separate code."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. text: the text of a delta, which can be joined with the delta before it; None for other frames."""

    content: Mapping[str, Json]
    text: str | None = None

    def encode(self) -> str:
        """The JSON to send."""
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":"))


PONG = Frame({"type": "pong"})
HEARTBEAT = Frame({"type": "heartbeat"})


def delta(turn: str, seq: int, text: str) -> Frame:
    """A piece of the answer's Markdown."""
    return Frame({"type": "delta", "text": text, "turn": turn, "seq": seq}, text=text)


def joined(first: Frame, second: Frame) -> Frame:
    """Two consecutive deltas of one turn as one. It has the later seq, so that a client resumes after both."""
    assert first.text is not None, "deltas alone are joined"
    assert second.text is not None, "deltas alone are joined"
    seq, turn = second.content["seq"], second.content["turn"]
    return delta(cast("str", turn), cast("int", seq), first.text + second.text)


def error(found: Status, *, turn: str = "", seq: int = 0, request_id: str = "") -> Frame:
    """An error: of a turn that failed (turn and seq), of following or cancelling a turn that continues (turn alone), or of a message that was refused.

    request_id: the id that the client gave its question.
    """
    content: dict[str, Json] = {
        "type": "error",
        "code": code_of(found),
        "message": found.message,
        "status": cast("Json", json.loads(statuses.as_json(found))),
    }
    if turn:
        content["turn"] = turn
    if seq:
        content["seq"] = seq
    if request_id:
        content["request_id"] = request_id
    return Frame(content)


def code_of(found: Status) -> str:
    """The frame's code for a Status."""
    return BY_REASON.get(reason_of(found)) or CODES.get(found.code, INTERNAL)


def reason_of(found: Status) -> str:
    """The reason in the ErrorInfo; "" when there is none."""
    info = ErrorInfo()
    return next((info.reason for one in found.details if one.Unpack(info)), "")


def waiting(turn: str, seq: int, place: int) -> Frame:
    """A heartbeat of a turn that waits for others of its conversation. seq: the last one sent."""
    return Frame({"type": "heartbeat", "queue_place": place, "turn": turn, "seq": seq})


async def of_event(
    turn: str, event: TurnEvent, seq: int, conversation: str, rendering: Rendering
) -> Frame | None:
    """The frame of an event; None for kinds that have no frame (sources come with the message). conversation: the turn's, which its last frame names."""
    content: dict[str, Json]
    match event.WhichOneof("event"):
        case "status":
            content = {"type": "status", "step": _step(event.status.step), "message": event.status.message}
        case "delta":
            return delta(turn, seq, event.delta.text)
        case "attempt_restarted":
            restarted = event.attempt_restarted
            content = {
                "type": "restarted",
                "discard_from_seq": restarted.discard_from_seq,
                "keep_bytes": restarted.keep_bytes,
            }
        case "answer":
            content = _message(
                await rendering.of_markdown(event.answer.text), _answered(event.answer, conversation)
            )
        case "refused":
            # A refusal quotes the question, whose text is not Markdown.
            content = _message(html.of_plain(event.refused.message), _refused(event.refused, conversation))
        case "cancelled":
            content = _message("", _metadata(None, 0, (), conversation) | {"outcome": "cancelled"})
        case "failed":
            return error(event.failed.status, turn=turn, seq=seq)
        case _:
            return None
    return Frame({**content, "turn": turn, "seq": seq})


def is_terminal(event: TurnEvent) -> bool:
    """Whether an event ends its turn."""
    return event.WhichOneof("event") in TERMINAL


def _message(content: str, metadata: dict[str, Json]) -> dict[str, Json]:
    return {"type": "message", "role": "assistant", "content": content, "metadata": metadata}


def _answered(answer: TurnAnswer, conversation: str) -> dict[str, Json]:
    metadata = _metadata(_intent(answer), answer.passages_used, answer.citations, conversation)
    if answer.outcome == AnswerOutcome.ANSWER_OUTCOME_OUTPUT_LIMIT:
        metadata["outcome"] = "output_limit"
    return metadata | _fallen(answer.fallbacks)


def _refused(refused: TurnRefused, conversation: str) -> dict[str, Json]:
    reason = _name(RefusalReason, refused.reason, "REFUSAL_REASON_")
    metadata = _metadata(_intent(refused), 0, (), conversation)
    return metadata | {"outcome": "refused", "reason": reason} | _fallen(refused.fallbacks)


def _fallen(fallbacks: Sequence[Fallback]) -> dict[str, Json]:
    """The turn's fallbacks; empty when there were none."""
    told: list[Json] = [
        {
            "kind": _name(FallbackKind, one.kind, "FALLBACK_KIND_"),
            "source": one.source,
            "target": one.target,
            "cause": one.cause,
        }
        for one in fallbacks
    ]
    return {"fallbacks": told} if told else {}


def _intent(end: TurnAnswer | TurnRefused) -> str | None:
    """The intent of the message; None when the agent does not classify intents."""
    return _name(Intent, end.intent, "INTENT_") if end.intent else None


def _metadata(
    intent: str | None, used: int, citations: Iterable[Citation], conversation: str
) -> dict[str, Json]:
    return {
        "intent": intent,
        "chunks_used": used,
        "source_chunks": [
            {
                "passage": one.passage,
                "document": one.document_version,
                "title": one.title,
                "uri": one.uri,
                "quote": one.quote,
            }
            for one in citations
        ],
        "conversation_id": conversation.removeprefix("conversations/"),
    }


def _step(value: Step.ValueType) -> str:
    return _name(Step, value, "STEP_")


def _name(
    kind: type[Step] | type[RefusalReason] | type[Intent] | type[FallbackKind], value: int, prefix: str
) -> str:
    """An enum's value in lower case without its prefix; "unspecified" for a value that only a newer server has."""
    if value not in kind.values():
        return "unspecified"
    return kind.Name(cast("int", value)).removeprefix(prefix).lower()  # pyright: ignore
