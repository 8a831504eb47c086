"""Calls on asyncio: repeating, paging, uploading and waiting over a grpc.aio.Channel. Following a turn is async_turn_stream.py's.

The twin of blocking.py, step for step. Calls that are left are always cancelled: gRPC never collects them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

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
from responsa_client.stubs import Stubs, open_aio_channel

Request = TypeVar("Request")
Response = TypeVar("Response")
Result = TypeVar("Result")
Item = TypeVar("Item")


class AsyncCalls:
    """Makes calls over one channel of the running event loop, which connects with the first of them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lines = Lines(self._open)
        self.stubs = self.lines.first.stubs

    def _open(self) -> tuple[aio.Channel, Stubs]:
        channel = open_aio_channel(self.connection.address)
        return channel, Stubs.over(channel)

    async def close(self) -> None:
        """End all calls and the connection. Closing again changes nothing."""
        if not self.connection.closed:
            self.connection.closed = True
            for channel in self.lines.all():
                await channel.close()

    async def unary(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline of gRPC
        repeatable: bool = True,
    ) -> Response:
        """One request, one response; tried again where that is safe and may help.

        Raises:
            ResponsaError: the typed error.
        """

        async def call(left: float | None) -> Response:
            return await method(request, timeout=left, metadata=self.connection.metadata)

        return await self._repeat(
            call, Deadline(self.connection.timeout if timeout is None else timeout), repeatable
        )

    async def paged(
        self,
        method: aio.UnaryUnaryMultiCallable[PagedRequestT, PagedResponseT],
        request: PagedRequestT,
        items: Callable[[PagedResponseT], Iterable[Item]],
    ) -> AsyncIterator[Item]:
        """All items of a list; each page is asked for when the one before is used up."""
        while True:
            page = await self.unary(method, request)
            for item in items(page):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def upload(self, upload: requests.Upload, timeout: float | None) -> operations_pb2.Operation:  # noqa: ASYNC109 - a deadline of gRPC
        """Send a document; sent anew, with the same request_id, after a cut."""

        async def send(left: float | None) -> operations_pb2.Operation:
            call = self.stubs.knowledge.UploadDocument(
                upload.messages_async(), timeout=left, metadata=self.connection.metadata
            )
            try:
                return await call
            except (grpc.RpcError, asyncio.CancelledError):
                # gRPC answers a failure of the reading side by cancelling its own call.
                if upload.failure is not None:
                    raise upload.failure from None
                raise
            finally:
                call.cancel()

        return await self._repeat(send, Deadline(timeout), repeatable=True)

    async def content(self, request: knowledge_service_pb2.GetDocumentContentRequest) -> str:
        """The whole canonical text of a document."""
        return await self._repeat(
            lambda left: self._read_content(request, left), Deadline(self.connection.timeout), True
        )

    async def _read_content(
        self, request: knowledge_service_pb2.GetDocumentContentRequest, left: float | None
    ) -> str:
        method = self.stubs.knowledge.GetDocumentContent
        call = method(request, timeout=left, metadata=self.connection.metadata)
        pieces = bytearray()
        try:
            async for piece in call:
                if piece.byte_offset != len(pieces):
                    raise BrokenAnswer(f"The text of {request.name} came with a hole at byte {len(pieces)}.")
                pieces += piece.text.encode()
        finally:
            call.cancel()
        return pieces.decode()

    async def wait(
        self,
        operation: operations_pb2.Operation,
        timeout: float | None,  # noqa: ASYNC109 - a deadline of gRPC
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
            operation = await self.unary(self.stubs.operations.WaitOperation, request, timeout=limit)
            progress = ingest_progress(operation)
            if on_progress is not None and progress is not None:
                on_progress(progress)
            if not operation.done:
                if not deadline.allows(0):
                    raise operation_late(operation.name, deadline)
                # A server may answer at once; it is not to be asked without a pause.
                await asyncio.sleep(max(0.0, 0.05 - (time.monotonic() - began)))
        return ingest_result(operation)

    async def _repeat(
        self, attempt: Callable[[float | None], Awaitable[Result]], deadline: Deadline, repeatable: bool
    ) -> Result:
        backoff = self.connection.backoff()
        while True:
            self.connection.check_open()
            try:
                result = await attempt(deadline.remaining())
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
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                self.raise_if_closed()
                raise
            else:
                self.connection.reached = True
                return result

    def raise_if_closed(self) -> None:
        """Closing cancels calls; a task that was not cancelled itself is to see an error, not a cancellation."""
        task = asyncio.current_task()
        if self.connection.closed and (task is None or task.cancelling() == 0):
            raise closed_error() from None


class AsyncPart:
    """What the groups of calls of one client on asyncio share."""

    _calls: AsyncCalls
    _stubs: Stubs
    _patience: float
