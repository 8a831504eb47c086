"""Uploads over HTTP: `/v1/uploads`, for browsers, which cannot stream a gRPC request, and the forms of the original
paths. All of them are passed to the gRPC method UploadDocument."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, cast
from urllib.parse import parse_qsl

from google.longrunning.operations_pb2 import Operation
from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from responsa.knowledge.v1.document_pb2 import DocumentMetadata
from responsa.knowledge.v1.knowledge_service_pb2 import UploadDocumentRequest, UploadFinish, UploadStart
from responsa_server.calls.call import Call, abandon, wait_disconnect
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import call_of, json_object, limit_bytes
from responsa_server.calls.violations import not_utf8, unreadable
from responsa_server.domain.errors import (
    DocumentRejected,
    FieldViolation,
    InvalidRequest,
    ResponsaError,
)
from responsa_server.domain.knowledge import MAX_DOCUMENT_BYTES
from responsa_server.domain.spools import spooling

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
"""The parameters of the query or of a form. They are fields of UploadStart, and each may occur at most once. `labels`
and `metadata` are JSON objects."""
_MAX_FIELDS: Final = 32
_MAX_FIELD_BYTES: Final = 65_536
_MAX_FORM_BYTES: Final = MAX_DOCUMENT_BYTES + _MAX_FIELDS * _MAX_FIELD_BYTES
"""The largest form: a document, and fields of the greatest number and size."""
_CHARSETS: Final = (b"utf-8", b"us-ascii")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Uploads:
    """`/v1/uploads`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def put(self, request: Request) -> Response:
        """Respond with the Operation of an upload as proto-JSON.

        Raises:
            InvalidRequest: a parameter is unknown or repeated.
            ResponsaError: see `upload`.
        """
        # request.query_params would replace bytes that are not UTF-8, and different source keys would become the same.
        query = cast("bytes", request.scope["query_string"]).decode("utf-8", "surrogateescape")
        parameters = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
        operation = await upload(self._calls, call_of(request.scope, METHOD), request, parameters)
        if operation is None:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return Response(MessageToJson(operation, indent=None), media_type="application/json")


def is_form(request: Request) -> bool:
    """Whether a body is a form (multipart/form-data) that may carry a file."""
    return _type_of(request).lower().startswith("multipart/")


async def upload(
    calls: Calls,
    call: Call,
    request: Request,
    parameters: Sequence[tuple[str, str]] = (),
    *,
    lenient: bool = False,
) -> Operation | None:
    """Stream a body to the method, no faster than the method reads. The body is the bytes of the file alone, or a form
    with the file and further parameters. Returns None if the client disconnected, which cancels the call and everything
    that the call began.

    parameters: the parameters beside the form's. lenient: whether unknown fields of a form are ignored, and an id stands
    for the name of a collection.

    Raises:
        InvalidRequest: the form cannot be read, a parameter does not fit, or the announced size of the body is too large.
        ResponsaError: the method failed.
    """
    arrived = asyncio.Event()
    stream = _tell_end(request.stream(), arrived)
    if is_form(request):
        if _size_of(request) > _MAX_FORM_BYTES:
            raise _too_large("")
        messages = _of_form(calls, call, request, stream, parameters, lenient=lenient)
    else:
        start = _start_of(_parameters(parameters), _type_of(request), _size_of(request))
        messages = _of_bytes(start, stream)
    answer: list[Operation] = []

    async def read() -> bytes | None:
        try:
            return await anext(messages, None)
        except ClientDisconnect:
            await abandon()

    async def leave() -> None:
        await arrived.wait()
        await wait_disconnect(request.receive)

    async def send(message: Message | bytes) -> None:
        assert isinstance(message, Message), "the response is an operation"
        answer.append(Operation.FromString(message.SerializeToString()))

    try:
        return answer[0] if await calls.serve_until(leave(), call, read, send) else None
    except ResponsaError:
        await _drain(stream)
        raise
    finally:
        await messages.aclose()


async def _tell_end(body: AsyncIterator[bytes], end: asyncio.Event) -> AsyncGenerator[bytes]:
    async for piece in body:
        yield piece
    end.set()


