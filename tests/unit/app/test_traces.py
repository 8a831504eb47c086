"""Spans on their way to their receivers: what is sent where, and what happens if a receiver does not take them."""

from __future__ import annotations

import asyncio
import base64

import pytest

from responsa_server.app import traces
from responsa_server.app.settings import load, otlp
from responsa_server.app.traces import SentTraces
from tests.instance import eventually
from tests.wire.otlp import Receiver, receiving


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    with receiving() as found:
        yield found


async def record(sent: SentTraces, count: int) -> None:
    for _ in range(count):
        with sent.traces.call("call", (), {}):
            pass


async def test_variables_of_opentelemetry_are_followed(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not otlp(load()).makes_traces
    for name, value in {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http,
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret",
        "OTEL_SERVICE_NAME": "asked",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "1.0",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert otlp(settings).traced_share == 1.0
    sent = SentTraces(settings, None)
    await record(sent, 3)
    await sent.close()
    assert [span.service for span in receiver.spans] == ["asked"] * 3
    assert receiver.headers["api-key"] == "secret"
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert otlp(settings).endpoint("traces") == ""


async def test_langfuse_gets_its_own_key_and_not_the_collectors(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
    keys = {"url": f"{receiver.http}/", "public_key": "pk", "secret_key": "sk"}
    sent = SentTraces(load(telemetry={"langfuse": keys}), None)
    await record(sent, 1)
    await sent.close()
    assert receiver.headers["authorization"] == f"Basic {base64.b64encode(b'pk:sk').decode()}"
    assert "api-key" not in receiver.headers
    assert len(receiver.spans) == 1


async def test_spans_wait_for_a_receiver_and_the_oldest_are_dropped(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MOST_WAITING", 600)
    monkeypatch.setattr(traces, "RETRY_SECONDS", 0.01)
    receiver.answer = 400
    sent = SentTraces(load(telemetry={"endpoint": receiver.http}), None)
    await record(sent, 2000)
    await asyncio.to_thread(eventually, lambda: sent.sending[0].dropped == 1400, "the oldest are dropped")
    assert not receiver.spans
    receiver.answer = 200
    # Nothing more need happen: they are sent again.
    await asyncio.to_thread(eventually, lambda: len(receiver.spans) == 600, "the others arrive")
    await record(sent, 1)
    await sent.close()
    assert (len(receiver.spans), sent.sending[0].dropped) == (601, 1400)


async def test_a_batch_that_is_refused_for_long_is_given_up(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "REFUSED_SECONDS", 0.0)
    receiver.answer = 400
    sent = SentTraces(load(telemetry={"endpoint": receiver.http}), None)
    await record(sent, 3)
    await asyncio.to_thread(eventually, lambda: sent.sending[0].dropped == 3, "they are given up")
    await sent.close()


async def test_a_receiver_that_is_away_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL", raising=False)
    sent = SentTraces(load(telemetry={"endpoint": "http://127.0.0.1:9"}), None)
    await record(sent, 10)
    async with asyncio.timeout(traces.CLOSE_SECONDS + 10):
        await sent.close()
    await asyncio.to_thread(eventually, lambda: sent.sending[0].dropped == 10, "all are dropped")
