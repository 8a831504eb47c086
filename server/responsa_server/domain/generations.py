"""Generations: the vectors that one embedding model made of a collection's passages.

Searches use the active generation of each collection. Another generation is built while the active one serves, and becomes active in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.knowledge import Operation
from responsa_server.domain.passages import Passage, PassagePiece, PassageVectors
from responsa_server.domain.people import AuditEvent, Principal, Reader

MAX_GENERATIONS: Final = 8
"""The maximum number of generations of a collection."""
EMBEDDING_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,31}:[\w./@:+-]{1,200}\Z"
"""The pattern of an embedding model's name in settings, `provider:model`, for Python's `re`. Pydantic's own engine takes 0.1 s to compile it."""
INDEXED_DIMENSIONS: Final = (256, 384, 512, 768, 1024, 1536, 3072)
"""The lengths of vectors for which the database has an index."""


class GenerationState(StrEnum):
    """The state of a generation.

    BUILDING: vectors are being added, for the first time or to catch up. READY: complete when it was built, and never active. ACTIVE: searches use it. RETIRED: it was
    active before. FAILED: its construction failed; it has no vectors.
    """

    BUILDING = "building"
    READY = "ready"
    ACTIVE = "active"
    RETIRED = "retired"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of a collection.

    number: from 1, in the order of creation. embedding: the name of the model. passages_done, passages_total: the number of passages with vectors and of all passages that
    searches can find, at the latest update. activate_time: when it last became active; None if it never was.
    """

    collection_id: str
    number: int
    embedding: str
    dimensions: int
    state: GenerationState
    passages_done: int
    passages_total: int
    create_time: datetime
    update_time: datetime
    activate_time: datetime | None


@dataclass(frozen=True, slots=True)
class UnembeddedPassage:
    """A passage that lacks vectors in a generation. first: whether it is its document's first passage. media_type: the type of its document. header: the header of the table
    within which the passage begins, with a line feed; '' if there is no such table. pieces: the pieces and headings of the passage, in order; empty if no generation
    has stored them.
    """

    passage: Passage
    language: str
    first: bool
    media_type: str
    header: str
    pieces: Sequence[PassagePiece]


@dataclass(frozen=True, slots=True)
class GenerationTask:
    """A worker's claim to build a generation. It is valid only while its epoch is the operation's epoch.

    generation_id: the id under which the generation's vectors are stored; None if they are in the first table. activate: whether the generation becomes active when it is complete.
    passages_done: the number of passages that have vectors.
    """

    tenant_id: str
    operation_id: UUID
    epoch: int
    collection_id: str
    number: int
    generation_id: UUID | None
    embedding: str
    activate: bool
    passages_done: int


class Generations(Protocol):
    """Generations of a tenant's collections. Methods raise NotFound for an unknown collection or generation. Those that change something raise NotPermitted unless `who` is the
    collection's owner or an administrator.
    """

    async def list(self, reader: Reader, collection_id: str) -> Sequence[Generation]:
        """Return all generations of a collection, newest first. There is always exactly one that is ACTIVE."""
        ...

    async def find(
        self, reader: Reader, collection_ids: Sequence[str]
    ) -> Mapping[tuple[str, int], Generation]:
        """Return the generations of the existing collections with these ids, by collection and number."""
        ...

    async def build(
        self,
        who: Principal,
        collection_id: str,
        embedding: str,
        dimensions: int,
        *,
        activate: bool,
        request_id: UUID | None,
    ) -> Operation:
        """Create a generation, and enqueue the job that builds it. Failed generations are removed. Raises Precondition REINDEX_RUNNING and GENERATION_STATE (the collection
        has MAX_GENERATIONS generations, or the vector store holds only one), AlreadyExists REQUEST_ID_REUSED.
        """
        ...

    async def activate(
        self, who: Principal, collection_id: str, number: int, *, request_id: UUID | None
    ) -> Operation:
        """Enqueue the job that completes a generation and makes it active. If it is active already, the operation has ended. Raises Precondition REINDEX_RUNNING,
        GENERATION_STATE (failed), AlreadyExists REQUEST_ID_REUSED.
        """
        ...

    async def delete(
        self, who: Reader, collection_id: str, number: int, audit: AuditEvent | None = None
    ) -> None:
        """Delete a generation, enqueue the job that deletes its vectors, and write the audit event. Raises Precondition GENERATION_STATE (active or building)."""
        ...


class GenerationBuilds(Protocol):
    """A worker's interface to the generation that it builds. Methods that take a task raise OwnershipLost, and write nothing, once the operation has ended or another
    worker has claimed it.
    """

    async def begin(self, tenant_id: str, operation_id: UUID) -> GenerationTask | None:
        """Claim an operation under its next epoch. What earlier attempts stored is kept. Return None if no work is left."""
        ...

    async def is_running(self, tenant_id: str, operation_id: UUID) -> bool:
        """Return whether the operation has not ended."""
        ...

    async def missing(
        self, task: GenerationTask, after: UUID | None, limit: int
    ) -> Sequence[UnembeddedPassage]:
        """Return passages that searches can find and that lack vectors in the generation, ordered by id. after: the id of the last passage of the previous page."""
        ...

    async def write(
        self, task: GenerationTask, passages: Sequence[PassageVectors], *, since: int, seconds: float
    ) -> None:
        """Store the vectors of passages, and the progress. Passages that were deleted in the meantime are left out. since: the number of passages that had vectors
        `seconds` ago; the rate of the work is measured from then.
        """
        ...

    async def complete(self, task: GenerationTask) -> bool:
        """If no passage lacks vectors, end the operation, and make the generation active or READY, in one transaction. Return False, and change nothing, if a passage
        lacks vectors.
        """
        ...

    async def fail(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """End the operation with an error. A generation that was never complete becomes FAILED, and a job deletes its vectors; any other keeps its vectors and its former
        state. Does nothing if the operation has ended.
        """
        ...

    async def discard(self, tenant_id: str, generation_id: UUID) -> bool:
        """Delete some of the vectors under this id if no generation keeps them, and return whether more may be left. The id 0 means vectors in the first table of
        collections that keep no generation there.
        """
        ...
