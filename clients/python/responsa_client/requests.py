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

from responsa.admin.v1 import admin_service_pb2, user_limits_pb2, user_quota_pb2
from responsa.chat.v1 import chat_service_pb2
from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa.type.v1 import scope_pb2

CHUNK_BYTES = 256 * 1024
"""The maximum number of bytes in one message of an upload."""
PAGE_SIZE = 200
"""The maximum page size, which the iterators over most lists request."""
LONG_PAGE_SIZE = 50
"""The page size for lists of long items, such as messages, so that each response is small."""

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


def named(collection: str, text: str, child: str = "") -> str:
    """The name of a resource, from its name or its id alone: "1" and "users/1" both name `users/1`, or with the child
    "quota" `users/1/quota`. "" and an e-mail address stay as they are."""
    if not text or "@" in text:
        return text
    name = text if "/" in text else f"{collection}/{text}"
    return f"{name}/{child}" if child and not name.endswith(f"/{child}") else name


def changed(**values: object) -> field_mask_pb2.FieldMask:
    """The update mask with the fields whose value is not None."""
    return field_mask_pb2.FieldMask(paths=[field for field, value in values.items() if value is not None])


def scope(collections: Sequence[str], filter_by: str = "") -> scope_pb2.Scope:
    """A scope of the named collections and of the documents that match a filter. A single string is one name, not a sequence of letters."""
    return scope_pb2.Scope(collections=collection_names(collections), filter=filter_by)


def collection_names(collections: Sequence[str]) -> list[str]:
    """The names of several collections, each once, in the given order."""
    given = [collections] if isinstance(collections, str) else collections
    return list(dict.fromkeys(named("collections", name) for name in given))


def agent_name(agent: str) -> str:
    """ "testing" and "agents/testing" both name `agents/testing`. "testing/versions/3" names a version of this agent,
    and "" names the default agent."""
    return agent if not agent or agent.startswith("agents/") else f"agents/{agent}"


def user_name(user: str) -> str:
    """A bare UUID and "users/{uuid}" both name `users/{uuid}`."""
    return named("users", user)


def struct(values: Parameters) -> struct_pb2.Struct:
    """The values as a protobuf Struct. Numbers become doubles.

    Raises:
        ValueError, TypeError: a value cannot be written as JSON, e.g. NaN or a date, or a Struct cannot hold it, e.g. a
            number of 400 digits.
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
    """The request of Ask, Answer or StartTurn. If `conversation` is None, the server creates a conversation; if
    `request_id` is None, this generates an id. Raises TypeError if the text is not a string."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
        raise TypeError(f"text must be a string, but is {type(text).__name__}")
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
        turn=named("turns", turn), after_seq=after_seq, include_deltas=include_deltas
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


def update_user_quota(
    user: str, limits: Mapping[str, int | None], dropped: Collection[str], etag: str
) -> admin_service_pb2.UpdateUserQuotaRequest:
    """The request of UpdateUserQuota. Raises ValueError for a limit that does not exist."""
    changes = {
        name: user_quota_pb2.QuotaLimit(unlimited=True)
        if limit is None
        else user_quota_pb2.QuotaLimit(at_most=limit)
        for name, limit in limits.items()
        if name not in dropped
    }
    limit_type = user_quota_pb2.QuotaLimit.DESCRIPTOR
    known = {
        field.name for field in user_quota_pb2.UserQuota.DESCRIPTOR.fields if field.message_type is limit_type
    }
    for name in (*changes, *dropped):
        if name not in known:
            raise ValueError(f"there is no limit {name!r}")
    quota = user_quota_pb2.UserQuota(name=named("users", user, "quota"), etag=etag)
    for name, limit in changes.items():
        getattr(quota, name).CopyFrom(limit)
    mask = field_mask_pb2.FieldMask(paths=[*changes, *dropped])
    return admin_service_pb2.UpdateUserQuotaRequest(user_quota=quota, update_mask=mask)


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
            name=named("users", user, "limits"), exceptions=user_limits_pb2.Limits(**given)
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
        collection=named("collections", collection),
        source_key=source_key,
        title=title,
        uri=uri,
        media_type=media_type,
        labels=labels or {},
        metadata=struct(own) if own else None,
        subject=subject,
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
