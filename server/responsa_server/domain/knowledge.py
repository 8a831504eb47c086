"""Collections, documents, operations, searches and jobs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from responsa_contract import DocumentState, IngestStage, LeftOutKind, SearchMode
from responsa_server.domain import names
from responsa_server.domain.errors import Overtaken, Reason, ResponsaError, Unavailable
from responsa_server.domain.events import ByteRange, Excerpt
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.listing import Filter
from responsa_server.domain.passages import Passage
from responsa_server.domain.people import Reader, Role

DEFAULT_COLLECTION = "default"
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
FIRST_DIMENSIONS = 384
"""The length of the vectors in the first table of vectors: that of the embedded model's vectors."""


class StoredBytes(Protocol):
    """Bytes that are read in pieces, because they may be too many to hold in memory. Reads may take time; use it in one
    thread at a time."""

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> bytes:
        """Their SHA-256."""
        ...

    def read(self, start: int, count: int) -> bytes:
        """Up to `count` bytes from `start` on."""
        ...


CHUNKING_VERSION: Final = 4
"""The version of the rules by which documents are cut into passages. It rises with every change after which a document
has other passages, vectors or another title: each server then makes the documents anew that earlier rules have cut, of
the bytes that are stored."""


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a document is split into passages.

    max_tokens: the maximum length of a passage, from 64 to 2,000. overlap_tokens: the number of tokens that a passage
    shares with the passage before it; less than half of max_tokens.
    """

    max_tokens: int = 500
    overlap_tokens: int = 50


@dataclass(frozen=True, slots=True)
class CollectionReader:
    """Somebody with whom a collection is shared: a user, all users with a role, the members of a group, or, with none of
    these, everyone in the tenant. email: the folded address of the user, in changes alone; "" for all others.
    display_name: the user's or the group's, in what is read alone.
    """

    user_id: UUID | None = None
    role: Role | None = None
    email: str = ""
    group_id: UUID | None = None
    display_name: str = field(default="", compare=False)


EVERYONE: Final = CollectionReader()


@dataclass(frozen=True, slots=True)
class CollectionFields:
    """What those who may change a collection say of it, in the fields of the contract with these names; None leaves a
    field as it is. synonyms: a file of synonyms (see `read_synonyms`); "" removes them. readers: all readers from now
    on, without duplicates. without: the folded addresses of users to leave out of these readers.
    """

    display_name: str | None = None
    synonyms: str | None = None
    readers: Sequence[CollectionReader] | None = None
    without: Sequence[str] = ()
    suggested_questions: Sequence[str] | None = None

    @property
    def columns(self) -> Mapping[str, str | Sequence[str] | None]:
        """Those that are columns of the table, by name."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        del plain["readers"], plain["without"]
        return plain


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents that are searched together. id: as the reader of this record calls it. shared_id: as every reader of
    the collection can call it.
    chosen_id: as the owner calls it. owner_display_name: "" if the owner has no display name.

    embedding: the name of the model that computed the collection's vectors. document_count: the number of documents
    that the reader may read. synonyms: the file of synonyms; "" if the collection has no synonyms, and in lists.
    readers: with whom the owner shares it; empty for a reader that may not change it. readable,
    manageable: whether the reader of this record may read the documents, and change the collection. conversation_id: the
    conversation whose files it holds; None for a collection of its own.
    """

    id: str
    tenant_id: str
    owner_id: UUID
    display_name: str
    chunking: Chunking
    embedding: str
    document_count: int
    create_time: datetime
    update_time: datetime
    etag: str
    kind: CollectionKind
    synonyms: str = ""
    shared_id: str = ""
    chosen_id: str = ""
    owner_display_name: str = ""
    readers: tuple[CollectionReader, ...] = ()
    readable: bool = False
    manageable: bool = False
    suggested_questions: Sequence[str] = ()
    conversation_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class DocumentMetadata:
    """The caller's description of a document. A field is empty if the caller did not set it.

    labels, metadata: the caller's own texts and JSON values. An existing document keeps those that are empty here, and
    its subject too. subject: see `Document`.
    """

    collection_id: str
    source_key: str
    title: str = ""
    uri: str = ""
    media_type: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A document.

    version: the number of the searchable version, or 0 before the first version is searchable. labels, metadata: the
    caller's own values, which all versions share. subject: "" if all readers of the collection may read the document;
    otherwise only this user (`users/{uuid}`, or the subject that a user has), administrators and SERVICE keys may.
    language, author, date, summary, keywords: what is known of the searchable version; empty or None if it is not
    known.
    """

    id: UUID
    tenant_id: str
    collection_id: str
    owner_id: UUID
    source_key: str
    title: str
    uri: str
    media_type: str
    version: int
    state: DocumentState
    error: ResponsaError | None
    size_bytes: int
    sha256: bytes
    passage_count: int
    create_time: datetime
    update_time: datetime
    etag: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, object] = field(default_factory=dict[str, object])
    language: str = ""
    author: str = ""
    date: datetime | None = None
    summary: str = ""
    keywords: Sequence[str] = ()
    subject: str = ""

    def without_content(self, changes: DocumentChanges) -> Document:
        """The document for somebody who manages it without reading it: nothing that says what is in it, except the changes."""
        return replace(
            self,
            title=changes.title or "",
            uri="",
            sha256=b"",
            labels=changes.labels or {},
            metadata=changes.metadata or {},
            language="",
            author="",
            date=None,
            summary="",
            keywords=(),
        )


