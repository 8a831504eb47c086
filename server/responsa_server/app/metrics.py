"""Metrics: connects the instruments to OpenTelemetry's SDK, serves them to Prometheus, and tells Prometheus where.

Nothing of this runs, and the SDK is not imported, unless the settings ask for metrics.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
import structlog
from opentelemetry.trace import set_span_in_context
from starlette.applications import Starlette

from responsa_server import __version__
from responsa_server.app.forks import without_fork_handlers
from responsa_server.app.gateway import GatewayServer
from responsa_server.app.layout import Layout
from responsa_server.app.measured import Measured
from responsa_server.app.resources import targets_folder
from responsa_server.app.settings import Settings, otlp
from responsa_server.domain.addresses import TcpAddress, is_by_address
from responsa_server.domain.errors import Unavailable
from responsa_server.telemetry import instruments
from responsa_server.telemetry.instruments import TABLE, Instrument, MetricKind, Reading, Readings, Write
from responsa_server.telemetry.stages import Stage, current
from responsa_server.transports.http.health import metrics_route

if TYPE_CHECKING:  # imported late, see `Exposition`
    from opentelemetry.sdk.metrics.export import MetricsData
    from prometheus_client import CollectorRegistry, Metric
    from prometheus_client.samples import Exemplar

SAMPLE_SECONDS: Final = 15.0
"""How often the values are read that need a query."""
_SCRAPE_SECONDS: Final = 5.0
_EXPORT_MILLISECONDS: Final = 15_000
_SUFFIX: Final = ".json"
_TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of Prometheus' text format."""
_EXPOSED: Final = {row.name: f"{row.exposed}_bucket" for row in TABLE if row.kind is MetricKind.HISTOGRAM}


def server_name(settings: Settings) -> str:
    """The name of this process among the servers: the setting, or the host's name and the process's id."""
    return settings.telemetry.server or f"{socket.gethostname()}-{os.getpid()}"


class Exposition:
    """The metrics of this process, connected to its instruments. Only one exposition is open at a time."""

    @without_fork_handlers()
    def __init__(self, settings: Settings, readings: Readings) -> None:
        # Imported late: the SDK costs a tenth of a second, and most servers do not need it.
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from opentelemetry.metrics import Observation
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import MetricReader
        from opentelemetry.sdk.resources import Resource
        from prometheus_client import CollectorRegistry
        from prometheus_client.process_collector import ProcessCollector

        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        exemplars = self._exemplars = _Exemplars(self._registry)

        class ExemplarReader(PrometheusMetricReader):
            """Keeps the exemplars, too, which the exporter does not write."""

            def _receive_metrics(
                self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
            ) -> None:
                exemplars.keep(metrics_data)
                # Its extra arguments have no types.
                super()._receive_metrics(metrics_data, timeout_millis, **kwargs)  # pyright: ignore[reportUnknownMemberType]

        readers: list[MetricReader] = [ExemplarReader(scope_info_enabled=False, registry=self._registry)]
        if endpoint := otlp(settings).endpoint("metrics"):
            readers.append(_sender(endpoint, otlp(settings).protocol("metrics")))
        about = {"service.name": "responsa", "service.version": __version__}
        resource = Resource.create({**about, "service.instance.id": server_name(settings)})
        self._provider = MeterProvider(readers, resource)
        meter = self._provider.get_meter("responsa")

        def observing(instrument: Instrument, read: Callable[[], Iterable[Reading]]) -> Callable[[Any], Any]:
            return lambda _: [Observation(value, instrument.admit(labels)) for value, labels in read()]

        for instrument in TABLE:
            if (read := readings.get(instrument)) is not None:
                observable = (
                    meter.create_observable_counter
                    if instrument.kind is MetricKind.COUNTER
                    else meter.create_observable_gauge
                )
                observable(
                    instrument.name, [observing(instrument, read)], instrument.unit, instrument.meaning
                )
            elif instrument.kind is MetricKind.COUNTER:
                instrument.connect(
                    meter.create_counter(instrument.name, instrument.unit, instrument.meaning).add
                )
            elif instrument.kind is MetricKind.HISTOGRAM:
                histogram = meter.create_histogram(
                    instrument.name,
                    instrument.unit,
                    instrument.meaning,
                    explicit_bucket_boundaries_advisory=instrument.bounds,
                )
                instrument.connect(_in_its_trace(histogram.record))
            for labels in instrument.known:
                instrument.add(0, *labels)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics in the format that the header `accept` prefers, and its media type: OpenMetrics, in which
        histograms have exemplars, or Prometheus' text format. Takes some milliseconds; may be called from any thread."""
        from prometheus_client.exposition import choose_encoder

        encode, media_type = choose_encoder(accept)
        return encode(self._exemplars), media_type

    def close(self) -> None:
        """Disconnect the instruments, and send what is left."""
        for row in TABLE:
            row.connect(None)
        self._provider.shutdown(timeout_millis=2000)


