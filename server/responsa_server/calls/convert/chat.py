"""Turns, their events, conversations and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from responsa.chat.v1 import chat_service_pb2, citation_pb2, conversation_pb2, message_pb2, turn_pb2
from responsa_server.calls.convert import structs
from responsa_server.calls.convert.basics import named_slug, named_uuid, timestamp
from responsa_server.calls.convert.events import citation, refusal_reason, usage
from responsa_server.domain import names
from responsa_server.domain.conversations import Conversation, Message, Speaker
from responsa_server.domain.events import Citation
from responsa_server.domain.turns import OnBusy, Question, Turn, TurnState, Verdict

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
        parameters=structs.text("options.parameters", request.options.parameters)
        if request.options.HasField("parameters")
        else "",
        max_cost_micros=request.options.max_cost_micros,
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
        result.fallbacks.extend(_fallbacks(result.terminal_event))
    if value.end_time is not None:
        result.end_time.CopyFrom(timestamp(value.end_time))
    if value.question.parameters:
        result.parameters.CopyFrom(structs.of_text(value.question.parameters))
    return result


def _fallbacks(terminal: turn_pb2.TurnEvent) -> Sequence[turn_pb2.Fallback]:
    match terminal.WhichOneof("event"):
        case "answer":
            return terminal.answer.fallbacks
        case "refused":
            return terminal.refused.fallbacks
        case "failed":
            return terminal.failed.fallbacks
        case _:
            return ()


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
