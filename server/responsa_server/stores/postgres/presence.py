"""The advisory lock by which other processes notice at once that this process has ended (ADR 0063)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import psycopg
import uuid_utils.compat

# `other_workers` in turn_log.sql tests the same lock. The lock is shared, so that a new connection need not wait for
# the end of an old one. Behind a pooler, the id of the
# backend differs from the id in the handshake; there, a session's lock would say nothing about this process.
_HOLD: Final = (
    "SELECT pg_advisory_lock_shared(hashtextextended('responsa.worker ' || "
    "%(worker)s::uuid::text, 0)) WHERE pg_backend_pid() = %(pid)s"
)


class Presence:
    """Holds the lock of this process on the connection on which the process writes to the log, and judges which other processes have ended.

    If that connection ends, PostgreSQL releases the lock, but only after the last write on the connection.
    """

    def __init__(self) -> None:
        self.worker: UUID = uuid_utils.compat.uuid7()
        """The id under which this process owns turns. A UUIDv8 (RFC 9562: the application gives the version its
        meaning) has held its lock; a UUIDv7 has not."""
        self._held_again_at: float | None = None
        self._absent: dict[UUID, float] = {}

    @property
    def held(self) -> bool:
        """Whether this process has held its lock."""
        return self.worker.version == 8

    async def hold(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        """Take the lock on a new connection, unless a pooler stands in front of PostgreSQL."""
        worker = self.worker if self.held else uuid_utils.compat.uuid8(os.urandom(16))
        cursor = await connection.execute(
            _HOLD, {"worker": worker, "pid": connection.info.backend_pid}, prepare=False
        )
        if cursor.rowcount:
            self._held_again_at = time.monotonic() if self.held else None
            self.worker = worker

    def judge(self, absent: Iterable[UUID], grace_seconds: float, lease_seconds: float) -> Sequence[UUID]:
        """Those of the workers without their lock that have ended: they have been without it for `grace_seconds`.

        If this process itself has lost its lock, PostgreSQL may have restarted and the others may have lost theirs for
        the same reason. Then none counts as ended for `lease_seconds`.
        """
        now = time.monotonic()
        self._absent = {worker: self._absent.get(worker, now) for worker in absent}
        if self._held_again_at is not None and now < self._held_again_at + lease_seconds:
            return []
        return [worker for worker, since in self._absent.items() if now >= since + grace_seconds]
