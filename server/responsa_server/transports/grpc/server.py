"""The gRPC server: its start, its stop, and the services that it adds to those of the contract (health, reflection)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, cast

import grpc.aio
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

from responsa_server.calls.chain import FAREWELL_SECONDS, Calls, Method
from responsa_server.calls.health import ServerHealth
from responsa_server.telemetry.stages import OFF, Traces
from responsa_server.transports.grpc.handlers import MAX_MESSAGE_BYTES, Handlers
from responsa_server.transports.grpc.health import HEALTH, Health

# The messages of both versions are the same on the wire.
_REFLECTION: Final = (reflection.SERVICE_NAME, reflection.SERVICE_NAME.replace(".v1alpha.", ".v1."))

OPTIONS: Mapping[str, int] = {
    "grpc.max_receive_message_length": 2 * MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    # gRPC chooses an algorithm that the client accepts. It would use one that was chosen here for any client.
    "grpc.default_compression_level": 1,
    # Two processes must not share an address by accident: the second one must fail.
    "grpc.so_reuseport": 0,
    # We ping the peer every 30 s. Clients may ping every 10 s and Envoy pings every 11 s, even without a call; by
    # gRPC's defaults, a second ping within
    # 300 s would end the connection. The limit here is only 5 s, because a busy machine may read one ping late and the
    # next ping on time, so that the
    # two pings seem closer together than they were sent.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.min_ping_interval_without_data_ms": 5_000,
    "grpc.http2.max_ping_strikes": 2,
    # Envoy accepts 16 KiB of headers; headers that Envoy accepts must not fail here.
    "grpc.max_metadata_size": 24 * 1024,
    "grpc.absolute_max_metadata_size": 32 * 1024,
    # Calls that have arrived and that the event loop has not taken yet. Beyond the first limit, gRPC cancels some new
    # calls without a reason, and beyond the second one, all.
    # Its defaults are 1,000 and 3,000. With 20,000, calls waited for ten seconds, and health checks failed meanwhile.
    "grpc.server.max_pending_requests": 5_000,
    "grpc.server.max_pending_requests_hard_limit": 6_000,
}


class RpcServer:
    """One server. Start it once and drain it once."""

    def __init__(
        self,
        calls: Calls,
        services: Sequence[str],
        address: str,
        *,
        reflects: bool = True,
        health: ServerHealth | None = None,
        traces: Traces = OFF,
    ) -> None:
        """Build the server; call this in the running event loop. calls: the calls to serve; health and reflection are
        added to them. services: the full names of the services that health reports. address: `unix:PATH` or
        `HOST:PORT`; port 0 means any free port. reflects: whether to serve reflection. health: says which parts are
        lacking, so that nothing can be answered. traces: how calls are traced."""
        self._calls = calls
        self._address = address
        names = (*services, HEALTH)
        self._health = Health(names, health)
        calls.add(self._health.methods())
        if reflects:
            _add_v1()
            calls.add(
                _reflection(f"/{service}/ServerReflectionInfo", calls, (*names, *calls.later, *_REFLECTION))
                for service in _REFLECTION
            )
        interceptors: Sequence[grpc.aio.ServerInterceptor] = ()
        if traces.provider is not None:
            from responsa_server.transports.grpc.spans import Spans

            interceptors = (Spans(calls, traces.provider),)
        self._server = grpc.aio.server(
            handlers=(Handlers(calls),),
            interceptors=interceptors,
            options=tuple(OPTIONS.items()),
        )

    async def start(self) -> int:
        """Bind and serve; health reports NOT_SERVING until `ready` is called. Returns the port (1 for a unix socket).
        Raises OSError if the address is taken."""
        try:
            port = self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._address}") from error
        await self._server.start()
        return port

    async def ready(self) -> None:
        """Report SERVING, because all parts are available."""
        self._health.serving()

    async def retire(self) -> None:
        """Report NOT_SERVING while still accepting calls: load balancers send new calls elsewhere."""
        self._health.not_serving()

    async def drain(self, grace_seconds: float) -> None:
        """Report NOT_SERVING, refuse new calls (DRAINING) on every transport, wait for running calls to end, and
        stop. This takes at most `grace_seconds`, or one second if that is longer. Returns when the server
        serves no more calls.
        """
        end = time.monotonic() + grace_seconds
        self._health.drain()
        await self._calls.drain(grace_seconds - FAREWELL_SECONDS)
        await self._server.stop(max(end - time.monotonic(), FAREWELL_SECONDS))


class _Pool:
    """The pool of all descriptors, which also finds the files of methods."""

    def __getattr__(self, name: str) -> Any:
        return getattr(descriptor_pool.Default(), name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        with suppress(KeyError):
            return descriptor_pool.Default().FindMethodByName(symbol).containing_service.file
        return descriptor_pool.Default().FindFileContainingSymbol(symbol)


def _add_v1() -> None:
    """The descriptors of v1 differ from the library's in the name of their package."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    text = json_format.MessageToJson(file).replace("v1alpha", "v1")
    descriptor_pool.Default().Add(json_format.Parse(text, FileDescriptorProto()))


def _reflection(name: str, calls: Calls, services: Sequence[str]) -> Method:
    # The type is Any, because the library's stubs declare the stream of responses as a coroutine.
    servicer: Any = reflection.aio.ReflectionServicer(services, cast("Any", _Pool()))

    def reflect(requests: object) -> Any:
        for service in (*calls.later,):
            calls.method(f"/{service}/")  # imports its descriptors
        return servicer.ServerReflectionInfo(requests, None)

    return Method(
        name,
        reflection_pb2.ServerReflectionRequest,
        reflect,
        client_streaming=True,
        server_streaming=True,
    )
