"""What is held about one person: the documents with this person as their subject, by source and kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from responsa_server.domain.knowledge import Document

MAX_PROFILE_DOCUMENTS: Final = 200


@dataclass(frozen=True, slots=True)
class Person:
    """A subject. user_id: the user who is the subject; None without an account. subjects: all texts with which documents name this person; the first one is shown."""

    user_id: UUID | None
    subjects: Sequence[str]


@dataclass(frozen=True, slots=True)
class ProfileDocument:
    """A document about a subject. kind: its name in the mapping; "" if no source made it."""

    kind: str
    document: Document


@dataclass(frozen=True, slots=True)
class ProfilePart:
    """What one source holds about a subject.

    source_id: "" for documents that no source made. failed_rows: the number of rows about the subject that the newest run set aside. newest_run: the newest run that read the subject's
    rows. sync_time: when it ended without an error.
    """

    source_id: str
    display_name: str
    documents: Sequence[ProfileDocument]
    failed_rows: int = 0
    newest_run: UUID | None = None
    sync_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile. document_count: also of the documents beyond the first MAX_PROFILE_DOCUMENTS."""

    person: Person
    parts: Sequence[ProfilePart]
    document_count: int
