"""Sets OpenTelemetry's SDK up for traces. It is imported, and the SDK with it, only if traces are made."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final
from uuid import uuid4

import structlog
from opentelemetry.context import Context
from opentelemetry.propagate import set_global_textmap
from opentelemetry.propagators.textmap import CarrierT, Getter, default_getter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from responsa_server.app.forks import without_fork_handlers
from responsa_server.app.settings import Settings, environment, otlp
from responsa_server.calls.call import TRACEPARENT
from responsa_server.telemetry import instruments
from responsa_server.telemetry.settings import LangfuseSettings
from responsa_server.telemetry.stages import DebugLog, Traces, context_of

MOST_WAITING: Final = 4096
"""The maximum number of spans that wait to be sent to one receiver. Of more, the oldest are dropped."""
BATCH_SPANS: Final = 512
RETRY_SECONDS: Final = 1.0
"""How long a receiver that took no spans is left alone."""
REFUSED_SECONDS: Final = 600.0
SEND_SECONDS: Final = 0.5
"""How long a span waits for others, to be sent with them, unless OTEL_BSP_SCHEDULE_DELAY says otherwise. A process that
is killed loses the spans that wait."""
CLOSE_SECONDS: Final = 2.0
"""How long the end of a process waits for its last spans."""
_TELL_SECONDS: Final = 60.0
_SLOW_SECONDS: Final = 10.0
"""A turn that takes this long is sent even if its trace was not sampled."""
# What these loggers say once for each failure, `SpanSender` counts and logs once a minute.
_LOUD: Final = ("opentelemetry.exporter.otlp",)


class SpanSender(SpanProcessor):
    """Sends spans to one receiver, and keeps those that it does not take. Of more than MOST_WAITING, the oldest are
    dropped and counted; so is a batch that the receiver has refused for REFUSED_SECONDS."""

    def __init__(self, receiver: str, exporter: SpanExporter) -> None:
        """receiver: its name in the log."""
        self.dropped = 0
        """The number of spans that were dropped since the process started."""
        self._receiver = receiver
        self._exporter = exporter
        self._log = structlog.get_logger("server")
        self._pause = float(environment().get("OTEL_BSP_SCHEDULE_DELAY", SEND_SECONDS * 1000)) / 1000
        self._waiting = deque[ReadableSpan]()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ends = False
        self._failing_since: float | None = None
        self._told = 0
        self._told_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"spans-{receiver}", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Let a span wait."""
        if span.context is not None and span.context.trace_flags.sampled:
            with self._lock:
                self._waiting.append(span)
                self._keep(MOST_WAITING)
            if len(self._waiting) >= BATCH_SPANS and self._failing_since is None:
                self._wake.set()

    def shutdown(self) -> None:
        """Try each span that waits once more."""
        self._ends = True
        self._wake.set()
        self._thread.join()
        self._exporter.shutdown()

    def cut(self) -> None:
        """End a `shutdown` that takes too long."""
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._ends:
            self._wake.wait(self._pause if self._failing_since is None else max(self._pause, RETRY_SECONDS))
            self._wake.clear()
            while self._send() and len(self._waiting) >= BATCH_SPANS:
                pass
            self._tell()
        while self._waiting:
            if not self._send():
                with self._lock:
                    self._keep(0)
        self._tell()

    def _send(self) -> bool:
        """Send the oldest spans. Returns whether the receiver took them."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(BATCH_SPANS, len(self._waiting)))]
        if not batch:
            return True
        try:
            taken = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # whatever an exporter raises, its spans wait
            taken = False
        if taken:
            self._failing_since = None
            return True
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        with self._lock:
            if now - self._failing_since >= REFUSED_SECONDS:  # it may be the batch, and not the receiver
                self.dropped += len(batch)
                instruments.DROPPED.add(len(batch), "spans")
                self._failing_since = now
            else:
                self._waiting.extendleft(reversed(batch))
                self._keep(MOST_WAITING)
        return False

    def _keep(self, limit: int) -> None:
        """Drop the oldest spans of more than `limit`. The caller has the lock."""
        while len(self._waiting) > limit:
            self._waiting.popleft()
            self.dropped += 1
            instruments.DROPPED.add(1, "spans")

    def _tell(self) -> None:
        dropped, now = self.dropped, time.monotonic()
        if dropped > self._told and (not self._told_at or now - self._told_at >= _TELL_SECONDS):
            self._log.warning("spans_dropped", receiver=self._receiver, spans=dropped - self._told)
            self._told, self._told_at = dropped, now


class Traceparent(TraceContextTextMapPropagator):
    """Reads what `context_of` reads: a caller decides about the trace by one header, and about nothing else."""

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        headers = getter.get(carrier, TRACEPARENT) or ()
        parent = context_of(headers[0]) if len(headers) == 1 else None
        return Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())


class SentTraces:
    """The traces of this process. Call `close` at the end.

    traces: how stages are recorded.
    """

    @without_fork_handlers()
    def __init__(self, settings: Settings, log: DebugLog | None) -> None:
        """log: see `Traces`."""
        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        telemetry = settings.telemetry
        self.sending = [SpanSender(name, exporter) for name, exporter in _exporters(settings)]
        """The receivers, with the number of spans that each has not got."""
        resource = Resource(
            {
                SERVICE_NAME: "responsa",
                SERVICE_VERSION: version("responsa"),
                "service.instance.id": str(uuid4()),
            }
        ).merge(OTELResourceDetector().detect())

        def tracer(sampler: Sampler | None) -> TracerProvider:
            provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
            for sender in self.sending:
                provider.add_span_processor(sender)
            return provider

        ratio = telemetry.sample_ratio
        self._provider = tracer(None if ratio is None else ParentBased(TraceIdRatioBased(ratio)))
        set_global_textmap(Traceparent())
        self.traces = Traces(
            self._provider.get_tracer("responsa"),
            tracer(ALWAYS_ON).get_tracer("responsa"),
            log,
            _SLOW_SECONDS,
            telemetry.texts,
            self._provider,
        )

    async def close(self) -> None:
        """Send the last spans. Takes at most CLOSE_SECONDS."""
        ending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, 0.75 * CLOSE_SECONDS)
        if ending.is_alive():
            for sender in self.sending:
                sender.cut()
            await asyncio.to_thread(ending.join, 0.25 * CLOSE_SECONDS)


def _exporters(settings: Settings) -> Sequence[tuple[str, SpanExporter]]:
    exporters: list[tuple[str, SpanExporter]] = []
    if endpoint := otlp(settings).endpoint("traces"):
        exporters.append(("collector", _collector(endpoint, otlp(settings).protocol("traces"))))
    if settings.telemetry.langfuse.url:
        exporters.append(("langfuse", _langfuse(settings.telemetry.langfuse)))
    return exporters


def _collector(endpoint: str, protocol: str) -> SpanExporter:
    # OTEL_EXPORTER_OTLP_HEADERS and the like are read by the exporters themselves.
    make: Callable[..., SpanExporter]
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc

        make = Grpc
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

        make = Http
    return make(endpoint=endpoint)


def _langfuse(langfuse: LangfuseSettings) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

    keys = f"{langfuse.public_key}:{langfuse.secret_key.get_secret_value()}"
    headers = {"authorization": f"Basic {b64encode(keys.encode()).decode()}"}
    # The exporter would also send the headers of these variables, which may hold the collector's key.
    names = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
    variables = environment()
    saved = {name: variables.pop(name) for name in names if name in variables}
    try:
        return Http(endpoint=f"{langfuse.url.rstrip('/')}/api/public/otel/v1/traces", headers=headers)
    finally:
        variables.update(saved)
