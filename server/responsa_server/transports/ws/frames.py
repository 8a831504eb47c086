"""The frames that the server sends. A frame is `{"type": …}` with the fields of that type; each frame of a turn also
has `turn` and `seq`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias, cast

from google.protobuf import json_format
from google.protobuf.descriptor import EnumDescriptor
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from responsa.chat.v1.citation_pb2 import Citation
from responsa.chat.v1.excerpt_pb2 import Excerpt, ExcerptGrade
from responsa.chat.v1.tool_pb2 import ToolFault
from responsa.chat.v1.turn_pb2 import (
    AnswerOutcome,
    Fallback,
    FallbackKind,
    RefusalReason,
    Step,
    ToolOutcome,
    TurnEvent,
    TurnToolResult,
)
from responsa.type.v1.byte_range_pb2 import ByteRange
from responsa.type.v1.collection_kind_pb2 import CollectionKind
from responsa_server.calls import status as statuses
from responsa_server.calls.convert.cited import checks_of
from responsa_server.calls.status import Code
from responsa_server.domain.errors import Reason
from responsa_server.text.disarming import disarm_quoted
from responsa_server.transports.ws.html import Rendering, of_plain

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
TERMINAL: Final = ("answer", "refused", "failed", "cancelled")
"""The kinds of event that end a turn."""

_CODES: Final[Mapping[int, str]] = {
    Code.INVALID_ARGUMENT: "INVALID_INPUT",
    Code.ALREADY_EXISTS: "INVALID_INPUT",
    Code.ABORTED: "INVALID_INPUT",
    Code.OUT_OF_RANGE: "INVALID_INPUT",
    Code.FAILED_PRECONDITION: "INVALID_INPUT",
    Code.RESOURCE_EXHAUSTED: "RATE_LIMIT",
    Code.UNAUTHENTICATED: "UNAUTHENTICATED",
    Code.PERMISSION_DENIED: "UNAUTHENTICATED",
    Code.NOT_FOUND: "NOT_FOUND",
}
"""Maps the code of a Status to the code of a frame. All other codes become INTERNAL."""
_OF_MODELS: Final = (Reason.MODEL_UNAVAILABLE, Reason.TURN_TIME_LIMIT)
"""The reasons whose code is LLM_ERROR."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. text: the text of a delta, which can be joined with the delta before it; None for other frames."""

    content: Mapping[str, Json]
    text: str | None = None

    def encode(self) -> str:
        """The JSON to send."""
        return json.dumps(self.content, ensure_ascii=False, separators=(",", ":"))


PONG: Final = Frame({"type": "pong"})
HEARTBEAT: Final = Frame({"type": "heartbeat"})