@dataclass(frozen=True, slots=True)
class DocumentChanges:
    """New values of a document; None leaves a value as it is. title: at least one visible character."""

    title: str | None = None
    labels: Mapping[str, str] | None = None
    metadata: Mapping[str, object] | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """A stored version of a document.

    media_type, parser: '' until the version is read. language: an ISO 639-1 code, or ''. text_bytes: the length of the
    canonical text; 0 until it is read. searchable: whether searches use this version. source_key: that of the document.
    """

    document_id: UUID
    version: int
    title: str
    media_type: str
    size_bytes: int
    sha256: bytes
    parser: str
    language: str
    passage_count: int
    state: DocumentState
    searchable: bool
    create_time: datetime
    text_bytes: int
    source_key: str


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search.

    terms: 1 to 8 search terms. collections: the collections to search; empty means all. top_k: the maximum number of
    hits, from 1 to 100. threshold: the lowest score to return, from 0 to 1. rerank: whether
    the reranking model, if one is configured, orders the hits. filters: conditions that the documents must meet, on the
    fields of `lists.SEARCHED`.
    """

    terms: tuple[str, ...]
    collections: tuple[str, ...] = ()
    top_k: int = 10
    threshold: float = 0.0
    mode: SearchMode = SearchMode.HYBRID
    rerank: bool = True
    filters: Sequence[Filter] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A found passage.

    score: the overall score, from 0 to 1. text_score: the BM25 score, which has no upper limit. vector_score: the
    cosine similarity, from -1 to 1. term: the index of the search term that matches best. piece_score: how well the best
    piece fits, from 0 to 1; None if the passage has no pieces or is not among the first ten. reranker_score: the score
    of the reranking model, on its own scale, which orders the hits; None if it did not read the passage. excerpt: what to
    show of the passage; None without `piece_score`. copies: the passages of other documents with the same text.
    """

    passage: Passage
    score: float
    text_score: float
    vector_score: float
    term: int
    piece_score: float | None = None
    reranker_score: float | None = None
    excerpt: Excerpt | None = None
    copies: Sequence[Passage] = ()


@dataclass(frozen=True, slots=True)
class ShownPart:
    """What an excerpt shows of a passage. markdown, marked, section: `markdown`, `marked_shown`, `section` of `Excerpt`.
    chosen: the excerpt, if it was chosen only now."""

    passage: Passage
    markdown: str
    marked: ByteRange | None
    section: str
    chosen: Excerpt | None = None


