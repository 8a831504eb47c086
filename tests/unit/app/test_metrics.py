"""Metrics on their way to a collector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from responsa_server.app.metrics import Exposition, merge
from responsa_server.app.settings import load
from responsa_server.telemetry import instruments
from responsa_server.telemetry.stages import Traces
from tests.wire.otlp import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_collector_gets_the_metrics(
    receiver: Receiver, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", protocol)
    exposition = Exposition(
        load(telemetry={"endpoint": receiver.grpc if protocol == "grpc" else receiver.http}), {}
    )
    instruments.CALLS.add(1, "ChatService/Ask", "OK")
    exposition.close()
    assert instruments.CALLS.name in receiver.metrics


def test_an_export_that_is_not_taken_is_counted(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    receiver.answer = 400
    counted = list[tuple[float, object]]()
    exposition = Exposition(load(telemetry={"endpoint": receiver.http}), {})
    instruments.DROPPED.connect(lambda value, labels: counted.append((value, dict(labels))))
    instruments.CALLS.add(1, "ChatService/Ask", "OK")
    exposition._provider.force_flush()
    exposition.close()
    assert counted == [(1, {"signal": "metrics"})]


def test_the_metrics_of_several_servers_keep_whatever_a_label_says() -> None:
    hostile = 'model="a\u2028b\x85{ c\\"} d"'
    text = f"# HELP a_total A.\n# TYPE a_total counter\na_total{{{hostile}}} 1.0\n"
    assert merge({"up-1": text}).split("\n")[2] == f'a_total{{server="up-1",{hostile}}} 1.0'


OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture
def exposition() -> Iterator[Exposition]:
    found = Exposition(load(telemetry={"metrics": True}), {})
    yield found
    found.close()


def test_a_measurement_in_a_sampled_trace_is_an_exemplar_for_readers_of_openmetrics(
    exposition: Exposition, memory: InMemorySpanExporter
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    with Traces(provider.get_tracer("test")).call("call", (), {}):
        instruments.CALL_SECONDS.add(0.3, "ChatService/Ask")
    instruments.CALL_SECONDS.add(7, "ChatService/Ask")  # of no trace
    for _ in range(2):  # a reading leaves it for the next reader
        text, media_type = exposition.text(OPENMETRICS)
    assert media_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    exemplars = {
        sample.labels["le"]: (sample.exemplar.value, dict(sample.exemplar.labels))
        for sample in families[instruments.CALL_SECONDS.exposed].samples
        if sample.exemplar is not None
    }
    (span,) = memory.get_finished_spans()
    ids = {"trace_id": f"{span.context.trace_id:032x}", "span_id": f"{span.context.span_id:016x}"}
    assert exemplars == {"0.5": (0.3, ids)}

    plain, media_type = exposition.text()
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    assert ids["trace_id"] not in plain.decode()


def test_a_counter_that_an_alert_reads_is_there_before_anything_has_failed(exposition: Exposition) -> None:
    text = exposition.text()[0].decode()
    assert 'responsa_mails_total{outcome="failed"} 0.0' in text
    assert 'responsa_deliveries_total{outcome="failed"} 0.0' in text
