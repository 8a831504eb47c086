"""The ordered chain of interceptors that every call passes through, whichever transport carries it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, cast

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from responsa_server.calls import status
from responsa_server.calls.call import CALL_ID, Call, Complete, Interceptor, Read, Received, Send, current
from responsa_server.calls.interceptors.limits import CallAdmission
from responsa_server.calls.interceptors.reporting import Logger, call_id, unforeseen
from responsa_server.domain.background import Background
from responsa_server.domain.errors import InvalidRequest, Reason, ResponsaError
from responsa_server.domain.unexpected import UnexpectedErrors

Response = TypeVar("Response", bound=Message)
Result = TypeVar("Result")

FAREWELL_SECONDS: Final = 0.5
"""How long the last responses may take to reach their callers when the server drains."""


@dataclass(frozen=True, slots=True)
class Method:
    """One served method.

    name: the path, `/package.Service/Method`. request: the type of the method's requests. handler: a function that
    takes the parsed request, or an async iterator of requests if the client streams. It returns a coroutine of the
    response, or an async generator of responses (messages or their bytes) if the server streams. waits: whether the
    method has one response and only waits for other work to end. dropped: whether a method with one response is
    cancelled when its caller disconnects, because it waits, has no side effects or has undone them then; other methods
    run to their end.
    """

    name: str
    request: type[Message]
    handler: Callable[[Any], Any]
    client_streaming: bool = False
    server_streaming: bool = False
    waits: bool = False
    dropped: bool = False


def methods_of(
    service: ServiceDescriptor, *handlers: object, waiting: Sequence[str] = (), undone: Sequence[str] = ()
) -> Iterator[Method]:
    """All methods of a service. handlers: for each method, one of these objects has an attribute with the method's
    name. waiting: the names of the methods that only wait. undone: of those that have no effect if they are cancelled."""
    for method in service.methods:
        (handler,) = (getattr(part, method.name) for part in handlers if hasattr(part, method.name))
        yield Method(
            f"/{service.full_name}/{method.name}",
            message_factory.GetMessageClass(method.input_type),
            handler,
            method.client_streaming,
            method.server_streaming,
            method.name in waiting,
            method.name in (*waiting, *undone)
            or method.GetOptions().idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
        )


class Calls:
    """Serves calls: runs the method of a call inside the interceptors.

    One task serves a call, including the sending of its responses. The task passes the responses to a function and does
    not yield them. Therefore the task notices a cancellation or a deadline at any point. A generator that is suspended
    at a `yield` would notice neither. A call with a single response and side effects runs in a separate task. If the caller disconnects,
    that work runs to its end and its response is dropped. Stores shield their own calls of the database.
    """

    def __init__(
        self,
        interceptors: Sequence[Interceptor[Any]],
        admission: CallAdmission,
        logger: Logger,
        errors: UnexpectedErrors | None = None,
    ) -> None:
        """interceptors: the interceptors in order; the first one begins first and ends last. admission: the interceptor
        that counts calls. errors: counts the unforeseen errors of work whose caller has left."""
        self._errors = errors or UnexpectedErrors()
        self._interceptors = interceptors
        self._admission = admission
        self.work = Background()
        self._logger = logger
        self._methods: dict[str, Method] = {}
        self._services: dict[str, Callable[[], Iterable[Method]]] = {}

    def add(self, methods: Iterable[Method]) -> None:
        """Add methods to those that are served."""
        for method in methods:
            self._methods[method.name] = method

    def add_service(self, name: str, load: Callable[[], Iterable[Method]]) -> None:
        """Add a service whose code is imported with its first call. name: its full name."""
        self._services[name] = load

    @property
    def later(self) -> Collection[str]:
        """The names of the services whose code is not imported yet."""
        return self._services.keys()

    def methods(self) -> Collection[Method]:
        """All methods that are served, but those of services that nobody has called."""
        return self._methods.values()

    def method(self, name: str) -> Method | None:
        """The method with this path; None if it is not served."""
        load = self._services.pop(name[1:].partition("/")[0], None)
        if load is not None:
            self.add(load())
        return self._methods.get(name)

    def within(self, name: str, request: Message) -> Any:
        """Call the handler of another method as a part of the current call, whose caller has been checked and counted.
        Returns what the handler returns. Raises InvalidRequest if the request breaks a rule of the contract."""
        method = self._methods[name]
        return method.handler(self._receive(current(), method, request.SerializeToString()))

    @property
    def running(self) -> int:
        """The number of calls that run now, without health checks and reflection."""
        return self._admission.running

    async def serve(self, call: Call, read: Read, send: Send) -> None:
        """Serve a call to its end.

        Raises:
            ResponsaError: the call failed. Unforeseen errors have been logged and are raised as INTERNAL.
            CancelledError: the task was cancelled because the client disconnected; the action registered with `when_left` has run.
        """
        method = self.method(call.method)
        call.served = method is not None
        call.lasts = method is not None and (
            method.client_streaming or method.server_streaming or method.waits
        )

        async def work() -> None:
            # A stream may last for minutes. Release the metadata that the interceptors have read, but for the version of
            # the protocol. A short call keeps it, because the service may ask where the call comes from.
            if call.lasts:
                call.metadata = {
                    name: call.metadata[name] for name in ("a2a-version",) if name in call.metadata
                }
            assert method is not None, "an interceptor refuses methods that are not served"
            await self._run(call, method, read, send)

        await _within(self._interceptors, call, work)

    async def around(self, call: Call, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do the work of a request that is not a method of the contract, such as the sign-in of a browser. Only those
        interceptors run that need neither a method nor a credential. Raises the same errors as `serve`."""
        return await _within(
            [interceptor for interceptor in self._interceptors if interceptor.everywhere], call, work
        )

    async def serve_until(self, left: Awaitable[object], call: Call, read: Read, send: Send) -> bool:
        """Serve a call as `serve` does, but cancel it once `left` ends, because the client is gone. Returns whether the
        call ended by itself. Raises the same errors."""
        serving = asyncio.ensure_future(self.serve(call, read, send))
        leaving = asyncio.ensure_future(left)
        try:
            await asyncio.wait((serving, leaving), return_when=asyncio.FIRST_COMPLETED)
            serving.cancel()
            await serving
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return False
        finally:
            leaving.cancel()
            serving.cancel()
            await asyncio.wait((serving, leaving))
        return True

    async def answer(self, call: Call, request: Message | Read, kind: type[Response]) -> Response:
        """Make a call with one request and one response within this process. request: may also be read once the
        credential was checked. Raises the same errors as `serve`."""
        responses: list[Message | bytes] = []

        async def send(message: Message | bytes) -> None:
            responses.append(message)

        await self.serve(call, Complete(request) if isinstance(request, Message) else request, send)
        (response,) = responses
        assert isinstance(response, kind), f"{call.method} does not answer with {kind.__name__}"
        return response

    async def drain(self, grace_seconds: float) -> None:
        """Refuse new calls (DRAINING), and wait for running calls and for work whose caller has disconnected. Then end
        the remaining calls with an error that gives the reason, and cancel the remaining work.

        Draining takes at most `grace_seconds`, or half a second if that is longer. `Turns.drain` runs at the
        same time; it ends the streams of turns by sending their readers to another server. The turns
        themselves continue, and readers can follow them on another server, or here after a restart.
        """
        self._admission.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(grace_seconds - FAREWELL_SECONDS, 0.0)):
                await self._admission.idle()
                await self.work.drain()
                await self._admission.quiet()
        self._admission.cut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await asyncio.gather(self._admission.idle(), self.work.cancel())

    def unforeseen(self, call: Call, error: Exception) -> ResponsaError:
        """Log and count an error that a transport did not expect outside its calls. Returns what the caller gets, which is INTERNAL."""
        call.id = call.id or call_id(next(iter(call.metadata.get(CALL_ID, ())), ""))
        unforeseen(self._logger, call, error, self._errors)
        return status.internal_error(call.id)

    def arriving(self, call: Call) -> AbstractContextManager[None]:
        """A block in which a transport waits for the body of a call that has not begun, so nobody has checked its
        credential. Raises Exhausted (OVERLOADED) if too many others wait."""
        return self._admission.arriving_unchecked(call)

    def arriving_large(self, call: Call) -> AbstractContextManager[None]:
        """A block in which a transport reads a body that takes much memory, for a call that has begun. Raises Exhausted
        (OVERLOADED) if too many such bodies arrive."""
        return self._admission.arriving_large(call)

    def _first_counted(self, call: Call, read: Read) -> Read:
        """The same messages. While the call waits for the first one, it does not count as a running call. A call whose
        message has arrived keeps its place."""
        if isinstance(read, Complete):
            return read
        arrived = False

        async def read_counted() -> bytes | None:
            nonlocal arrived
            if arrived:
                return await read()
            with self._admission.arriving(call):
                data = await read()
            arrived = True
            return data

        return read_counted

    async def _run(self, call: Call, method: Method, read: Read, send: Send) -> None:
        read = self._first_counted(call, read)
        if method.client_streaming and method.server_streaming:
            await _send_all(method.handler(self._messages(call, method, read)), send)
        elif method.client_streaming:
            # An upload has no effect if its caller leaves before it is accepted.
            async with aclosing(self._messages(call, method, read)) as messages:
                await send(await method.handler(messages))
        elif method.server_streaming:
            # Keep no reference to the request: a stream may outlive the use of its request by minutes.
            await _send_all(method.handler(self._receive(call, method, await _only(method, read))), send)
        else:
            message = self._receive(call, method, await _only(method, read))
            work = method.handler(message)
            await send(await (work if method.dropped else self._uncut(call, work)))

    async def _messages(self, call: Call, method: Method, read: Read) -> AsyncGenerator[object, None]:
        while (data := await read()) is not None:
            yield self._receive(call, method, data)

    def _receive(self, call: Call, method: Method, data: bytes) -> object:
        message: object = Received(data, method.request.FromString)
        for interceptor in self._interceptors:
            message = interceptor.on_request(call, message)
        return message

    async def _uncut(self, call: Call, coroutine: Any) -> Any:
        return await self.work.run(coroutine, report=partial(self._unheard, call))

    def _unheard(self, call: Call, error: BaseException) -> None:
        if isinstance(error, Exception) and not isinstance(error, ResponsaError):
            unforeseen(self._logger, call, error, self._errors)


