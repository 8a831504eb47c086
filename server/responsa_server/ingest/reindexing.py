"""Builds a generation of a collection: computes the vectors of all its passages with another embedding model, while
searches use the active generation.

The job works in slices, so that uploads get their turn. It looks for passages that lack vectors, and stops when none is
left, so it needs to remember nothing: after a crash it goes on, and passages that are published meanwhile are found
like all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.errors import Precondition, Reason, ResponsaError, Unavailable
from responsa_server.domain.generations import GenerationTask
from responsa_server.domain.knowledge import LONGEST_PAUSE, OwnershipLost, pause_after
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.ingest.indexing import Indexer, Indexers, SeenVectors
from responsa_server.search.embedder import undeclared_embedding
from responsa_server.stores.postgres.generations import GenerationBuildStore
from responsa_server.telemetry.unexpected import note

_PASSAGES_A_BATCH: Final = 16
_SLICE_SECONDS: Final = 10.0
_PASSAGES_A_SLICE: Final = 4_096
_BETWEEN_SLICES: Final = 0.05
_MOST_FAILURES: Final = 6


class Reindex:
    """The job that builds a generation, or completes and activates it."""

    def __init__(
        self,
        builds: GenerationBuildStore,
        indexers: Indexers,
        ended: Callable[[Sequence[UUID]], None],
        *,
        slice_seconds: float = _SLICE_SECONDS,
        errors: UnexpectedErrors | None = None,
    ) -> None:
        """ended: tells waiting callers which operations have ended. slice_seconds: the time after which the job lets
        other jobs run. errors: counts the unexpected ones."""
        self._builds = builds
        self._indexers = indexers
        self._ended = ended
        self._slice_seconds = slice_seconds
        self._errors = errors or UnexpectedErrors()
        # The failures of an operation since its latest stored vectors, in this process.
        self._failures: dict[UUID, int] = {}
        # When this process began to work on an operation, and the number of passages that had vectors then. The rate is
        # measured from here, so it contains the time
        # between slices. A failure begins it again, because a part may be unavailable for hours.
        self._begun: dict[UUID, tuple[float, int]] = {}
        self._log: FilteringBoundLogger = structlog.get_logger("reindex")

    async def work(self, tenant_id: str, operation_id: UUID, attempts: int) -> float | None:
        """Work for one slice. Returns None if the operation has ended, else the seconds until the next slice. While a
        part is unavailable, the operation waits for it."""
        failures = self._failures.get(operation_id, 0)
        if failures:
            self._begun.pop(operation_id, None)
        pause = pause_after(failures)
        try:
            done = await self._slice(tenant_id, operation_id)
        except OwnershipLost:
            if await self._builds.is_running(tenant_id, operation_id):
                return LONGEST_PAUSE  # another worker has it
        except Unavailable as error:
            self._failures[operation_id] = failures + 1
            self._log.warning("a generation waits for a part that is unavailable", reason=error.reason.value)
            # A server may ask for a wait of years.
            return min(max(pause, error.retry_after or 0.0), LONGEST_PAUSE)
        except Precondition as error:
            await self.give_up(tenant_id, operation_id, error)
        except Exception as error:  # whatever the error, the operation must end, now or after more attempts
            note(self._errors, error, names.operation(operation_id))
            self._log.exception("an attempt to build a generation failed")
            self._failures[operation_id] = failures + 1
            if failures + 1 < _MOST_FAILURES:
                return pause
            internal = ResponsaError(
                Reason.INTERNAL,
                "Something went wrong. Please try again.",
                {"call_id": str(operation_id)},
            )
            await self.give_up(tenant_id, operation_id, internal)
        else:
            if not done:
                return _BETWEEN_SLICES
        self._failures.pop(operation_id, None)
        self._begun.pop(operation_id, None)
        return None

    async def discard(self, tenant_id: str, generation_id: UUID, attempts: int) -> float | None:
        """Delete a part of the vectors of a generation that is no longer kept. Returns None if none is left, else the
        seconds until the next part."""
        try:
            return _BETWEEN_SLICES if await self._builds.discard(tenant_id, generation_id) else None
        except Unavailable:
            return pause_after(attempts)

    async def _slice(self, tenant_id: str, operation_id: UUID) -> bool:
        task = await self._builds.begin(tenant_id, operation_id)
        if task is None:
            return True
        indexer = await self._indexers.of_name(task.embedding)
        if indexer is None:
            raise undeclared_embedding(task.collection_id, task.embedding, self._indexers.configured)
        # Each slice has another epoch, so equal vectors of different slices do not stay equal.
        seen = SeenVectors(_PASSAGES_A_SLICE, earlier=task.epoch)
        clock = asyncio.get_running_loop().time
        self._begun.setdefault(operation_id, (clock(), task.passages_done))
        until = clock() + self._slice_seconds
        after: UUID | None = None
        while clock() < until:
            last = await self._batch(task, indexer, seen, after, until)
            if last is None and after is None and await self._builds.complete(task):
                self._ended([operation_id])
                return True
            # After the last passage, begin again with the passages that were published meanwhile.
            after = last
        return False

    async def _batch(
        self, task: GenerationTask, indexer: Indexer, seen: SeenVectors, after: UUID | None, until: float
    ) -> UUID | None:
        """Store the vectors of some passages. Returns the id of the last one; None if no passage was left, or none was found until then."""
        left = until - asyncio.get_running_loop().time()
        passages = await self._builds.missing(task, after, _PASSAGES_A_BATCH, seconds=left)
        if not passages:
            return None
        vectors = await indexer.vectors(task.tenant_id, passages, seen)
        began, since = self._begun[task.operation_id]
        seconds = asyncio.get_running_loop().time() - began
        await self._builds.write(task, vectors, since=since, seconds=seconds)
        self._failures.pop(task.operation_id, None)
        return passages[-1].passage.id

    async def give_up(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """End the operation with an error. Does nothing if it has ended."""
        await self._builds.fail(tenant_id, operation_id, error)
        self._ended([operation_id])
