"""What administrators read of usage, quality and feedback, and what users read of their own usage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest, NotFound
from responsa_server.domain.insight import (
    EVERYBODY,
    MOST_PERIODS,
    MOST_ROWS,
    Dimension,
    FeedbackCount,
    FeedbackState,
    Granularity,
    Quality,
    Report,
    Span,
    TenantInsight,
)
from responsa_server.domain.people import AuditEvent, Principal, Role
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.stores.postgres.patterns import PostgresPatterns
from responsa_server.stores.postgres.resources import ResourceTable
from responsa_server.stores.postgres.users import PostgresUsers

DEFAULT_DAYS: Final = 30
"""The days that a report covers if it names no beginning."""
Rated = tuple[Quality, FeedbackCount]
"""The quality of turns, and the ratings that were given in the same time."""
_HOUR: Final = timedelta(hours=1)
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


class Insight:
    """Reports about the caller's tenant, and about the caller. The authorisation table decides who may ask for which."""

    def __init__(
        self,
        store: PostgresInsight,
        patterns: PostgresPatterns,
        pattern_table: ResourceTable,
        users: PostgresUsers,
    ) -> None:
        """pattern_table: changes what administrators do about patterns."""
        self.store = store
        self.patterns = patterns
        self._pattern_table = pattern_table
        self._users = users

    async def usage(
        self,
        caller: Principal,
        user_id: UUID | None,
        span: Span,
        granularity: Granularity | None,
        by: Collection[Dimension],
    ) -> Report:
        """Return the usage of a user of the tenant; of all users for None. Raises InvalidRequest if the report would have too many rows."""
        report = await self.store.usage(caller.tenant_id, user_id or EVERYBODY, span, granularity, by)
        if len(report.rows) > MOST_ROWS:
            raise InvalidRequest.of_field(
                "granularity",
                "report.max_rows",
                f"makes more than {MOST_ROWS:,} rows; choose longer periods, a shorter time, or fewer fields to group by",
            )
        return report

    async def quality(
        self, caller: Principal, span: Span, granularity: Granularity | None
    ) -> tuple[Sequence[Rated], Sequence[Rated], Report]:
        """Return the quality and the ratings of all agents together and of each agent; those of each period in which
        something happened, if there is a granularity; and a report without rows. Raises InvalidRequest for too many
        periods.
        """
        if granularity and (span.end - span.start) / granularity.longest > MOST_PERIODS:
            raise InvalidRequest.of_field(
                "granularity",
                "report.max_periods",
                f"makes more than {MOST_PERIODS:,} periods; choose longer ones, or a shorter time",
            )
        agents, periods, report = await self.store.quality(caller.tenant_id, span, granularity)
        counts, _ = await self.store.feedback_counts(caller.tenant_id, span, granularity)
        of_agents = {count.agent: count for count in counts if count.start_time is None}
        of_agents[""] = FeedbackCount.sum(list(of_agents.values()))
        of_periods = {count.start_time: count for count in counts if count.start_time is not None}
        qualities = {quality.start_time: quality for quality in periods if quality.start_time is not None}
        none = FeedbackCount.sum(())
        return (
            [(quality, of_agents.get(quality.agent, none)) for quality in agents],
            [
                (qualities.get(time, Quality("", time)), of_periods.get(time, none))
                for time in sorted(qualities.keys() | of_periods.keys())
            ],
            report,
        )

    async def resolve(self, caller: Principal, message_id: UUID, state: FeedbackState, note: str) -> Row:
        """Set the state and the note of feedback. Raises NotFound."""
        audit = AuditEvent.of_call(caller, names.feedback(message_id))
        return await self.store.resolve(caller, message_id, state, note, audit)

    async def exchange(self, caller: Principal, message_id: UUID) -> Row:
        """Return the question and the answer that a user shows with feedback. Raises NotFound."""
        audit = AuditEvent.of_call(caller, names.feedback(message_id))
        return await self.store.exchange(caller, message_id, audit)

    async def update_pattern(
        self, caller: Principal, pattern_id: UUID, changes: Mapping[str, object], etag: str
    ) -> Row:
        """Change the state, the note and the assignee of a pattern. changes: the new values of these columns. Raises
        InvalidRequest for an assignee who is not an active administrator, and the errors of `ResourceTable.update`."""
        if isinstance(assignee_id := changes.get("assignee_id"), UUID):
            await self._check_assignee(caller.tenant_id, assignee_id)
        if "state" in changes:
            # The database's time: it is compared with the times of turns.
            changes = {**changes, "resolver_id": caller.user_id, "resolve_time": "now"}
        return await self._pattern_table.update(caller, pattern_id, changes, etag)

    async def _check_assignee(self, tenant_id: str, user_id: UUID) -> None:
        try:
            user = await self._users.get(tenant_id, user_id)
        except NotFound:
            user = None
        if user is None or user.role is not Role.ADMIN or user.disable_time is not None:
            raise InvalidRequest.of_field(
                "question_pattern.assignee",
                "question_pattern.assignee",
                "must be an enabled administrator of the tenant",
            )

    async def update_settings(
        self, caller: Principal, question_texts: bool | None, budget_micros: int | None
    ) -> TenantInsight:
        """Change the tenant's settings that are not None. Returns all of them."""
        act = "update_budget" if question_texts is None else "update"
        audit = AuditEvent.of(caller, f"insight_settings.{act}", "insightSettings")
        await self.store.set_settings(caller.tenant_id, question_texts, budget_micros, audit)
        return await self.store.settings(caller.tenant_id)


def span(start: datetime | None, end: datetime | None) -> Span:
    """The time of a report: by default, up to now, and from 30 days before its end. The hours in which it begins and
    ends are whole. Raises InvalidRequest."""
    last = end or datetime.now(UTC)
    first = start or last - min(timedelta(days=DEFAULT_DAYS), last - _EARLIEST)
    if first >= last:
        raise InvalidRequest.of_field("start_time", "report.order", "must be before end_time")
    through = _hour(last)
    return Span(_hour(first), through if through == last else through + min(_HOUR, _LATEST - through))


def _hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)
