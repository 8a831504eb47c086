"""Opens channels, and creates the generated stubs of a channel."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.protobuf.message import Message
from grpc import aio

from responsa.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub
from responsa.knowledge.v1.knowledge_service_pb2_grpc import KnowledgeServiceStub
from responsa_client.address import Address

KEEPALIVE_SECONDS = 30
"""Seconds between keepalive probes of a silent connection with open calls. The server must permit this interval."""
KEEPALIVE_TIMEOUT_SECONDS = 10
MAX_RECONNECT_MILLISECONDS = 2_000
"""The longest pause between gRPC's own attempts to connect. By default, the pauses grow to two minutes, during which
the client does not notice that a server is back."""
CONNECT_TIMEOUT_MILLISECONDS = 5_000
MAX_RECEIVE_BYTES = 16 * 1024 * 1024
"""The maximum size of a response in bytes. The contract's largest page is smaller: it has 200 messages of 24 KiB with
24 quotes of 1 KiB each."""

ResponseT = TypeVar("ResponseT", bound=Message)


class OperationsStub:
    """A stub of google.longrunning.Operations. The stub in Google's package is not typed."""

    def __init__(self, channel: aio.Channel) -> None:
        service = "/google.longrunning.Operations/"
        operation = operations_pb2.Operation.FromString
        self.GetOperation = channel.unary_unary(
            service + "GetOperation", operations_pb2.GetOperationRequest.SerializeToString, operation
        )
        self.WaitOperation = channel.unary_unary(
            service + "WaitOperation", operations_pb2.WaitOperationRequest.SerializeToString, operation
        )
        self.ListOperations = channel.unary_unary(
            service + "ListOperations",
            operations_pb2.ListOperationsRequest.SerializeToString,
            operations_pb2.ListOperationsResponse.FromString,
        )
        self.CancelOperation = channel.unary_unary(
            service + "CancelOperation",
            operations_pb2.CancelOperationRequest.SerializeToString,
            empty_pb2.Empty.FromString,
        )
        self.DeleteOperation = channel.unary_unary(
            service + "DeleteOperation",
            operations_pb2.DeleteOperationRequest.SerializeToString,
            empty_pb2.Empty.FromString,
        )


@dataclass(frozen=True, slots=True)
class Stubs:
    """All services over one channel."""

    chat: ChatServiceStub
    knowledge: KnowledgeServiceStub
    admin: AdminServiceStub
    auth: AuthServiceStub
    operations: OperationsStub
    channel: aio.Channel

    def unary(
        self, method: str, response: type[ResponseT]
    ) -> aio.UnaryUnaryMultiCallable[Message, ResponseT]:
        """Any unary method, by its path, such as "/responsa.auth.v1.AuthService/GetMe"."""
        return self.channel.unary_unary(method, _serialized, response.FromString)

    def streaming(
        self, method: str, response: type[ResponseT]
    ) -> aio.UnaryStreamMultiCallable[Message, ResponseT]:
        """Any method that streams its response, by its path."""
        return self.channel.unary_stream(method, _serialized, response.FromString)

    @classmethod
    def over(cls, channel: aio.Channel | grpc.Channel) -> Stubs:
        """The stubs of all services. They are typed for asyncio; over a blocking channel, the same calls block."""
        typed = cast("aio.Channel", channel)
        return cls(
            ChatServiceStub(typed),
            KnowledgeServiceStub(typed),
            AdminServiceStub(typed),
            AuthServiceStub(typed),
            OperationsStub(typed),
            typed,
        )


def _serialized(request: Message) -> bytes:
    return request.SerializeToString()


def channel_options(address: Address) -> list[tuple[str, int]]:
    """The options of every channel: keepalive, a connection that no other channel shares, and no proxy for a server on this machine."""
    options = [
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_MILLISECONDS),
        # Despite its name, this option sets the longest time for an attempt to connect.
        ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MILLISECONDS),
        ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
        # retries.py decides about retries, because it knows which calls may be repeated.
        ("grpc.enable_retries", 0),
    ]
    if address.loopback:
        options.append(("grpc.enable_http_proxy", 0))
    return options


def open_channel(address: Address) -> grpc.Channel:
    """A blocking channel. It connects at the first call."""
    options = channel_options(address)
    if address.tls:
        channel = grpc.secure_channel(address.target, grpc.ssl_channel_credentials(), options)
    else:
        channel = grpc.insecure_channel(address.target, options)
    library = _instrumentation("GrpcInstrumentorClient")
    return channel if library is None else library.intercept_channel(channel, library.client_interceptor())


def open_aio_channel(address: Address) -> aio.Channel:
    """A channel of the running event loop. It connects at the first call."""
    options = channel_options(address)
    library = _instrumentation("GrpcAioInstrumentorClient")
    interceptors: list[aio.ClientInterceptor] | None = None
    if library is not None:
        # The span of a stream that its reader leaves would end when garbage is collected.
        streams = (aio.UnaryStreamClientInterceptor, aio.StreamStreamClientInterceptor)
        interceptors = [one for one in library.aio_client_interceptors() if not isinstance(one, streams)]
    if address.tls:
        return aio.secure_channel(
            address.target, grpc.ssl_channel_credentials(), options, interceptors=interceptors
        )
    return aio.insecure_channel(address.target, options, interceptors=interceptors)


def unspanned() -> AbstractContextManager[object]:
    """A block in which OpenTelemetry's instrumentation leaves calls alone. It replaces the call of a blocking stream by
    a generator, which cannot be cancelled."""
    utils = cast("Any", sys.modules.get("opentelemetry.instrumentation.utils"))
    return nullcontext() if utils is None else utils.suppress_instrumentation()


def _instrumentation(instrumentor: str) -> Any:
    """OpenTelemetry's instrumentation of gRPC. None if the program makes no spans or has instrumented gRPC itself, and
    without the extra `otel`. instrumentor: the class with which a program would do so."""
    trace = cast("Any", sys.modules.get("opentelemetry.trace"))
    if trace is None:
        return None
    if isinstance(trace.get_tracer_provider(), (trace.NoOpTracerProvider, trace.ProxyTracerProvider)):
        return None
    try:
        from opentelemetry.instrumentation import grpc as library
    except ImportError:
        return None
    kind = getattr(library, instrumentor)
    # The one instance; its __init__ would forget the program's filter.
    return None if kind.__new__(kind).is_instrumented_by_opentelemetry else library


def credentials(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata that authenticates a call; empty without a key.

    Raises:
        ValueError: the key contains characters that keys cannot have; the message does not repeat the key.
    """
    if not api_key:
        return ()
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ValueError("The API key contains spaces, line breaks or characters beyond ASCII.")
    return (("authorization", f"Bearer {api_key}"),)
