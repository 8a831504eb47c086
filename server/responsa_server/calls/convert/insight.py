"""Usage, quality and feedback, as administrators see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from responsa.admin.v1 import admin_service_pb2, insight_pb2
from responsa.auth.v1 import auth_service_pb2, usage_report_pb2
from responsa_server.calls.convert import messages
from responsa_server.calls.convert.values import (
    USAGE_DIMENSION,
    USAGE_GRANULARITY,
    to_datetime,
)
from responsa_server.calls.frames import AskFrames
from responsa_server.domain import names
from responsa_server.domain.insight import (
    Dimension,
    FeedbackCount,
    GivenFeedback,
    Granularity,
    InsightSettings,
    Quality,
    QuestionPattern,
    Span,
    UsageRow,
    percentile,
)
from responsa_server.domain.turns import TenantTurn
from responsa_server.insight import reports

_CODEC: Final = AskFrames()
_Spanned = (
    admin_service_pb2.QueryUsageRequest
    | admin_service_pb2.GetFeedbackStatsRequest
    | admin_service_pb2.GetQualityStatsRequest
    | admin_service_pb2.ListTenantTurnsRequest
    | admin_service_pb2.ListQuestionPatternsRequest
    | auth_service_pb2.QueryMyUsageRequest
)
_Grouped = admin_service_pb2.QueryUsageRequest | auth_service_pb2.QueryMyUsageRequest


def span(request: _Spanned) -> Span:
    """The time of a report. Raises InvalidRequest."""
    start = to_datetime("start_time", request.start_time) if request.HasField("start_time") else None
    end = to_datetime("end_time", request.end_time) if request.HasField("end_time") else None
    return reports.span(start, end)


def grouping(request: _Grouped) -> tuple[Granularity | None, Sequence[Dimension]]:
    """The periods and the groups of a report."""
    by = [USAGE_DIMENSION.value(number) for number in request.group_by]
    return USAGE_GRANULARITY.value(request.granularity), [one for one in by if one is not None]


def usage_row(value: UsageRow) -> usage_report_pb2.UsageRow:
    return messages.message(
        usage_report_pb2.UsageRow,
        value,
        agent=_named("agents", value.agent),
        collection=_named("collections", value.collection),
        tool=_named("tools", value.tool),
        answered_turns=value.answered,
        refused_turns=value.refused,
        failed_turns=value.failed,
        cancelled_turns=value.cancelled,
        cost_usd_micros=value.cost_micros,
    )


def quality(value: Quality, rated: FeedbackCount) -> insight_pb2.Quality:
    return messages.message(
        insight_pb2.Quality,
        value,
        agent=_named("agents", value.agent),
        **{f"{end}_turns": value.turns.get(end, 0) for end in ("answered", "refused", "failed", "cancelled")},
        refusals={reason.upper(): number for reason, number in value.refusals.items()},
        fallbacks={kind.upper(): number for kind, number in value.fallbacks.items()},
        up_ratings=rated.up,
        down_ratings=rated.down,
        **{f"latency_p{share}_ms": percentile(value.latencies, share / 100) for share in (50, 90, 95, 99)},
        **{f"first_words_p{share}_ms": percentile(value.first_words, share / 100) for share in (50, 95)},
    )


def tenant_turn(value: TenantTurn) -> insight_pb2.TenantTurn:
    return messages.message(
        insight_pb2.TenantTurn,
        value,
        turn=names.turn(value.id),
        user="" if value.user_id is None else names.user(value.user_id),
        question="" if value.request is None else _CODEC.decode_question(value.request).text,
    )


def settings(value: InsightSettings) -> insight_pb2.InsightSettings:
    return messages.message(insight_pb2.InsightSettings, value, cost_usd_micros_per_month=value.budget_micros)


def given_feedback(value: GivenFeedback) -> insight_pb2.GivenFeedback:
    return messages.message(
        insight_pb2.GivenFeedback,
        value,
        feedback=names.feedback(value.id),
        user=names.user(value.user_id),
        turn=names.turn(value.turn_id),
        agent=_named("agents", value.agent),
        resolver="" if value.resolver_id is None else names.user(value.resolver_id),
    )


def question_pattern(value: QuestionPattern) -> insight_pb2.QuestionPattern:
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


def feedback_count(value: FeedbackCount) -> insight_pb2.FeedbackCount:
    return messages.message(insight_pb2.FeedbackCount, value, agent=_named("agents", value.agent))


def _named(kind: str, identity: str) -> str:
    return f"{kind}/{identity}" if identity else ""