class OperationKind(StrEnum):
    """What an operation does."""

    INGEST = "ingest"
    REINDEX = "reindex"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class Operation:
    """A long-running operation: the ingestion of one document version, the construction or activation of a collection's
    generation, or a run of a source.

    epoch: the number of the current claim; a worker with an older epoch cannot write. error, unchanged: the result,
    valid once the stage is DONE. seq: the number of this state; every stored change raises it. stage_time: when the
    stage began; while a REINDEX computes vectors, the time from which its rate counts. collection_id: the collection of
    a REINDEX; its `version` is the number of the generation, and its `document_id` names no document. source_id,
    subject, counts, cause: of a SYNC, whose passages are documents, and whose `document_id` names no document; see
    `source_runs`.
    The counts of an INGEST are those of what was left out, by `LeftOutKind`, and
    OCR_PAGES. charset: as `guessed_charset` of `CanonicalText`. paused: whether the instance was paused when the
    operation was read, so that an operation that has not ended waits.
    """

    id: UUID
    tenant_id: str
    user_id: UUID
    document_id: UUID
    version: int
    stage: IngestStage
    passages_done: int
    passages_total: int
    error: ResponsaError | None
    unchanged: bool
    epoch: int
    create_time: datetime
    update_time: datetime
    seq: int
    stage_time: datetime
    kind: OperationKind = OperationKind.INGEST
    collection_id: str = ""
    source_id: str = ""
    subject: str = ""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    cause: str = ""
    charset: str = ""
    paused: bool = False

    @property
    def done(self) -> bool:
        return self.stage is IngestStage.DONE

    @property
    def time_left(self) -> timedelta | None:
        """The estimated time from `update_time` to the end, from the rate at which vectors were computed so far. It is
        never negative; None if unknown."""
        if self.stage is not IngestStage.EMBEDDING or self.passages_done <= 0:
            return None
        took = self.update_time - self.stage_time
        if took <= timedelta():
            return None
        return took * (max(self.passages_total - self.passages_done, 0) / self.passages_done)


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A new document with its complete bytes. media_type: the media type of its format, or '' if the sandbox must
    determine it.
    """

    metadata: DocumentMetadata
    content: StoredBytes
    media_type: str


@dataclass(frozen=True, slots=True)
class CanonicalPiece:
    """A part of a version's canonical text.

    version: the number of the version that was read. length: the length of the whole text, in bytes.
    """

    version: int
    data: bytes
    length: int


@dataclass(frozen=True, slots=True)
class PageImage:
    """A page of a PDF, drawn as an image. png: the image as PNG. width, height: its size in pixels. page_count: the
    number of pages of the PDF. locator: the label that the file gives to the page, or ''."""

    png: bytes
    width: int
    height: int
    page_count: int
    locator: str


@dataclass(frozen=True, slots=True)
class SourceRef:
    """The target of a citation: bytes of the canonical text of a document version."""

    document_id: UUID
    version: int
    source: ByteRange


@dataclass(frozen=True, slots=True)
class ExcerptPlace:
    """Where an excerpt of a turn stands. marked: as in `Excerpt`. further: whether it is still to be chosen. question,
    collection: those of the turn and of the excerpt, as the reader calls it."""

    passage_id: UUID
    reference: SourceRef
    marked: ByteRange | None
    further: bool = False
    question: str = ""
    collection: str = ""


@dataclass(frozen=True, slots=True)
class SourceSlice:
    """The state of a citation's source.

    current_version: the number of the searchable version, 0 if no version is searchable, or None if the document was
    deleted. text: the cited bytes, or None if the cited version is no longer stored. permitted: whether the reader may
    read the document; if not, the others are None.
    """

    current_version: int | None
    text: bytes | None
    permitted: bool = True


@dataclass(frozen=True, slots=True)
class IngestClaim:
    """A worker's right to write for an operation. The claim is valid only while its epoch is the operation's epoch.

    embedding: the model of the vectors that the worker writes: that of the generation that was active when the claim
    was made. generation: the id of that generation; None for the first table.
    """

    tenant_id: str
    operation_id: UUID
    epoch: int
    collection_id: str
    document_id: UUID
    version: int
    embedding: str = ""
    generation: UUID | None = None


@dataclass(frozen=True, slots=True)
class IngestTask:
    """A claimed operation and the document version to ingest.

    title, declared_type: the title and media type that the sender stated, or ''. media_type: the media type of the
    format that was recognised during the upload, or ''. size_bytes: the size of the original. original: its bytes, if
    they are few. seq: that of the operation. earlier_sha256: if the version reads the bytes of an earlier version
    again, the SHA-256 of the earlier version's canonical text. earlier_parser: likewise what made that text; ''
    if its passages were cut by other rules. usual_language: that of most documents of the collection; '' if it is not known.
    """

    claim: IngestClaim
    source_key: str
    title: str
    uri: str
    declared_type: str
    media_type: str
    size_bytes: int
    chunking: Chunking
    seq: int
    original: bytes | None = None
    earlier_sha256: bytes | None = None
    earlier_parser: str = ""
    usual_language: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a document version besides its text.

    author, date: as the file states them; '' and None if it states none. summary: 1 to 3 sentences, or ''. keywords: the best first.
    """

    author: str = ""
    date: datetime | None = None
    summary: str = ""
    keywords: Sequence[str] = ()


OCR_PAGES: Final = "ocr_pages"
"""The name under which the counts of an operation have the number of pages that were read by OCR."""


@dataclass(frozen=True, slots=True)
class CanonicalText:
    """The result of parsing. text: the canonical text in UTF-8. parser: the name of the parser. left_out: the number of
    parts that were not read, by kind.
    guessed_charset: the character set that was guessed, if another one is nearly as likely; otherwise ''. ocr_pages:
    the number of pages that were read by OCR.
    body_start: the first byte of the text that is not only a statement about the document.
    """

    text: StoredBytes
    title: str
    media_type: str
    language: str
    parser: str
    description: Description = field(default_factory=Description)
    left_out: Mapping[LeftOutKind, int] = field(default_factory=dict[LeftOutKind, int])
    guessed_charset: str = ""
    ocr_pages: int = 0
    body_start: int = 0


