"""What administrators read, and users of their own: /feedback and /analytics/*."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.admin.v1 import insight_pb2
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1 import usage_report_pb2
from responsa_server.transports.http.original_paths.rows import (
    ADMIN,
    AUTH,
    IDENTIFIED,
    Given,
    Json,
    OriginalRow,
    id_of,
    name_of,
    opinion_of,
    row_of_list,
    user_of,
)


def _entry_of_feedback(feedback: insight_pb2.GivenFeedback) -> dict[str, object]:
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
                "agent": id_of(count.agent),
                "up": count.up,
                "down": count.down,
                "neutral": count.neutral,
                "scored": count.scored,
                "mean_score": count.mean_score if count.scored else None,
                "commented": count.commented,
                "open": count.open,
            }
            for count in response.counts
        ],
        "complete_through": response.complete_through.ToJsonString(),
    }


def _usage(response: admin.QueryUsageResponse | auth.QueryMyUsageResponse) -> Json:
    return {
        "usage": [
            {
                "date": row.start_time.ToJsonString()[:10],
                "agent": id_of(row.agent) or None,
                "questions": row.answered_turns + row.refused_turns + row.failed_turns + row.cancelled_turns,
                **{
                    name: getattr(row, name)
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
            for row in response.rows
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


def _granularity(values: Given) -> usage_report_pb2.UsageGranularity.ValueType:
    """The length of the periods. Another word becomes the value that the contract refuses, after the check of the credential."""
    return _GRANULARITIES.get(values.get("by", values.get("period", "day")), _UNKNOWN_GRANULARITY)


def _of_user(values: Given) -> Mapping[str, Any]:
    return {"user": user_of(values)} if "id" in values else {}


_BY: Final[Sequence[str]] = ("by", "period")
_PERIOD: Final = "must be hour, day, week or month"
_PERIODS: Final[Mapping[str, str]] = {"by": _PERIOD, "period": _PERIOD}


ROWS: Final[Sequence[OriginalRow]] = (
    row_of_list(
        "/feedback",
        ADMIN + "ListFeedback",
        admin.ListFeedbackRequest,
        admin.ListFeedbackResponse,
        "feedback",
        _entry_of_feedback,
        where=lambda values: {"filter": _feedback_filter(values)},
        fields={"rating": str, "state": str, "agent": str, "user_id": str},
        renamed={"filter": ("rating", "state", "agent", "user_id")},
    ),
    OriginalRow(
        ("GET",),
        "/feedback/stats",
        ADMIN + "GetFeedbackStats",
        lambda _: admin.GetFeedbackStatsRequest(),
        admin.GetFeedbackStatsResponse,
        lambda reply, _: _feedback_stats(reply),
        {},
    ),
    *(
        OriginalRow(
            ("GET",),
            path,
            call,
            lambda values, request=request: request(
                granularity=_granularity(values),
                group_by=(usage_report_pb2.USAGE_DIMENSION_AGENT,),
                **_of_user(values),
            ),
            response,
            lambda reply, _: _usage(reply),
            dict.fromkeys(_BY, str),
            renamed={"granularity": _BY, "user": ("id",)},
            remedies={**_PERIODS, **IDENTIFIED},
        )
        for path, call, request, response in (
            ("/analytics/usage", AUTH + "QueryMyUsage", auth.QueryMyUsageRequest, auth.QueryMyUsageResponse),
            ("/analytics/system", ADMIN + "QueryUsage", admin.QueryUsageRequest, admin.QueryUsageResponse),
            (
                "/analytics/users/{id}",
                ADMIN + "QueryUsage",
                admin.QueryUsageRequest,
                admin.QueryUsageResponse,
            ),
        )
    ),
)
