"""Builds requests from plain arguments. Nothing here makes a call."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from google.protobuf import field_mask_pb2, json_format, struct_pb2

from responsa.admin.v1 import admin_service_pb2, source_pb2, teacher_pb2, user_limits_pb2, user_quota_pb2
from responsa.auth.v1 import user_pb2
from responsa.chat.v1 import chat_service_pb2, conversation_pb2
from responsa.knowledge.v1 import collection_pb2, document_pb2, knowledge_service_pb2, reader_pb2
from responsa.type.v1 import scope_pb2

CHUNK_BYTES = 256 * 1024
"""The maximum number of bytes in one message of an upload."""
PAGE_SIZE = 200
"""The maximum page size, which the iterators over most lists request."""
MESSAGES_PAGE_SIZE = 50
"""The page size for lists of messages, turns, teachers and sources. Their items are long, so smaller pages keep each response small."""

Asked = TypeVar(
    "Asked", chat_service_pb2.AskRequest, chat_service_pb2.AnswerRequest, chat_service_pb2.StartTurnRequest
)

Value = None | bool | int | float | str | Sequence["Value"] | Mapping[str, "Value"]
"""A JSON value."""
Parameters = Mapping[str, Value]
"""Values by name."""


class PagedRequest(Protocol):
    """A request for a page of a list (AIP-158)."""

    page_token: str


class PagedResponse(Protocol):
    """A page of a list."""

    next_page_token: str


PagedRequestT = TypeVar("PagedRequestT", bound=PagedRequest)
PagedResponseT = TypeVar("PagedResponseT", bound=PagedResponse)


def new_request_id() -> str:
    """A new request_id: a random UUID in its usual form."""
    return str(uuid.uuid4())


def collection_name(collection: str) -> str:
    """ "default" and "collections/default" both name `collections/default`."""
    return collection if "/" in collection else f"collections/{collection}"


def scope(collections: Sequence[str], filter_by: str = "") -> scope_pb2.Scope:
    """A scope of the named collections and of the documents that match a filter. A single string is one name, not a sequence of letters."""
    return scope_pb2.Scope(collections=collection_names(collections), filter=filter_by)


def collection_names(collections: Sequence[str]) -> list[str]:
    """The names of several collections, each once, in the given order."""
    given = [collections] if isinstance(collections, str) else collections
    return list(dict.fromkeys(collection_name(name) for name in given))


def agent_name(agent: str) -> str:
    """ "testing" and "agents/testing" both name `agents/testing`. "testing/versions/3" names a version of this agent, and "" names the default agent."""
    return agent if not agent or agent.startswith("agents/") else f"agents/{agent}"


def tool_name(tool: str) -> str:
    """ "calculator" and "tools/calculator" both name `tools/calculator`."""
    return tool if tool.startswith("tools/") else f"tools/{tool}"


def teacher_name(teacher: str) -> str:
    """A bare UUID and "teachers/{uuid}" both name `teachers/{uuid}`."""
    return teacher if "/" in teacher else f"teachers/{teacher}"


def source_name(source: str) -> str:
    """A bare id and "sources/{id}" both name `sources/{id}`."""
    return source if "/" in source else f"sources/{source}"


def user_name(user: str) -> str:
    """A bare UUID and "users/{uuid}" both name `users/{uuid}`."""
    return user if "/" in user else f"users/{user}"


def person_name(user: str) -> str:
    """As `user_name`; an e-mail address stays as it is."""
    return user if "@" in user else user_name(user)


def service_grant_name(grant: str) -> str:
    """A bare UUID and "serviceGrants/{uuid}" both name `serviceGrants/{uuid}`."""
    return grant if "/" in grant else f"serviceGrants/{grant}"


def tenant_name(tenant: str) -> str:
    """A bare id and "tenants/{id}" both name `tenants/{id}`."""
    return tenant if "/" in tenant else f"tenants/{tenant}"


def turn_name(turn: str) -> str:
    """A bare UUID and "turns/{uuid}" both name `turns/{uuid}`."""
    return turn if "/" in turn else f"turns/{turn}"


def struct(values: Parameters) -> struct_pb2.Struct:
    """The values as a protobuf Struct. Numbers become doubles.

    Raises:
        ValueError, TypeError: a value cannot be written as JSON, e.g. NaN or a date, or a Struct cannot hold it, e.g. a number of 400 digits.
    """
    # Writing the values as JSON and reading them again makes sure that they contain no other Python types.
    text = json.dumps(dict(values), allow_nan=False)
    try:
        return json_format.Parse(text, struct_pb2.Struct())
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error


def options(
    collections: Sequence[str],
    on_busy: chat_service_pb2.OnBusy.ValueType,
    parameters: Parameters | None,
    max_cost_usd_micros: int | None,
    filter_by: str = "",
) -> chat_service_pb2.AskOptions:
    """The fields that Ask, Answer and StartTurn share. Raises the errors of `struct`."""
    return chat_service_pb2.AskOptions(
        scope=scope(collections, filter_by),
        on_busy=on_busy,
        parameters=struct(parameters) if parameters else None,
        max_cost_usd_micros=max_cost_usd_micros,
    )


def question(
    kind: type[Asked],
    text: str,
    conversation: str | None,
    request_id: str | None,
    agent: str,
    options: chat_service_pb2.AskOptions,
) -> Asked:
    """The request of Ask, Answer or StartTurn. If `conversation` is None, the server creates a conversation; if `request_id` is None, this generates an id."""
    return kind(
        conversation=conversation or "",
        text=text,
        request_id=request_id or new_request_id(),
        options=options,
        agent=agent_name(agent),
    )


def resume(turn: str, after_seq: int, include_deltas: bool) -> chat_service_pb2.ResumeTurnRequest:
    """The request of ResumeTurn."""
    return chat_service_pb2.ResumeTurnRequest(
        turn=turn_name(turn), after_seq=after_seq, include_deltas=include_deltas
    )


def create_conversation(
    title: str, labels: Mapping[str, str], request_id: str
) -> chat_service_pb2.CreateConversationRequest:
    """The request of CreateConversation."""
    conversation = conversation_pb2.Conversation(title=title, labels=labels)
    return chat_service_pb2.CreateConversationRequest(conversation=conversation, request_id=request_id)


def update_conversation(
    name: str, title: str | None, labels: Mapping[str, str] | None, etag: str
) -> chat_service_pb2.UpdateConversationRequest:
    """The request of UpdateConversation; None leaves a field as it is."""
    given = {"title": title, "labels": labels}
    return chat_service_pb2.UpdateConversationRequest(
        conversation=conversation_pb2.Conversation(
            name=name, title=title or "", labels=labels or {}, etag=etag
        ),
        update_mask=field_mask_pb2.FieldMask(
            paths=[field for field, value in given.items() if value is not None]
        ),
    )


def create_collection(
    collection_id: str,
    display_name: str,
    chunking: collection_pb2.Chunking | None,
    request_id: str,
    readers: Sequence[reader_pb2.Reader] = (),
) -> knowledge_service_pb2.CreateCollectionRequest:
    """The request of CreateCollection. The caller may give a name, `collections/{id}`, as the id."""
    return knowledge_service_pb2.CreateCollectionRequest(
        collection_id=collection_id.removeprefix("collections/"),
        collection=collection_pb2.Collection(display_name=display_name, chunking=chunking, readers=readers),
        request_id=request_id,
    )


def update_collection(
    collection: str,
    display_name: str | None,
    etag: str,
    synonyms: str | None,
    readers: Sequence[reader_pb2.Reader] | None = None,
    without: Sequence[str] = (),
) -> knowledge_service_pb2.UpdateCollectionRequest:
    """The request of UpdateCollection. Values that are None do not change."""
    changed = {"display_name": display_name, "synonyms": synonyms, "readers": readers}
    return knowledge_service_pb2.UpdateCollectionRequest(
        collection=collection_pb2.Collection(
            name=collection_name(collection),
            display_name=display_name or "",
            etag=etag,
            synonyms=synonyms or "",
            readers=readers or (),
        ),
        update_mask=field_mask_pb2.FieldMask(
            paths=[name for name, value in changed.items() if value is not None]
        ),
        removed_emails=without,
    )


def search(
    terms: str | Sequence[str],
    collections: Sequence[str] = (),
    top_k: int = 10,
    threshold: float = 0.0,
    mode: knowledge_service_pb2.SearchMode.ValueType = knowledge_service_pb2.SEARCH_MODE_HYBRID,
    *,
    rerank: bool = True,
    filter_by: str = "",
) -> knowledge_service_pb2.SearchRequest:
    """The request of one search, e.g. for `batch_search`. The arguments are those of `search`; a single term may be a plain string."""
    request = knowledge_service_pb2.SearchRequest(
        terms=[terms] if isinstance(terms, str) else terms,
        scope=scope(collections),
        filter=filter_by,
        top_k=top_k,
        threshold=threshold,
        mode=mode,
    )
    if not rerank:
        request.rerank = False
    return request


def update_source(
    source: str, mapping: str | None, display_name: str | None, etag: str
) -> admin_service_pb2.UpdateSourceRequest:
    """The request of UpdateSource; None leaves a field as it is."""
    given = {"mapping": mapping, "display_name": display_name}
    return admin_service_pb2.UpdateSourceRequest(
        source=source_pb2.Source(
            name=source_name(source), mapping=mapping or "", display_name=display_name or "", etag=etag
        ),
        update_mask=field_mask_pb2.FieldMask(paths=[key for key, one in given.items() if one is not None]),
    )


def create_teacher(
    display_name: str,
    persona: str,
    parameters: Parameters | None,
    teacher_id: str,
    request_id: str,
) -> admin_service_pb2.CreateTeacherRequest:
    """The request of CreateTeacher. The caller may give a name, `teachers/{uuid}`, as the id. Raises the errors of `struct`."""
    return admin_service_pb2.CreateTeacherRequest(
        teacher=teacher_pb2.Teacher(
            display_name=display_name,
            persona=persona,
            parameters=struct(parameters) if parameters else None,
        ),
        teacher_id=teacher_id.removeprefix("teachers/"),
        request_id=request_id,
    )


def update_teacher(
    teacher: str, display_name: str | None, persona: str | None, parameters: Parameters | None, etag: str
) -> admin_service_pb2.UpdateTeacherRequest:
    """The request of UpdateTeacher; None leaves a field as it is. Raises the errors of `struct`."""
    given = {"display_name": display_name, "persona": persona, "parameters": parameters}
    return admin_service_pb2.UpdateTeacherRequest(
        teacher=teacher_pb2.Teacher(
            name=teacher_name(teacher),
            display_name=display_name or "",
            persona=persona or "",
            parameters=struct(parameters) if parameters else None,
            etag=etag,
        ),
        update_mask=field_mask_pb2.FieldMask(
            paths=[field for field, value in given.items() if value is not None]
        ),
    )


def update_user(
    user: str,
    display_name: str | None,
    email: str | None,
    role: user_pb2.UserRole.ValueType | None,
    subject: str | None,
    etag: str,
) -> admin_service_pb2.UpdateUserRequest:
    """The request of UpdateUser; None leaves a field as it is."""
    given = {"display_name": display_name, "email": email, "role": role, "subject": subject}
    return admin_service_pb2.UpdateUserRequest(
        user=user_pb2.User(
            name=user_name(user),
            display_name=display_name or "",
            email=email or "",
            role=role or user_pb2.USER_ROLE_UNSPECIFIED,
            subject=subject or "",
            etag=etag,
        ),
        update_mask=field_mask_pb2.FieldMask(
            paths=[field for field, value in given.items() if value is not None]
        ),
    )


def quota_name(user: str) -> str:
    """`users/{uuid}/quota`, from a user's name or UUID."""
    return f"{user_name(user)}/quota"


