"""Questions, conversations and feedback: /chat/*, /agent/*, /agents/process and POST /feedback."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

from google.protobuf.empty_pb2 import Empty

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1 import citation_pb2, conversation_pb2, feedback_pb2, message_pb2, turn_pb2
from responsa_server.calls.methods import CHAT
from responsa_server.domain.errors import InvalidRequest
from responsa_server.transports.http.original_paths.rows import (
    IDENTIFIED,
    MAX_QUESTION_BODY,
    UUID,
    First,
    Given,
    Json,
    OriginalRow,
    id_of,
    name_of,
    opinion_of,
    row_of_list,
    row_of_one,
)


def _exchange(turn: turn_pb2.Turn) -> dict[str, object]:
    """A question with its answer. A refusal's text is the answer, too; `outcome` tells them apart."""
    event = turn.terminal_event
    outcome = event.WhichOneof("event")
    text = {
        "answer": event.answer.text,
        "refused": event.refused.message,
        "failed": event.failed.status.message,
    }
    return {
        "id": id_of(turn.name),
        "conversation_id": id_of(turn.conversation) or None,
        "question": turn.text,
        "outcome": {"answer": "answered", None: "pending"}.get(outcome, outcome),
        "answer": text.get(outcome or "", ""),
        "category": event.answer.category,
        "sources": _sources(event.answer.citations),
        "created_at": turn.create_time.ToJsonString(),
    }


def _tool_results(events: Iterable[turn_pb2.TurnEvent]) -> list[Json]:
    """What the tools returned that the answer called."""
    tools = {event.tool_call.call_id: event.tool_call.tool for event in events}
    return [
        {
            "tool": id_of(tools.get(event.tool_result.call_id, "")),
            "outcome": turn_pb2.ToolOutcome.Name(event.tool_result.outcome)
            .removeprefix("TOOL_OUTCOME_")
            .lower(),
            "content": event.tool_result.content,
        }
        for event in events
        if event.HasField("tool_result")
    ]


def _sources(citations: Iterable[citation_pb2.Citation]) -> list[Json]:
    """The sources of an answer: documents by their ids, and results of tools by the names of the tools."""
    return [
        {
            "title": citation.title,
            "quote": citation.quote,
            **(
                {"document_id": citation.document_version.split("/")[1]}
                if citation.document_version
                else {"tool": citation.tool_result.tool}
            ),
        }
        for citation in citations
        if citation.document_version or citation.HasField("tool_result")
    ]


def _talk(conversation: conversation_pb2.Conversation) -> Json:
    return {
        "id": id_of(conversation.name),
        "title": conversation.title,
        "created_at": conversation.create_time.ToJsonString(),
        "updated_at": conversation.update_time.ToJsonString(),
    }


def _message(message: message_pb2.Message) -> Json:
    return {
        "id": id_of(message.name),
        "role": message_pb2.Role.Name(message.role).removeprefix("ROLE_").lower(),
        "content": message.text,
        "sources": _sources(message.citations),
        "feedback": _feedback(message.feedback) if message.HasField("feedback") else None,
        "created_at": message.create_time.ToJsonString(),
    }


def _answer(path: str, agent: str, *questions: str, tools: bool = False) -> OriginalRow:
    """A path that answers a question. agent: who answers unless the request names another one; "" for the tenant's
    default. questions: the fields that may have its text. tools: whether the reply has what tools returned."""

    def request(values: Given) -> chat.AnswerRequest:
        asked = values.get("agent") or values.get("agent_id") or agent
        request = chat.AnswerRequest(
            text=next((values[name] for name in questions if name in values), ""),
            conversation=_conversation(values),
            agent=name_of("agents", asked) if asked else "",
            request_id=values.get("request_id", ""),
        )
        if "parameters" in values:
            request.options.parameters.update(values["parameters"])
        request.options.history.extend(_earlier(values.get("chat_history", ())))
        return request

    return OriginalRow(
        ("POST",),
        path,
        CHAT + "Answer",
        request,
        turn_pb2.Turn,
        lambda reply, values: {
            **_exchange(reply),
            **({"tool_results": _tool_results(values["events"])} if tools else {}),
        },
        {
            **dict.fromkeys(questions, str),
            "conversation_id": str,
            "agent": str,
            "agent_id": str,
            "chat_history": list,
            "parameters": dict,
            "request_id": str,
        },
        renamed={
            "text": questions,
            "agent": ("agent", "agent_id"),
            "conversation": ("conversation_id",),
            "options.parameters": ("parameters",),
        },
        remedies=_CONVERSATION_ID,
        limit=MAX_QUESTION_BODY,
        events=(lambda turn: turn.name) if tools else None,
    )


