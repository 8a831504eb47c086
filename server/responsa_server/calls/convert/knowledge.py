"""Collections, documents, passages, searches and operations."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Container, Sequence, Set
from dataclasses import fields, replace
from pathlib import PurePosixPath
from typing import Final
from uuid import UUID

from google.longrunning import operations_proto_pb2 as operations_pb2
from google.protobuf.message import Message

from responsa.admin.v1 import source_pb2
from responsa.chat.v1 import excerpt_pb2
from responsa.knowledge.v1 import (
    collection_pb2,
    document_pb2,
    document_version_pb2,
    format_pb2,
    generation_pb2,
    knowledge_service_pb2,
    reader_pb2,
)
from responsa_contract import LeftOutKind
from responsa_formats.parsers.table import Format
from responsa_server.calls import status
from responsa_server.calls.convert import enums, messages, structs
from responsa_server.calls.convert.chat import byte_range, excerpt, place_fields
from responsa_server.calls.convert.values import slug_of, uuid_of
from responsa_server.domain import lists, names
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.generations import Generation
from responsa_server.domain.knowledge import (
    DEFAULT_COLLECTION,
    EVERYONE,
    OCR_PAGES,
    Chunking,
    Collection,
    CollectionFields,
    CollectionReader,
    Document,
    DocumentChanges,
    DocumentMetadata,
    DocumentVersion,
    Hit,
    IngestStage,
    Operation,
    SearchMode,
    SearchQuery,
    ShownPart,
)
from responsa_server.domain.passages import Passage
from responsa_server.identity.service import require_email

_SYNC_STAGES: Final = {
    IngestStage.QUEUED: source_pb2.SYNC_STAGE_QUEUED,
    IngestStage.PARSING: source_pb2.SYNC_STAGE_READING,
    IngestStage.EMBEDDING: source_pb2.SYNC_STAGE_INDEXING,
    IngestStage.DONE: source_pb2.SYNC_STAGE_DONE,
}
DEFAULT_TOP_K = 10
DEFAULT_PAGE_WIDTH = 1_000
"""The width of a drawn page in pixels, if the request states no width."""
MAX_BATCH_PASSAGES = 640
"""The maximum number of passages that the searches of one batch may ask for together."""


def document_format(value: Format) -> format_pb2.Format:
    """A format of documents."""
    return format_pb2.Format(
        display_name=value.display_name,
        suffixes=[f".{suffix}" for suffix in value.suffixes],
        media_types=value.media_types,
    )


def chunking(value: collection_pb2.Chunking) -> Chunking:
    """Convert a chunking, with defaults for unset fields. Raises InvalidRequest when the overlap is half of max_tokens or more."""
    default = Chunking()
    max_tokens = value.max_tokens if value.HasField("max_tokens") else default.max_tokens
    if value.HasField("overlap_tokens"):
        overlap = value.overlap_tokens
        if overlap * 2 >= max_tokens:
            raise InvalidRequest.of_field(
                "collection.chunking.overlap_tokens",
                "chunking.overlap",
                f"must be less than half of max_tokens, so at most {(max_tokens - 1) // 2}",
            )
    else:
        overlap = min(default.overlap_tokens, (max_tokens - 1) // 2)
    return Chunking(max_tokens, overlap)


def collection(value: Collection) -> collection_pb2.Collection:
    return messages.message(
        collection_pb2.Collection,
        value,
        readers=[_reader(reader) for reader in value.readers],
        shared_name=names.collection(value.shared_id),
    )


COLLECTION_FIELDS: Final = tuple(item.name for item in fields(CollectionFields) if item.name != "without")
"""The fields of a collection that can be changed."""


def collection_fields(
    value: collection_pb2.Collection, wanted: Set[str], removed_emails: Sequence[str] = ()
) -> CollectionFields:
    """Convert the fields `wanted` of a collection. removed_emails: the addresses of users to leave out of the readers.
    Raises InvalidRequest."""
    shares = "readers" in wanted
    without = parse_removed_emails(removed_emails, shares=shares)
    shared = readers("collection.readers", value.readers) if shares else None
    plain = messages.columns("collection", value, wanted - {"readers"})
    return replace(CollectionFields(readers=shared, without=without), **plain)


def _reader(value: CollectionReader) -> reader_pb2.Reader:
    if value.user_id is not None:
        return reader_pb2.Reader(user=names.user(value.user_id), display_name=value.display_name)
    if value.role is not None:
        return reader_pb2.Reader(role=enums.ROLE.number(value.role))
    if value.group_id is not None:
        return reader_pb2.Reader(group=names.group(value.group_id), display_name=value.display_name)
    return reader_pb2.Reader(everyone=True)


def readers(field: str, reader_messages: Sequence[reader_pb2.Reader]) -> tuple[CollectionReader, ...]:
    """Convert the readers of a collection. Raises InvalidRequest if one occurs twice."""
    converted: dict[CollectionReader, None] = {}
    for index, message in enumerate(reader_messages):
        match message.WhichOneof("who"):
            case "user":
                reader = CollectionReader(uuid_of(f"{field}[{index}].user", "users", message.user))
            case "email":
                reader = CollectionReader(email=require_email(message.email, f"{field}[{index}].email"))
            case "role":
                reader = CollectionReader(role=enums.ROLE.value(message.role))
            case "group":
                group_id = uuid_of(f"{field}[{index}].group", "groups", message.group)
                reader = CollectionReader(group_id=group_id)
            case _:
                reader = EVERYONE
        if reader in converted:
            raise InvalidRequest.of_field(
                f"{field}[{index}]", "readers.unique", "is the same as an earlier one; send each reader once"
            )
        converted[reader] = None
    return tuple(converted)


def parse_removed_emails(emails: Sequence[str], *, shares: bool) -> tuple[str, ...]:
    """The folded addresses of users to leave out of the readers. shares: whether the update replaces the readers. Raises InvalidRequest."""
    field = "removed_emails"
    if emails and not shares:
        raise InvalidRequest.of_field(
            field,
            "readers.removed",
            'can be set only if update_mask contains "readers"; collection.readers must then list the readers to keep',
        )
    return tuple(require_email(email, f"{field}[{index}]") for index, email in enumerate(emails))


def generation(value: Generation) -> generation_pb2.Generation:
    return messages.message(
        generation_pb2.Generation,
        value,
        name=names.generation(value.collection_id, value.number),
    )


_MAX_SOURCE_KEY_BYTES: Final = 1024


def generation_name(name: str) -> tuple[str, int]:
    """Read the name of a generation: its collection's id and its number. Raises InvalidRequest."""
    try:
        return names.parse_generation(name)
    except ValueError as error:
        raise InvalidRequest.of_field(
            "name", "name", "must be a name of the form collections/{id}/generations/{n}"
        ) from error


