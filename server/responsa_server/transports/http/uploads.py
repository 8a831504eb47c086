"""PUT /v1/uploads: a browser cannot stream a gRPC request, so its bytes are fed to the same RPC here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import grpc
from google.longrunning.operations_pb2 import Operation
from google.protobuf.json_format import MessageToJson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from responsa.knowledge.v1.document_pb2 import DocumentMetadata
from responsa.knowledge.v1.knowledge_service_pb2 import UploadDocumentRequest, UploadFinish, UploadStart
from responsa.knowledge.v1.knowledge_service_pb2_grpc import KnowledgeServiceStub
from responsa_server.domain.errors import DocumentRejected, FieldViolation, InvalidRequest, Reason
from responsa_server.transports.http.channel import ServerChannel
from responsa_server.transports.http.problems import RpcFailed, status_of

CHUNK_BYTES = 262_144
LIMIT_BYTES = 67_108_864
CLIENT_CLOSED_REQUEST = 499
SPOIL_SECONDS = 10
DRAIN_SECONDS = 60

PARAMETERS = ("collection", "source_key", "title", "uri", "media_type", "request_id")
"""What the query may say: UploadStart's fields, each at most once."""


class Uploads:
    """`/v1/uploads`. channel: open while it serves."""

    def __init__(self, channel: ServerChannel, cookie_name: str) -> None:
        self._channel = channel
        self._cookie_name = cookie_name

    async def put(self, request: Request) -> Response:
        """Pass the body on as it comes, no faster than the server takes it. Answers with the Operation as proto-JSON.

        A client that breaks off ends the call, and with it all that it began.

        Raises:
            InvalidRequest: a parameter that is unknown or given twice; a body that is announced as too large.
            RpcFailed: what the RPC answered.
        """
        channel = self._channel.opened
        body = request.stream()
        start = _start_of(request)
        call = KnowledgeServiceStub(channel).UploadDocument(metadata=self._metadata(request))
        try:
            operation = await _send(call, start, body)
        except ClientDisconnect:
            await _spoil(call, start)
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except RpcFailed:
            await _drain(body)
            raise
        finally:
            call.cancel()
        return Response(MessageToJson(operation, indent=None), media_type="application/json")

    def _metadata(self, request: Request) -> Sequence[tuple[str, str]]:
        """The caller's credential, as the gRPC server reads it, and the call id."""
        found: list[tuple[str, str]] = []
        for name in ("authorization", "x-request-id"):
            value = request.headers.get(name)
            if value is not None and value.isascii() and value.isprintable():
                found.append((name, value))
        session = request.cookies.get(self._cookie_name)
        if session is not None and session.isascii() and session.isprintable():
            found.append(("cookie", f"{self._cookie_name}={session}"))
        return found


async def _send(
    call: grpc.aio.StreamUnaryCall[UploadDocumentRequest, Operation],
    start: UploadStart,
    body: AsyncIterator[bytes],
) -> Operation:
    try:
        try:
            await call.wait_for_connection()
            await _write(call, UploadDocumentRequest(start=start))
            sent = 0
            async for chunk in _chunks(body):
                sent += len(chunk)
                await _write(call, UploadDocumentRequest(chunk=chunk))
            await _write(call, UploadDocumentRequest(finish=UploadFinish(size_bytes=sent)))
            await call.done_writing()
        except (grpc.aio.InternalError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the server has answered before the end; the call's own result says what
        return await call
    except grpc.aio.AioRpcError as error:
        raise RpcFailed(status_of(error.trailing_metadata())) from error


async def _write(
    call: grpc.aio.StreamUnaryCall[UploadDocumentRequest, Operation], message: UploadDocumentRequest
) -> None:
    """As `call.write`, which will not do: when the server answers while a message is on its way, that one puts "Internal error from Core" in
    the place of the server's answer, one time in twenty (grpcio 1.85.1); a test tells when a later version changes either."""
    await call._cython_call.send_serialized_message(message.SerializeToString())  # noqa: SLF001  # pyright: ignore


async def _spoil(
    call: grpc.aio.StreamUnaryCall[UploadDocumentRequest, Operation], start: UploadStart
) -> None:
    """Make the server refuse what it has got so far.

    A cancelled call looks to a grpc.aio handler, for a moment, like one whose client has sent all: an upload of unknown size would pass as
    whole. A second `start` is against the contract, so that the server refuses the upload however its events fall.
    """
    try:
        async with asyncio.timeout(SPOIL_SECONDS):
            await _write(call, UploadDocumentRequest(start=start))
            await call.done_writing()
            await call
    except (grpc.aio.InternalError, grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
        pass  # refused, as it should be, or gone


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Take the rest of a refused body (64 MiB at most) and drop it: browsers that are still sending when the answer comes see a broken
    connection in its place."""
    left = LIMIT_BYTES
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for piece in body:
                left -= len(piece)
                if left < 0:
                    return
    except (ClientDisconnect, TimeoutError):
        pass  # the answer is sent in any case


async def _chunks(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `CHUNK_BYTES`, the last one shorter."""
    waiting = bytearray()
    async for piece in body:
        waiting += piece
        while len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting[:CHUNK_BYTES])
            del waiting[:CHUNK_BYTES]
    if waiting:
        yield bytes(waiting)


def _start_of(request: Request) -> UploadStart:
    values = dict.fromkeys(PARAMETERS, "")
    for name, value in request.query_params.multi_items():
        if name not in values:
            known = ", ".join(PARAMETERS)
            raise InvalidRequest.of_field(
                name[:64], "unknown_parameter", f"there is no such parameter; known are {known}"
            )
        if values[name]:
            raise InvalidRequest.of_field(name, "given_twice", "give it once")
        values[name] = value
    size = _announced_size(request)
    if size > LIMIT_BYTES:
        metadata = {"source_key": values["source_key"], "limit_bytes": str(LIMIT_BYTES)}
        # In the words of the RPC, which would say it once the bytes came.
        message = f"The document has more than {LIMIT_BYTES >> 20} MiB. Split it, and upload its parts."
        violation = FieldViolation("chunk", Reason.DOCUMENT_TOO_LARGE.lower(), message)
        raise DocumentRejected(Reason.DOCUMENT_TOO_LARGE, message, metadata, (violation,))
    request_id = values.pop("request_id")
    return UploadStart(metadata=DocumentMetadata(**values), size_bytes=size, request_id=request_id)


def _announced_size(request: Request) -> int:
    """Bytes by content-length; 0 when the body comes in chunks of unknown number."""
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() else 0
