"""Turns, their events, conversations and messages."""

from __future__ import annotations

from collections.abc import Sequence

from responsa.chat.v1 import chat_service_pb2, conversation_pb2, message_pb2, turn_pb2
from responsa_server.calls.convert import enums, structs
from responsa_server.calls.convert.basics import named_slug, named_uuid, timestamp
from responsa_server.calls.convert.events import citation, usage
from responsa_server.domain import names
from responsa_server.domain.conversations import Conversation, Message
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.events import Citation
from responsa_server.domain.turns import OnBusy, Question, Turn, Verdict

Asking = chat_service_pb2.AskRequest | chat_service_pb2.StartTurnRequest | chat_service_pb2.AnswerRequest


def question(request: Asking) -> Question:
    """Return the question without the wishes for its stream. Two calls with the same request_id are compared by it."""
    agent, version = _agent(request.agent) if request.agent else ("", None)
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
        agent=agent,
        agent_version=version,
        on_busy=enums.ON_BUSY.value(request.options.on_busy) or OnBusy.REJECT,
        parameters=structs.text("options.parameters", request.options.parameters)
        if request.options.HasField("parameters")
        else "",
        max_cost_micros=request.options.max_cost_usd_micros,
    )


def _agent(name: str) -> tuple[str, int | None]:
    try:
        return names.parse_agent_version(name)
    except ValueError as error:
        raise InvalidRequest.of_field(
            "agent",
            "name",
            "must be a name of the form agents/{id} or agents/{id}/versions/{n}, e.g. agents/chat",
        ) from error


def turn(value: Turn) -> turn_pb2.Turn:
    """Convert a turn; its terminal event keeps the bytes of the log."""
    result = turn_pb2.Turn(
        name=names.turn(value.id),
        conversation=names.conversation(value.conversation_id),
        text=value.question.text,
        request_id="" if value.request_id is None else str(value.request_id),
        agent_version=value.agent_version,
        state=enums.TURN_STATE.number(value.state),
        last_seq=value.last_seq,
        usage=usage(value.usage),
        create_time=timestamp(value.create_time),
        owner=names.user(value.user_id),
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
    """Convert a conversation."""
    return conversation_pb2.Conversation(
        name=names.conversation(value.id),
        title=value.title,
        labels=value.labels,
        active_turn="" if value.active_turn is None else names.turn(value.active_turn),
        create_time=timestamp(value.create_time),
        update_time=timestamp(value.update_time),
        etag=value.etag,
        owner=names.user(value.user_id),
    )


def message(value: Message) -> message_pb2.Message:
    """Convert a message."""
    return message_pb2.Message(
        name=names.message(value.id),
        conversation=names.conversation(value.conversation_id),
        turn=names.turn(value.turn_id),
        role=enums.SPEAKER.number(value.speaker),
        text=value.text,
        citations=[citation(one) for one in value.citations],
        refusal_reason=enums.REFUSAL_REASON.number(value.refusal),
        create_time=timestamp(value.create_time),
    )


def checks(found: Sequence[tuple[Citation, Verdict]]) -> chat_service_pb2.VerifyCitationsResponse:
    """Convert citations and the verdicts on their sources."""
    return chat_service_pb2.VerifyCitationsResponse(
        checks=[
            chat_service_pb2.CitationCheck(citation=citation(one), verdict=enums.VERDICT.number(what))
            for one, what in found
        ]
    )