def metadata(field: str, value: document_pb2.DocumentMetadata) -> DocumentMetadata:
    """Convert the metadata of a document. field: the path of the metadata in the request. Raises InvalidRequest."""
    return DocumentMetadata(
        collection_id=slug_of(f"{field}.collection", "collections", value.collection)
        if value.collection
        else DEFAULT_COLLECTION,
        source_key=_source_key(f"{field}.source_key", value.source_key),
        title=value.title,
        uri=value.uri,
        media_type=value.media_type,
        labels=dict(value.labels),
        metadata=structs.plain(f"{field}.metadata", value.metadata),
        subject=value.subject,
    )


def _source_key(field: str, key: str) -> str:
    """A source key in NFC, so that names of macOS (NFD) and of other systems name the same document. Raises
    InvalidRequest: rare characters are longer in NFC."""
    composed = unicodedata.normalize("NFC", key)
    if len(composed.encode()) > _MAX_SOURCE_KEY_BYTES:
        raise InvalidRequest.of_field(
            field,
            "string.max_bytes",
            f"must be at most {_MAX_SOURCE_KEY_BYTES:,} bytes in the Unicode form NFC",
        )
    return composed


def document_changes(value: document_pb2.Document, wanted: Container[str]) -> DocumentChanges:
    """Convert the new values of a document. wanted: the fields to change. Raises InvalidRequest."""
    return DocumentChanges(
        title=value.title if "title" in wanted else None,
        labels=dict(value.labels) if "labels" in wanted else None,
        metadata=structs.plain("document.metadata", value.metadata) if "metadata" in wanted else None,
        subject=value.subject if "subject" in wanted else None,
    )


def inline(value: DocumentMetadata) -> DocumentMetadata:
    """Return the metadata of a text that the request holds. The text is Markdown, unless the media type or the suffix
    of the source_key says otherwise."""
    declared = value.media_type or PurePosixPath(value.source_key).suffix
    return value if declared else replace(value, media_type="text/markdown")


def document(value: Document) -> document_pb2.Document:
    return messages.message(document_pb2.Document, value)


def document_or_version(name: str) -> tuple[UUID, int | None]:
    """Read the name of a document or of one of its versions. Raises InvalidRequest."""
    try:
        return names.parse_document_version(name)
    except ValueError as error:
        raise InvalidRequest.of_field(
            "name", "name", "must be the name of a document or of one of its versions"
        ) from error


def version_of_document(name: str) -> tuple[UUID, int]:
    """Read the name of a version of a document. Raises InvalidRequest."""
    document_id, version = document_or_version(name)
    if version is None:
        raise InvalidRequest.of_field("name", "name", "must be the name of a version of a document")
    return document_id, version


def document_version(value: DocumentVersion) -> document_version_pb2.DocumentVersion:
    return messages.message(
        document_version_pb2.DocumentVersion,
        value,
        name=names.document_version(value.document_id, value.version),
    )


def passage(value: Passage) -> document_pb2.Passage:
    return messages.message(
        document_pb2.Passage,
        value,
        name=names.passage(value.id),
        document_version=names.document_version(value.document_id, value.version),
        sha256=hashlib.sha256(value.text.encode()).digest(),
        excerpt=None,
        **place_fields(value.place_of(value.source)),
    )


