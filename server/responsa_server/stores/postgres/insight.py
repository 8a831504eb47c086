"""Usage, quality and feedback in PostgreSQL. The transactions that end turns, upload documents and begin sessions write
events; this module adds them up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.insight import (
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
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import FEEDBACK, TENANT_TURNS
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.rows import Row, build
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Connection, Database, Queries, shielded
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.rows import all_rows, one_row, to_row

_MOST_FOLDED: Final = 5000
_LIST: Final[SqlList[Row]] = SqlList(
    FEEDBACK,
    {"user": "c.user_id", "agent": "split_part(t.agent_version, '/', 2)"},
    table="f.",
    identity="f.message_id",
)
_TURNS: Final[SqlList[Row]] = SqlList(TENANT_TURNS)


class PostgresInsight:
    """Events and their sums. All methods raise Unavailable if the store cannot be reached."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("insight.sql")
        self._audit = AuditLog()

    @shielded
    async def fold(self) -> int:
        """Add a limited number of events of all tenants to the sums. Returns how many; 0 if there are none, or if
        another process is adding them."""
        async with self._database.log() as connection:
            if not await _held(connection, self._queries["hold"]):
                return 0
            row = await one_row(connection, self._queries["fold"], {"most": _MOST_FOLDED})
        return int(row["count"]) if row else 0

    @shielded
    async def note_searches(self, tenant_id: str, user_id: UUID, collections: Sequence[str]) -> None:
        """Count searches of a user. collections: for each search, the collection that it was limited to; "" for none or several."""
        values = {"tenant": tenant_id, "user": user_id, "collections": list(collections)}
        await self._database.together(
            tenant_id, [(self._queries["hurry"], {}), (self._queries["note_searches"], values)]
        )

    @shielded
    async def usage(
        self,
        tenant_id: str,
        user_id: UUID,
        span: Span,
        granularity: Granularity | None,
        by: Collection[Dimension],
    ) -> Report:
        """Return the usage of a user, or of EVERYBODY, in the order of time and group; at most MOST_ROWS + 1 rows."""
        first_day, last_day = _days(span, granularity)
        values = {
            "tenant": tenant_id,
            "user": user_id,
            "start": span.start,
            "end": span.end,
            "first_day": first_day,
            "last_day": last_day,
            "granularity": granularity.value if granularity else "",
            "by": [dimension.value for dimension in by],
            "most": MOST_ROWS + 1,
        }
        rows, [state] = await self._database.together(
            tenant_id, [(self._queries["usage"], values), (self._queries["state"], values)]
        )
        return Report([to_row(row) for row in rows], state["complete_through"])

    @shielded
    async def quality(
        self, tenant_id: str, span: Span, granularity: Granularity | None = None
    ) -> tuple[Sequence[Quality], Sequence[Quality], Report]:
        """Return the quality of all agents together, then that of each agent; that of all agents in each period in
        which turns were asked, if there is a granularity; and a report without rows."""
        first_day, last_day = _days(span, granularity)
        values = {"tenant": tenant_id, "start": span.start, "end": span.end, "granularity": granularity or ""}
        values |= {"first_day": first_day, "last_day": last_day}
        rows, [state] = await self._database.together(
            tenant_id, [(self._queries["quality"], values), (self._queries["state"], values)]
        )
        qualities, periods = {"": Quality("")}, dict[datetime, Quality]()
        for row in rows:
            counted = row["measure"], row["label"], row["total"]
            if (time := row["start_time"]) is not None:
                periods.setdefault(time, Quality("", time)).add(*counted)
                continue
            for agent in ("", row["agent"]):
                qualities.setdefault(agent, Quality(agent)).add(*counted)
        report = Report((), state["complete_through"])
        return list(qualities.values()), list(periods.values()), report

    @shielded
    async def turns(self, tenant_id: str, span: Span, query: ListQuery) -> Page[Row]:
        """Return a page of the tenant's turns that were asked in this time and have ended."""
        values = {"tenant": tenant_id, "start": span.start, "end": span.end}
        async with self._database.tenant(tenant_id) as connection:
            page = await _TURNS.read(connection, self._queries["turns"], query, values, to_row)
        called = {"tenant": tenant_id, "turns": [turn.id for turn in page.items]}
        async with self._database.log_statements() as connection:
            rows = await all_rows(connection, self._queries["slowest_tools"], called)
        slowest = {row["turn_id"]: (row["tool"], row["milliseconds"]) for row in rows}
        for turn in page.items:
            turn.slowest_tool, turn.slowest_tool_ms = slowest.get(turn.id, ("", 0))
        return page

    @shielded
    async def feedback(self, tenant_id: str, query: ListQuery) -> Page[Row]:
        """Return a page of the tenant's feedback."""
        async with self._database.tenant(tenant_id) as connection:
            return await _LIST.read(
                connection, self._queries["feedback"], query, {"tenant": tenant_id}, to_row
            )

    @shielded
    async def resolve(
        self, caller: Principal, message_id: UUID, state: FeedbackState, note: str, audit: AuditEvent
    ) -> Row:
        """Set the state and the note of feedback. Raises NotFound."""
        values = {
            "tenant": caller.tenant_id,
            "user": caller.user_id,
            "message": message_id,
            "state": state.value,
            "note": note,
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            if await one_row(connection, self._queries["resolve"], values) is None:
                raise NotFound.of("feedback", names.feedback(message_id))
            await self._audit.write(connection, audit)
            row = await one_row(connection, self._queries["one_feedback"], values)
        if row is None:  # its conversation was deleted just now
            raise NotFound.of("feedback", names.feedback(message_id))
        return to_row(row)

    @shielded
    async def exchange(self, caller: Principal, message_id: UUID, audit: AuditEvent) -> Row:
        """Return the question and the answer that a user shows with feedback, with the documents that the caller may
        read. Raises NotFound."""
        values = {"tenant": caller.tenant_id, "message": message_id}
        async with self._database.reading(caller) as connection:
            row = await one_row(connection, self._queries["exchange"], values)
            if row is None:
                raise NotFound.of("feedback", names.feedback(message_id))
            await self._audit.write(connection, audit)
        return to_row(row)

    @shielded
    async def feedback_counts(
        self, tenant_id: str, span: Span, granularity: Granularity | None = None
    ) -> tuple[Sequence[FeedbackCount], datetime]:
        """Return the numbers of feedback that was given or changed in this time, by agent, and if there is a
        granularity, by period; and when they were counted."""
        values = {"tenant": tenant_id, "start": span.start, "end": span.end, "granularity": granularity or ""}
        rows, [state] = await self._database.together(
            tenant_id, [(self._queries["feedback_stats"], values), (self._queries["state"], values)]
        )
        return [build(FeedbackCount, row) for row in rows], state["complete_through"]

    @shielded
    async def settings(self, tenant_id: str) -> TenantInsight:
        """Return the tenant's settings."""
        async with self._database.tenant(tenant_id) as connection:
            row = await one_row(connection, self._queries["settings"], {"tenant": tenant_id})
        return build(TenantInsight, row or {})

    @shielded
    async def set_settings(
        self, tenant_id: str, question_texts: bool | None, budget_micros: int | None, audit: AuditEvent
    ) -> None:
        """Change the settings that are not None. If administrators may no longer read questions, the titles of patterns
        are removed, too. A call that changes nothing is not audited."""
        values = {"tenant": tenant_id, "question_texts": question_texts, "budget_micros": budget_micros}
        async with self._database.tenant(tenant_id) as connection:
            if await one_row(connection, self._queries["set_settings"], values) is not None:
                await self._audit.write(connection, audit)


def _days(span: Span, granularity: Granularity | None) -> tuple[datetime, datetime]:
    """The days that are read from their own sums: none if the report is by hours."""
    return (span.end, span.end) if granularity is Granularity.HOUR else span.whole_days()


async def _held(connection: Connection, query: LiteralString) -> bool:
    row = await (await connection.execute(query)).fetchone()
    return bool(row and row[0])
