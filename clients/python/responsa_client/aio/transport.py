"""The parts of the asyncio client that differ from the blocking one: channels, pauses, single calls and streams over grpc.aio.

`blocking/transport.py` defines the same names for the blocking client. All other files of `blocking` are generated from this folder.
The client always cancels a call that it abandons, because gRPC would otherwise keep the call open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar, cast

import grpc
from google.longrunning import operations_pb2
from grpc import aio

from responsa.knowledge.v1 import knowledge_service_pb2
from responsa_client.connection import Connection, Silence, closed_error
from responsa_client.requests import Upload
from responsa_client.stubs import Stubs, open_aio_channel

Request = TypeVar("Request")
Response = TypeVar("Response")

Channel = aio.Channel
Lock = asyncio.Lock
open_channel = open_aio_channel
sleep = asyncio.sleep


async def send(
    method: aio.UnaryUnaryMultiCallable[Request, Response],
    request: Request,
    timeout: float | None,
    connection: Connection,
) -> Response:
    """Send one request and return its response. Raises grpc.RpcError."""
    with _closing_is_an_error(connection):
        return await method(request, timeout=timeout, metadata=await _metadata(connection))


async def send_upload(
    stubs: Stubs, upload: Upload, timeout: float | None, connection: Connection
) -> operations_pb2.Operation:
    """Try once to send a document. Raises grpc.RpcError, or the error from reading the document."""
    metadata = await _metadata(connection)
    call = stubs.knowledge.UploadDocument(_messages(upload), timeout=timeout, metadata=metadata)
    try:
        with _closing_is_an_error(connection):
            return await call
    except (grpc.RpcError, asyncio.CancelledError):
        # If reading the document fails, gRPC itself cancels the call.
        if upload.failure is not None:
            raise upload.failure from None
        raise
    finally:
        call.cancel()


async def _metadata(connection: Connection) -> tuple[tuple[str, str], ...]:
    """The metadata of the next call. Raises what the function that returns the access token raises."""
    token = connection.token()
    return connection.metadata(await token if isinstance(token, Awaitable) else token)


async def _messages(upload: Upload) -> AsyncIterator[knowledge_service_pb2.UploadDocumentRequest]:
    """The messages of an upload. Threads read the file, so that a slow disk does not block the event loop."""
    messages = upload.messages()
    if isinstance(upload.source, bytes):
        for message in messages:
            yield message
        return
    while (message := await asyncio.to_thread(next, messages, None)) is not None:
        yield message


class AsyncStream(Generic[Response]):
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
        self._call: aio.UnaryStreamCall[Any, Response] | None = None
        self._connection = connection
        self._silence = silence

    async def read(self) -> Response | None:
        """The next message, or None at the end.

        Raises:
            grpc.RpcError: the stream was interrupted.
            Silence: no message arrived for too long.
            ResponsaError: the function that returns the access token failed.
        """
        call = self._call
        if call is None:
            call = self._call = self._open(metadata=await _metadata(self._connection))
        try:
            with _closing_is_an_error(self._connection):
                async with asyncio.timeout(self._silence):
                    message = await call.read()
        except TimeoutError:
            raise Silence from None
        return None if message is aio.EOF else cast("Response", message)

    def cancel(self) -> None:
        """End the call."""
        if self._call is not None:
            self._call.cancel()


@contextmanager
def _closing_is_an_error(connection: Connection) -> Generator[None]:
    """Closing the client cancels its calls. A task that was not itself cancelled gets an error instead of a cancellation."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if connection.closed and (task is None or task.cancelling() == 0):
            raise closed_error() from None
        raise
