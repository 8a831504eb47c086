"""Turns, their events, conversations and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from google.protobuf import json_format

from responsa.chat.v1 import chat_service_pb2, citation_pb2, conversation_pb2, message_pb2, turn_pb2
from responsa.type.v1 import byte_range_pb2
from responsa_server.domain import names
from responsa_server.domain.conversations import Conversation, Message, Speaker
from responsa_server.domain.turns import (
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
    NumberedEvent,
    OnBusy,
    Question,
    RefusalReason,
    Refused,
    Started,
    Status,
    Step,
    ToolCalled,
    ToolOutcome,
    ToolReturned,
    Turn,
    TurnState,
    Usage,
    Verdict,
)
from responsa_server.rpc import status
from responsa_server.rpc.convert.basics import named_slug, named_uuid, timestamp

Asking = chat_service_pb2.AskRequest | chat_service_pb2.StartTurnRequest | chat_service_pb2.AnswerRequest


def question(request: Asking) -> Question:
    """The question as meant: what two calls with one request_id are compared by."""
    return Question(
        text=request.text,
        conversation_id=named_uuid("conversation", "conversations", request.conversation)
        if request.conversation
        else None,
        collections=tuple(
            sorted(
                named_slug("options.scope.collections", "collections", name)
                for name in request.options.scope.collections
            )
        ),
        agent=named_slug("agent", "agents", request.agent) if request.agent else "",
        on_busy=on_busy(request.options.on_busy),
    )


def on_busy(value: chat_service_pb2.OnBusy.ValueType) -> OnBusy:
    """What becomes of a question whose conversation is busy; unset means REJECT. Values that the contract does not know were refused before."""
    match value:
        case chat_service_pb2.ON_BUSY_QUEUE:
            return OnBusy.QUEUE
        case chat_service_pb2.ON_BUSY_INTERRUPT:
            return OnBusy.INTERRUPT
        case _:
            return OnBusy.REJECT


def busy_policy(value: OnBusy) -> chat_service_pb2.OnBusy.ValueType:
    """The same, there: REJECT is what is not said, so that a question has one form, the one it had before there was a choice."""
    match value:
        case OnBusy.REJECT:
            return chat_service_pb2.ON_BUSY_UNSPECIFIED
        case OnBusy.QUEUE:
            return chat_service_pb2.ON_BUSY_QUEUE
        case OnBusy.INTERRUPT:
            return chat_service_pb2.ON_BUSY_INTERRUPT
        case _:
            assert_never(value)


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


def verdict(value: Verdict) -> citation_pb2.CitationVerdict.ValueType:
    """What became of a citation's source."""
    match value:
        case Verdict.VALID:
            return citation_pb2.CITATION_VERDICT_VALID
        case Verdict.SOURCE_CHANGED:
            return citation_pb2.CITATION_VERDICT_SOURCE_CHANGED
        case Verdict.SOURCE_DELETED:
            return citation_pb2.CITATION_VERDICT_SOURCE_DELETED
        case Verdict.NOT_PERMITTED:
            return citation_pb2.CITATION_VERDICT_NOT_PERMITTED
        case _:
            assert_never(value)


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
        case _:
            assert_never(value)


def refusal_reason(value: RefusalReason) -> turn_pb2.RefusalReason.ValueType:
    """Why there is no answer."""
    match value:
        case RefusalReason.NO_SUPPORT:
            return turn_pb2.REFUSAL_REASON_NO_SUPPORT
        case _:
            assert_never(value)


def outcome(value: AnswerOutcome) -> turn_pb2.AnswerOutcome.ValueType:
    """Whether an answer is all of it."""
    match value:
        case AnswerOutcome.COMPLETE:
            return turn_pb2.ANSWER_OUTCOME_COMPLETE
        case AnswerOutcome.OUTPUT_LIMIT:
            return turn_pb2.ANSWER_OUTCOME_OUTPUT_LIMIT
        case _:
            assert_never(value)


def state(value: TurnState) -> turn_pb2.TurnState.ValueType:
    """Where a turn stands."""
    match value:
        case TurnState.QUEUED:
            return turn_pb2.TURN_STATE_QUEUED
        case TurnState.PENDING:
            return turn_pb2.TURN_STATE_PENDING
        case TurnState.RUNNING:
            return turn_pb2.TURN_STATE_RUNNING
        case TurnState.ANSWERED:
            return turn_pb2.TURN_STATE_ANSWERED
        case TurnState.REFUSED:
            return turn_pb2.TURN_STATE_REFUSED
        case TurnState.FAILED:
            return turn_pb2.TURN_STATE_FAILED
        case TurnState.CANCELLED:
            return turn_pb2.TURN_STATE_CANCELLED
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
                )
            )
        case Refused():
            result.refused.reason = refusal_reason(what.reason)
            result.refused.message = what.message
            result.refused.usage.CopyFrom(usage(what.usage))
            result.refused.support = what.support
        case Failed():
            result.failed.status.CopyFrom(status.of(what.error))
            result.failed.retriable = what.retriable
            result.failed.usage.CopyFrom(usage(what.usage))
        case Cancelled():
            result.cancelled.by = cancel_cause(what.by)
        case _:
            assert_never(what)
    return result


def turn(value: Turn) -> turn_pb2.Turn:
    """A turn, its terminal event as its log holds it."""
    result = turn_pb2.Turn(
        name=names.turn(value.id),
        conversation=names.conversation(value.conversation_id),
        text=value.question.text,
        request_id="" if value.request_id is None else str(value.request_id),
        agent_version=value.agent_version,
        state=state(value.state),
        last_seq=value.last_seq,
        usage=usage(value.usage),
        create_time=timestamp(value.create_time),
    )
    if value.terminal is not None:
        result.terminal_event.ParseFromString(value.terminal)
    if value.end_time is not None:
        result.end_time.CopyFrom(timestamp(value.end_time))
    return result


def conversation(value: Conversation) -> conversation_pb2.Conversation:
    """A conversation."""
    return conversation_pb2.Conversation(
        name=names.conversation(value.id),
        title=value.title,
        labels=value.labels,
        active_turn="" if value.active_turn is None else names.turn(value.active_turn),
        create_time=timestamp(value.create_time),
        update_time=timestamp(value.update_time),
        etag=value.etag,
    )


def role(value: Speaker) -> message_pb2.Role.ValueType:
    """Who speaks."""
    match value:
        case Speaker.USER:
            return message_pb2.ROLE_USER
        case Speaker.ASSISTANT:
            return message_pb2.ROLE_ASSISTANT
        case _:
            assert_never(value)


def message(value: Message) -> message_pb2.Message:
    """A message."""
    return message_pb2.Message(
        name=names.message(value.id),
        conversation=names.conversation(value.conversation_id),
        turn=names.turn(value.turn_id),
        role=role(value.speaker),
        text=value.text,
        citations=[citation(one) for one in value.citations],
        refusal_reason=turn_pb2.REFUSAL_REASON_UNSPECIFIED
        if value.refusal is None
        else refusal_reason(value.refusal),
        create_time=timestamp(value.create_time),
    )


def checks(found: Sequence[tuple[Citation, Verdict]]) -> chat_service_pb2.VerifyCitationsResponse:
    """Citations and what became of their sources."""
    return chat_service_pb2.VerifyCitationsResponse(
        checks=[
            chat_service_pb2.CitationCheck(citation=citation(one), verdict=verdict(what))
            for one, what in found
        ]
    )
