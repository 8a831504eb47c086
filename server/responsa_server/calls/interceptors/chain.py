"""The one ordered chain that every call passes through, and how it is put around gRPC's handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio

from responsa_server.calls import methods, status
from responsa_server.calls.call import CALL_ID, Call, Context, metadata_of
from responsa_server.calls.feed import Feed
from responsa_server.calls.interceptors.admission import Admission
from responsa_server.calls.interceptors.authorised import Authorised
from responsa_server.calls.interceptors.call_id import CallId
from responsa_server.calls.interceptors.credential import Authenticator, CredentialCheck
from responsa_server.calls.interceptors.deadline import Deadline
from responsa_server.calls.interceptors.errors import Errors, report
from responsa_server.calls.interceptors.log import Log, Logger
from responsa_server.calls.interceptors.routed import Routed
from responsa_server.calls.interceptors.shape import Interceptor, Received
from responsa_server.calls.interceptors.validation import Validation
from responsa_server.calls.work import Work
from responsa_server.domain.errors import Cancelled, InvalidRequest, Reason, ResponsaError

# Generic in its stubs alone.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

DETAILS = "grpc-status-details-bin"
# A client stream that is cancelled looks at first like one that ended, and is cancelled a turn of the event loop later.
_CANCELLATION_LAG_SECONDS = 0.005
_FIRST_WRITE_SECONDS = 0.2

# These wait for others and write nothing while they do: their waiting ends with the call. What they do before that they protect themselves.
_WAITING = frozenset({"/responsa.chat.v1.ChatService/Answer", "/google.longrunning.Operations/WaitOperation"})


def interceptors(
    identity: Authenticator, cookie_name: str, admission: Admission, validation: Validation, logger: Logger
) -> Sequence[Interceptor[Any]]:
    """All interceptors in their order: the first one begins first and ends last. cookie_name: of this server's sessions."""
    return (
        CallId(),
        Log(logger),
        Errors(logger),
        Routed(),
        Deadline(),
        admission,
        CredentialCheck(identity, cookie_name),
        Authorised(),
        validation,
    )


