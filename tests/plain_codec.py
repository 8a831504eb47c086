"""A frame codec for tests of turns. It uses JSON, so that a test can read the log without protobuf."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, cast
from uuid import UUID

from responsa_server.domain.events import (
    Answered,
    AttemptRestarted,
    Cancelled,
    Cited,
    Delta,
    Event,
    Failed,
    ModelUsed,
    NumberedEvent,
    ProviderSwitched,
    Refused,
    Started,
    Status,
    ToolCalled,
    ToolReturned,
)
from responsa_server.domain.turns import WITHHELD, LogRow, OnBusy, Question, WithoutDocuments


class PlainCodec:
    """Encodes every event as its kind and the values that tests check."""

    def event(self, event: NumberedEvent) -> bytes:
        return json.dumps(_plain(event)).encode()

    def frame(self, turn_id: UUID, after_seq: int, through_seq: int, events: Sequence[bytes]) -> bytes:
        assert len(events) == through_seq - after_seq
        covers = json.dumps({"turn": str(turn_id), "after": after_seq, "through": through_seq}).encode()
        return covers[:-1] + b', "events": [' + b", ".join(events) + b"]}"

    def encode_question(self, question: Question) -> bytes:
        conversation = str(question.conversation_id) if question.conversation_id else None
        more = [question.parameters, question.max_cost_micros, question.agent_version]
        return json.dumps(
            [
                conversation,
                question.text,
                question.collections,
                question.agent,
                question.on_busy.value,
                *(more if any(more) else ()),
            ]
        ).encode()

    def decode_question(self, data: bytes) -> Question:
        conversation, text, collections, agent, on_busy, *more = json.loads(data)
        identity = UUID(conversation) if conversation else None
        return Question(text, identity, tuple(collections), agent, OnBusy(on_busy), *more)

    def without_documents(
        self, terminal: bytes, documents: Collection[UUID], notice: str, *, has_read: bool
    ) -> WithoutDocuments:
        """The plain terminal event of an answer has no citations, so every answer is withdrawn."""
        event = json.loads(terminal)
        if event["kind"] != "answered":
            return WithoutDocuments(terminal, withdrawn=False)
        refused = {**event, "kind": "refused", "reason": "source_erased", "message": notice}
        return WithoutDocuments(json.dumps(refused).encode(), withdrawn=True)

    def withhold(self, terminal: bytes) -> bytes:
        """See `FrameCodec.withhold`."""
        event = json.loads(terminal)
        if event["kind"] not in ("answered", "refused"):
            return terminal
        refused = {"kind": "refused", "reason": "not_permitted", "message": WITHHELD}
        kept = {key: event[key] for key in ("seq", "attempt", "timed") if key in event}
        return json.dumps({**kept, **refused}).encode()


def _plain(event: NumberedEvent) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "attempt": event.attempt,
        "timed": event.time is not None,
        **_content(event.event),
    }


def _content(event: Event) -> dict[str, Any]:
    match event:
        case Started():
            return {"kind": "started", "created": event.created_conversation}
        case Status():
            return {"kind": "status", "step": event.step.value, "message": event.message}
        case Delta():
            return {"kind": "delta", "text": event.text, "offset": event.byte_offset}
        case Cited():
            return {"kind": "cited", "quote": event.citation.quote}
        case ToolCalled():
            arguments = dict(event.arguments)
            return {"kind": "tool_called", "call": event.call_id, "tool": event.tool, "arguments": arguments}
        case ToolReturned():
            return {
                "kind": "tool_returned",
                "call": event.call_id,
                "outcome": event.outcome.value,
                "content": event.content,
            }
        case ProviderSwitched():
            return {"kind": "switched", "from": event.source, "to": event.target, "cause": event.cause}
        case ModelUsed():
            return {"kind": "used", "model": event.model, "cost": event.usage.cost_micros}
        case AttemptRestarted():
            return {"kind": "restarted", "from": event.discard_from_seq, "keep": event.keep_bytes}
        case Cancelled():
            return {"kind": "cancelled", "by": event.by.value}
        case Answered():
            return {"kind": "answered", "text": event.text, "outcome": event.outcome.value}
        case Refused():
            return {"kind": "refused", "reason": event.reason.value, "message": event.message}
        case Failed():
            plain = {"kind": "failed", "reason": event.error.reason.value, "retriable": event.retriable}
            fallen = [
                [fallback.kind.value, fallback.source, fallback.target, fallback.cause]
                for fallback in event.fallbacks
            ]
            return {**plain, "fallbacks": fallen} if fallen else plain


def events_of(rows: Sequence[LogRow]) -> list[dict[str, Any]]:
    """The events of rows, after a check that rows and frames have the same ranges and that each row knows whether it has only deltas."""
    events: list[dict[str, Any]] = []
    for row in rows:
        frame = cast("dict[str, Any]", json.loads(row.frame))
        assert (frame["after"], frame["through"]) == (row.first_seq - 1, row.last_seq)
        assert all(one["kind"] == "delta" for one in frame["events"]) == row.deltas
        events.extend(frame["events"])
    return events
