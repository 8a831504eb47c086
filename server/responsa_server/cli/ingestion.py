"""Sending documents and waiting until each is searched, several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from google.longrunning import operations_pb2

from responsa.knowledge.v1 import document_pb2
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import (
    AlreadyExists,
    NotFound,
    PermissionDenied,
    ResponsaError,
    Unauthenticated,
    Unavailable,
)
from responsa_server.cli.sources import Document, Entry, Problem

IN_FLIGHT = 8
"""The most documents that are sent and not searchable yet."""
_INLINE_BYTES = 1024 * 1024


class Outcome(StrEnum):
    """The outcome for a document."""

    NEW = "NEW"
    CHANGED = "CHANGED"
    UNCHANGED = "UNCHANGED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome for one document. document: as the server has it. error or why: the reason for a failure."""

    where: str
    source_key: str
    outcome: Outcome
    document: document_pb2.Document | None = None
    error: ResponsaError | None = None
    why: str = ""


@dataclass(slots=True)
class Summary:
    """The number of documents with each outcome."""

    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))

    def add(self, report: Report) -> None:
        """Count one."""
        self.counts[report.outcome] += 1

    @property
    def failed(self) -> int:
        """How many failed."""
        return self.counts[Outcome.FAILED]

    def __str__(self) -> str:
        total = sum(self.counts.values())
        parts = ", ".join(f"{number} {outcome.lower()}" for outcome, number in self.counts.items())
        return f"{total} document{'' if total == 1 else 's'}: {parts}"


async def ensure_collection(client: AsyncResponsa, collection: str) -> None:
    """Create the collection if it is missing; another caller may create it at the same time."""
    try:
        await client.get_collection(collection)
    except NotFound:
        try:
            await client.create_collection(collection)
        except AlreadyExists:
            return


async def ingest(
    client: AsyncResponsa, entries: Iterator[Entry], collection: str, report: Callable[[Report], None]
) -> Summary:
    """Take in all entries; `report` is called with each once it is searchable or has failed, in any order.

    Raises:
        ResponsaError: the server cannot be reached or refuses the caller; the remaining entries are not tried.
    """
    summary = Summary()

    def done(one: Report) -> None:
        summary.add(one)
        report(one)

    async def work() -> None:
        # All workers draw from one iterator; a draw does not await, so no two get the same entry.
        for entry in entries:
            done(await _take_in(client, entry, collection))

    workers = [asyncio.create_task(work()) for _ in range(IN_FLIGHT)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return summary


async def _take_in(client: AsyncResponsa, entry: Entry, collection: str) -> Report:
    if isinstance(entry, Problem):
        return Report(entry.where, entry.source_key, Outcome.FAILED, why=entry.why)
    try:
        result = await client.wait(await _send(client, entry, collection))
    except (Unauthenticated, PermissionDenied, Unavailable):
        raise
    except ResponsaError as error:
        return Report(entry.where, entry.source_key, Outcome.FAILED, error=error)
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        return Report(entry.where, entry.source_key, Outcome.FAILED, why=why)
    outcome = Outcome.UNCHANGED if result.unchanged else Outcome.CHANGED
    if outcome is Outcome.CHANGED and result.document.version <= 1:
        outcome = Outcome.NEW
    return Report(entry.where, entry.source_key, outcome, document=result.document)


async def _send(client: AsyncResponsa, entry: Document, collection: str) -> operations_pb2.Operation:
    if entry.path is not None:
        return await client.upload(
            entry.path, collection=collection, source_key=entry.source_key, title=entry.title
        )
    data = entry.text.encode()
    if len(data) <= _INLINE_BYTES:
        return await client.create_document(
            entry.text,
            collection=collection,
            source_key=entry.source_key,
            title=entry.title,
            media_type="text/markdown",
        )
    return await client.upload(
        data,
        collection=collection,
        source_key=entry.source_key,
        title=entry.title,
        media_type="text/markdown",
    )
