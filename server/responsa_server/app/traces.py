"""Sets OpenTelemetry's SDK up for traces. It is imported, and the SDK with it, only if traces are made."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final
from uuid import uuid4

import structlog
from opentelemetry.context import Context
from opentelemetry.propagate import set_global_textmap
from opentelemetry.propagators.textmap import CarrierT, Getter, default_getter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
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
"""The maximum number of spans that wait to be sent to one receiver. Further spans are dropped."""
SEND_SECONDS: Final = 0.5
"""How long a span waits for others, to be sent with them, unless OTEL_BSP_SCHEDULE_DELAY says otherwise. A process that
is killed loses the spans that wait."""
CLOSE_SECONDS: Final = 2.0
"""How long the end of a process waits for its last spans."""
_TELL_SECONDS: Final = 60.0
_SLOW_SECONDS: Final = 10.0
"""A turn that takes this long is sent even if its trace was not sampled."""
# What these loggers say once for each failure, `Sending` counts and logs once a minute.
_LOUD: Final = (
    "opentelemetry.exporter.otlp",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
)


class Sending(SpanExporter):
    """Sends spans to one receiver, and counts those that were dropped, because too many waited or the receiver did not take them.

    receiver: its name in the log.
    """

    def __init__(self, receiver: str, exporter: SpanExporter) -> None:
        self._receiver = receiver
        self._exporter = exporter
        self._log = structlog.get_logger("server")
        # Each of these is written by one thread: the first two by the event loop's, the others by the sender's.
        self.queued = 0
        self._refused = 0
        self._taken = 0
        self._lost = 0
        self._told = 0
        self._told_at = 0.0

    @property
    def dropped(self) -> int:
        """The number of spans that were dropped since the process started."""
        return self._refused + self._lost

    def queue(self) -> bool:
        """Whether there is room for one more span. It then counts as waiting."""
        if self.queued - self._taken >= MOST_WAITING:
            self._refused += 1
            instruments.DROPPED.add(1, "spans")
            return False
        self.queued += 1
        return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # whatever an exporter raises, its spans are lost and the next ones are sent
            result = SpanExportResult.FAILURE
        self._taken += len(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            instruments.DROPPED.add(len(spans), "spans")
        self._tell()
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def _tell(self) -> None:
        dropped, now = self.dropped, time.monotonic()
        if dropped > self._told and (not self._told_at or now - self._told_at >= _TELL_SECONDS):
            self._log.warning("spans_dropped", receiver=self._receiver, spans=dropped - self._told)
            self._told, self._told_at = dropped, now


class _Bounded(BatchSpanProcessor):
    """Passes spans on while there is room for them."""

    def __init__(self, sending: Sending) -> None:
        own = "OTEL_BSP_SCHEDULE_DELAY" not in environment()
        super().__init__(
            sending,
            max_queue_size=MOST_WAITING,
            schedule_delay_millis=SEND_SECONDS * 1000 if own else None,
        )
        self._sending = sending

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled and self._sending.queue():
            super().on_end(span)


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
        self.sending = [Sending(name, exporter) for name, exporter in _exporters(settings)]
        """The receivers, with the number of spans that each has not got."""
        processors = [_Bounded(one) for one in self.sending]
        resource = Resource(
            {
                SERVICE_NAME: "responsa",
                SERVICE_VERSION: version("responsa"),
                "service.instance.id": str(uuid4()),
            }
        ).merge(OTELResourceDetector().detect())

        def tracer(sampler: Sampler | None) -> TracerProvider:
            provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
            for one in processors:
                provider.add_span_processor(one)
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
            frozenset(telemetry.propagate_to),
            self._provider,
        )

    async def close(self) -> None:
        """Send the last spans. Takes at most CLOSE_SECONDS."""
        ending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, 0.75 * CLOSE_SECONDS)
        if ending.is_alive():
            for one in self.sending:
                one.shutdown()
            await asyncio.to_thread(ending.join, 0.25 * CLOSE_SECONDS)


def _exporters(settings: Settings) -> Sequence[tuple[str, SpanExporter]]:
    found: list[tuple[str, SpanExporter]] = []
    if endpoint := otlp(settings).endpoint("traces"):
        found.append(("collector", _collector(endpoint, otlp(settings).protocol("traces"))))
    if settings.telemetry.langfuse.url:
        found.append(("langfuse", _langfuse(settings.telemetry.langfuse)))
    return found


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
    kept = {name: variables.pop(name) for name in names if name in variables}
    try:
        return Http(endpoint=f"{langfuse.url.rstrip('/')}/api/public/otel/v1/traces", headers=headers)
    finally:
        variables.update(kept)
