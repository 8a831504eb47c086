"""The library's background work, run as a task of the server's loop."""

from __future__ import annotations

import asyncio
import logging
from typing import Final
from uuid import UUID

from responsa_server.domain.errors import NotFound, Reason, ResponsaError, Unavailable
from responsa_server.domain.ports.knowledge import (
    Documents,
    JobKind,
    JobRunner,
    Operations,
    OwnershipLost,
)
from responsa_server.domain.ports.parts import Health, PartReport
from responsa_server.ingest.ingest import Ingest
from responsa_server.ingest.parse_errors import ParserUnavailable

_LOG: Final = logging.getLogger(__name__)
_LONGEST_PAUSE: Final = 60.0


class KnowledgeJobs:
    """Does the jobs of documents: taking them in, and pruning what no answer cites any more. A `Part`: it tells whether it does."""

    name = "jobs"

    def __init__(
        self,
        runner: JobRunner,
        ingest: Ingest,
        documents: Documents,
        operations: Operations,
        *,
        max_attempts: int = 6,
    ) -> None:
        """max_attempts: after so many a document is given up; a database that cannot be reached does not end it."""
        self._runner = runner
        self._ingest = ingest
        self._documents = documents
        self._operations = operations
        self._max_attempts = max_attempts
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take jobs. Returns at once."""
        if self._task is None:
            work = {JobKind.INGEST: self.ingest, JobKind.PRUNE: self.prune}
            self._task = asyncio.create_task(self._runner.run(work), name="knowledge jobs")
            self._task.add_done_callback(_ended)

    async def close(self) -> None:
        """Stop. What is under way is given back and begun again by the next worker."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    @property
    def alive(self) -> bool:
        """Whether jobs are being taken."""
        return self._task is not None and not self._task.done()

    async def check(self) -> PartReport:
        """Whether documents that are sent will be read."""
        if self.alive:
            return PartReport(Health.OK)
        return PartReport(
            Health.DOWN,
            detail="Documents that are uploaded are not read. The server's log tells why; restart it.",
        )

    async def ingest(self, tenant_id: str, operation_id: UUID, attempts: int) -> float | None:
        """One attempt at an operation: None when it has ended, else the seconds to wait before the next."""
        pause = min(_LONGEST_PAUSE, 2.0**attempts)
        try:
            await self._ingest.run(tenant_id, operation_id)
        except OwnershipLost:
            # Either it has ended, or another worker has this very job. That one may be lost too, and the queue forgets a job that anybody
            # reports as done: so look again, later and later, rather than take it away from who is at work.
            return None if await self._has_ended(tenant_id, operation_id) else _LONGEST_PAUSE * (attempts + 1)
        except Unavailable as error:
            _LOG.warning("operation %s waits for a part that is away: %s", operation_id, error.reason)
            return pause
        except Exception as error:  # whatever it is, the operation must end, now or after more attempts
            _LOG.exception("attempt %d at operation %s failed", attempts + 1, operation_id)
            if attempts + 1 < self._max_attempts:
                return pause
            await self._ingest.give_up(tenant_id, operation_id, _told(error, operation_id))
        return None

    async def prune(self, tenant_id: str, document_id: UUID, attempts: int) -> float | None:
        """Remove a document's versions that nobody cites."""
        try:
            await self._documents.prune(tenant_id, document_id)
        except Unavailable:
            return min(_LONGEST_PAUSE, 2.0**attempts)
        return None

    async def _has_ended(self, tenant_id: str, operation_id: UUID) -> bool:
        try:
            return (await self._operations.get(tenant_id, operation_id)).done
        except NotFound:
            return True


def _ended(task: asyncio.Task[None]) -> None:
    """Jobs are taken until the server stops: any other end is told, since nobody awaits it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.error("the taking of jobs ended", exc_info=error)


def _told(error: Exception, operation_id: UUID) -> ResponsaError:
    """What callers are told of a fault that stayed."""
    if isinstance(error, ParserUnavailable):
        return Unavailable(
            Reason.PART_UNAVAILABLE,
            "The parser cannot be started at the moment; upload the document again later.",
            {"part": "parser"},
        )
    return ResponsaError(
        Reason.INTERNAL, "Something went wrong. Please try again.", {"call_id": str(operation_id)}
    )
