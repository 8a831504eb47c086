"""Documents, search, the profiles of users, and jobs: /kb/*, /users/{id}/* and /jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.longrunning import operations_proto_pb2 as operations
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.admin.v1 import source_pb2
from responsa.knowledge.v1 import document_pb2, subject_profile_pb2
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa.type.v1 import scope_pb2
from responsa_server.transports.http.original_paths.rows import (
    ADMIN,
    IDENTIFIED,
    KNOWLEDGE,
    MAX_QUESTION_BODY,
    NAMED,
    OPERATIONS,
    First,
    Given,
    Json,
    OriginalRow,
    id_of,
    name_of,
    row_of_list,
    row_of_one,
    user_of,
)


def _document(document: document_pb2.Document) -> dict[str, object]:
    return {
        "id": id_of(document.name),
        "title": document.title,
        "metadata": json_format.MessageToDict(document.metadata),
        "state": document_pb2.DocumentState.Name(document.state).removeprefix("DOCUMENT_STATE_").lower(),
        "updated_at": document.update_time.ToJsonString(),
    }


def _of_collection(document: document_pb2.Document) -> dict[str, object]:
    return {
        **_document(document),
        "source_key": document.source_key,
        "collection": id_of(document.collection),
        "error": document.error.message or None,
        "created_at": document.create_time.ToJsonString(),
    }


def _of_profile(document: subject_profile_pb2.ProfileDocument) -> dict[str, object]:
    return {**_document(document.document), "kind": document.kind}


def _profile(profile: subject_profile_pb2.SubjectProfile) -> Json:
    return {
        "user_id": id_of(profile.user) or None,
        "subject": profile.subject,
        "document_count": profile.document_count,
        "sources": [
            {
                "source": id_of(part.source) or None,
                "name": part.source_display_name,
                "documents": [_of_profile(document) for document in part.documents],
                "failed_rows": part.failed_rows,
                "job_id": id_of(part.newest_run) or None,
                "synced_at": part.sync_time.ToJsonString() if part.HasField("sync_time") else None,
            }
            for part in profile.parts
        ],
    }


def _documents(profile: subject_profile_pb2.SubjectProfile) -> Json:
    documents = [
        {**_of_profile(document), "source": id_of(part.source) or None}
        for part in profile.parts
        for document in part.documents
    ]
    return {"documents": documents, "document_count": profile.document_count}


def _job(operation: operations.Operation) -> Json:
    metadata, result = source_pb2.SyncMetadata(), source_pb2.SyncResult()
    run = operation.metadata.Unpack(metadata)
    failed = operation.HasField("error")
    return {
        "id": id_of(operation.name),
        "state": "failed" if failed else "done" if operation.done else "running",
        "error": operation.error.message if failed else None,
        "progress": {"done": metadata.documents_done, "total": metadata.documents_total} if run else None,
        "result": json_format.MessageToDict(
            result, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        if operation.response.Unpack(result)
        else None,
    }


def _ids_of(operation: operations.Operation) -> Json:
    metadata = document_pb2.IngestMetadata()
    operation.metadata.Unpack(metadata)
    return {"id": id_of(metadata.document), "job_id": id_of(operation.name)}


_DEFAULT_COLLECTION: Final = "collections/default"
"""It is made by the first upload, so a client may ask for it before it exists."""


def _collection(values: Given) -> str:
    return name_of("collections", values.get("collection") or _DEFAULT_COLLECTION)


def _metadata(values: Given) -> Struct:
    metadata = Struct()
    metadata.update(values.get("metadata", {}))
    return metadata


def _hits(response: knowledge.SearchResponse) -> Json:
    return {
        "results": [
            {
                "id": id_of(hit.passage.name),
                "document_id": id_of(hit.passage.document),
                "title": hit.passage.title,
                "text": hit.passage.text,
                "score": hit.score,
            }
            for hit in response.hits
        ]
    }


def subject_of(values: Given) -> str:
    """The subject of a path; "" for the caller."""
    return "" if values["id"] == "me" else user_of(values)


_MAX_DOCUMENT_BODY: Final = 2_097_152
"""A document of 1 MiB, with room for the escapes of JSON."""

ROWS: Final[Sequence[OriginalRow]] = (
    *(
        row_of_one(
            ("GET",),
            f"/users/{{id}}/{what}",
            KNOWLEDGE + "GetSubjectProfile",
            lambda values: knowledge.GetSubjectProfileRequest(subject=subject_of(values)),
            subject_profile_pb2.SubjectProfile,
            shape,
        )
        for what, shape in (("profile", _profile), ("documents", _documents))
    ),
    *(
        OriginalRow(
            ("POST",),
            f"/users/{{id}}/{what}",
            ADMIN + "NotifySubjectChanged",
            lambda values, cause=cause: admin.NotifySubjectChangedRequest(
                subject=values["subject"], cause=cause, request_id=values.get("request_id", "")
            ),
            admin.NotifySubjectChangedResponse,
            lambda reply, _: {"jobs": [_job(operation) for operation in reply.operations]},
            {"request_id": str},
            code=202,
            renamed=NAMED,
            remedies=IDENTIFIED,
            first=First(
                KNOWLEDGE + "GetSubjectProfile",
                lambda values: knowledge.GetSubjectProfileRequest(
                    subject=subject_of(values), read_mask=FieldMask(paths=["subject"])
                ),
                subject_profile_pb2.SubjectProfile,
                "subject",
                lambda profile: profile.subject,
            ),
        )
        for what, cause in (("reprocess", "reprocess"), ("test-completed", "test completed"))
    ),
    row_of_one(
        ("GET",),
        "/jobs/{id}",
        OPERATIONS + "GetOperation",
        lambda values: operations.GetOperationRequest(name=f"operations/{values['id']}"),
        operations.Operation,
        _job,
    ),
    OriginalRow(
        ("POST",),
        "/kb/documents",
        KNOWLEDGE + "CreateDocument",
        lambda values: knowledge.CreateDocumentRequest(
            metadata=document_pb2.DocumentMetadata(
                collection=_collection(values),
                source_key=values.get("source_key") or values.get("title", ""),
                title=values.get("title", ""),
                metadata=_metadata(values),
            ),
            text=values.get("content", ""),
            request_id=values.get("request_id", ""),
        ),
        operations.Operation,
        lambda reply, _: _ids_of(reply),
        {
            "title": str,
            "content": str,
            "source_key": str,
            "collection": str,
            "metadata": dict,
            "request_id": str,
        },
        code=202,
        form=True,
        renamed={
            "text": ("content",),
            "chunk": ("file",),
            "metadata.source_key": ("source_key", "title"),
            "metadata.title": ("title",),
            "metadata.collection": ("collection",),
            "metadata.metadata": ("metadata",),
        },
        limit=_MAX_DOCUMENT_BODY,
    ),
    row_of_list(
        "/kb/documents",
        KNOWLEDGE + "ListDocuments",
        knowledge.ListDocumentsRequest,
        knowledge.ListDocumentsResponse,
        "documents",
        _of_collection,
        where=lambda values: {"parent": _collection(values)},
        fields={"collection": str},
        renamed={"parent": ("collection",)},
        absent=lambda values: (
            knowledge.ListDocumentsResponse() if _collection(values) == _DEFAULT_COLLECTION else None
        ),
    ),
    row_of_one(
        ("GET",),
        "/kb/documents/{id}",
        KNOWLEDGE + "GetDocument",
        lambda values: knowledge.GetDocumentRequest(name=name_of("documents", values["id"])),
        document_pb2.Document,
        _of_collection,
    ),
    row_of_one(
        ("DELETE",),
        "/kb/documents/{id}",
        KNOWLEDGE + "DeleteDocument",
        lambda values: knowledge.DeleteDocumentRequest(name=name_of("documents", values["id"])),
        Empty,
    ),
    OriginalRow(
        ("POST",),
        "/kb/search",
        KNOWLEDGE + "Search",
        lambda values: knowledge.SearchRequest(
            terms=[values.get("query", "")],
            top_k=values.get("limit", values.get("top_k")),
            scope=scope_pb2.Scope(collections=[_collection(values)] if values.get("collection") else []),
        ),
        knowledge.SearchResponse,
        lambda reply, _: _hits(reply),
        {"query": str, "limit": int, "top_k": int, "collection": str},
        renamed={
            "terms[0]": ("query",),
            "top_k": ("limit", "top_k"),
            "scope.collections[0]": ("collection",),
            "scope.collections": ("collection",),
        },
        absent=lambda values: (
            knowledge.SearchResponse() if _collection(values) == _DEFAULT_COLLECTION else None
        ),
        limit=MAX_QUESTION_BODY,
    ),
)