def credential_ends(expires: float) -> Frame:
    """Says that the credential of the socket will end. expires: in seconds since 1970."""
    time = datetime.fromtimestamp(int(expires), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Frame({"type": "credential_ends", "expire_time": time})


def delta(turn: str, seq: int, text: str) -> Frame:
    """A piece of the answer's Markdown."""
    return Frame({"type": "delta", "text": text, "turn": turn, "seq": seq}, text=text)


def join_deltas(first: Frame, second: Frame) -> Frame:
    """Two consecutive deltas of one turn as one delta. The joined delta has the later seq, so that a client resumes after both."""
    assert first.text is not None, "only deltas are joined"
    assert second.text is not None, "only deltas are joined"
    text = first.text + second.text
    return Frame({**second.content, "text": text}, text=text)


def error(rpc_status: Status, *, turn: str = "", seq: int = 0, request_id: str = "") -> Frame:
    """An error frame.

    With `turn` and `seq`, the turn failed. With `turn` alone, the turn continues, but it could not be followed or cancelled. Without
    `turn`, the server refused a message. request_id: the id that the client gave its question.
    """
    info = ErrorInfo()
    model = any(detail.Unpack(info) for detail in rpc_status.details) and info.reason in _OF_MODELS
    content: dict[str, Json] = {
        "type": "error",
        "code": "LLM_ERROR" if model else _CODES.get(rpc_status.code, "INTERNAL"),
        "message": rpc_status.message,
        "status": cast("Json", json.loads(statuses.as_json(rpc_status))),
    }
    context: dict[str, Json] = {"turn": turn, "seq": seq, "request_id": request_id}
    return Frame(content | {name: value for name, value in context.items() if value})


def waiting(turn: str, seq: int, position: int) -> Frame:
    """A heartbeat of a turn that waits for other turns of its conversation. seq: the last seq that was sent."""
    return Frame({"type": "heartbeat", "queue_place": position, "turn": turn, "seq": seq})


async def of_event(
    turn: str, event: TurnEvent, seq: int, conversation: str, rendering: Rendering
) -> Frame | None:
    """The frame of an event; None for kinds of events without a frame (the `message` frame contains the sources).
    conversation: the turn's conversation, which the turn's last frame names."""
    content: dict[str, Json]
    match event.WhichOneof("event"):
        case "status":
            step = _name(Step.DESCRIPTOR, event.status.step)
            content = {"type": "status", "step": step, "message": event.status.message}
        case "delta":
            return delta(turn, seq, event.delta.text)
        case "attempt_restarted":
            restarted = event.attempt_restarted
            content = {
                "type": "restarted",
                "discard_from_seq": restarted.discard_from_seq,
                "keep_bytes": restarted.keep_bytes,
            }
        case "tool_call":
            call = event.tool_call
            content = {
                "type": "tool_call",
                "call_id": call.call_id,
                "tool": call.tool,
                "title": call.title,
                "arguments": cast("Json", json_format.MessageToDict(call.arguments)),
            }
        case "tool_result":
            content = _tool_result(event.tool_result)
        case "answer":
            answer = event.answer
            metadata = _metadata(
                conversation, answer.intent, answer.passages_used, answer.text, answer.citations
            )
            if answer.outcome == AnswerOutcome.ANSWER_OUTCOME_OUTPUT_LIMIT:
                metadata["outcome"] = "output_limit"
            if answer.model:
                metadata["model"] = answer.model
            if answer.unsupported_sentences:
                metadata["unsupported_sentences"] = answer.unsupported_sentences
            metadata |= _origin_of(answer.collection, answer.collection_kind)
            metadata |= _excerpts_of(answer.excerpts, answer.more_excerpts)
            html = await rendering.of_markdown(answer.text)
            content = _message(html, metadata, answer.fallbacks)
        case "refused":
            refused = event.refused
            metadata = _metadata(conversation, refused.intent)
            metadata |= {"outcome": "refused", "reason": _name(RefusalReason.DESCRIPTOR, refused.reason)}
            metadata |= _excerpts_of(refused.excerpts)
            # A refusal quotes the question, whose text is not Markdown.
            content = _message(of_plain(refused.message), metadata, refused.fallbacks)
        case "cancelled":
            content = _message("", _metadata(conversation) | {"outcome": "cancelled"})
        case "failed":
            return error(event.failed.status, turn=turn, seq=seq)
        case _:
            return None
    return Frame({**content, "turn": turn, "seq": seq})


def _message(content: str, metadata: dict[str, Json], fallbacks: Sequence[Fallback] = ()) -> dict[str, Json]:
    if fallbacks:
        metadata["fallbacks"] = [
            {
                "kind": _name(FallbackKind.DESCRIPTOR, fallback.kind),
                "source": fallback.source,
                "target": fallback.target,
                "cause": fallback.cause,
            }
            for fallback in fallbacks
        ]
    return {"type": "message", "role": "assistant", "content": content, "metadata": metadata}


def _metadata(
    conversation: str,
    intent: str = "",
    used: int = 0,
    text: str = "",
    citations: Sequence[Citation] = (),
) -> dict[str, Json]:
    return {
        "intent": intent or None,
        "chunks_used": used,
        "source_chunks": [*dict.fromkeys(citation.passage for citation in citations if citation.passage)],
        "sources": [
            {
                "passage": citation.passage,
                "document": citation.document_version,
                "title": citation.title,
                "uri": citation.uri,
                "quote": disarm_quoted(citation.quote),
                **checks_of(text, citation),
                **_place(citation),
                **_tool(citation),
            }
            for citation in citations
        ],
        "conversation_id": conversation.removeprefix("conversations/"),
    }


def _tool_result(result: TurnToolResult) -> dict[str, Json]:
    """The result of a call, without the texts of its sources, which its content usually has. Fields without a value are left out."""
    content: dict[str, Json] = {
        "type": "tool_result",
        "call_id": result.call_id,
        "outcome": _name(ToolOutcome.DESCRIPTOR, result.outcome),
        "content": disarm_quoted(result.content),
    }
    if result.fault:
        content["fault"] = _name(ToolFault.DESCRIPTOR, result.fault)
    if result.sources:
        content["sources"] = [
            {
                "uri": source.uri,
                "title": source.title,
                "fetch_time": source.fetch_time.ToJsonString(),
                "passage": source.passage,
                "document": source.document_version,
            }
            for source in result.sources
        ]
    return content


def _tool(citation: Citation) -> dict[str, Json]:
    """The call whose result is named; empty for a passage of a document."""
    if not citation.HasField("tool_result"):
        return {}
    result = citation.tool_result
    return {"tool": result.tool, "call_id": result.call_id, "fetch_time": result.fetch_time.ToJsonString()}


def _origin_of(collection: str, kind: CollectionKind.ValueType) -> dict[str, Json]:
    """Where the passages for an answer come from. Fields without a value are left out."""
    fields: dict[str, Json] = {
        "collection": collection,
        "collection_kind": _name(CollectionKind.DESCRIPTOR, kind) if kind else "",
    }
    return {name: value for name, value in fields.items() if value}


def _excerpts_of(excerpts: Sequence[Excerpt], more: Sequence[Excerpt] = ()) -> dict[str, Json]:
    """The passages that an answer or a refusal shows, and further ones. Lists without a passage are left out."""
    fields: dict[str, Json] = {
        "excerpts": [_excerpt(excerpt) for excerpt in excerpts],
        "more_excerpts": [_excerpt(excerpt) for excerpt in more],
    }
    return {name: value for name, value in fields.items() if value}


def _excerpt(excerpt: Excerpt) -> dict[str, Json]:
    """An excerpt. A kind or a marked range that it does not have is left out."""
    kind = excerpt.collection_kind
    content: dict[str, Json] = {
        "passage": excerpt.passage,
        "document": excerpt.document_version,
        "collection": excerpt.collection,
        "title": excerpt.title,
        "headings": [*excerpt.headings],
        "uri": excerpt.uri,
        "source_range": _range(excerpt.source_range),
        "grade": _name(ExcerptGrade.DESCRIPTOR, excerpt.grade),
        "score": excerpt.score,
        **_place(excerpt),
    }
    if kind:
        content["collection_kind"] = _name(CollectionKind.DESCRIPTOR, kind)
    if excerpt.HasField("piece_range"):
        content["piece_range"] = _range(excerpt.piece_range)
    if excerpt.markdown:
        content["markdown"] = disarm_quoted(excerpt.markdown)
    if excerpt.section_markdown:
        content["section_markdown"] = disarm_quoted(excerpt.section_markdown)
    if excerpt.HasField("marked_range"):
        content["marked_range"] = _range(excerpt.marked_range)
    if excerpt.HasField("marked_in_markdown"):
        content["marked_in_markdown"] = _range(excerpt.marked_in_markdown)
    return content


def _range(value: ByteRange) -> dict[str, Json]:
    return {"start": value.start, "end": value.end}


def _place(quotation: Citation | Excerpt) -> dict[str, Json]:
    """Where a quote begins in the original file, and the date that its document states. Fields without a value are left out."""
    fields: dict[str, Json] = {}
    if quotation.page:
        fields["page"] = quotation.page
    if quotation.boxes:
        fields["boxes"] = [[box.left, box.top, box.right, box.bottom] for box in quotation.boxes]
    for name in ("path", "locator", "date"):
        if text := getattr(quotation, name):
            fields[name] = text
    return fields


def _name(kind: EnumDescriptor, value: int) -> str:
    """An enum's value in lower case without its prefix; "unspecified" for a value that only a newer server has."""
    prefix = kind.values[0].name.removesuffix("UNSPECIFIED")
    member = kind.values_by_number.get(value, kind.values[0])
    return member.name.removeprefix(prefix).lower()
