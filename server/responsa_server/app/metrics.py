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
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import structlog
from starlette.applications import Starlette

from responsa_server import __version__
from responsa_server.app.forks import without_fork_handlers
from responsa_server.app.gateway import GatewayServer
from responsa_server.app.measured import Measured
from responsa_server.app.resources import targets_folder
from responsa_server.app.settings import Settings, otlp
from responsa_server.domain.addresses import TcpAddress, is_by_address
from responsa_server.domain.errors import Unavailable
from responsa_server.embedded import Layout
from responsa_server.telemetry import instruments
from responsa_server.telemetry.instruments import TABLE, Instrument, Kind, Reading, Readings
from responsa_server.transports.http.health import metrics_route

SAMPLE_SECONDS: Final = 15.0
"""How often the values are read that need a query."""
_LAG_SECONDS: Final = 0.25
_SCRAPE_SECONDS: Final = 5.0
_EXPORT_MILLISECONDS: Final = 15_000
_SUFFIX: Final = ".json"


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
        readers: list[MetricReader] = [
            PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        ]
        if endpoint := otlp(settings).endpoint("metrics"):
            readers.append(_sender(endpoint, otlp(settings).protocol("metrics")))
        about = {"service.name": "responsa", "service.version": __version__}
        resource = Resource.create({**about, "service.instance.id": server_name(settings)})
        self._provider = MeterProvider(readers, resource)
        meter = self._provider.get_meter("responsa")

        def observing(one: Instrument, read: Callable[[], Iterable[Reading]]) -> Callable[[Any], Any]:
            return lambda _: [Observation(value, one.bounded(labels)) for value, labels in read()]

        for one in TABLE:
            if (read := readings.get(one)) is not None:
                observable = (
                    meter.create_observable_counter
                    if one.kind is Kind.COUNTER
                    else meter.create_observable_gauge
                )
                observable(one.name, [observing(one, read)], one.unit, one.meaning)
            elif one.kind is Kind.COUNTER:
                one.connect(meter.create_counter(one.name, one.unit, one.meaning).add)
            elif one.kind is Kind.HISTOGRAM:
                histogram = meter.create_histogram(
                    one.name, one.unit, one.meaning, explicit_bucket_boundaries_advisory=one.bounds
                )
                one.connect(histogram.record)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format. Takes some milliseconds; may be called from any thread."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)

    def close(self) -> None:
        """Disconnect the instruments, and send what is left."""
        for one in TABLE:
            one.connect(None)
        self._provider.shutdown(timeout_millis=2000)


def _sender(endpoint: str, protocol: str) -> Any:
    """Sends the metrics by OTLP every 15 s from a thread of its own. What cannot be sent is counted."""
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Grpc
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as Http
    from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader

    make = Grpc if protocol == "grpc" else Http
    exporter = make(endpoint=endpoint)
    export: Callable[..., Any] = exporter.export  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # its extra arguments

    def counted(*args: Any, **kwargs: Any) -> Any:
        outcome = export(*args, **kwargs)
        if outcome is not MetricExportResult.SUCCESS:
            instruments.DROPPED.add(1, "metrics")
        return outcome

    exporter.export = counted
    return PeriodicExportingMetricReader(exporter, _EXPORT_MILLISECONDS)


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
        found = dict[str, str]()
        for file in sorted(self._folder.glob(f"*{_SUFFIX}")):
            with contextlib.suppress(OSError, ValueError, LookupError):
                (one,) = json.loads(file.read_text(encoding="utf-8"))
                found[str(one["labels"]["server"])] = str(one["targets"][0])
        return found

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"


async def of_all_servers(targets: Targets) -> bytes:
    """The metrics of all servers of this instance, each sample with a label `server`. A server that does not answer is missing, and `responsa_server_up` is 0."""

    async def scraped(client: httpx2.AsyncClient, address: str) -> str | None:
        with contextlib.suppress(httpx2.HTTPError, OSError):
            answer = await client.get(f"http://{address}/metrics")
            if answer.status_code == 200:
                return answer.text
        return None

    found = targets.all()
    async with httpx2.AsyncClient(timeout=_SCRAPE_SECONDS, trust_env=False) as client:
        texts = await asyncio.gather(*(scraped(client, address) for address in found.values()))
    return merged(dict(zip(found, texts, strict=True))).encode()


def merged(texts: Mapping[str, str | None]) -> str:
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
    up = [f'responsa_server_up{{server="{one}"}} {0 if text is None else 1}' for one, text in texts.items()]
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
        stack.push_async_callback(_ended, sampling)
        if served:
            await _serve(settings, layout, exposition, stack)
        yield


async def _serve(settings: Settings, layout: Layout, exposition: Exposition, stack: AsyncExitStack) -> None:
    async def scrape() -> bytes:
        return await asyncio.to_thread(exposition.text)

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
    """Read every 15 s what needs a query, so that a scrape needs none, and measure the event loop's lag four times a second."""
    due = 0.0
    while True:
        if time.monotonic() >= due:
            due = time.monotonic() + SAMPLE_SECONDS
            try:
                await measured.sample()
            except Unavailable as error:  # the values stay as they were
                structlog.get_logger("metrics").info("metrics_not_read", reason=error.reason.value)
        begun = time.monotonic()
        await asyncio.sleep(_LAG_SECONDS)
        instruments.LOOP_LAG.add(max(0.0, time.monotonic() - begun - _LAG_SECONDS))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
