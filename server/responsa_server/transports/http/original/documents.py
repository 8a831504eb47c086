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
from responsa_server.transports.http.original.rows import (
    ADMIN,
    IDENTIFIED,
    KNOWLEDGE,
    MAX_QUESTION_BODY,
    NAMED,
    OPERATIONS,
    First,
    Given,
    Json,
    Row,
    id_of,
    name_of,
    named,
    row_of_list,
    row_of_one,
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


def _accepted(operation: operations.Operation) -> Json:
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
    return "" if values["id"] == "me" else named(values)


_MAX_DOCUMENT_BODY: Final = 2_097_152
"""A document of 1 MiB, with room for the escapes of JSON."""

ROWS: Final[Sequence[Row]] = (
    *(
        row_of_one(
            ("GET",),
            f"/users/{{id}}/{what}",
            KNOWLEDGE + "GetSubjectProfile",
            lambda given: knowledge.GetSubjectProfileRequest(subject=subject_of(given)),
            subject_profile_pb2.SubjectProfile,
            shape,
        )
        for what, shape in (("profile", _profile), ("documents", _documents))
    ),
    *(
        Row(
            ("POST",),
            f"/users/{{id}}/{what}",
            ADMIN + "NotifySubjectChanged",
            lambda given, cause=cause: admin.NotifySubjectChangedRequest(
                subject=given["subject"], cause=cause, request_id=given.get("request_id", "")
            ),
            admin.NotifySubjectChangedResponse,
            lambda found, _: {"jobs": [_job(operation) for operation in found.operations]},
            {"request_id": str},
            code=202,
            renamed=NAMED,
            remedies=IDENTIFIED,
            first=First(
                KNOWLEDGE + "GetSubjectProfile",
                lambda given: knowledge.GetSubjectProfileRequest(
                    subject=subject_of(given), read_mask=FieldMask(paths=["subject"])
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
        lambda given: operations.GetOperationRequest(name=f"operations/{given['id']}"),
        operations.Operation,
        _job,
    ),
    Row(
        ("POST",),
        "/kb/documents",
        KNOWLEDGE + "CreateDocument",
        lambda given: knowledge.CreateDocumentRequest(
            metadata=document_pb2.DocumentMetadata(
                collection=_collection(given),
                source_key=given.get("source_key") or given.get("title", ""),
                title=given.get("title", ""),
                metadata=_metadata(given),
            ),
            text=given.get("content", ""),
            request_id=given.get("request_id", ""),
        ),
        operations.Operation,
        lambda found, _: _accepted(found),
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
        most=_MAX_DOCUMENT_BODY,
    ),
    row_of_list(
        "/kb/documents",
        KNOWLEDGE + "ListDocuments",
        knowledge.ListDocumentsRequest,
        knowledge.ListDocumentsResponse,
        "documents",
        _of_collection,
        where=lambda given: {"parent": _collection(given)},
        fields={"collection": str},
        renamed={"parent": ("collection",)},
        absent=lambda given: (
            knowledge.ListDocumentsResponse() if _collection(given) == _DEFAULT_COLLECTION else None
        ),
    ),
    row_of_one(
        ("GET",),
        "/kb/documents/{id}",
        KNOWLEDGE + "GetDocument",
        lambda given: knowledge.GetDocumentRequest(name=name_of("documents", given["id"])),
        document_pb2.Document,
        _of_collection,
    ),
    row_of_one(
        ("DELETE",),
        "/kb/documents/{id}",
        KNOWLEDGE + "DeleteDocument",
        lambda given: knowledge.DeleteDocumentRequest(name=name_of("documents", given["id"])),
        Empty,
    ),
    Row(
        ("POST",),
        "/kb/search",
        KNOWLEDGE + "Search",
        lambda given: knowledge.SearchRequest(
            terms=[given.get("query", "")],
            top_k=given.get("limit", given.get("top_k")),
            scope=scope_pb2.Scope(collections=[_collection(given)] if given.get("collection") else []),
        ),
        knowledge.SearchResponse,
        lambda found, _: _hits(found),
        {"query": str, "limit": int, "top_k": int, "collection": str},
        renamed={
            "terms[0]": ("query",),
            "top_k": ("limit", "top_k"),
            "scope.collections[0]": ("collection",),
            "scope.collections": ("collection",),
        },
        absent=lambda given: (
            knowledge.SearchResponse() if _collection(given) == _DEFAULT_COLLECTION else None
        ),
        most=MAX_QUESTION_BODY,
    ),
)