def _in_its_trace(record: Callable[..., None]) -> Write:
    """Records a measurement with the span of the running task, if its trace is sampled. It becomes an exemplar."""

    def write(value: float, labels: Mapping[str, str]) -> None:
        stage = current()
        span = stage.span if isinstance(stage, Stage) and stage.sampled else None
        record(value, labels, None if span is None else set_span_in_context(span))

    return write


class _Exemplars:
    """The metrics of a registry, and in their buckets the newest exemplar of each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._newest: dict[tuple[str, frozenset[tuple[str, str]]], Exemplar] = {}

    def keep(self, data: MetricsData) -> None:
        """Keep the exemplars since the last reading."""
        from opentelemetry.sdk.metrics.export import HistogramDataPoint
        from prometheus_client.samples import Exemplar

        metrics = (
            metric for of in data.resource_metrics for scope in of.scope_metrics for metric in scope.metrics
        )
        points = (
            (_EXPOSED[metric.name], point)
            for metric in metrics
            if metric.name in _EXPOSED
            for point in metric.data.data_points
            if isinstance(point, HistogramDataPoint)
        )
        for name, point in points:
            bounds = [*point.explicit_bounds, "+Inf"]
            for exemplar in point.exemplars:
                if exemplar.trace_id is None or exemplar.span_id is None:
                    continue
                # The bounds are written as the exporter writes them.
                le = f"{bounds[bisect_left(point.explicit_bounds, exemplar.value)]}"
                labels = {key: str(value) for key, value in (point.attributes or {}).items()}
                ids = {"trace_id": f"{exemplar.trace_id:032x}", "span_id": f"{exemplar.span_id:016x}"}
                self._newest[name, frozenset({**labels, "le": le}.items())] = Exemplar(
                    ids, exemplar.value, exemplar.time_unix_nano / 1e9
                )

    def collect(self) -> Iterable[Metric]:
        """Implements `prometheus_client.registry.Collector`."""
        for family in self._registry.collect():
            if family.type == "histogram":
                family.samples = [
                    sample._replace(
                        exemplar=self._newest.get((sample.name, frozenset(sample.labels.items())))
                    )
                    for sample in family.samples
                ]
            yield family


def _sender(endpoint: str, protocol: str) -> Any:
    """Sends the metrics by OTLP every 15 s from a thread of its own. What cannot be sent is counted."""
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http
    from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader

    exporter: Any = Grpc if protocol == "grpc" else Http  # whose extra arguments have no types

    class Counting(exporter):
        def export(self, *args: Any, **kwargs: Any) -> Any:
            outcome: Any = exporter.export(self, *args, **kwargs)
            if outcome is not MetricExportResult.SUCCESS:
                instruments.DROPPED.add(1, "metrics")
            return outcome

    return PeriodicExportingMetricReader(Counting(endpoint=endpoint), _EXPORT_MILLISECONDS)


class Targets:
    """The folder with a file for each server whose metrics Prometheus can read (file-based service discovery)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, address: str) -> None:
        """Add this server, in place of an earlier one with its name."""
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        content = json.dumps([{"targets": [address], "labels": {"server": name}}], indent=1)
        # Prometheus runs under an account of its own.
        draft = self._folder / f".{name}.new"
        draft.write_text(content + "\n", encoding="utf-8")
        draft.chmod(0o644)
        draft.replace(self._file(name))

    def remove(self, name: str) -> None:
        """Remove this server."""
        self._file(name).unlink(missing_ok=True)

    def all(self) -> Mapping[str, str]:
        """The addresses of all servers, by name."""
        addresses = dict[str, str]()
        for file in sorted(self._folder.glob(f"*{_SUFFIX}")):
            with contextlib.suppress(OSError, ValueError, LookupError):
                (entry,) = json.loads(file.read_text(encoding="utf-8"))
                addresses[str(entry["labels"]["server"])] = str(entry["targets"][0])
        return addresses

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"


