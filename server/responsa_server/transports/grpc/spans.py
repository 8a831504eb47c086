"""The spans of gRPC calls, by OpenTelemetry's interceptor (ADR 0117). Imported only if traces are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
import grpc.aio
from opentelemetry.instrumentation import grpc as instrumentation
from opentelemetry.trace import TracerProvider

from responsa_server.calls.chain import Calls
from responsa_server.calls.interceptors.reporting import PLUMBING
from responsa_server.transports.grpc.handlers import Context, Handler, free_calls

Behaviour = Callable[[object, Context], Awaitable[object]]


class Spans(grpc.aio.ServerInterceptor):
    """Opens a span around each call of a method that is served, except health checks and reflection."""

    def __init__(self, calls: Calls, provider: TracerProvider) -> None:
        self._calls = calls
        self._library = cast("Any", instrumentation).aio_server_interceptor(provider)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        handler, method = await continuation(handler_call_details), handler_call_details.method
        # The library fails for a path without a service, and only a method that is not served has such a path.
        if handler is None or method.startswith(PLUMBING) or self._calls.method(method) is None:
            return handler
        behaviour = cast("Behaviour", handler.stream_stream or handler.stream_unary)

        async def serve(request: object, context: Context) -> object:
            raised: list[BaseException] = []

            async def keep_error(request: object, proxy: object) -> object:
                # The library's proxy of the context costs time with each message, for the codes of aborts alone.
                # Errors are written into the span, twice and with their tracebacks, and an abort is an error.
                del proxy
                try:
                    return await behaviour(request, context)
                except BaseException as error:
                    raised.append(error)
                    return None

            async def one_response(_: object) -> Handler:
                # The library takes a stream for a generator. Ours are coroutines, as those of single responses are.
                return grpc.stream_unary_rpc_method_handler(keep_error)

            opened = await self._library.intercept_service(one_response, handler_call_details)
            response = await opened.stream_unary(request, context)
            if raised:
                raise raised.pop()
            return response

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(free_calls(serve))
        return grpc.stream_unary_rpc_method_handler(free_calls(serve))
