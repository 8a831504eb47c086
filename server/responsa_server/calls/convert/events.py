"""The events of a turn's log, and what stands in them: citations, usage, fallbacks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from google.protobuf import json_format

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2
from responsa_server.calls import status
from responsa_server.calls.convert.basics import timestamp
from responsa_server.domain import names
from responsa_server.domain.events import (
    MAX_FALLBACKS,
    Answered,
    AnswerOutcome,
    AttemptRestarted,
    ByteRange,
    CancelCause,
    Cancelled,
    Citation,
    Cited,
    Delta,
    Failed,
    Fallback,
    FallbackKind,
    Intent,
    ModelUsed,
    NumberedEvent,
    ProviderSwitched,
    RefusalReason,
    Refused,
    Started,
    Status,
    Step,
    ToolCalled,
    ToolOutcome,
    ToolReturned,
    Usage,
)


def byte_range(value: ByteRange) -> byte_range_pb2.ByteRange:
    """A range of bytes."""
    return byte_range_pb2.ByteRange(start=value.start, end=value.end)


def citation(value: Citation) -> citation_pb2.Citation:
    """A citation."""
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


def step(value: Step) -> turn_pb2.Step.ValueType:
    """What a worker does."""
    match value:
        case Step.REWRITING:
            return turn_pb2.STEP_REWRITING
        case Step.RETRIEVING:
            return turn_pb2.STEP_RETRIEVING
        case Step.GRADING:
            return turn_pb2.STEP_GRADING
        case Step.GENERATING:
            return turn_pb2.STEP_GENERATING
        case Step.CALLING_TOOL:
            return turn_pb2.STEP_CALLING_TOOL
        case Step.ROUTING:
            return turn_pb2.STEP_ROUTING
        case Step.VERIFYING:
            return turn_pb2.STEP_VERIFYING
        case _:
            assert_never(value)


def refusal_reason(value: RefusalReason) -> turn_pb2.RefusalReason.ValueType:
    """Why there is no answer."""
    match value:
        case RefusalReason.NO_SUPPORT:
            return turn_pb2.REFUSAL_REASON_NO_SUPPORT
        case RefusalReason.OUT_OF_SCOPE:
            return turn_pb2.REFUSAL_REASON_OUT_OF_SCOPE
        case RefusalReason.UNSAFE:
            return turn_pb2.REFUSAL_REASON_UNSAFE
        case RefusalReason.BUDGET:
            return turn_pb2.REFUSAL_REASON_BUDGET
        case _:
            assert_never(value)


def intent(value: Intent | None) -> turn_pb2.Intent.ValueType:
    """What a message was understood to want; unset where the agent does not tell such things apart."""
    match value:
        case None:
            return turn_pb2.INTENT_UNSPECIFIED
        case Intent.CHITCHAT:
            return turn_pb2.INTENT_CHITCHAT
        case Intent.QA:
            return turn_pb2.INTENT_QA
        case Intent.POST:
            return turn_pb2.INTENT_POST
        case Intent.OUT_OF_SCOPE:
            return turn_pb2.INTENT_OUT_OF_SCOPE
        case _:
            assert_never(value)


def fallback_kind(value: FallbackKind) -> turn_pb2.FallbackKind.ValueType:
    """What was done in place of what was meant."""
    match value:
        case FallbackKind.WITHOUT_RETRIEVAL:
            return turn_pb2.FALLBACK_KIND_WITHOUT_RETRIEVAL
        case FallbackKind.TEXT_ONLY:
            return turn_pb2.FALLBACK_KIND_TEXT_ONLY
        case FallbackKind.PROVIDER:
            return turn_pb2.FALLBACK_KIND_PROVIDER
        case FallbackKind.EXTRACTIVE:
            return turn_pb2.FALLBACK_KIND_EXTRACTIVE
        case FallbackKind.TEMPLATE:
            return turn_pb2.FALLBACK_KIND_TEMPLATE
        case FallbackKind.CLASSIFIER:
            return turn_pb2.FALLBACK_KIND_CLASSIFIER
        case FallbackKind.RULE:
            return turn_pb2.FALLBACK_KIND_RULE
        case FallbackKind.WITHOUT_SUMMARY:
            return turn_pb2.FALLBACK_KIND_WITHOUT_SUMMARY
        case _:
            assert_never(value)


def fallbacks(values: Iterable[Fallback]) -> list[turn_pb2.Fallback]:
    """What was done in place of what was meant: the first 16."""
    return [
        turn_pb2.Fallback(kind=fallback_kind(one.kind), source=one.source, target=one.target, cause=one.cause)
        for one in list(values)[:MAX_FALLBACKS]
    ]


def outcome(value: AnswerOutcome) -> turn_pb2.AnswerOutcome.ValueType:
    """Whether an answer is all of it."""
    match value:
        case AnswerOutcome.COMPLETE:
            return turn_pb2.ANSWER_OUTCOME_COMPLETE
        case AnswerOutcome.OUTPUT_LIMIT:
            return turn_pb2.ANSWER_OUTCOME_OUTPUT_LIMIT
        case _:
            assert_never(value)


def tool_outcome(value: ToolOutcome) -> turn_pb2.ToolOutcome.ValueType:
    """What is known of a tool's call."""
    match value:
        case ToolOutcome.OK:
            return turn_pb2.TOOL_OUTCOME_OK
        case ToolOutcome.ERROR:
            return turn_pb2.TOOL_OUTCOME_ERROR
        case ToolOutcome.UNKNOWN:
            return turn_pb2.TOOL_OUTCOME_UNKNOWN
        case _:
            assert_never(value)