async def _within(
    interceptors: Iterable[Interceptor[Any]], call: Call, work: Callable[[], Awaitable[Result]]
) -> Result:
    """Do work inside interceptors."""
    token = call.enter()
    begun: list[tuple[Interceptor[Any], Any]] = []
    results: list[Result] = []
    try:
        error: BaseException | None = None
        try:
            for interceptor in interceptors:
                begun.append((interceptor, await interceptor.on_start(call)))
            results.append(await work())
        except BaseException as caught:
            error = caught
        for interceptor, value in reversed(begun):
            error = await interceptor.on_end(call, value, error)
        if isinstance(error, asyncio.CancelledError):
            call.abandon()
        if error is not None:
            try:
                # The frames that the error passed hold the request, and some of them have a variable for the error, as
                # this one does. Without these cycles, the request is
                # freed now, and not when garbage is collected.
                raise error.with_traceback(None)
            finally:
                del error
        # Without a result there is an error, which no interceptor may drop.
        return results[0]
    finally:
        call.leave(token)


async def _only(method: Method, read: Read) -> bytes:
    """The only message of a request. Raises InvalidRequest (MALFORMED_MESSAGE)."""
    data = await read()
    if data is None:
        raise InvalidRequest(
            Reason.MALFORMED_MESSAGE,
            (
                "The request ended before its message arrived; frame the message as gRPC does: a zero "
                "byte, the message's length in four bytes, then the message's bytes."
            ),
            {"message_type": method.request.DESCRIPTOR.full_name},
        )
    return data


async def _send_all(responses: Any, send: Send) -> None:
    async with aclosing(cast("AsyncGenerator[Message | bytes, None]", responses)) as stream:
        async for response in stream:
            await send(response)
