"""The health of the standby that answers searches (ADR 0085)."""

from __future__ import annotations

import time
from typing import Final

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.formatting import in_seconds
from responsa_server.domain.parts import Health, PartReport
from responsa_server.stores.postgres.database import STANDBY_PART, Database, shielded

_WRITTEN: Final = "SELECT pg_current_wal_flush_lsn()::text"
_STATE: Final = "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn() >= %(awaited)s::pg_lsn, current_setting('server_version')"
_ANSWER_SECONDS: Final = 1.0
_BEHIND_SECONDS: Final = 10.0


class StandbyPart:
    """Implements `domain.parts.ReportedPart`. The primary does what the standby does not, so this part is never down."""

    name = STANDBY_PART

    def __init__(self, database: Database) -> None:
        self._database = database
        # What the primary had written at an earlier check, and when that was; "" once the standby has replayed it.
        self._awaited, self._since = "", 0.0

    @shielded
    async def check(self) -> PartReport:
        if not self._awaited:
            try:
                async with self._database.no_tenant_statements() as connection:
                    row = await (await connection.execute(_WRITTEN)).fetchone()
            except Unavailable:
                detail = "The standby cannot be compared with the primary. See the part postgresql."
                return PartReport(Health.DEGRADED, detail=detail)
            self._awaited, self._since = str(row[0]) if row else "0/0", time.monotonic()
        found = await self._database.ask_standby((_STATE, {"awaited": self._awaited}), _ANSWER_SECONDS)
        if found is None:
            return _degraded(
                "cannot be reached or is too slow", "Check that it runs, and DATABASE_STANDBY_URL"
            )
        [[(recovering, replayed, version)]] = found
        if not recovering:
            return _degraded("is no standby", "Name one in DATABASE_STANDBY_URL, or remove the setting")
        behind = time.monotonic() - self._since
        if replayed:
            self._awaited = ""
        elif behind > _BEHIND_SECONDS:
            late = f"has been behind for {in_seconds(round(behind))}"
            return _degraded(late, "Look at its log, and at pg_stat_replication of the primary")
        return PartReport(Health.OK, version=str(version))


def _degraded(problem: str, remedy: str) -> PartReport:
    return PartReport(Health.DEGRADED, detail=f"The standby {problem}, so the primary searches. {remedy}.")
