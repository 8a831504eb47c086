"""PUT /v1/uploads, for browsers, which cannot stream a gRPC request. The body is passed to the gRPC method UploadDocument."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final, cast
from urllib.parse import parse_qsl

from google.longrunning.operations_pb2 import Operation
from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from responsa.knowledge.v1.document_pb2 import DocumentMetadata
from responsa.knowledge.v1.knowledge_service_pb2 import UploadDocumentRequest, UploadFinish, UploadStart
from responsa_server.calls.call import abandon
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import call_of, json_object
from responsa_server.calls.violations import not_utf8
from responsa_server.domain.errors import (
    DocumentRejected,
    FieldViolation,
    InvalidRequest,
    ResponsaError,
)
from responsa_server.domain.knowledge import MAX_DOCUMENT_BYTES

CHUNK_BYTES = 262_144
CLIENT_CLOSED_REQUEST = 499
DRAIN_SECONDS = 60

METHOD = "/responsa.knowledge.v1.KnowledgeService/UploadDocument"
PARAMETERS = (
    "collection",
    "source_key",
    "title",
    "uri",
    "media_type",
    "subject",
    "labels",
    "metadata",
    "request_id",
)
"""The query parameters. They are fields of UploadStart, and each may occur at most once. `labels` and `metadata` are JSON objects."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Uploads:
    """`/v1/uploads`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def put(self, request: Request) -> Response:
        """Stream the body to the method, no faster than the method reads. Responds with the Operation as proto-JSON.

        A client that disconnects cancels the call and everything that the call began.

        Raises:
            InvalidRequest: the body is a form, a parameter is unknown or repeated, or the announced size of the body is too large.
            ResponsaError: the method failed.
        """
        _refuse_multipart(request)
        start = _start_of(request)
        body = request.stream()
        call = call_of(request.scope, METHOD)
        answer: list[Operation] = []

        async def send(message: Message | bytes) -> None:
            assert isinstance(message, Message), "the response is an operation"
            answer.append(Operation.FromString(message.SerializeToString()))

        serving = asyncio.ensure_future(self._calls.serve(call, _Body(start, body).read, send))
        try:
            await serving
        except ResponsaError:
            await _drain(body)
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return Response(MessageToJson(answer[0], indent=None), media_type="application/json")


class _Body:
    """A body as the messages of an upload. Only a complete body gets a `finish`."""

    def __init__(self, start: UploadStart, body: AsyncIterator[bytes]) -> None:
        self._messages = self._each(start, body)

    async def read(self) -> bytes | None:
        """The next message's bytes; None after the last one. Cancels the call when the client is gone."""
        try:
            return await anext(self._messages, None)
        except ClientDisconnect:
            await abandon()

    async def _each(self, start: UploadStart, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield UploadDocumentRequest(start=start).SerializeToString()
        size = 0
        async for chunk in _chunks(body):
            size += len(chunk)
            yield UploadDocumentRequest(chunk=chunk).SerializeToString()
        yield UploadDocumentRequest(finish=UploadFinish(size_bytes=size)).SerializeToString()


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read and drop the rest of a refused body, at most 64 MiB. A browser that is still sending when the response arrives would report a broken
    connection instead of the response."""
    left = MAX_DOCUMENT_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for piece in body:
                left -= len(piece)
                if left < 0:
                    return
    except (ClientDisconnect, TimeoutError):
        pass  # the response is sent in any case


async def _chunks(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `CHUNK_BYTES`; the last piece may be shorter."""
    waiting = bytearray()
    async for piece in body:
        waiting += piece
        while len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting[:CHUNK_BYTES])
            del waiting[:CHUNK_BYTES]
    if waiting:
        yield bytes(waiting)


def _start_of(request: Request) -> UploadStart:
    given: dict[str, str] = {}
    # request.query_params would replace bytes that are not UTF-8, and different source keys would become the same.
    query = cast("bytes", request.scope["query_string"]).decode("utf-8", "surrogateescape")
    for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape"):
        if name not in PARAMETERS:
            known = ", ".join(PARAMETERS)
            shown = name[:64].encode(errors="replace").decode()
            raise InvalidRequest.of_field(
                shown, "unknown_parameter", f"there is no such parameter; the parameters are {known}"
            )
        if name in given:
            raise InvalidRequest.of_field(name, "given_twice", "give it once")
        if _SURROGATE.search(value):
            raise InvalidRequest.of_violation(not_utf8(name))
        given[name] = value
    values = dict.fromkeys(PARAMETERS, "") | given
    if "charset=" in _declared(request).lower():
        # Without a character set, the header says no more than the file's name: each client sends its own type.
        values["media_type"] = values["media_type"] or _declared(request)
    size = _announced_size(request)
    if size > MAX_DOCUMENT_BYTES:
        # Otherwise the RPC would report the error only after it had received the bytes.
        error = DocumentRejected.too_large(MAX_DOCUMENT_BYTES)
        raise replace(
            error,
            metadata={"source_key": values["source_key"], **error.metadata},
            violations=(FieldViolation("chunk", error.reason.lower(), error.message),),
        )
    request_id = values.pop("request_id")
    labels, own = (_object(name, values.pop(name)) for name in ("labels", "metadata"))
    if any(field.WhichOneof("kind") != "string_value" for field in labels.fields.values()):
        raise InvalidRequest.of_field(
            "labels", "labels.texts", 'must be a JSON object with texts as values, e.g. {"team": "legal"}'
        )
    texts = {key: one.string_value for key, one in labels.fields.items()}
    metadata = DocumentMetadata(**values, labels=texts, metadata=own)
    return UploadStart(metadata=metadata, size_bytes=size or None, request_id=request_id)


def _refuse_multipart(request: Request) -> None:
    """Refuse a form, which would be stored with its boundaries. Raises InvalidRequest."""
    if _declared(request).lower().startswith("multipart/"):
        raise InvalidRequest.of_field(
            "content-type",
            "not_multipart",
            "must not be a form; the body is the bytes of the file alone, for example with curl --upload-file FILE (-T FILE) instead of --form (-F)",
        )


def _declared(request: Request) -> str:
    return request.headers.get("content-type", "").strip()


def _object(name: str, text: str) -> Struct:
    """The JSON object of a parameter. Raises InvalidRequest, also for a value that a Struct cannot hold."""
    try:
        return ParseDict(json_object(text or "{}"), Struct())
    except (InvalidRequest, ParseError) as error:
        raise InvalidRequest.of_field(
            name,
            f"{name}.object",
            'must be a JSON object, e.g. {"team": "legal"}, without keys given twice, halves of surrogate pairs, numbers that are too large, or too many levels',
        ) from error


def _announced_size(request: Request) -> int:
    """The size from content-length, in bytes; 0 if the body is chunked and its size is unknown."""
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0