def cancel_cause(value: CancelCause) -> turn_pb2.CancelCause.ValueType:
    """Who ended a turn."""
    match value:
        case CancelCause.OWNER:
            return turn_pb2.CANCEL_CAUSE_OWNER
        case CancelCause.ADMINISTRATOR:
            return turn_pb2.CANCEL_CAUSE_ADMINISTRATOR
        case CancelCause.INTERRUPT:
            return turn_pb2.CANCEL_CAUSE_INTERRUPT
        case CancelCause.DISCONNECT:
            return turn_pb2.CANCEL_CAUSE_DISCONNECT
        case _:
            assert_never(value)


def usage(value: Usage) -> turn_pb2.Usage:
    """What a turn has cost."""
    return turn_pb2.Usage(
        embedding_tokens=value.embedding_tokens,
        input_tokens=value.input_tokens,
        output_tokens=value.output_tokens,
        cost_micros=value.cost_micros,
        unpriced_tokens=value.unpriced_tokens,
    )


def event(value: NumberedEvent) -> turn_pb2.TurnEvent:
    """One entry of a turn's log."""
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
            result.status.step = step(what.step)
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
            result.tool_result.outcome = tool_outcome(what.outcome)
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
                    outcome=outcome(what.outcome),
                    passages_used=what.passages_used,
                    usage=usage(what.usage),
                    standalone_question=what.standalone_question,
                    support=what.support,
                    intent=intent(what.intent),
                    fallbacks=fallbacks(what.fallbacks),
                    category=what.category,
                    model=what.model,
                )
            )
        case Refused():
            result.refused.reason = refusal_reason(what.reason)
            result.refused.message = what.message
            result.refused.usage.CopyFrom(usage(what.usage))
            result.refused.support = what.support
            result.refused.intent = intent(what.intent)
            result.refused.fallbacks.extend(fallbacks(what.fallbacks))
        case Failed():
            result.failed.status.CopyFrom(status.of(what.error))
            result.failed.retriable = what.retriable
            result.failed.usage.CopyFrom(usage(what.usage))
            result.failed.fallbacks.extend(fallbacks(what.fallbacks))
        case Cancelled():
            result.cancelled.by = cancel_cause(what.by)
        case _:
            assert_never(what)
    return result
