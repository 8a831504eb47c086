"""Retries, paging, uploads and waiting. stream.py follows turns."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

import grpc
from google.longrunning import operations_pb2
from google.protobuf import duration_pb2
from grpc import aio

from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_client import requests
from responsa_client.aio import transport
from responsa_client.aio.transport import AsyncStream
from responsa_client.connection import (
    Connection,
    Deadline,
    Silence,
    closed_error,
    operation_late,
    watch_cut,
)
from responsa_client.errors import BrokenAnswer, ResponsaError
from responsa_client.lines import Lines
from responsa_client.stubs import Stubs

Request = TypeVar("Request")
Response = TypeVar("Response")
Result = TypeVar("Result")
Item = TypeVar("Item")
Progress = TypeVar("Progress")


class AsyncCalls:
    """Makes calls over one channel, which connects at the first call."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lines = Lines(self._open)
        self.stubs = self.lines.first.stubs

    def _open(self) -> tuple[transport.Channel, Stubs]:
        channel = transport.open_channel(self.connection.address)
        return channel, Stubs.over(channel)

    async def close(self) -> None:
        """End all calls and close the connection. A second call has no effect."""
        if not self.connection.closed:
            self.connection.closed = True
            for channel in self.lines.all():
                await channel.close()

    async def unary(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,
        repeatable: bool = True,
    ) -> Response:
        """Send one request and return its response. The client retries the call if a retry is safe and can succeed.

        Raises:
            ResponsaError: the typed error of the call.
        """

        async def attempt(left: float | None) -> Response:
            return await transport.send(method, request, left, self.connection)

        deadline = Deadline(self.connection.timeout if timeout is None else timeout)
        try:
            return await self._repeat(attempt, deadline, repeatable)
        except ResponsaError as error:
            error.request_id = getattr(request, "request_id", "")
            raise

    async def streamed(
        self, method: aio.UnaryStreamMultiCallable[Request, Response], request: Request
    ) -> AsyncIterator[Response]:
        """The messages of a stream, over one connection. Raises ResponsaError if the stream is cut."""
        self.connection.check_open()
        stream = AsyncStream(method, request, None, self.connection)
        try:
            while (message := await stream.read()) is not None:
                yield message
        except grpc.RpcError as failure:
            raise self.connection.error(failure, Deadline(None)) from failure
        finally:
            stream.cancel()

    async def paged(
        self,
        method: aio.UnaryUnaryMultiCallable[requests.PagedRequestT, requests.PagedResponseT],
        request: requests.PagedRequestT,
        items: Callable[[requests.PagedResponseT], Iterable[Item]],
    ) -> AsyncIterator[Item]:
        """All items of a list. The client requests a page only after the caller has taken all items of the previous page."""
        while True:
            page = await self.unary(method, request)
            for item in items(page):
                yield item
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def upload(self, upload: requests.Upload, timeout: float | None) -> operations_pb2.Operation:
        """Send a document. After a lost connection, send the document again with the same request_id."""

        async def attempt(left: float | None) -> operations_pb2.Operation:
            return await transport.send_upload(self.stubs, upload, left, self.connection)

        return await self._repeat(attempt, Deadline(timeout), repeatable=True)

    async def content(self, request: knowledge_service_pb2.GetDocumentContentRequest) -> str:
        """The canonical text of a document, from the request's read_offset to its end."""

        async def attempt(left: float | None) -> str:
            stream = AsyncStream(self.stubs.knowledge.GetDocumentContent, request, left, self.connection)
            pieces = bytearray()
            end = request.read_offset
            try:
                while (piece := await stream.read()) is not None:
                    # The first piece begins with the character at the offset, which may begin up to 3 bytes earlier.
                    earliest = end if pieces else end - 3
                    if not earliest <= piece.byte_offset <= end:
                        raise BrokenAnswer(f"The text of {request.name} has a gap at byte {end}.")
                    data = piece.text.encode()
                    end = piece.byte_offset + len(data)
                    pieces += data
            finally:
                stream.cancel()
            return pieces.decode()

        return await self._repeat(attempt, Deadline(self.connection.timeout), repeatable=True)

    async def original(self, name: str) -> tuple[str, bytes]:
        """The name of a document's file, and its bytes."""
        request = knowledge_service_pb2.GetDocumentOriginalRequest(name=name)

        async def attempt(left: float | None) -> tuple[str, bytes]:
            stream = AsyncStream(self.stubs.knowledge.GetDocumentOriginal, request, left, self.connection)
            file_name, size, data = "", 0, bytearray()
            try:
                while (piece := await stream.read()) is not None:
                    if piece.byte_offset != len(data):
                        raise BrokenAnswer(f"The original of {name} has a gap at byte {len(data)}.")
                    if piece.HasField("version"):
                        file_name, size = piece.file_name, piece.version.size_bytes
                    data += piece.data
            finally:
                stream.cancel()
            if len(data) != size:
                raise BrokenAnswer(f"The original of {name} ended after {len(data)} of {size} bytes.")
            return file_name, bytes(data)

        return await self._repeat(attempt, Deadline(self.connection.timeout), repeatable=True)

    async def ended(
        self,
        operation: operations_pb2.Operation,
        timeout: float | None,
        progress_of: Callable[[operations_pb2.Operation], Progress | None],
        on_progress: Callable[[Progress], None] | None,
    ) -> operations_pb2.Operation:
        """Wait until an operation has ended. on_progress: called about once a second with the operation's progress."""
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
            progress = progress_of(operation)
            if on_progress is not None and progress is not None:
                on_progress(progress)
            if not operation.done:
                if not deadline.allows(0):
                    raise operation_late(operation.name, deadline)
                # The server may answer immediately. Without a pause, the calls would flood the server.
                await transport.sleep(max(0.0, 0.05 - (time.monotonic() - began)))
        return operation

    async def watch(
        self, name: str, after_seq: int
    ) -> AsyncIterator[knowledge_service_pb2.WatchOperationResponse]:
        """The states of an operation up to the final one, without heartbeats. After a cut, the client continues after the last seq."""
        backoff = self.connection.backoff()
        forever = Deadline(None)
        failing: Deadline | None = None
        while True:
            self.connection.check_open()
            request = knowledge_service_pb2.WatchOperationRequest(name=name, after_seq=after_seq)
            line = self.lines.take()
            method = line.stubs.knowledge.WatchOperation
            stream = AsyncStream(method, request, None, self.connection, self.connection.silence)
            try:
                while (frame := await stream.read()) is not None:
                    self.connection.reached = True
                    backoff.reset()
                    failing = None
                    if frame.HasField("operation"):
                        after_seq = frame.seq
                        yield frame
                return  # the server ends the stream without an error only after the final state
            except Silence:
                error: ResponsaError = watch_cut(name)
                self.lines.retire(line)
            except grpc.RpcError as failure:
                error = self.connection.error(failure, forever)
                if self.connection.closed:
                    raise closed_error() from failure
                if error.reason == "DRAINING":
                    self.lines.retire(line)
            except ResponsaError as failure:
                error = failure  # of the function that returns the access token
            finally:
                stream.cancel()
                unused = self.lines.give_back(line)
                if unused is not None:
                    await unused.close()
            wait = backoff.next(error.retry_after) if self.connection.may_repeat(error) else None
            failing = failing or Deadline(self.connection.patience)
            if wait is None or not self.connection.may_wait(error, wait, failing, forever):
                raise error
            await transport.sleep(wait)

    async def _repeat(
        self, attempt: Callable[[float | None], Awaitable[Result]], deadline: Deadline, repeatable: bool
    ) -> Result:
        backoff = self.connection.backoff()
        renewed = False
        failing: Deadline | None = None
        while True:
            self.connection.check_open()
            try:
                result = await attempt(deadline.remaining())
            except grpc.RpcError as failure:
                error = self.connection.error(failure, deadline)
                if self.connection.closed:
                    raise closed_error() from failure
                if self.connection.may_renew(error) and not renewed:
                    renewed = True
                    continue
                wait = (
                    backoff.next(error.retry_after)
                    if repeatable and self.connection.may_repeat(error)
                    else None
                )
                failing = failing or Deadline(self.connection.patience)
                if wait is None or not self.connection.may_wait(error, wait, failing, deadline):
                    raise error from failure
                await transport.sleep(wait)
            else:
                self.connection.reached = True
                return result


class AsyncPart:
    """The state that all calls of one client share."""

    _calls: AsyncCalls
    _stubs: Stubs
    _patience: float
