"""The job that waits for the next run of a schedule. The job stays on the queue as long as the source has this schedule, so only one server at a time looks at
the job. If no server was running at a scheduled time, the run is made up for once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.knowledge import pause_after
from responsa_server.sources.mapping import read_mapping
from responsa_server.stores.postgres.source_runs import PostgresSourceRuns

_DAY: Final = 86_400.0


class Scheduling:
    """Begins the runs of schedules."""

    def __init__(self, runs: PostgresSourceRuns) -> None:
        self._runs = runs
        self._log: FilteringBoundLogger = structlog.get_logger("sources")

    async def work(self, tenant_id: str, schedule_id: UUID, attempts: int) -> float | None:
        """Begin the run if it is due. Returns the seconds until the next look; None if the source has no such schedule any more."""
        try:
            source = await self._runs.scheduled(tenant_id, schedule_id)
            if source is None or source.next_run_time is None:
                return None
            due, now = source.next_run_time, datetime.now(UTC)
            if due <= now:
                mapping, _ = read_mapping(source.mapping)
                if mapping is None or mapping.schedule is None:
                    # A release may be stricter than the one that stored the mapping.
                    self._log.error("a schedule cannot be read", tenant=tenant_id, source=source.id)
                    return _DAY
                later = mapping.schedule.after(now)
                begun = await self._runs.start_scheduled(tenant_id, schedule_id, due, later)
                if begun is None:
                    self._log.warning("a scheduled run did not begin", tenant=tenant_id, source=source.id)
                due = later
        except Unavailable:
            return pause_after(attempts)
        return min(_DAY, max(0.0, (due - now).total_seconds()))
