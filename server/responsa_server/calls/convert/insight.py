"""Usage, quality and feedback, as administrators see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from responsa.admin.v1 import admin_service_pb2, insight_pb2
from responsa.auth.v1 import auth_service_pb2
from responsa.chat.v1 import turn_pb2
from responsa.chat.v1.chat_service_pb2 import StartTurnRequest
from responsa_server.calls import status
from responsa_server.calls.convert import chat, messages
from responsa_server.calls.convert.enums import DIMENSION, GRANULARITY, QUESTION_PATTERN_STATE
from responsa_server.calls.convert.values import to_datetime, unmask, uuid_of
from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.insight import (
    Dimension,
    FeedbackCount,
    Granularity,
    Quality,
    QuestionPatternState,
    Span,
    TenantInsight,
    percentile,
)
from responsa_server.domain.rows import Row
from responsa_server.insight import reports

_Spanned = (
    admin_service_pb2.QueryUsageRequest
    | admin_service_pb2.GetFeedbackStatsRequest
    | admin_service_pb2.GetQualityStatsRequest
    | admin_service_pb2.ListTenantTurnsRequest
    | admin_service_pb2.ListQuestionPatternsRequest
    | auth_service_pb2.QueryMyUsageRequest
)
_Grouped = admin_service_pb2.QueryUsageRequest | auth_service_pb2.QueryMyUsageRequest
_OF_PATTERN: Final = {"uid", "name", "state", "note", "assignee", "resolver", "resolve_time", "etag"}
_OF_REPORT: Final = set(insight_pb2.QuestionPattern.DESCRIPTOR.fields_by_name) - _OF_PATTERN


def span(request: _Spanned) -> Span:
    """The time of a report. Raises InvalidRequest."""
    start = to_datetime("start_time", request.start_time) if request.HasField("start_time") else None
    end = to_datetime("end_time", request.end_time) if request.HasField("end_time") else None
    return reports.span(start, end)


def grouping(request: _Grouped) -> tuple[Granularity | None, Sequence[Dimension]]:
    """The periods and the groups of a report."""
    by = [DIMENSION.value(number) for number in request.group_by]
    return GRANULARITY.value(request.granularity), [dimension for dimension in by if dimension is not None]


def quality(value: Quality, rated: FeedbackCount) -> insight_pb2.Quality:
    return messages.message(
        insight_pb2.Quality,
        value,
        **{f"{end}_turns": value.turns.get(end, 0) for end in ("answered", "refused", "failed", "cancelled")},
        refusals={reason.upper(): number for reason, number in value.refusals.items()},
        fallbacks={kind.upper(): number for kind, number in value.fallbacks.items()},
        up_ratings=rated.up,
        down_ratings=rated.down,
        **{f"latency_p{share}_ms": percentile(value.latencies, share / 100) for share in (50, 90, 95, 99)},
        **{f"first_words_p{share}_ms": percentile(value.first_words, share / 100) for share in (50, 95)},
    )


def tenant_turn(value: Row) -> insight_pb2.TenantTurn:
    request = value.request
    question = "" if request is None else chat.question(StartTurnRequest.FromString(request)).text
    return messages.message(insight_pb2.TenantTurn, value, question=question, **_end(value.terminal))


def _end(terminal: bytes) -> dict[str, Any]:
    """What administrators see of a terminal event: nothing of its texts."""
    event = turn_pb2.TurnEvent.FromString(terminal)
    end = {
        "error_reason": "",
        "model": event.answer.model,
        "passages": event.answer.passages_used,
        "citations": len(event.answer.citations),
        "unsupported_sentences": event.answer.unsupported_sentences,
        "fallbacks": event.answer.fallbacks,
    }
    match event.WhichOneof("event"):
        case "refused":
            end |= {"passages": len(event.refused.excerpts), "fallbacks": event.refused.fallbacks}
        case "failed":
            reason = status.read(event.failed.status).reason.value
            end |= {"error_reason": reason, "fallbacks": event.failed.fallbacks}
        case _:
            pass
    return end


def exchange(value: Row) -> insight_pb2.ShownExchange:
    """The question and the answer, with the titles of all sources and the texts of those that the caller may read."""
    event = turn_pb2.TurnEvent.FromString(value.terminal)
    excerpts = event.refused.excerpts or event.answer.excerpts
    pieces = [(excerpt.document_version, excerpt.title, excerpt.markdown) for excerpt in excerpts] or [
        (citation.document_version, citation.title, citation.quote) for citation in event.answer.citations
    ]
    readable = {names.document(identity) for identity in value.readable}
    sources = [
        insight_pb2.ShownSource(title=title, document_version=version, text=text)
        if version.partition("/versions/")[0] in readable
        else insight_pb2.ShownSource(title=title)
        for version, title, text in pieces
    ]
    # An answer that shows passages consists of them.
    hides = event.answer.excerpts and not all(source.document_version for source in sources)
    return insight_pb2.ShownExchange(
        feedback=names.feedback(value.feedback_id),
        question=value.question,
        answer="" if hides else value.answer,
        sources=sources,
        refusal=event.refused.reason,
    )


def settings(value: TenantInsight) -> insight_pb2.InsightSettings:
    return messages.message(insight_pb2.InsightSettings, value, cost_usd_micros_per_month=value.budget_micros)


def question_pattern(value: Row) -> insight_pb2.QuestionPattern:
    return messages.message(
        insight_pb2.QuestionPattern,
        value,
        uid=str(value.id),
        questions=value.count,
        **{
            f"{end}_turns": getattr(value, end)
            for end in ("answered", "refused", "no_support", "failed", "cancelled")
        },
        up_ratings=value.up,
        down_ratings=value.down,
        unsupported_sentences=value.unsupported,
        example_turns=[names.turn(turn_id) for turn_id in value.examples],
    )


def bare_pattern(value: Row) -> insight_pb2.QuestionPattern:
    """The pattern without what a report counts or names."""
    return messages.message(
        insight_pb2.QuestionPattern, value, uid=str(value.id), **dict.fromkeys(_OF_REPORT)
    )


def pattern_changes(request: admin_service_pb2.UpdateQuestionPatternRequest) -> dict[str, object]:
    """The columns that an update changes, with their new values. Raises InvalidRequest."""
    pattern = request.question_pattern
    paths = unmask(request.update_mask, ("state", "note", "assignee"), pattern)
    changes: dict[str, object] = {}
    if "state" in paths:
        state = QUESTION_PATTERN_STATE.value(pattern.state)
        if state is None or state is QuestionPatternState.REOPENED:
            path = "question_pattern.state"
            raise InvalidRequest.of_field(path, path, "must be OPEN or DONE")
        changes["state"] = state.value
    if "note" in paths:
        changes["note"] = pattern.note
    if "assignee" in paths:
        field = "question_pattern.assignee"
        changes["assignee_id"] = uuid_of(field, "users", pattern.assignee) if pattern.assignee else None
    return changes
