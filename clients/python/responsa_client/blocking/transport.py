"""The parts of the blocking client that differ from the asyncio one: channels, pauses, single calls and streams over grpc.

This module defines the same names as `aio/transport.py`. The stubs are typed for asyncio, so this module casts their calls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import Generic, Protocol, TypeVar, cast

import grpc
from google.longrunning import operations_pb2
from grpc import aio

from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_client.connection import Connection, Silence
from responsa_client.requests import Upload
from responsa_client.stubs import Stubs, open_channel, unspanned

__all__ = ["Channel", "Lock", "Stream", "open_channel", "send", "send_upload", "sleep"]

Request = TypeVar("Request")
Response = TypeVar("Response")
Response_co = TypeVar("Response_co", covariant=True)

Channel = grpc.Channel
Lock = threading.Lock
sleep = time.sleep


def send(
    method: aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    timeout: float | None,
    connection: Connection,
) -> Response:
    """Send one request and return its response. Raises grpc.RpcError."""
    call = cast("grpc.UnaryUnaryMultiCallable[Request, Response]", method)
    return call(request, timeout=timeout, metadata=_metadata(connection))


def send_upload(
    stubs: Stubs, upload: Upload, timeout: float | None, connection: Connection
) -> operations_pb2.Operation:
    """Try once to send a document. Raises grpc.RpcError, or the error from reading the document."""
    call = cast(
        "grpc.StreamUnaryMultiCallable[knowledge_service_pb2.UploadDocumentRequest, operations_pb2.Operation]",
        stubs.knowledge.UploadDocument,
    )
    try:
        return call(upload.messages(), timeout=timeout, metadata=_metadata(connection))
    except grpc.RpcError:
        if upload.failure is not None:
            raise upload.failure from None
        raise


def _metadata(connection: Connection) -> tuple[tuple[str, str], ...]:
    """The metadata of the next call. Raises what the function that returns the access token raises."""
    token = connection.token()
    if token is not None and not isinstance(token, str):
        if isinstance(token, Coroutine):
            token.close()
        raise TypeError(
            "The function that returns the access token is a coroutine function. Pass an ordinary function, or use AsyncResponsa."
        )
    return connection.metadata(token)


class _Call(Protocol[Response_co]):
    def __next__(self) -> Response_co: ...
    def cancel(self) -> object: ...


class Stream(Generic[Response]):
    """A call that streams its response. The first `read` makes the call.

    silence: the time in seconds without a message after which `read` raises Silence; None for no limit.
    """

    def __init__(
        self,
        method: aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        timeout: float | None,
        connection: Connection,
        silence: float | None = None,
    ) -> None:
        self._open = partial(method, request, timeout=timeout)
        self._connection = connection
        self._silence = silence
        self._call: _Call[Response] | None = None
        self._watchdog: _Watchdog | None = None

    def read(self) -> Response | None:
        """The next message, or None at the end.

        Raises:
            grpc.RpcError: the stream was interrupted.
            Silence: no message arrived for too long.
            ResponsaError: the function that returns the access token failed.
        """
        call = self._call
        if call is None:
            metadata = _metadata(self._connection)
            with unspanned():
                call = self._call = cast("_Call[Response]", self._open(metadata=metadata))
            if self._silence is not None:
                self._watchdog = _Watchdog(call.cancel, self._silence)
        if self._watchdog is None:
            return next(call, None)
        try:
            with self._watchdog.waiting():
                return next(call, None)
        except grpc.RpcError:
            if self._watchdog.barked:
                raise Silence from None
            raise

    def cancel(self) -> None:
        """End the call."""
        if self._watchdog is not None:
            self._watchdog.end()
        if self._call is not None:
            self._call.cancel()


class _Watchdog:
    """Cancels a stream if its reader has waited too long for a message. Each watchdog has its own thread. The time
    between two reads does not count.

    barked: whether the watchdog has cancelled the stream.
    """

    def __init__(self, cancel: Callable[[], object], seconds: float) -> None:
        self.barked = False
        self._cancel = cancel
        self._seconds = seconds
        self._since: float | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="responsa-watchdog", daemon=True).start()

    @contextmanager
    def waiting(self) -> Generator[None]:
        """The watchdog counts the time inside this context."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()

    def _watch(self) -> None:
        # Before the first check, the stream cannot have been silent for that long. Each check computes the pause until the next check.
        pause = self._seconds
        while not self._ended.wait(pause):
            since = self._since
            pause = self._seconds if since is None else since + self._seconds - time.monotonic()
            if pause <= 0:
                self.barked = True
                self._cancel()
                return
