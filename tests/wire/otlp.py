"""A receiver of spans and metrics by OTLP, over gRPC and over HTTP with protobuf (opentelemetry-proto 1.10,
https://opentelemetry.io/docs/specs/otlp/, used on 2026-11-26)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True, slots=True)
class Span:
    """A received span. Ids are hexadecimal; parent: "" for none. service: the resource's service.name. links: the ids
    of the linked spans."""

    name: str
    trace: str
    id: str
    parent: str
    service: str
    kind: int
    begun: int
    ended: int
    failed: bool
    attributes: Mapping[str, object]
    links: Sequence[str]

    def within(self, other: Span) -> bool:
        """Whether the other span is this one's parent."""
        return (self.trace, self.parent) == (other.trace, other.id)


@dataclass
class Receiver:
    """What was received. grpc, http: the URLs to send to, both with the same content. metrics: the names of the
    received metrics. headers: those of the last request over HTTP. answer: the HTTP status of every answer."""

    grpc: str
    http: str
    answer: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    raw: list[bytes] = field(default_factory=list[bytes])
    metrics: set[str] = field(default_factory=set[str])
    _spans: list[Span] = field(default_factory=list[Span])

    @property
    def spans(self) -> Sequence[Span]:
        """All spans so far."""
        return tuple(self._spans)

    def trace(self, trace: str) -> Sequence[Span]:
        """The spans of one trace, in the order in which they began."""
        return sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.begun)

    def take(self, data: bytes) -> None:
        """Keep the spans of a request."""
        self.raw.append(data)
        for of_resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            service = _attributes(of_resource.resource.attributes).get("service.name", "")
            for of_scope in of_resource.scope_spans:
                self._spans += [_span(span, str(service)) for span in of_scope.spans]

    def take_metrics(self, data: bytes) -> None:
        """Keep the names of the metrics of a request."""
        for of_resource in ExportMetricsServiceRequest.FromString(data).resource_metrics:
            for of_scope in of_resource.scope_metrics:
                self.metrics |= {metric.name for metric in of_scope.metrics}


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        found[pair.key] = getattr(pair.value, kind) if kind else None
    return found


def _span(span: SentSpan, service: str) -> Span:
    return Span(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        service,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == Status.STATUS_CODE_ERROR,
        _attributes(span.attributes),
        [link.span_id.hex() for link in span.links],
    )


class _Servicer(TraceServiceServicer):
    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def Export(self, request: ExportTraceServiceRequest, context: object) -> ExportTraceServiceResponse:
        self._take(request.SerializeToString())
        return ExportTraceServiceResponse()


class _MetricsServicer(MetricsServiceServicer):
    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def Export(self, request: ExportMetricsServiceRequest, context: object) -> ExportMetricsServiceResponse:
        self._take(request.SerializeToString())
        return ExportMetricsServiceResponse()


@contextmanager
def receiving() -> Generator[Receiver]:
    """A receiver that listens on loopback during the block."""
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            receiver.headers = {key.lower(): value for key, value in self.headers.items()}
            if receiver.answer == 200:
                (receiver.take_metrics if self.path == "/v1/metrics" else receiver.take)(data)
            self.send_response(receiver.answer)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{http.server_port}")
    add_TraceServiceServicer_to_server(_Servicer(receiver.take), server)
    add_MetricsServiceServicer_to_server(_MetricsServicer(receiver.take_metrics), server)
    server.start()
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
        server.stop(0).wait()
