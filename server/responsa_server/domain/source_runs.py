"""Runs of sources: what a run works on, what it has made before, and the store of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.knowledge import Operation
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.sources import DocumentKey, RunClaim, Source

SCHEDULED: Final = "schedule"
"""The cause of a run that its schedule began."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to add. subject: "" for all. confirmed: whether it may delete many documents. cause: why a notification asks for it, in its own words, or SCHEDULED; at most 200 bytes.
    retry: whether it makes and deletes nothing but what belongs to the rows that earlier runs set aside.
    """

    subject: str
    confirmed: bool = False
    cause: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True)
class RunTask:
    """A run to work on.

    user_id: the administrator in whose name documents are made; None if the user is not an administrator any more. subject: "" for all. confirmed: whether the run may delete
    many documents. reading: whether rows are still to be read; otherwise the run waits until its documents are indexed. retry: see `NewRun`.
    """

    claim: RunClaim
    source: Source
    user_id: UUID | None
    subject: str
    confirmed: bool
    reading: bool
    retry: bool = False


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document that an earlier run, or an earlier attempt, made. subject: that of the document now. pending: whether its newest version was not searchable when a run last looked."""

    digest: bytes
    document_id: UUID
    subject: str
    pending: bool = False


@dataclass(frozen=True, slots=True)
class NewFailure:
    """A row that makes no document. subject: "" if it could not be read."""

    at: DocumentKey
    problem: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that was set aside. key: "" if not even the key could be read."""

    id: UUID
    kind: str
    key: str
    problem: str
    create_time: datetime


@dataclass(frozen=True, slots=True)
class RunCounts:
    """What a run does. failed: the rows that it sets aside."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0


class SourceRuns(Protocol):
    """Runs of sources."""

    async def start(
        self, who: Principal, source_id: str, subject: str, *, confirmed: bool, retry: bool = False
    ) -> Operation:
        """Add a run, which begins when the earlier runs of the source have ended. If a run of the caller for the same subject waits already, it is returned. Raises NotFound,
        Precondition (SOURCE_RUNNING) for a second run for all subjects, Exhausted (LIMIT_REACHED).
        """
        ...

    async def notify(
        self,
        who: Principal,
        subject: str,
        sources: Sequence[str],
        cause: str,
        request_id: UUID | None,
        *,
        named: bool,
    ) -> Sequence[Operation]:
        """Add a run for the subject to each of these sources, or none at all. named: whether the caller named the sources; otherwise those that have been deleted are left out. A repeated call with
        the same request_id returns the runs of the first call, as long as their records exist. Raises NotFound, AlreadyExists (REQUEST_ID_REUSED), Exhausted (LIMIT_REACHED).
        """
        ...

    async def wake(self, tenant_id: str, operation_id: UUID) -> None:
        """Make the job of the next run: of the runs that wait for the end of this run, the run that has waited longest. Make no job if that run already has
        one, or if a run of the source works.
        """
        ...

    async def scheduled(self, tenant_id: str, schedule_id: UUID) -> Source | None:
        """Return the source with this schedule; None if it was deleted or has another schedule by now."""
        ...

    async def start_scheduled(
        self, tenant_id: str, schedule_id: UUID, due: datetime, next_run_time: datetime
    ) -> Operation | None:
        """Add the run that was due, in the name of the administrator of the source, and store when the next one is due. Returns None without a new run: the run was added already, a run for all subjects
        has not ended, or the administrator was deleted.
        """
        ...

    async def failed_rows(self, who: Principal, source_id: str, query: ListQuery) -> Page[FailedRow]:
        """Return a page of the rows that were set aside. Raises NotFound."""
        ...

    async def begin(self, tenant_id: str, operation_id: UUID) -> RunTask | None:
        """Claim a run, and take over the outcome of ended ingestions that earlier runs began. Returns None if the run has ended. Raises OwnershipLost while another run of the source
        works, NotFound if the source was deleted.
        """
        ...

    async def is_running(self, tenant_id: str, operation_id: UUID) -> bool:
        """Return whether the run has not ended."""
        ...

    async def failed(self, claim: RunClaim) -> frozenset[DocumentKey]:
        """Return the kinds and keys of the rows that earlier runs set aside; the key is "" if it could not be read."""
        ...

    async def known(self, claim: RunClaim) -> Mapping[DocumentKey, StoredDocument]:
        """Return the documents of the source."""
        ...

    async def planned(
        self,
        claim: RunClaim,
        counts: RunCounts,
        changes: int,
        failures: Sequence[NewFailure],
        gone: Sequence[DocumentKey] = (),
    ) -> None:
        """Store what the run will do, and forget what an earlier attempt wanted to publish together. changes: the number of documents to make or delete. gone: the documents that
        `publish` deletes with the changes of their subjects. Raises OwnershipLost.
        """
        ...

    async def check(self, claim: RunClaim) -> None:
        """Raises OwnershipLost if the run was cancelled or taken over."""
        ...

    async def set_aside(self, claim: RunClaim, failure: NewFailure, subject: str) -> None:
        """Store one more row that makes no document. subject: the subject whose documents then stay as they are; "" if others do not depend on the row. Raises OwnershipLost."""
        ...

    async def wait(self, claim: RunClaim) -> None:
        """Store that all rows have been read, and all changes made but for the indexing. A run for all subjects forgets what earlier runs set aside. Raises OwnershipLost."""
        ...

    async def publish(self, claim: RunClaim) -> Sequence[UUID]:
        """Publish some subjects whose documents are all indexed: all of a subject in one transaction, new versions and deletions. If one of them could not be indexed, none is published,
        and their rows are set aside. Returns the operations that ended; none if no subject is ready. Raises OwnershipLost.
        """
        ...

    async def release(self, tenant_id: str, operation_id: UUID) -> Sequence[UUID]:
        """Cancel the versions that wait for a run which will not publish them. Returns their operations."""
        ...

    async def earlier(self, claim: RunClaim) -> Sequence[UUID]:
        """Return the ended runs of the source for which versions still wait."""
        ...

    async def settle(self, claim: RunClaim) -> int:
        """Take the outcome of ended ingestions over: the row of one that failed is set aside, and is tried again in the next run. Returns how many documents are still to be published or deleted. Raises OwnershipLost."""
        ...

    async def end(self, claim: RunClaim) -> None:
        """End the run. Raises OwnershipLost."""
        ...

    async def fail(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """End the run with an error, unless it has ended."""
        ...