class OwnershipLost(Overtaken):
    """The operation was cancelled, its document was deleted, or another worker has claimed the operation.

    The call that raises this error has written nothing, and its worker must stop.
    """


class GenerationSwitched(Overtaken):
    """Another generation of the collection became active while the worker computed vectors for the former one.

    The call that raises this error has written nothing; the worker must start over.
    """


class Sources(Protocol):
    """The source texts against which citations are verified."""

    async def sources(self, reader: Reader, wanted: Sequence[SourceRef]) -> Sequence[SourceSlice]:
        """Look up the targets of citations. The results are in the order of `wanted`."""
        ...


class JobKind(StrEnum):
    """The kinds of jobs. Each job receives the tenant's id and one other id, and nothing else."""

    INGEST = "responsa.ingest"
    """Ingest an operation's document version. The other id is the operation's id."""
    PRUNE = "responsa.prune"
    """Delete a document's old versions that no answer cites. The other id is the document's id."""
    REINDEX = "responsa.reindex"
    """Build a generation of a collection, or complete and activate it. The other id is the operation's id."""
    DISCARD = "responsa.discard"
    """Delete the vectors of a generation that is no longer kept. The other id is that under which its vectors are
    stored; the id 0 stands for the first table."""
    SYNC = "responsa.sync"
    """Run a source. The other id is the operation's id."""
    SCHEDULE = "responsa.schedule"
    """Begin the run of a source that is due. The other id is that of the source's schedule."""
    DELIVER = "responsa.deliver"
    """Make an attempt at a delivery to a webhook. The other id is the delivery's id."""
    NOTICE = "responsa.notice"
    """Send a notice about the events of the last hour. The other id is the notice's id."""
    MAIL = "responsa.mail"
    """Send a mail. The other id is the mail's id."""
    ERASE = "responsa.erase"
    """Erase a user with all that belongs to the user. The other id is the user's id."""


class Look(float):
    """The number of seconds until the next attempt, if it is a short one: the job only looks whether other jobs have
    come further, and does not wait for a place among long jobs."""


Work = Callable[[str, UUID, int], Awaitable[float | None]]
"""Runs one attempt at a job. The arguments are the tenant's id, the job's other id and the number of earlier attempts.
The result is None if the job is done, or the number of seconds until the next attempt, as a `Look` if this and all later ones are short.
"""

GiveUp = Callable[[str, UUID, int], Awaitable[None]]
"""Ends what a job works on, because it lost its worker again and again. The arguments are the tenant's id, the job's
other id and the number of lost workers."""


LONGEST_PAUSE: Final = 60.0
"""The greatest number of seconds between two attempts at a job."""


def pause_after(failures: int) -> float:
    """The number of seconds until the next attempt at a job: twice as long after each failure, and at most LONGEST_PAUSE."""
    # A part may be unavailable for days. The power of so many failures is beyond the largest number.
    return min(LONGEST_PAUSE, 2.0 ** min(failures, 10))


def workers_lost(operation_id: UUID, losses: int) -> Unavailable:
    """The error of an operation that has lost too many workers in succession, so that no other worker may run it."""
    message = (
        f"The server stopped {losses} times while it worked on this, so it was given up. Start it "
        "again; if it fails in this way again, ask the operator, because its input may be the "
        "cause."
    )
    return Unavailable(Reason.WORKER_LOST, message, {"operation": names.operation(operation_id)})


_MAX_BYTES: Final = 200
# Path separators and the characters that Windows does not allow in names.
_RESERVED: Final = re.compile(r'[\\/:*?"<>|]+')
# Control characters, and invisible ones: among them are those that turn the direction of text, so that "gpj.exe" is shown for "exe.jpg".
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def file_name(source_key: str) -> str:
    """A name for the file of a document: the last part of its source key, in at most 200 bytes of UTF-8.

    Characters that file systems reserve, control characters and invisible characters are left out. Leading dots are
    left out too, so that no file is hidden. A long name keeps its suffix. The name is never empty.
    """
    last = re.split(r"[\\/]", source_key.rstrip("\\/"))[-1]
    shown = "".join(char for char in last if unicodedata.category(char) not in _HIDDEN)
    name = _RESERVED.sub("_", shown).strip().lstrip(".").rstrip(". ") or "document"
    stem, dot, suffix = name.rpartition(".")
    if not dot or len(suffix) > 10:
        stem, dot, suffix = name, "", ""
    tail = (dot + suffix).encode()
    return (stem.encode()[: _MAX_BYTES - len(tail)] + tail).decode(errors="ignore")
