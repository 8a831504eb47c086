"""Calls that block: repeating, paging, uploading, waiting and following over a grpc.Channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar, cast

import grpc
from google.longrunning import operations_pb2
from google.protobuf import duration_pb2
from grpc import aio

from responsa.chat.v1 import chat_service_pb2, turn_pb2
from responsa.knowledge.v1 import document_pb2, knowledge_service_pb2
from responsa_client import requests
from responsa_client.connection import SILENCE_SECONDS, Connection, Deadline, closed_error, operation_late
from responsa_client.errors import BrokenAnswer, ResponsaError
from responsa_client.frames import ChainBroken, FrameReader
from responsa_client.paging import PagedRequestT, PagedResponseT
from responsa_client.results import ingest_progress, ingest_result
from responsa_client.retries import given_up, stream_cut
from responsa_client.stubs import Stubs, open_channel

Request = TypeVar("Request")
Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)
Result = TypeVar("Result")
Item = TypeVar("Item")


class _Stream(Protocol[Response_co]):
    """A call with a streamed response."""

    def __next__(self) -> Response_co: ...
    def cancel(self) -> object: ...


class _Watchdog:
    """Cancels a stream whose reader has waited too long for a frame: one thread a stream, and none for a reader that takes its time."""

    def __init__(self, cancel: Callable[[], object], seconds: float) -> None:
        self._cancel = cancel
        self._seconds = seconds
        self._since: float | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="responsa-watchdog", daemon=True).start()

    @contextmanager
    def waiting(self) -> Generator[None, None, None]:
        """The time that is counted."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def end(self) -> None:
        """Watch no more."""
        self._ended.set()

    def _watch(self) -> None:
        # Nothing can have been silent for so long before the first look, and each look knows when the next can matter.
        pause = self._seconds
        while not self._ended.wait(pause):
            since = self._since
            pause = self._seconds if since is None else since + self._seconds - time.monotonic()
            if pause <= 0:
                self._cancel()
                return


class BlockingCalls:
    """Makes calls over one channel, which connects with the first of them. Safe to share between threads."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._channel = open_channel(connection.address)
        self.stubs = Stubs.over(self._channel)

    def close(self) -> None:
        """End all calls and the connection. Closing again changes nothing."""
        if not self.connection.closed:
            self.connection.closed = True
            self._channel.close()

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
        call = self._stream(method(request, timeout=left, metadata=self.connection.metadata))
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

    def follow(
        self, request: chat_service_pb2.AskRequest, reader: FrameReader, timeout: float | None
    ) -> Generator[turn_pb2.TurnEvent, None, None]:
        """The turn's events through its end, over as many streams as that takes."""
        deadline, backoff = Deadline(timeout), self.connection.backoff()
        while True:
            self.connection.check_open()
            reader.begin()
            failure: ResponsaError | None = None
            method = self.stubs.chat.Ask
            call = self._stream(
                method(request, timeout=deadline.remaining(), metadata=self.connection.metadata)
            )
            watchdog = _Watchdog(call.cancel, SILENCE_SECONDS)
            try:
                while (frame := self._next_frame(call, watchdog)) is not None:
                    self.connection.reached = True
                    before = reader.last_seq
                    events = reader.take(frame)
                    if reader.last_seq > before:
                        backoff.reset()
                    yield from events
                    if reader.terminal is not None:
                        return
            except grpc.RpcError as error:
                failure = self.connection.error(error, deadline)
            except ChainBroken as broken:
                failure = stream_cut(str(broken), request.request_id)
            finally:
                watchdog.end()
                call.cancel()
            self.connection.check_open()
            if failure is not None and not self.connection.may_repeat(failure):
                raise failure
            wait = backoff.next(failure.retry_after if failure else None)
            if wait is None or not deadline.allows(wait):
                raise given_up(failure, request.request_id)
            time.sleep(wait)

    @staticmethod
    def _next_frame(
        call: _Stream[chat_service_pb2.AskResponse], watchdog: _Watchdog
    ) -> chat_service_pb2.AskResponse | None:
        """The next frame; None at the end. A stream that stays silent for too long is cancelled."""
        with watchdog.waiting():
            return next(call, None)

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

    def _stream(self, call: aio.UnaryStreamCall[Request, Response]) -> _Stream[Response]:
        """The stubs are typed for asyncio; over a blocking channel the same call is an iterator."""
        return cast("_Stream[Response]", call)


class TurnStream(Iterator[turn_pb2.TurnEvent]):
    """The events of one turn, each once, in order of seq, through its terminal event.

    The question is sent with the first `next`. Leave a stream early by `close` or by its context manager; the turn
    itself goes on.

    request_id: what the question is asked with; asking again with it attaches to the same turn.
    """

    def __init__(
        self, calls: BlockingCalls, request: chat_service_pb2.AskRequest, timeout: float | None
    ) -> None:
        self.request_id = request.request_id
        self._reader = FrameReader(include_deltas=request.options.include_deltas)
        self._events = calls.follow(request, self._reader, timeout)

    @property
    def turn(self) -> str:
        """`turns/{uuid}`; "" before the first event."""
        return self._reader.turn

    @property
    def terminal(self) -> turn_pb2.TurnEvent | None:
        """The event that ended the turn, once it has come."""
        return self._reader.terminal

    def __next__(self) -> turn_pb2.TurnEvent:
        return next(self._events)

    def close(self) -> None:
        """Stop following. The call is cancelled, the turn is not."""
        self._events.close()

    def __enter__(self) -> TurnStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
