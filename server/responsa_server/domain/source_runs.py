"""Runs of sources: what a run works on, and what it has made before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

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