def _earlier(history: Sequence[object]) -> Iterator[chat.EarlierMessage]:
    """The messages of a chat that the client remembers; the last ones, if there are too many. Raises InvalidRequest."""
    for message in history[-MOST_EARLIER:]:
        fields = cast("Json", message if isinstance(message, dict) else {})
        role, text = _ROLES.get(fields.get("role")), fields.get("content")
        if role is None or not isinstance(text, str):
            raise InvalidRequest.of_field(
                "chat_history", "type", "must be a list of objects with role (user or assistant) and content"
            )
        yield chat.EarlierMessage(role=role, text=text)


def _feedback(feedback: feedback_pb2.Feedback) -> Json:
    return {
        "message_id": feedback.name.split("/")[1],
        **opinion_of(feedback),
        "created_at": feedback.create_time.ToJsonString(),
        "updated_at": feedback.update_time.ToJsonString(),
    }


MOST_EARLIER: Final = 32
_ROLES: Final[Mapping[object, message_pb2.Role.ValueType]] = {
    "user": message_pb2.ROLE_USER,
    "human": message_pb2.ROLE_USER,
    "assistant": message_pb2.ROLE_ASSISTANT,
    "ai": message_pb2.ROLE_ASSISTANT,
}
_RATINGS: Final = {"up": feedback_pb2.RATING_UP, "down": feedback_pb2.RATING_DOWN}
_NO_SCORE: Final = -1


def _feedback_request(values: Given) -> chat.SubmitFeedbackRequest:
    """The feedback. Another word or number becomes a value that the contract refuses, after the check of the credential."""
    rating = values.get("rating", "")
    request = chat.SubmitFeedbackRequest(
        message=name_of("messages", values["message_id"])
        if "message_id" in values
        else name_of("turns", values.get("turn_id", "")),
        comment=values.get("comment", ""),
    )
    if isinstance(rating, int):
        request.score = rating if 1 <= rating <= 5 else _NO_SCORE
    else:
        request.rating = _RATINGS.get(rating, feedback_pb2.RATING_UNSPECIFIED)
    return request


def _conversation(values: Given) -> str:
    identity = values.get("conversation_id", "")
    return "" if identity in ("", "new") else name_of("conversations", identity)


_CONVERSATION_ID: Final = {"conversation_id": f"must be {UUID}, or new"}


ROWS: Final[Sequence[OriginalRow]] = (
    _answer("/chat/question", "personal", "question"),
    _answer("/agent/query", "knowledge", "query", tools=True),
    _answer("/agents/process", "cairo", "input", "query"),
    row_of_list(
        "/agent/conversations",
        CHAT + "ListConversations",
        chat.ListConversationsRequest,
        chat.ListConversationsResponse,
        "conversations",
        _talk,
    ),
    row_of_list(
        "/agent/conversations/{id}",
        CHAT + "ListMessages",
        chat.ListMessagesRequest,
        chat.ListMessagesResponse,
        "messages",
        _message,
        where=lambda values: {"parent": name_of("conversations", values["id"])},
        renamed={"name": ("id",), "parent": ("id",)},
        remedies=IDENTIFIED,
        head=lambda values: values["conversation"],
        first=First(
            CHAT + "GetConversation",
            lambda values: chat.GetConversationRequest(name=name_of("conversations", values["id"])),
            conversation_pb2.Conversation,
            "conversation",
            _talk,
        ),
    ),
    row_of_one(
        ("DELETE",),
        "/agent/conversations/{id}",
        CHAT + "DeleteConversation",
        lambda values: chat.DeleteConversationRequest(name=name_of("conversations", values["id"])),
        Empty,
    ),
    row_of_list(
        "/chat/history",
        CHAT + "ListTurns",
        chat.ListTurnsRequest,
        chat.ListTurnsResponse,
        "turns",
        _exchange,
        where=lambda values: {
            "filter": f"conversation = {json.dumps(_conversation(values))}" if _conversation(values) else ""
        },
        key="history",
        fields={"conversation_id": str},
        renamed={"filter": ("conversation_id",)},
        remedies=_CONVERSATION_ID,
    ),
    OriginalRow(
        ("POST",),
        "/feedback",
        CHAT + "SubmitFeedback",
        _feedback_request,
        feedback_pb2.Feedback,
        lambda reply, _: _feedback(reply),
        {"turn_id": str, "message_id": str, "rating": str | int, "comment": str},
        renamed={"message": ("turn_id", "message_id"), "score": ("rating",)},
        remedies={
            "turn_id": f"must be the id of a turn: {UUID}",
            "message_id": f"must be {UUID}, of an answer and not of a question",
            "rating": "must be up, down, or a whole number from 1 to 5",
        },
        alternatives=("turn_id", "message_id"),
    ),
)