def update_user_quota(
    user: str, limits: Mapping[str, int | None], dropped: Collection[str], etag: str
) -> admin_service_pb2.UpdateUserQuotaRequest:
    """The request of UpdateUserQuota. Raises ValueError for a limit that does not exist."""
    given = {
        name: user_quota_pb2.QuotaLimit(unlimited=True)
        if limit is None
        else user_quota_pb2.QuotaLimit(at_most=limit)
        for name, limit in limits.items()
        if name not in dropped
    }
    limit_type = user_quota_pb2.QuotaLimit.DESCRIPTOR
    known = {one.name for one in user_quota_pb2.UserQuota.DESCRIPTOR.fields if one.message_type is limit_type}
    for name in (*given, *dropped):
        if name not in known:
            raise ValueError(f"there is no limit {name!r}")
    quota = user_quota_pb2.UserQuota(name=quota_name(user), etag=etag)
    for name, limit in given.items():
        getattr(quota, name).CopyFrom(limit)
    mask = field_mask_pb2.FieldMask(paths=[*given, *dropped])
    return admin_service_pb2.UpdateUserQuotaRequest(user_quota=quota, update_mask=mask)


def limits_name(user: str) -> str:
    """The name of a user's limits, from the user's name or UUID."""
    return f"{user_name(user)}/limits"