async def _of_bytes(start: UploadStart, body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """A body as the messages of an upload. Only a complete body gets a `finish`."""
    yield UploadDocumentRequest(start=start).SerializeToString()
    size = 0
    async for chunk in _chunks(body):
        size += len(chunk)
        yield UploadDocumentRequest(chunk=chunk).SerializeToString()
    yield UploadDocumentRequest(finish=UploadFinish(size_bytes=size)).SerializeToString()


async def _of_form(
    calls: Calls,
    call: Call,
    request: Request,
    stream: AsyncIterator[bytes],
    parameters: Sequence[tuple[str, str]],
    *,
    lenient: bool,
) -> AsyncGenerator[bytes, None]:
    """A form as the messages of an upload. The file waits on the disk, because the parameters may come after it.
    Nothing is read before the credential was checked."""
    # Its parser would take any of Python's codecs, some of which need minutes.
    if parse_options_header(_type_of(request))[1].get(b"charset", b"utf-8").lower() not in _CHARSETS:
        raise unreadable("the charset of a form must be utf-8")
    parser = MultiPartParser(
        request.headers,
        limit_bytes(stream, _MAX_FORM_BYTES, lambda: _too_large("")),
        max_files=1,
        max_fields=_MAX_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    with calls.arriving_large(call), spooling():
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise unreadable(f"it is not a form with one file: {error.message}") from error
    try:
        pairs, files = [*parameters], list[UploadFile]()
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                files.append(value)
            elif lenient and name == "collection" and value and not value.startswith("collections/"):
                pairs.append((name, f"collections/{value}"))
            elif not lenient or name in PARAMETERS:
                pairs.append((name, value))
        if not files:
            raise InvalidRequest.of_field(
                "file",
                "required",
                "is missing; send the file as a part with a file name, for example with curl --form file=@FILE",
            )
        (file,) = files
        if not any(name == "source_key" and value for name, value in pairs):
            pairs = [
                *((name, value) for name, value in pairs if name != "source_key"),
                ("source_key", file.filename or ""),
            ]
        start = _start_of(_parameters(pairs), file.content_type or "", file.size or 0)
        async for message in _of_bytes(start, _read(file)):
            yield message
    finally:
        await form.close()


async def _read(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(CHUNK_BYTES):
        yield piece


def _too_large(source_key: str) -> DocumentRejected:
    error = DocumentRejected.too_large(MAX_DOCUMENT_BYTES)
    return replace(
        error,
        metadata={"source_key": source_key, **error.metadata},
        violations=(FieldViolation("chunk", error.reason.lower(), error.message),),
    )


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read and drop the rest of a refused body, at most 64 MiB. A browser that is still sending when the response
    arrives would report a broken connection instead of the response."""
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


def _parameters(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """All parameters; "" for each that was not given. Raises InvalidRequest."""
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name not in PARAMETERS:
            known = ", ".join(PARAMETERS)
            shown = name[:64].encode(errors="replace").decode()
            raise InvalidRequest.of_field(
                shown, "unknown_parameter", f"there is no such parameter; the parameters are {known}"
            )
        if name in parameters:
            raise InvalidRequest.of_field(name, "given_twice", "give it once")
        if _SURROGATE.search(value):
            raise InvalidRequest.of_violation(not_utf8(name))
        parameters[name] = value
    return dict.fromkeys(PARAMETERS, "") | parameters


def _start_of(parameters: Mapping[str, str], declared: str, size: int) -> UploadStart:
    """The first message of an upload. declared: the content type of the file, or "". size: its bytes, as far as they
    are known; otherwise 0. Raises InvalidRequest."""
    values = dict(parameters)
    if "charset=" in declared.lower():
        # Without a character set, the header says no more than the file's name: each client sends its own type.
        values["media_type"] = values["media_type"] or declared
    if size > MAX_DOCUMENT_BYTES:
        # Otherwise the RPC would report the error only after it had received the bytes.
        raise _too_large(values["source_key"])
    request_id = values.pop("request_id")
    labels, own = (_object(name, values.pop(name)) for name in ("labels", "metadata"))
    if any(field.WhichOneof("kind") != "string_value" for field in labels.fields.values()):
        raise InvalidRequest.of_field(
            "labels", "labels.texts", 'must be a JSON object with strings as values, e.g. {"team": "legal"}'
        )
    texts = {key: value.string_value for key, value in labels.fields.items()}
    metadata = DocumentMetadata(**values, labels=texts, metadata=own)
    return UploadStart(metadata=metadata, size_bytes=size or None, request_id=request_id)


def _type_of(request: Request) -> str:
    return request.headers.get("content-type", "").strip()


def _object(name: str, text: str) -> Struct:
    """The JSON object of a parameter. Raises InvalidRequest, also for a value that a Struct cannot hold."""
    try:
        return ParseDict(json_object(text or "{}"), Struct())
    except (InvalidRequest, ParseError) as error:
        raise InvalidRequest.of_field(
            name,
            f"{name}.object",
            (
                'must be a JSON object, e.g. {"team": "legal"}, without keys given twice, halves of '
                "surrogate pairs, numbers that are too large, or too many levels"
            ),
        ) from error


def _size_of(request: Request) -> int:
    """The size from content-length, in bytes; 0 if the body is chunked and its size is unknown."""
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0
