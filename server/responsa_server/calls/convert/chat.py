"""Questions, turns with their events, conversations, messages, and shared answers as their reader may read them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, assert_never, cast
from uuid import UUID

from google.protobuf import json_format

from responsa.chat.v1 import (
    chat_service_pb2,
    citation_pb2,
    conversation_pb2,
    excerpt_pb2,
    found_conversation_pb2,
    message_pb2,
    share_pb2,
    tool_pb2,
    turn_pb2,
)
from responsa.type.v1 import byte_range_pb2
from responsa_server.calls import status
from responsa_server.calls.convert import enums, messages, structs
from responsa_server.calls.convert.values import slug_of, timestamp, uuid_of
from responsa_server.domain import lists, names
from responsa_server.domain.conversations import (
    Conversation,
    Message,
    Speaker,
)
from responsa_server.domain.errors import InvalidRequest, NotFound
from responsa_server.domain.events import (
    MAX_FALLBACKS,
    MAX_FULL_CITATIONS,
    MAX_FULL_EVENT_BYTES,
    Answered,
    AnyCitation,
    AttemptRestarted,
    ByteRange,
    Cancelled,
    Citation,
    Cited,
    Delta,
    Excerpt,
    Failed,
    Fallback,
    FallbackKind,
    ModelUsed,
    NumberedEvent,
    ProviderSwitched,
    Refused,
    Started,
    Status,
    ToolCalled,
    ToolCitation,
    ToolReturned,
    ToolSource,
    Usage,
)
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.knowledge import ExcerptPlace, SourceRef
from responsa_server.domain.passages import SourcePlace
from responsa_server.domain.people import Principal
from responsa_server.domain.rows import Row
from responsa_server.domain.turns import CitationCheck, EarlierMessage, OnBusy, Question, Turn
from responsa_server.domain.uris import safe_uri

EXCERPT_CHARACTERS: Final = 240
"""The maximum length of the excerpt of a message that a search found."""

Asking = chat_service_pb2.AskRequest | chat_service_pb2.StartTurnRequest | chat_service_pb2.AnswerRequest


def question(request: Asking) -> Question:
    """Return the question, without the options of its stream. If two calls have the same request_id, their questions must be equal."""
    agent, version = _agent(request.agent) if request.agent else ("", None)
    return Question(
        text=request.text,
        conversation_id=uuid_of("conversation", "conversations", request.conversation)
        if request.conversation
        else None,
        collections=tuple(
            sorted(
                slug_of("options.scope.collections", "collections", name)
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
        document_filter=_check_filter(request.options.scope.filter),
        history=tuple(
            EarlierMessage(enums.SPEAKER.value(earlier.role) or Speaker.USER, earlier.text)
            for earlier in request.options.history
        ),
        max_output_tokens=request.options.max_output_tokens,
    )


def _check_filter(text: str) -> str:
    """The filter of a question's scope. Raises InvalidRequest (FILTER_INVALID)."""
    parse_filter(lists.SEARCHED, text, "options.scope.filter")
    return text.strip()


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
    """Convert a turn. Its terminal event is parsed from the stored bytes."""
    parameters = value.question.parameters
    result = messages.message(
        turn_pb2.Turn,
        value,
        text=value.question.text,
        request_id="" if value.request_id is None else str(value.request_id),
        usage=usage(value.usage),
        owner=names.user(value.user_id),
        parameters=structs.of_text(parameters) if parameters else None,
        **dict.fromkeys(("terminal_event", "fallbacks")),
    )
    if value.terminal is not None:
        result.terminal_event.ParseFromString(value.terminal)
        end = getattr(result.terminal_event, result.terminal_event.WhichOneof("event") or "", None)
        result.fallbacks.extend(getattr(end, "fallbacks", ()))
    return result


def conversation(value: Conversation) -> conversation_pb2.Conversation:
    return messages.message(
        conversation_pb2.Conversation,
        value,
        owner=names.user(value.user_id),
    )


def conversation_match(value: Row, words: Sequence[str]) -> found_conversation_pb2.FoundConversation:
    """A conversation that a search for these words found, with excerpts of its messages."""
    pattern = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE)
    return found_conversation_pb2.FoundConversation(
        conversation=conversation(value.conversation),
        messages=[_message_match(match, pattern) for match in value.messages],
    )


def _message_match(value: Row, pattern: re.Pattern[str]) -> found_conversation_pb2.FoundMessage:
    # The database's cases of letters may differ from Python's: then the excerpt is the beginning of the text.
    first = pattern.search(value.text)
    excerpt = _round(value.text, 0 if first is None else first.start(), 0 if first is None else first.end())
    return messages.message(
        found_conversation_pb2.FoundMessage,
        value,
        name=names.message(value.id),
        excerpt=excerpt,
        matches=[
            byte_range_pb2.ByteRange(
                start=len(excerpt[: match.start()].encode()), end=len(excerpt[: match.end()].encode())
            )
            for match in pattern.finditer(excerpt)
        ],
    )


