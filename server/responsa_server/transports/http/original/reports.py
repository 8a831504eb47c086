"""What administrators read, and users of their own: /feedback and /analytics/*."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, cast

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.admin.v1 import insight_pb2
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import usage_report_pb2
from responsa_server.transports.http.original.rows import (
    ADMIN,
    AUTH,
    IDENTIFIED,
    PAGE_SIZE,
    PAGED,
    WHERE,
    Given,
    Json,
    Row,
    id_of,
    name_of,
    named,
    opinion_of,
    page_size,
)


def _given_feedback(feedback: insight_pb2.GivenFeedback) -> dict[str, object]:
    return {
        "message_id": feedback.feedback.split("/")[1],
        "turn_id": id_of(feedback.turn),
        "user_id": id_of(feedback.user),
        "agent": id_of(feedback.agent),
        **opinion_of(feedback),
        "state": insight_pb2.FeedbackState.Name(feedback.state).removeprefix("FEEDBACK_STATE_").lower(),
        "created_at": feedback.create_time.ToJsonString(),
        "updated_at": feedback.update_time.ToJsonString(),
    }


def _feedback_filter(values: Given) -> str:
    """The filter of the values that were given."""
    wanted = {name: values[name].upper() for name in ("rating", "state") if name in values}
    if "agent" in values:
        wanted["agent"] = name_of("agents", values["agent"])
    if "user_id" in values:
        wanted["user"] = name_of("users", values["user_id"])
    return " AND ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in wanted.items())


def _feedback_stats(response: admin.GetFeedbackStatsResponse) -> Json:
    return {
        "agents": [
            {
                "agent": id_of(one.agent),
                "up": one.up,
                "down": one.down,
                "neutral": one.neutral,
                "scored": one.scored,
                "mean_score": one.mean_score if one.scored else None,
                "commented": one.commented,
                "open": one.open,
            }
            for one in response.counts
        ],
        "complete_through": response.complete_through.ToJsonString(),
    }


def _usage(response: admin.QueryUsageResponse | auth.QueryMyUsageResponse) -> Json:
    return {
        "usage": [
            {
                "date": one.start_time.ToJsonString()[:10],
                "agent": id_of(one.agent) or None,
                "questions": one.answered_turns + one.refused_turns + one.failed_turns + one.cancelled_turns,
                **{
                    name: getattr(one, name)
                    for name in (
                        "answered_turns",
                        "refused_turns",
                        "failed_turns",
                        "cancelled_turns",
                        "searches",
                        "uploads",
                        "sign_ins",
                        "tool_calls",
                        "input_tokens",
                        "output_tokens",
                        "cost_usd_micros",
                    )
                },
            }
            for one in response.rows
        ],
        "complete_through": response.complete_through.ToJsonString(),
    }


_GRANULARITIES: Final = {
    "hour": usage_report_pb2.USAGE_GRANULARITY_HOUR,
    "day": usage_report_pb2.USAGE_GRANULARITY_DAY,
    "week": usage_report_pb2.USAGE_GRANULARITY_WEEK,
    "month": usage_report_pb2.USAGE_GRANULARITY_MONTH,
}


_UNKNOWN_GRANULARITY: Final = cast("usage_report_pb2.UsageGranularity.ValueType", 99)


_BY_AGENT: Final = (usage_report_pb2.USAGE_DIMENSION_AGENT,)


def _granularity(values: Given) -> usage_report_pb2.UsageGranularity.ValueType:
    """The length of the periods. Another word becomes the value that the contract refuses, after the check of the credential."""
    return _GRANULARITIES.get(values.get("by", values.get("period", "day")), _UNKNOWN_GRANULARITY)


_BY: Final[Sequence[str]] = ("by", "period")
_PERIOD: Final = "must be hour, day, week or month"
_PERIODS: Final[Mapping[str, str]] = {"by": _PERIOD, "period": _PERIOD}


ROWS: Final[Sequence[Row]] = (
    Row(
        ("GET",),
        "/feedback",
        ADMIN + "ListFeedback",
        lambda given: admin.ListFeedbackRequest(
            page_size=page_size(given),
            page_token=given.get("page_token", ""),
            filter=_feedback_filter(given),
        ),
        admin.ListFeedbackResponse,
        lambda found, _: {
            "feedback": [_given_feedback(one) for one in found.feedback],
            "next_page_token": found.next_page_token or None,
        },
        {"rating": str, "state": str, "agent": str, "user_id": str, **PAGED},
        renamed={"page_size": PAGE_SIZE, "filter": ("rating", "state", "agent", "user_id")},
        alternatives=WHERE,
        items="feedback",
    ),
    Row(
        ("GET",),
        "/feedback/stats",
        ADMIN + "GetFeedbackStats",
        lambda _: admin.GetFeedbackStatsRequest(),
        admin.GetFeedbackStatsResponse,
        lambda found, _: _feedback_stats(found),
        {},
    ),
    Row(
        ("GET",),
        "/analytics/usage",
        AUTH + "QueryMyUsage",
        lambda given: auth.QueryMyUsageRequest(granularity=_granularity(given), group_by=_BY_AGENT),
        auth.QueryMyUsageResponse,
        lambda found, _: _usage(found),
        dict.fromkeys(_BY, str),
        renamed={"granularity": _BY},
        remedies=_PERIODS,
    ),
    Row(
        ("GET",),
        "/analytics/system",
        ADMIN + "QueryUsage",
        lambda given: admin.QueryUsageRequest(granularity=_granularity(given), group_by=_BY_AGENT),
        admin.QueryUsageResponse,
        lambda found, _: _usage(found),
        dict.fromkeys(_BY, str),
        renamed={"granularity": _BY},
        remedies=_PERIODS,
    ),
    Row(
        ("GET",),
        "/analytics/users/{id}",
        ADMIN + "QueryUsage",
        lambda given: admin.QueryUsageRequest(
            user=named(given), granularity=_granularity(given), group_by=_BY_AGENT
        ),
        admin.QueryUsageResponse,
        lambda found, _: _usage(found),
        dict.fromkeys(_BY, str),
        renamed={"granularity": _BY, "user": ("id",)},
        remedies={**_PERIODS, **IDENTIFIED},
    ),
)
