"""Passes gRPC calls to the chain, and responses and errors back to gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, abandon, deadline_in, metadata_of
from responsa_server.calls.chain import Calls
from responsa_server.calls.status import Code
from responsa_server.domain.errors import InvalidRequest, Reason, ResponsaError

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
# The class is generic only in its stubs.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

Result = TypeVar("Result")

DETAILS: Final = "grpc-status-details-bin"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_FIRST_WRITE_SECONDS: Final = 0.2
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""The largest request. The library's own limit lies above it, because it refuses without an `ErrorInfo`."""
_COMPRESSED_BYTES: Final = 1024
"""Single responses of this size are compressed, if the client accepts it; those of streams never are, because most are small."""


class Handlers(grpc.GenericRpcHandler):
    """Gives gRPC a handler for each method that `calls` serves, and a refusing handler for any other method."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._handlers: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """The handler of a method. It takes and returns bytes."""
        method = handler_call_details.method
        if (cached := self._handlers.get(method)) is not None:
            return cached
        known = self._calls.method(method)
        # One message and a stream look the same on the wire. For a call with one message, grpc.aio never
        # answers if the stream ends without a message, and does not start the handler before the message
        # arrives. Therefore requests are always read as streams here, and a missing message is an ordinary
        # error.
        if known is None or known.server_streaming:
            handler: Handler = grpc.stream_stream_rpc_method_handler(
                cast("Any", free_calls(self._serve_stream(method)))
            )
        else:
            handler = grpc.stream_unary_rpc_method_handler(cast("Any", free_calls(self._serve_one(method))))
        if known is not None:
            self._handlers[method] = handler
        return handler

    def _serve_one(self, method: str) -> Callable[[object, Context], Awaitable[bytes]]:
        async def serve(_: object, context: Context) -> bytes:
            response: list[bytes] = []

            async def send(message: Message | bytes) -> None:
                response.append(_bytes(message))

            await self._serve(method, context, send)
            if len(response[0]) < _COMPRESSED_BYTES:
                context.disable_next_message_compression()
            return response[0]

        return serve

    def _serve_stream(self, method: str) -> Callable[[object, Context], Awaitable[None]]:
        async def serve(_: object, context: Context) -> None:
            await self._serve(method, context, _Writing(context).send)

        return serve

    async def _serve(
        self, method: str, context: Context, send: Callable[[Message | bytes], Awaitable[None]]
    ) -> None:
        call = Call(
            method,
            metadata_of(context.invocation_metadata() or ()),
            f"grpc {context.peer()}",
            deadline_in(cast("float | None", context.time_remaining())),
        )

        async def read() -> bytes | None:
            data = cast("object", await context.read())
            if not isinstance(data, bytes):
                return None
            if len(data) > MAX_MESSAGE_BYTES:
                message = (
                    f"The message is larger than {MAX_MESSAGE_BYTES >> 20} MiB; send less at once, and a "
                    "large document with UploadDocument."
                )
                raise InvalidRequest(Reason.MALFORMED_MESSAGE, message, {"message_type": "application/grpc"})
            return data

        try:
            await self._calls.serve(call, read, send)
        except ResponsaError as error:
            await _abort(call, context, error)
        context.set_trailing_metadata(((CALL_ID, call.id),))


def free_calls(
    serve: Callable[[object, Context], Awaitable[Result]],
) -> Callable[[object, Context], Awaitable[Result]]:
    """The same handler, but the error of an aborted call refers to nothing of the call.

    grpc.aio keeps this error in the call's object, to which the frames of the error's traceback refer. Without this
    cycle, gRPC frees the call now. The garbage collector seldom looks at objects as old as a call that has waited for
    its message, and each takes about 14 KB.
    """

    async def run(request: object, context: Context) -> Result:
        try:
            return await serve(request, context)
        except grpc.aio.AbortError as error:
            del request, context  # this frame is in the traceback again
            error.__context__ = None
            raise error.with_traceback(None) from None

    return run


class _Writing:
    """Writes the responses of a stream."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._begun = False

    async def send(self, message: Message | bytes) -> None:
        """Write one message; returns once the client's flow-control window has room for it."""
        try:
            self._context.disable_next_message_compression()
            if self._begun:
                await self._context.write(_bytes(message))
            else:
                await _write_first(self._context.write(_bytes(message)))
                self._begun = True
        except grpc.aio.InternalError:
            # The message could not be written: the client is gone, or its deadline has passed. gRPC cancels the call
            # later, sometimes too late.
            await abandon()


def _bytes(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


async def _write_first(writing: Awaitable[None]) -> None:
    """Write the first message, which carries the initial metadata. gRPC cannot end the call with a status before that metadata is sent."""
    task = asyncio.ensure_future(writing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_retrieve)
        await asyncio.wait((task,), timeout=_FIRST_WRITE_SECONDS)
        raise


def _retrieve(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def _abort(call: Call, context: Context, error: ResponsaError) -> None:
    encoded = status.of(error)
    if error.reason is Reason.ROUTE_NOT_FOUND:
        # This is gRPC's own code for a method that does not exist. Reflection clients that get this code fall back from v1 to v1alpha.
        encoded.code = Code.UNIMPLEMENTED
    trailers: list[tuple[str, str | bytes]] = [(DETAILS, encoded.SerializeToString())]
    if call.id:
        trailers.append((CALL_ID, call.id))
    try:
        await context.abort(_CODES[encoded.code], encoded.message, tuple(trailers))
    except grpc.aio.InternalError as failed:
        # The client does not read: it has not taken the first message yet (`_write_first`) and cannot get a status. On
        # this exception, gRPC drops the call.
        raise asyncio.CancelledError from failed
