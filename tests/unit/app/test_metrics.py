"""Metrics on their way to a collector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from responsa_server.app.metrics import Exposition, merged
from responsa_server.app.settings import load
from responsa_server.telemetry import instruments
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
    assert merged({"up-1": text}).split("\n")[2] == f'a_total{{server="up-1",{hostile}}} 1.0'