def update_user_limits(
    user: str, changes: Mapping[str, int | None]
) -> admin_service_pb2.UpdateUserLimitsRequest:
    """The request of UpdateUserLimits; None removes an exception. Raises ValueError for a limit that does not exist."""
    known = user_limits_pb2.Limits.DESCRIPTOR.fields_by_name
    for name in changes:
        if name not in known:
            raise ValueError(f"there is no limit {name!r}")
    given = {name: value for name, value in changes.items() if value is not None}
    return admin_service_pb2.UpdateUserLimitsRequest(
        user_limits=user_limits_pb2.UserLimits(
            name=limits_name(user), exceptions=user_limits_pb2.Limits(**given)
        ),
        update_mask=field_mask_pb2.FieldMask(paths=[f"exceptions.{name}" for name in changes]),
    )


def metadata(
    collection: str,
    source_key: str,
    title: str,
    uri: str,
    media_type: str,
    labels: Mapping[str, str] | None = None,
    own: Parameters | None = None,
    subject: str = "",
) -> document_pb2.DocumentMetadata:
    """The metadata of a document to upload. own: the caller's own values. Raises the errors of `struct`."""
    return document_pb2.DocumentMetadata(
        collection=collection_name(collection) if collection else "",
        source_key=source_key,
        title=title,
        uri=uri,
        media_type=media_type,
        labels=labels or {},
        metadata=struct(own) if own else None,
        subject=subject,
    )