class Chain(grpc.aio.ServerInterceptor):
    """Wraps each handler so that its calls run inside the interceptors.

    A wrapped handler gets bytes and writes by `context.write`, so all that happens in a call happens in one coroutine: what a generator would not
    be told at a `yield` (a cancellation, a deadline) is told here. Work that answers with one message runs in a task of its own: when its caller
    goes away it is not cut off in the midst of a database call but comes to its end unheard.
    """

    def __init__(self, interceptors: Sequence[Interceptor[Any]], work: Work, logger: Logger) -> None:
        self._interceptors = interceptors
        self._work = work
        self._logger = logger
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the wrapped handler of a method; one that refuses for a method that is not there."""
        method = handler_call_details.method
        known = self._wrapped.get(method)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return self._wrap(method, None)
        self._wrapped[method] = wrapped = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Handler | None) -> Handler:
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(self._serve(method, None, self._both_streams))
        serializer = handler.response_serializer

        def to_bytes(message: Any) -> bytes:
            return message if isinstance(message, bytes) or serializer is None else serializer(message)

        match handler.request_streaming, handler.response_streaming:
            # One message or many is the same on the wire. grpc.aio never answers a call for one message that ends without it, nor
            # looks at a call before it has come; so it is read here, where its absence is an error as any other.
            case False, False:
                return grpc.stream_unary_rpc_method_handler(
                    self._serve(method, handler, self._unary), None, to_bytes
                )
            case False, True:
                return grpc.stream_stream_rpc_method_handler(
                    self._serve(method, handler, self._server_stream), None, to_bytes
                )
            case True, False:
                return grpc.stream_unary_rpc_method_handler(
                    self._serve(method, handler, self._client_stream), None, to_bytes
                )
            case _:
                return grpc.stream_stream_rpc_method_handler(
                    self._serve(method, handler, self._both_streams), None, to_bytes
                )

    def _serve(
        self, method: str, handler: Handler | None, body: Callable[[Call, Any, Any], Awaitable[object]]
    ) -> Any:
        async def serve(request: Any, context: Context) -> object:
            call = Call(method, context, metadata_of(context), served=handler is not None)
            call.enter()
            begun: list[tuple[Interceptor[Any], Any]] = []
            error: BaseException | None = None
            result: object = None
            try:
                for interceptor in self._interceptors:
                    begun.append((interceptor, await interceptor.on_start(call)))
                # What was there for the interceptors to read is not kept for as long as a stream lasts.
                call.metadata = {}
                result = await body(call, handler, request)
                context.set_trailing_metadata(((CALL_ID, call.id),))
            except BaseException as caught:
                error = caught
            for interceptor, token in reversed(begun):
                error = await interceptor.on_end(call, token, error)
            if isinstance(error, ResponsaError):
                await _abort(call, error)
            if isinstance(error, asyncio.CancelledError):
                call.left()
            if error is not None:
                raise error
            return result

        return serve

    async def _unary(self, call: Call, handler: Any, _: AsyncIterator[bytes]) -> object:
        message = self._received(call, handler, await _only(call))
        if call.method in _WAITING:
            return await handler.unary_unary(message, call.context)
        return await self._uncut(call, handler.unary_unary(message, call.context))

    async def _server_stream(self, call: Call, handler: Any, _: AsyncIterator[bytes]) -> None:
        # No name here holds the request: a stream may outlive its use by minutes.
        responses = handler.unary_stream(self._received(call, handler, await _only(call)), call.context)
        await _write_all(call, responses)

    async def _both_streams(self, call: Call, handler: Any, requests: AsyncIterator[bytes]) -> None:
        messages = (self._received(call, handler, one) async for one in requests)
        await _write_all(call, handler.stream_stream(messages, call.context))

    async def _client_stream(self, call: Call, handler: Any, requests: AsyncIterator[bytes]) -> object:
        feed: Feed[object] = Feed()
        task = asyncio.ensure_future(handler.stream_unary(feed, call.context))
        task.add_done_callback(feed.abandon)
        try:
            async for one in requests:
                if not await feed.put(self._received(call, handler, one)):
                    break
            else:
                if not call.length_known:
                    await asyncio.wait((task,), timeout=_CANCELLATION_LAG_SECONDS)
            feed.end()
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            feed.end(Cancelled(Reason.CANCELLED, "The caller ended the call."))
            self._leave(call, task)
            raise
        except ResponsaError as error:
            # A bad message in mid-stream: the work ends by the same error, and has cleaned up when the caller hears of it.
            feed.end(error)
            await asyncio.wait((task,))
            _retrieve(task)
            raise

    def _received(self, call: Call, handler: Any, data: bytes) -> object:
        message: object = Received(data, handler.request_deserializer)
        for interceptor in self._interceptors:
            message = interceptor.on_request(call, message)
        return message

    async def _uncut(self, call: Call, coroutine: Any) -> object:
        task = asyncio.ensure_future(coroutine)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._leave(call, task)
            raise

    def _leave(self, call: Call, task: asyncio.Future[object]) -> None:
        """Let work go on whose caller is gone."""
        if not task.done():
            self._work.keep(task)
        task.add_done_callback(lambda done: self._unheard(call, done))

    def _unheard(self, call: Call, task: asyncio.Future[object]) -> None:
        error = _retrieve(task)
        if isinstance(error, Exception) and not isinstance(error, ResponsaError | grpc.aio.AbortError):
            report(self._logger, call, error)


def _retrieve(task: asyncio.Future[Any]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


async def _only(call: Call) -> bytes:
    """The one message of a request. Raises InvalidRequest (MALFORMED_MESSAGE)."""
    data = cast("object", await call.context.read())
    if not isinstance(data, bytes):
        descriptor = methods.input_type(call.method)
        raise InvalidRequest(
            Reason.MALFORMED_MESSAGE,
            "The request ended before its message had come; frame it as gRPC does: a zero byte, its length in four bytes, its bytes.",
            {"message_type": "" if descriptor is None else descriptor.full_name},
        )
    return data


async def _write_all(call: Call, responses: Any) -> None:
    """Write what a handler yields; a handler that is a coroutine writes itself."""
    if not hasattr(responses, "__aiter__"):
        await responses
        return
    write = call.context.write
    begun = False
    try:
        async with aclosing(cast("AsyncGenerator[object, None]", responses)) as stream:
            async for response in stream:
                if begun:
                    await write(response)
                else:
                    await _write_first(write(response))
                    begun = True
    except grpc.aio.InternalError:
        # A message could not be written: the client is gone, or its time is up. That gRPC cancels the call for it comes later, or comes too late.
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)


async def _write_first(writing: Awaitable[None]) -> None:
    """Write the first message, which takes the initial metadata along: until they are out gRPC cannot end the call with a status."""
    task = asyncio.ensure_future(writing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_retrieve)
        await asyncio.wait((task,), timeout=_FIRST_WRITE_SECONDS)
        raise


async def _abort(call: Call, error: ResponsaError) -> None:
    encoded = status.of(error)
    code = status.code(error)
    if error.reason is Reason.ROUTE_NOT_FOUND:
        # gRPC's own word for a method that is not there: reflection clients fall back from v1 to v1alpha on it.
        code = grpc.StatusCode.UNIMPLEMENTED
        encoded.code = code.value[0]
    trailers: list[tuple[str, str | bytes]] = [(DETAILS, encoded.SerializeToString())]
    if call.id:
        trailers.append((CALL_ID, call.id))
    try:
        await call.context.abort(code, encoded.message, tuple(trailers))
    except grpc.aio.InternalError as failed:
        # A client that does not read has not taken the first message yet (`_write_first`), and cannot be told; gRPC drops the call with this.
        raise asyncio.CancelledError from failed
