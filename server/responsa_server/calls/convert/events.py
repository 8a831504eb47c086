"""The events of a turn's log and their parts: citations, usage, fallbacks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from google.protobuf import json_format

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2
from responsa_server.calls import status
from responsa_server.calls.convert import enums
from responsa_server.calls.convert.basics import timestamp
from responsa_server.domain import names
from responsa_server.domain.events import (
    MAX_FALLBACKS,
    Answered,
    AttemptRestarted,
    ByteRange,
    Cancelled,
    Citation,
    Cited,
    Delta,
    Failed,
    Fallback,
    ModelUsed,
    NumberedEvent,
    ProviderSwitched,
    Refused,
    Started,
    Status,
    ToolCalled,
    ToolReturned,
    Usage,
)


def byte_range(value: ByteRange) -> byte_range_pb2.ByteRange:
    """Convert a range of bytes."""
    return byte_range_pb2.ByteRange(start=value.start, end=value.end)


def citation(value: Citation) -> citation_pb2.Citation:
    """Convert a citation."""
    return citation_pb2.Citation(
        passage=names.passage(value.passage_id),
        document_version=names.document_version(value.document_id, value.version),
        title=value.title,
        uri=value.uri,
        source_range=byte_range(value.source),
        quote=value.quote,
        sha256=value.sha256,
        answer_range=byte_range(value.answer),
        score=value.score,
    )


def fallbacks(values: Iterable[Fallback]) -> list[turn_pb2.Fallback]:
    """Convert the first 16 fallbacks."""
    return [
        turn_pb2.Fallback(
            kind=enums.FALLBACK_KIND.number(one.kind), source=one.source, target=one.target, cause=one.cause
        )
        for one in list(values)[:MAX_FALLBACKS]
    ]


def usage(value: Usage) -> turn_pb2.Usage:
    """Convert the usage of a turn."""
    return turn_pb2.Usage(
        embedding_tokens=value.embedding_tokens,
        input_tokens=value.input_tokens,
        output_tokens=value.output_tokens,
        cost_usd_micros=value.cost_micros,
        unpriced_tokens=value.unpriced_tokens,
    )


def event(value: NumberedEvent) -> turn_pb2.TurnEvent:
    """Convert one event of a turn's log."""
    result = turn_pb2.TurnEvent(seq=value.seq, attempt=value.attempt)
    if value.time is not None:
        result.create_time.CopyFrom(timestamp(value.time))
    what = value.event
    match what:
        case Started():
            result.started.conversation = names.conversation(what.conversation_id)
            result.started.agent_version = what.agent_version
            result.started.created_conversation = what.created_conversation
        case Status():
            result.status.step = enums.STEP.number(what.step)
            result.status.message = what.message
        case Delta():
            result.delta.text = what.text
            result.delta.byte_offset = what.byte_offset
        case Cited():
            result.citation.CopyFrom(citation(what.citation))
        case ToolCalled():
            result.tool_call.call_id = what.call_id
            result.tool_call.tool = names.tool(what.tool)
            json_format.ParseDict(dict(what.arguments), result.tool_call.arguments)
        case ToolReturned():
            result.tool_result.call_id = what.call_id
            result.tool_result.outcome = enums.TOOL_OUTCOME.number(what.outcome)
            result.tool_result.content = what.content
        case ProviderSwitched():
            result.provider_switched.source = what.source
            result.provider_switched.target = what.target
            result.provider_switched.cause = what.cause
        case ModelUsed():
            result.usage.model = what.model
            result.usage.usage.CopyFrom(usage(what.usage))
        case AttemptRestarted():
            result.attempt_restarted.discard_from_seq = what.discard_from_seq
            result.attempt_restarted.keep_bytes = what.keep_bytes
        case Answered():
            result.answer.CopyFrom(
                turn_pb2.TurnAnswer(
                    text=what.text,
                    sha256=what.sha256,
                    citations=[citation(one) for one in what.citations],
                    outcome=enums.ANSWER_OUTCOME.number(what.outcome),
                    passages_used=what.passages_used,
                    usage=usage(what.usage),
                    standalone_question=what.standalone_question,
                    support=what.support,
                    intent=what.intent,
                    fallbacks=fallbacks(what.fallbacks),
                    category=what.category,
                    model=what.model,
                )
            )
        case Refused():
            result.refused.reason = enums.REFUSAL_REASON.number(what.reason)
            result.refused.message = what.message
            result.refused.usage.CopyFrom(usage(what.usage))
            result.refused.support = what.support
            result.refused.intent = what.intent
            result.refused.fallbacks.extend(fallbacks(what.fallbacks))
        case Failed():
            result.failed.status.CopyFrom(status.of(what.error))
            result.failed.retriable = what.retriable
            result.failed.usage.CopyFrom(usage(what.usage))
            result.failed.fallbacks.extend(fallbacks(what.fallbacks))
        case Cancelled():
            result.cancelled.by = enums.CANCEL_CAUSE.number(what.by)
        case _:
            assert_never(what)
    return result