def _round(text: str, start: int, end: int) -> str:
    """At most EXCERPT_CHARACTERS of a text round a part of it. Where the text is cut, the excerpt begins and ends at words,
    unless there is none between the cut and the part."""
    first = max(start - EXCERPT_CHARACTERS // 4, 0)
    if first > 0 and (space := re.search(r"\s+", text[first - 1 : start])):
        first += space.end() - 1
    last = first + EXCERPT_CHARACTERS
    tail = text[end : last + 1] if last < len(text) else ""
    if spaces := [index for index, character in enumerate(tail) if character.isspace()]:
        last = end + len(tail[: spaces[-1]].rstrip())
    return text[first:last]


def message(value: Message) -> message_pb2.Message:
    return messages.message(
        message_pb2.Message,
        value,
        role=enums.SPEAKER.number(value.speaker),
        citations=[citation(item) for item in value.citations],
        refusal_reason=enums.REFUSAL_REASON.number(value.refusal),
    )


def checks(claims: Sequence[CitationCheck]) -> chat_service_pb2.VerifyCitationsResponse:
    return chat_service_pb2.VerifyCitationsResponse(
        checks=[
            messages.message(chat_service_pb2.CitationCheck, claim, citation=citation(claim.citation))
            for claim in claims
        ]
    )


def byte_range(value: ByteRange) -> byte_range_pb2.ByteRange:
    return byte_range_pb2.ByteRange(start=value.start, end=value.end)


_OF_DOCUMENT: Final = ("passage", "document_version", "page", "boxes", "path", "locator", "date")
"""The fields of a citation that only a source has that is a document."""


def citation(value: AnyCitation) -> citation_pb2.Citation:
    origin: dict[str, Any] = {"tool_result": None, "not_permitted": False}
    if isinstance(value, ToolCitation):
        origin |= dict.fromkeys(_OF_DOCUMENT)
        origin["tool_result"] = messages.message(citation_pb2.CitedToolResult, value.origin)
    else:
        origin["document_version"] = names.document_version(value.document_id, value.version)
        origin |= place_fields(value)
    return messages.message(citation_pb2.Citation, value, **origin)


def place_fields(value: Citation | Excerpt | SourcePlace) -> Mapping[str, Any]:
    """Where a text stands in the original file. Only the pages of a PDF have boxes."""
    boxes = [
        citation_pb2.PageBox(left=left, top=top, right=right, bottom=bottom)
        for left, top, right, bottom in value.boxes
    ]
    path, locator = ("", value.path) if boxes else (value.path, "")
    return {"page": value.page, "boxes": boxes, "path": path, "locator": locator}


def excerpt(value: Excerpt) -> excerpt_pb2.Excerpt:
    return messages.message(
        excerpt_pb2.Excerpt,
        value,
        document_version=names.document_version(value.document_id, value.version),
        marked_in_markdown=None if value.marked_shown is None else byte_range(value.marked_shown),
        **place_fields(value),
        section_markdown=value.section,
    )


def excerpt_of(turn: Turn, passage: str) -> excerpt_pb2.Excerpt:
    """The excerpt of a passage in the end of a turn. Raises NotFound."""
    end = turn_pb2.TurnEvent.FromString(turn.terminal or b"")
    for shown in (*end.answer.excerpts, *end.answer.more_excerpts, *end.refused.excerpts):
        if shown.passage == passage:
            return shown
    raise NotFound.of("passage", passage)


def place_of(shown: excerpt_pb2.Excerpt, turn: Turn) -> ExcerptPlace:
    """Where an excerpt of a turn stands."""
    source, marked = (
        ByteRange(bounds.start, bounds.end) for bounds in (shown.source_range, shown.marked_range)
    )
    document_id, version = names.parse_document_version(shown.document_version)
    return ExcerptPlace(
        names.parse_uuid("passages", shown.passage),
        SourceRef(document_id, version or 0, source),
        marked if shown.HasField("marked_range") else None,
        not shown.HasField("piece_range"),
        turn.question.text,
        names.parse_slug("collections", shown.collection),
    )


def fallbacks(used: Iterable[Fallback]) -> list[turn_pb2.Fallback]:
    return [messages.message(turn_pb2.Fallback, use) for use in list(used)[:MAX_FALLBACKS]]


def usage(value: Usage) -> turn_pb2.Usage:
    return messages.message(turn_pb2.Usage, value, cost_usd_micros=value.cost_micros)


def tool_source(value: ToolSource) -> tool_pb2.ToolSource:
    result = tool_pb2.ToolSource(
        uri=safe_uri(value.uri),
        title=value.title,
        fetch_time=timestamp(value.fetch_time),
        text=value.text,
    )
    if value.passage is not None:
        passage = value.passage
        result.document_version = names.document_version(passage.document_id, passage.version)
        result.passage = names.passage(passage.passage_id)
        result.source_range.CopyFrom(byte_range(passage.range))
    return result


def event(value: NumberedEvent) -> turn_pb2.TurnEvent:
    result = turn_pb2.TurnEvent(seq=value.seq, attempt=value.attempt, create_time=timestamp(value.time))
    what = value.event
    match what:
        case Started():
            result.started.CopyFrom(messages.message(turn_pb2.TurnStarted, what))
        case Status():
            result.status.CopyFrom(messages.message(turn_pb2.TurnStatus, what))
        case Delta():
            result.delta.text = what.text
            result.delta.byte_offset = what.byte_offset
        case Cited():
            result.citation.CopyFrom(citation(what.citation))
        case ToolCalled():
            result.tool_call.call_id = what.call_id
            result.tool_call.tool = names.tool(what.tool)
            json_format.ParseDict(dict(what.arguments), result.tool_call.arguments)
            result.tool_call.title = what.title
        case ToolReturned():
            result.tool_result.call_id = what.call_id
            result.tool_result.outcome = enums.TOOL_OUTCOME.number(what.outcome)
            result.tool_result.content = what.content
            if what.data is not None:
                # A Value takes any JSON, not only the objects of the function's type.
                json_format.ParseDict(cast("dict[str, object]", what.data), result.tool_result.data)
            result.tool_result.sources.extend(map(tool_source, what.sources))
            result.tool_result.fault = enums.TOOL_FAULT.number(what.fault)
        case ProviderSwitched():
            result.provider_switched.CopyFrom(messages.message(turn_pb2.TurnProviderSwitched, what))
        case ModelUsed():
            result.usage.CopyFrom(messages.message(turn_pb2.TurnUsage, what, usage=usage(what.usage)))
        case AttemptRestarted():
            result.attempt_restarted.CopyFrom(messages.message(turn_pb2.TurnAttemptRestarted, what))
        case Answered():
            result.answer.CopyFrom(
                messages.message(
                    turn_pb2.TurnAnswer,
                    what,
                    citations=[citation(item) for item in what.citations],
                    usage=usage(what.usage),
                    fallbacks=fallbacks(what.fallbacks),
                    excerpts=[excerpt(item) for item in what.excerpts],
                    more_excerpts=[excerpt(item) for item in what.more_excerpts],
                    unsupported_sentences=what.unsupported,
                )
            )
            if result.answer.ByteSize() > MAX_FULL_EVENT_BYTES:
                for item in result.answer.citations[MAX_FULL_CITATIONS:]:
                    item.ClearField("uri")
        case Refused():
            result.refused.CopyFrom(
                messages.message(
                    turn_pb2.TurnRefused,
                    what,
                    usage=usage(what.usage),
                    fallbacks=fallbacks(what.fallbacks),
                    excerpts=[excerpt(item) for item in what.excerpts],
                )
            )
        case Failed():
            result.failed.status.CopyFrom(status.of(what.error))
            result.failed.retriable = what.retriable
            result.failed.usage.CopyFrom(usage(what.usage))
            result.failed.fallbacks.extend(fallbacks(what.fallbacks))
        case Cancelled():
            result.cancelled.CopyFrom(messages.message(turn_pb2.TurnCancelled, what))
        case _:
            assert_never(what)
    return result


def share(value: Row, reader: Principal, *, answered: bool = True) -> share_pb2.Share:
    """Convert a share. answered: whether with its answer."""
    answer: turn_pb2.TurnAnswer | None = None
    if answered and value.terminal is not None:
        answer = _readable(turn_pb2.TurnEvent.FromString(value.terminal).answer, value.unreadable)
    turn = names.turn(value.turn_id) if value.user_id == reader.user_id else ""
    return messages.message(share_pb2.Share, value, turn=turn, answer=answer)


def _readable(answer: turn_pb2.TurnAnswer, unreadable: Collection[UUID]) -> turn_pb2.TurnAnswer:
    def hidden(version: str) -> bool:
        # A tool's source may be a document, and does not say which.
        return bool(unreadable) if not version else names.parse_document_version(version)[0] in unreadable

    # Without a model, the text consists of texts of documents.
    withheld = bool(unreadable) and answer.model == FallbackKind.PASSAGES
    return turn_pb2.TurnAnswer(
        text="" if withheld else answer.text,
        citations=[
            citation_pb2.Citation(answer_range=citation.answer_range, not_permitted=True)
            if hidden(citation.document_version)
            else citation
            for citation in answer.citations
        ],
        outcome=answer.outcome,
        unsourced=() if withheld else answer.unsourced,
        model=answer.model,
        fallbacks=[
            turn_pb2.Fallback(kind=fallback.kind)
            for fallback in answer.fallbacks
            if fallback.kind == turn_pb2.FALLBACK_KIND_UNCITED
        ],
        excerpts=[excerpt for excerpt in answer.excerpts if not hidden(excerpt.document_version)],
    )
