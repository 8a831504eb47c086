"""What administrators read of usage, quality and feedback, and what users read of their own usage."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.insight import (
    EVERYBODY,
    MOST_ROWS,
    Dimension,
    FeedbackState,
    GivenFeedback,
    Granularity,
    Report,
    Span,
)
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.stores.postgres.patterns import PostgresPatterns

DEFAULT_DAYS: Final = 30
"""The days that a report covers if it names no beginning."""


class Insight:
    """Reports about the caller's tenant, and about the caller. The authorisation table decides who may ask for which."""

    def __init__(self, store: PostgresInsight, patterns: PostgresPatterns) -> None:
        self.store = store
        self.patterns = patterns

    async def usage(
        self,
        who: Principal,
        user_id: UUID | None,
        span: Span,
        granularity: Granularity | None,
        by: Collection[Dimension],
    ) -> Report:
        """Return the usage of a user of the tenant; of all users for None. Raises InvalidRequest if the report would have too many rows."""
        report = await self.store.usage(who.tenant_id, user_id or EVERYBODY, span, granularity, by)
        if len(report.rows) > MOST_ROWS:
            raise InvalidRequest.of_field(
                "granularity",
                "report.max_rows",
                f"makes more than {MOST_ROWS:,} rows; choose longer periods, a shorter time, or fewer fields to group by",
            )
        return report

    async def resolve(
        self, who: Principal, message_id: UUID, state: FeedbackState, note: str
    ) -> GivenFeedback:
        """Set the state and the note of feedback. Raises NotFound."""
        audit = AuditEvent.of(who, "feedback.update", names.feedback(message_id))
        return await self.store.resolve(who, message_id, state, note, audit)

    async def allow_texts(self, who: Principal, allowed: bool) -> None:
        """Let the tenant's administrators read the texts of questions, or not."""
        audit = AuditEvent.of(who, "insight_settings.update", "insightSettings")
        await self.store.set_question_texts(who.tenant_id, allowed, audit)


def span(start: datetime | None, end: datetime | None) -> Span:
    """The time of a report: by default, up to now, and from 30 days before its end. The hours in which it begins and ends are whole. Raises InvalidRequest."""
    last = end or datetime.now(UTC)
    first = start or last - timedelta(days=DEFAULT_DAYS)
    if first >= last:
        raise InvalidRequest.of_field("start_time", "report.order", "must be before end_time")
    through = _hour(last)
    return Span(_hour(first), through if through == last else through + timedelta(hours=1))


def _hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)