def update_document(
    name: str,
    title: str | None,
    labels: Mapping[str, str] | None,
    metadata: Parameters | None,
    subject: str | None,
    etag: str,
) -> knowledge_service_pb2.UpdateDocumentRequest:
    """The request of UpdateDocument; None leaves a field as it is. Raises the errors of `struct`."""
    given = {"title": title, "labels": labels, "metadata": metadata, "subject": subject}
    return knowledge_service_pb2.UpdateDocumentRequest(
        document=document_pb2.Document(
            name=name,
            title=title or "",
            labels=labels or {},
            metadata=struct(metadata) if metadata else None,
            subject=subject or "",
            etag=etag,
        ),
        update_mask=field_mask_pb2.FieldMask(
            paths=[field for field, value in given.items() if value is not None]
        ),
    )


@dataclass(slots=True)
class Upload:
    """The messages of one upload. For another try, call `messages` again.

    failure: the error from reading the file; None if there was no error. gRPC would hide this error.
    """

    source: Path | bytes
    start: knowledge_service_pb2.UploadStart
    failure: BaseException | None = None

    @classmethod
    def of(
        cls, source: str | os.PathLike[str] | bytes, metadata: document_pb2.DocumentMetadata, request_id: str
    ) -> Upload:
        """Prepare to upload bytes, or the file at a path.

        A file's name becomes its source_key unless the metadata has a source_key. The request announces the size, except for a pipe, so the
        server refuses a file that changes while it is read (UPLOAD_INCOMPLETE).

        Raises:
            OSError: the path does not exist or is not a file.
            ValueError: `source` contains bytes, and the metadata has no source_key.
        """
        if isinstance(source, bytes):
            if not metadata.source_key:
                raise ValueError("bytes need a source_key")
            size, kept = len(source), source
        else:
            kept = Path(source)
            if kept.is_dir():
                raise IsADirectoryError(f"{kept} is a folder, not a file")
            size = kept.stat().st_size
            metadata.source_key = metadata.source_key or kept.name
        # A pipe reports 0 bytes, so 0 is not a size to announce.
        start = knowledge_service_pb2.UploadStart(
            metadata=metadata, size_bytes=size or None, request_id=request_id
        )
        return cls(kept, start)

    def messages(self) -> Iterator[knowledge_service_pb2.UploadDocumentRequest]:
        """The start message, then the bytes in chunks, then the finish message with the number of bytes and their SHA-256."""
        self.failure = None
        size, digest = 0, hashlib.sha256()
        try:
            yield knowledge_service_pb2.UploadDocumentRequest(start=self.start)
            for chunk in self._chunks():
                size += len(chunk)
                digest.update(chunk)
                yield knowledge_service_pb2.UploadDocumentRequest(chunk=chunk)
            finish = knowledge_service_pb2.UploadFinish(size_bytes=size, sha256=digest.digest())
            yield knowledge_service_pb2.UploadDocumentRequest(finish=finish)
        except OSError as error:
            self.failure = error
            raise

    def _chunks(self) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            for offset in range(0, len(self.source), CHUNK_BYTES):
                yield self.source[offset : offset + CHUNK_BYTES]
        else:
            with self.source.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
