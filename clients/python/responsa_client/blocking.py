"""Calls that block: repeating, paging, uploading and waiting over a grpc.Channel. Following a turn is turn_stream.py's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar, cast

import grpc
from google.longrunning import operations_pb2
from google.protobuf import duration_pb2
from grpc import aio

from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa_client import requests
from responsa_client.connection import Connection, Deadline, closed_error, operation_late
from responsa_client.errors import BrokenAnswer
from responsa_client.lines import Lines
from responsa_client.paging import PagedRequestT, PagedResponseT
from responsa_client.results import ingest_progress, ingest_result
from responsa_client.stubs import Stubs, open_channel

Request = TypeVar("Request")
Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)
Result = TypeVar("Result")
Item = TypeVar("Item")


class Stream(Protocol[Response_co]):
    """A call with a streamed response."""

    def __next__(self) -> Response_co: ...
    def cancel(self) -> object:
        """End the call."""
        ...


class BlockingCalls:
    """Makes calls over one channel, which connects with the first of them. Safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lines = Lines(self._open)
        self.stubs = self.lines.first.stubs

    def _open(self) -> tuple[grpc.Channel, Stubs]:
        channel = open_channel(self.connection.address)
        return channel, Stubs.over(channel)

    def close(self) -> None:
        """End all calls and the connection. Closing again changes nothing."""
        if not self.connection.closed:
            self.connection.closed = True
            for channel in self.lines.all():
                channel.close()

    def unary(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,
        repeatable: bool = True,
    ) -> Response:
        """One request, one response; tried again where that is safe and may help.

        Raises:
            ResponsaError: the typed error.
        """
        call = cast("grpc.UnaryUnaryMultiCallable[Request, Response]", method)
        return self._repeat(
            lambda left: call(request, timeout=left, metadata=self.connection.metadata),
            Deadline(self.connection.timeout if timeout is None else timeout),
            repeatable,
        )

    def paged(
        self,
        method: aio.UnaryUnaryMultiCallable[PagedRequestT, PagedResponseT],
        request: PagedRequestT,
        items: Callable[[PagedResponseT], Iterable[Item]],
    ) -> Iterator[Item]:
        """All items of a list; each page is asked for when the one before is used up."""
        while True:
            page = self.unary(method, request)
            yield from items(page)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def upload(self, upload: requests.Upload, timeout: float | None) -> operations_pb2.Operation:
        """Send a document; sent anew, with the same request_id, after a cut."""
        call = cast(
            "grpc.StreamUnaryMultiCallable[knowledge_service_pb2.UploadDocumentRequest, operations_pb2.Operation]",
            self.stubs.knowledge.UploadDocument,
        )

        def send(left: float | None) -> operations_pb2.Operation:
            try:
                return call(upload.messages(), timeout=left, metadata=self.connection.metadata)
            except grpc.RpcError:
                if upload.failure is not None:
                    raise upload.failure from None
                raise

        return self._repeat(send, Deadline(timeout), repeatable=True)

    def content(self, request: knowledge_service_pb2.GetDocumentContentRequest) -> str:
        """The whole canonical text of a document."""
        return self._repeat(
            lambda left: self._read_content(request, left), Deadline(self.connection.timeout), True
        )

    def _read_content(
        self, request: knowledge_service_pb2.GetDocumentContentRequest, left: float | None
    ) -> str:
        method = self.stubs.knowledge.GetDocumentContent
        call = as_stream(method(request, timeout=left, metadata=self.connection.metadata))
        pieces = bytearray()
        try:
            while (piece := next(call, None)) is not None:
                if piece.byte_offset != len(pieces):
                    raise BrokenAnswer(f"The text of {request.name} came with a hole at byte {len(pieces)}.")
                pieces += piece.text.encode()
        finally:
            call.cancel()
        return pieces.decode()

    def wait(
        self,
        operation: operations_pb2.Operation,
        timeout: float | None,
        on_progress: Callable[[document_pb2.IngestMetadata], None] | None,
    ) -> document_pb2.IngestResult:
        """Wait for the end of an operation that takes in a document."""
        deadline = Deadline(timeout)
        while not operation.done:
            longest = 1.0 if on_progress else 20.0
            left = deadline.remaining()
            step = longest if left is None else min(left, longest)
            began = time.monotonic()
            request = operations_pb2.WaitOperationRequest(
                name=operation.name,
                timeout=duration_pb2.Duration(nanos=int(step % 1 * 1e9), seconds=int(step)),
            )
            limit = None if self.connection.timeout is None else self.connection.timeout + step
            operation = self.unary(self.stubs.operations.WaitOperation, request, timeout=limit)
            progress = ingest_progress(operation)
            if on_progress is not None and progress is not None:
                on_progress(progress)
            if not operation.done:
                if not deadline.allows(0):
                    raise operation_late(operation.name, deadline)
                # A server may answer at once; it is not to be asked without a pause.
                time.sleep(max(0.0, 0.05 - (time.monotonic() - began)))
        return ingest_result(operation)

    def _repeat(
        self, attempt: Callable[[float | None], Result], deadline: Deadline, repeatable: bool
    ) -> Result:
        backoff = self.connection.backoff()
        while True:
            self.connection.check_open()
            try:
                result = attempt(deadline.remaining())
            except grpc.RpcError as failure:
                error = self.connection.error(failure, deadline)
                if self.connection.closed:
                    raise closed_error() from failure
                wait = (
                    backoff.next(error.retry_after)
                    if repeatable and self.connection.may_repeat(error)
                    else None
                )
                if wait is None or not deadline.allows(wait):
                    raise error from failure
                time.sleep(wait)
            else:
                self.connection.reached = True
                return result


class BlockingPart:
    """What the groups of calls of one client share."""

    _calls: BlockingCalls
    _stubs: Stubs
    _patience: float


def as_stream(call: aio.UnaryStreamCall[Request, Response]) -> Stream[Response]:
    """The stubs are typed for asyncio; over a blocking channel the same call is an iterator."""
    return cast("Stream[Response]", call)