def search_query(request: knowledge_service_pb2.SearchRequest, field: str = "") -> SearchQuery:
    """Convert a search. field: the path of the search in the request, with a dot at its end; "" if it is the request."""
    scope = f"{field}scope.collections"
    return SearchQuery(
        terms=tuple(request.terms),
        collections=tuple(sorted(slug_of(scope, "collections", name) for name in request.scope.collections)),
        top_k=request.top_k if request.HasField("top_k") else DEFAULT_TOP_K,
        threshold=request.threshold,
        mode=enums.SEARCH_MODE.value(request.mode) or SearchMode.HYBRID,
        rerank=request.rerank if request.HasField("rerank") else True,
        filters=(
            *parse_filter(lists.SEARCHED, request.filter, f"{field}filter"),
            *parse_filter(lists.SEARCHED, request.scope.filter, f"{field}scope.filter"),
        ),
    )


def search_queries(request: knowledge_service_pb2.BatchSearchRequest) -> Sequence[SearchQuery]:
    """Convert the searches of a batch. Raises InvalidRequest if they ask for too many passages together."""
    queries = [search_query(search, f"requests[{index}].") for index, search in enumerate(request.requests)]
    asked = sum(query.top_k for query in queries)
    if asked > MAX_BATCH_PASSAGES:
        raise InvalidRequest.of_field(
            "requests",
            "requests.top_k_sum",
            f"may request at most {MAX_BATCH_PASSAGES} passages in total, but request {asked}; "
            "set a smaller top_k, or make several calls",
        )
    return queries


def hit(value: Hit) -> knowledge_service_pb2.SearchHit:
    return knowledge_service_pb2.SearchHit(
        passage=passage(value.passage),
        score=value.score,
        parts=knowledge_service_pb2.ScoreParts(
            text=value.text_score,
            vector=value.vector_score,
            term=value.term,
            piece=value.piece_score,
            reranker=value.reranker_score,
        ),
        excerpt=value.excerpt and excerpt(value.excerpt),
        copies=[names.document_version(copy.document_id, copy.version) for copy in value.copies],
    )


def show(of_turn: excerpt_pb2.Excerpt, value: ShownPart) -> document_pb2.Passage:
    """The passage of an excerpt of a turn, with the excerpt. of_turn: as the turn has it."""
    if value.chosen is not None:
        whole = excerpt(value.chosen)
        whole.collection, whole.collection_kind = of_turn.collection, of_turn.collection_kind
        of_turn = whole
    of_turn.markdown, of_turn.section_markdown = value.markdown, value.section
    if value.marked is not None:
        of_turn.marked_in_markdown.CopyFrom(byte_range(value.marked))
    result = passage(value.passage)
    result.collection = of_turn.collection
    result.excerpt.CopyFrom(of_turn)
    return result


def operation(value: Operation, metadata: Message, result: Callable[[], Message]) -> operations_pb2.Operation:
    """Convert an operation. result: returns what it has made; called once it has ended without an error."""
    encoded = operations_pb2.Operation(name=names.operation(value.id), done=value.done)
    encoded.metadata.Pack(metadata)
    if value.error is not None:
        encoded.error.CopyFrom(status.of(value.error))
    elif value.done:
        encoded.response.Pack(result())
    return encoded


def ingest_operation(value: Operation, result: Document | None) -> operations_pb2.Operation:
    """Convert an operation that ingests a document. result: the operation's document. If the document has been deleted,
    result is None and the response holds only the document's name."""
    progress = messages.message(document_pb2.IngestMetadata, value, paused=value.paused and not value.done)

    def build_result() -> document_pb2.IngestResult:
        return document_pb2.IngestResult(
            document=document_pb2.Document(name=progress.document) if result is None else document(result),
            unchanged=value.unchanged,
            guessed_charset=value.charset,
            ocr_pages=value.counts.get(OCR_PAGES, 0),
            left_out=[
                document_pb2.LeftOut(kind=enums.LEFT_OUT_KIND.number(LeftOutKind(kind)), count=count)
                for kind, count in value.counts.items()
                if kind != OCR_PAGES
            ],
        )

    return operation(value, progress, build_result)


def reindex_operation(value: Operation, result: Generation | None) -> operations_pb2.Operation:
    """Convert an operation that builds or activates a generation. result: the generation. If it has been deleted,
    result is None and the response holds only its name."""
    name = names.generation(value.collection_id, value.version)
    progress = messages.message(
        generation_pb2.ReindexMetadata, value, generation=name, paused=value.paused and not value.done
    )
    shown = generation_pb2.Generation(name=name) if result is None else generation(result)
    return operation(value, progress, lambda: generation_pb2.ReindexResult(generation=shown))


def sync_operation(value: Operation) -> operations_pb2.Operation:
    progress = messages.message(
        source_pb2.SyncMetadata,
        value,
        stage=_SYNC_STAGES[value.stage],
        documents_done=value.passages_done,
        documents_total=value.passages_total,
        paused=value.paused and not value.done,
    )
    return operation(value, progress, lambda: source_pb2.SyncResult(**value.counts))
