"""The spans of gRPC calls: OpenTelemetry's interceptor opens them, and `Traced` adds what it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import grpc
import grpc.aio
import pytest
import structlog
from google.protobuf.message import Message
from opentelemetry import propagate
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, SpanKind, get_current_span

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa_server.app.traces import Traceparent
from responsa_server.calls.call import Call, Interceptor
from responsa_server.calls.chain import Calls, Method
from responsa_server.calls.interceptors.limits import CallAdmission
from responsa_server.calls.interceptors.reporting import CallId, Errors
from responsa_server.calls.interceptors.traced import Traced
from responsa_server.calls.interceptors.validation import Validation
from responsa_server.domain.errors import InvalidRequest, NotFound, Reason
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.telemetry.stages import Traces, current
from responsa_server.transports.grpc.server import RpcServer
from tests.instance import eventually

SERVICE = "test.Service"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=text"), ("baggage", "user=text"))


async def answers(request: object) -> Message:
    del request
    # A library in this process would send OpenTelemetry's current span to others.
    assert get_current_span() is INVALID_SPAN
    assert current().trace_id == TRACE
    return auth.GetMeRequest()


async def refuses(request: object) -> Message:
    del request
    raise InvalidRequest.of_field("name", "rule", "is refused by the method")


async def fails(request: object) -> Message:
    del request
    raise RuntimeError("a text")


async def streams(request: object) -> AsyncGenerator[Message, None]:
    del request
    yield auth.GetMeRequest()
    yield auth.GetMeRequest()


async def waits(request: object) -> AsyncGenerator[Message, None]:
    del request
    yield auth.GetMeRequest()
    await asyncio.Event().wait()


async def refuses_later(request: object) -> AsyncGenerator[Message, None]:
    yield auth.GetMeRequest()
    await refuses(request)


class Served(Interceptor[None]):
    async def on_start(self, call: Call) -> None:
        if not call.served:
            raise NotFound(Reason.ROUTE_NOT_FOUND, "This server has no such method.")


METHODS = {
    "Answers": (answers, False),
    "Refuses": (refuses, False),
    "Fails": (fails, False),
    "Streams": (streams, True),
    "Waits": (waits, True),
    "RefusesLater": (refuses_later, True),
}


@pytest.fixture
async def channel(
    memory: InMemorySpanExporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[grpc.aio.Channel]:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Traceparent())
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    traces = Traces(provider.get_tracer("test"), provider=provider)
    log = structlog.get_logger("test")
    interceptors = (CallId(), Traced(traces), Errors(log, UnexpectedErrors()), Served(), Validation())
    calls = Calls(interceptors, CallAdmission(4), log)
    calls.add(
        Method(f"/{SERVICE}/{name}", auth.GetMeRequest, handler, server_streaming=stream)
        for name, (handler, stream) in METHODS.items()
    )
    server = RpcServer(calls, (), "unix:server", traces=traces)
    await server.start()
    async with grpc.aio.insecure_channel("unix:server") as found:
        yield found
    await server.drain(0)
    propagate.set_global_textmap(before)


async def spans(memory: InMemorySpanExporter) -> Sequence[ReadableSpan]:
    """The spans, once there is one. A caller may see the end of its call earlier."""
    await asyncio.to_thread(eventually, memory.get_finished_spans, "a span")
    return memory.get_finished_spans()


@pytest.mark.parametrize(
    ("method", "read", "code", "failed"),
    [
        ("Answers", 1, grpc.StatusCode.OK, False),
        ("Refuses", 0, grpc.StatusCode.INVALID_ARGUMENT, False),
        ("Fails", 0, grpc.StatusCode.INTERNAL, True),
        ("Streams", 2, grpc.StatusCode.OK, False),
        ("RefusesLater", 1, grpc.StatusCode.INVALID_ARGUMENT, False),
        ("Waits", 1, grpc.StatusCode.CANCELLED, False),
    ],
)
async def test_a_call_is_one_span_with_its_code(
    channel: grpc.aio.Channel,
    memory: InMemorySpanExporter,
    method: str,
    read: int,
    code: grpc.StatusCode,
    failed: bool,
) -> None:
    # One response and a stream look the same on the wire.
    call = channel.unary_stream(f"/{SERVICE}/{method}")(b"", metadata=CALLER)
    for _ in range(read):
        assert await call.read() == b""
    if method == "Waits":
        call.cancel()
    assert await call.code() is code
    (span,) = await spans(memory)
    assert (span.name, span.kind) == (f"{SERVICE}/{method}", SpanKind.SERVER)
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "opentelemetry.instrumentation.grpc"
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert not span.context.trace_state
    assert span.attributes is not None
    assert span.attributes["rpc.system.name"] == span.attributes["rpc.system"] == "grpc"
    assert span.attributes["rpc.method"] == span.name
    assert span.attributes["rpc.response.status_code"] == code.name
    assert span.attributes["rpc.grpc.status_code"] == code.value[0]
    assert span.attributes["responsa.call_id"]
    assert span.status.is_ok is not failed
    assert "a text" not in span.to_json()
    assert not span.events


@pytest.mark.parametrize("path", ["/odd", "//odd", f"/{SERVICE}/Lacks"])
async def test_a_path_that_is_not_served_is_refused_and_has_a_span(
    channel: grpc.aio.Channel, memory: InMemorySpanExporter, path: str
) -> None:
    assert await channel.unary_unary(path)(b"", metadata=CALLER).code() is grpc.StatusCode.UNIMPLEMENTED
    (span,) = await spans(memory)
    assert span.name == path[1:]


async def test_health_checks_have_no_spans(channel: grpc.aio.Channel, memory: InMemorySpanExporter) -> None:
    for path in ("/grpc.health.v1.Health/Check", f"/{SERVICE}/Streams"):
        assert [message async for message in channel.unary_stream(path)(b"")]
    (span,) = await spans(memory)
    assert span.name == f"{SERVICE}/Streams"