async def of_all_servers(targets: Targets, accept: str = "") -> tuple[bytes, str]:
    """The metrics of all servers of this instance, each sample with a label `server`, and their media type. A server
    that does not answer is missing, and `responsa_server_up` is 0. accept: is not looked at, because the exposition has
    one format."""
    del accept

    async def scrape(client: httpx2.AsyncClient, address: str) -> str | None:
        with contextlib.suppress(httpx2.HTTPError, OSError):
            answer = await client.get(f"http://{address}/metrics")
            if answer.status_code == 200:
                return answer.text
        return None

    addresses = targets.all()
    async with httpx2.AsyncClient(timeout=_SCRAPE_SECONDS, trust_env=False) as client:
        texts = await asyncio.gather(*(scrape(client, address) for address in addresses.values()))
    return merge(dict(zip(addresses, texts, strict=True))).encode(), _TEXT_TYPE


def merge(texts: Mapping[str, str | None]) -> str:
    """One exposition of several. texts: Prometheus' text format by server; None if the server has not answered."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for server, text in texts.items():
        label, family = f'server="{server}"', ""
        # Not splitlines: a value of a label may have other characters that divide lines.
        for line in (text or "").split("\n"):
            if not line:
                continue
            if line.startswith("#"):
                family = line.split(" ", 3)[2]
                heads = families.setdefault(family, ([], []))[0]
                if not any(head.startswith(line[: len("# HELP ")] + family + " ") for head in heads):
                    heads.append(line)
                continue
            name, brace, rest = line.partition("{")
            if not brace or " " in name:
                name, _, value = line.partition(" ")
                sample = f"{name}{{{label}}} {value}"
            else:
                sample = f"{name}{{{label},{rest}"
            families[family][1].append(sample)
    up = [f'responsa_server_up{{server="{name}"}} {0 if text is None else 1}' for name, text in texts.items()]
    families["responsa_server_up"] = (["# TYPE responsa_server_up gauge"], up)
    return "".join(f"{line}\n" for heads, samples in families.values() for line in (*heads, *samples))


@asynccontextmanager
async def metrics(settings: Settings, layout: Layout, measured: Measured) -> AsyncGenerator[None]:
    """Measure during the block, if the settings ask for it. Raises AddressTaken, OSError."""
    served = settings.telemetry.metrics
    if not (served or otlp(settings).endpoint("metrics")):
        yield
        return
    async with AsyncExitStack() as stack:
        exposition = await asyncio.to_thread(Exposition, settings, measured.readings())
        stack.push_async_callback(asyncio.to_thread, exposition.close)
        sampling = asyncio.create_task(_sample(measured), name="metrics")
        stack.push_async_callback(_end, sampling)
        if served:
            await _serve(settings, layout, exposition, stack)
        yield


async def _serve(settings: Settings, layout: Layout, exposition: Exposition, stack: AsyncExitStack) -> None:
    async def scrape(accept: str) -> tuple[bytes, str]:
        return await asyncio.to_thread(exposition.text, accept)

    host, _, port = settings.telemetry.metrics_listen.rpartition(":")
    # The address may be on loopback, where the page of another site could read it by DNS rebinding.
    app = Starlette(routes=[metrics_route(scrape, is_by_address)])
    server = GatewayServer(app, TcpAddress(host.strip("[]"), int(port)))
    await server.start()
    stack.push_async_callback(server.stop, 1.0)
    targets, name = Targets(targets_folder(settings, layout)), server_name(settings)
    targets.put(name, f"{host}:{server.port}")
    stack.callback(targets.remove, name)


async def _sample(measured: Measured) -> None:
    """Read every 15 s what needs a query, so that a scrape needs none."""
    while True:
        try:
            await measured.sample()
        except Unavailable as error:  # the values stay as they were
            structlog.get_logger("metrics").info("metrics_not_read", reason=error.reason.value)
        await asyncio.sleep(SAMPLE_SECONDS)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
