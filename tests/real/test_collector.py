"""A real collector of OpenTelemetry receives the trace, the metrics and the log of one answer, and they have one trace id."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import yaml

from responsa_client import Responsa
from tests.docs.reader import blocks
from tests.instance import ROOT, START_PATIENCE, Instance, eventually, free_port, instance_in, short_folder
from tests.real import programs
from tests.tied import tied

pytestmark = pytest.mark.soak
PAGE: Final = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
DOCUMENT: Final = "# Lighthouse\n\nThe lighthouse of Marrow has 214 steps and was built in 1871.\n"
QUESTION: Final = "How many steps has the lighthouse of Marrow?"


@dataclass
class Collector:
    """What the collector wrote: one file for each signal, with one request of OTLP in JSON on each line."""

    folder: Path
    grpc: str
    http: str

    def requests(self, signal: str) -> Iterator[Mapping[str, Any]]:
        file = self.folder / f"{signal}.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file.exists() else []
        # The last line may be incomplete.
        yield from (json.loads(line) for line in lines if line.endswith("\n"))

    def spans(self, trace: str) -> Mapping[str, str]:
        """The names of the spans of a trace, with the service of each."""
        return {
            span["name"]: attribute(resource["resource"], "service.name")
            for request in self.requests("traces")
            for resource in request["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
            if span["traceId"] == trace
        }

    def records(self, trace: str) -> set[str]:
        """The events of the lines of the log with this trace."""
        return {
            attribute(record, "event")
            for request in self.requests("logs")
            for resource in request["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
            if record.get("traceId") == trace
        }

    def metrics(self) -> set[str]:
        return {
            metric["name"]
            for request in self.requests("metrics")
            for resource in request["resourceMetrics"]
            for scope in resource["scopeMetrics"]
            for metric in scope["metrics"]
        }


def attribute(owner: Mapping[str, Any], key: str) -> str:
    return next((pair["value"]["stringValue"] for pair in owner["attributes"] if pair["key"] == key), "")


def configuration(folder: Path, log: Path, grpc: int, http: int) -> Mapping[str, Any]:
    """The collector's file. Its receiver of the log is that of docs/monitoring.md."""
    (block,) = [block for block in blocks(PAGE) if block.kind == "yaml"]
    receivers = yaml.safe_load(block.text)["receivers"]
    receivers["filelog"] |= {"include": [str(log)], "start_at": "beginning"}
    receivers["otlp"] = {
        "protocols": {"grpc": {"endpoint": f"127.0.0.1:{grpc}"}, "http": {"endpoint": f"127.0.0.1:{http}"}}
    }
    kinds = {"traces": "otlp", "metrics": "otlp", "logs": "filelog"}
    return {
        "receivers": receivers,
        "exporters": {
            f"file/{signal}": {"path": str(folder / f"{signal}.jsonl"), "flush_interval": "100ms"}
            for signal in kinds
        },
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                signal: {"receivers": [receiver], "exporters": [f"file/{signal}"]}
                for signal, receiver in kinds.items()
            },
        },
    }


@contextmanager
def collecting(folder: Path, log: Path) -> Iterator[Collector]:
    """A collector on loopback, which also reads this log."""
    program, (grpc, http) = programs.collector(), (free_port(), free_port())
    file, said = folder / "collector.yaml", folder / "collector.log"
    file.write_text(yaml.safe_dump(configuration(folder, log, grpc, http)))
    with said.open("wb") as out:
        process = subprocess.Popen(tied(str(program), f"--config=file:{file}"), stdout=out, stderr=out)

    def ready() -> bool:
        assert process.poll() is None, said.read_text()
        return "Everything is ready" in said.read_text()

    try:
        eventually(ready, said.read_text)
        yield Collector(folder, f"http://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}")
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_one_answer_arrives_with_its_trace_its_metrics_and_its_log(protocol: str) -> None:
    with short_folder() as folder, collecting(folder, folder / "home/logs/server.log") as collector:
        settings = {
            "RESPONSA_DOCS": "none",
            "RESPONSA_TELEMETRY__ENDPOINT": collector.grpc if protocol == "grpc" else collector.http,
            "RESPONSA_TELEMETRY__SAMPLE_RATIO": "0",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        }
        with instance_in(folder, **settings) as instance:
            check(instance, collector)


def check(instance: Instance, collector: Collector) -> None:
    trace = secrets.token_hex(16)
    headers = {
        "authorization": f"Bearer {instance.key}",
        "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
    }
    with Responsa(instance.url, instance.key) as client:
        client.wait(client.create_document(DOCUMENT, source_key="lighthouse"))
    answered = httpx2.post(
        f"{instance.url}/v1/turns:answer", json={"text": QUESTION}, headers=headers, timeout=START_PATIENCE
    )
    assert answered.json()["state"] == "TURN_STATE_ANSWERED"

    spans = {
        "ingress": "responsa-envoy",
        "responsa.chat.v1.ChatService/Answer": "responsa",
        "invoke_agent default": "responsa",
        "node retrieve": "responsa",
        "finish": "responsa",
    }
    eventually(lambda: spans.items() <= collector.spans(trace).items(), lambda: str(collector.spans(trace)))
    eventually(
        lambda: {"call", "turn_ended"} <= collector.records(trace), lambda: str(collector.records(trace))
    )
    metrics = {"responsa.turns", "responsa.turn.duration"}
    eventually(lambda: metrics <= collector.metrics(), lambda: str(sorted(collector.metrics())))
