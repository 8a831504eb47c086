"""What becomes of the stages of a call or a turn: spans, lines of the log, both or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased

from responsa_server.telemetry.requests import request
from responsa_server.telemetry.stages import IDLE, MOST_KEPT, OFF, Stage, Traces, context_of, current, stage

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


class Lines(list[tuple[str, dict[str, object]]]):
    def debug(self, event: str, **fields: object) -> None:
        self.append((event, fields))


def traces(memory: InMemorySpanExporter, *, slow_seconds: float = 3600, log: Lines | None = None) -> Traces:
    def tracer(sampler: ParentBased | None) -> TracerProvider:
        provider = TracerProvider(sampler or ALWAYS_ON, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(memory))
        return provider

    sampled = tracer(ParentBased(TraceIdRatioBased(0))).get_tracer("test")
    return Traces(sampled, tracer(None).get_tracer("test"), log, slow_seconds)


def run(turn: Stage, *, failed: bool = False) -> None:
    with turn:
        with stage("node write", passages=3) as node:
            with stage("chat m", **{"gen_ai.request.model": "m"}) as chat:
                chat.text("gen_ai.input.messages", lambda: "the question")
            node.add(diverted="passages")
        turn.add_part("append", turn.begun, turn.begun + 5, rows=2)
        if failed:
            turn.fail("WORKER_LOST")
    turn.settle()


def tree(memory: InMemorySpanExporter) -> Sequence[tuple[str, str]]:
    """Each span with the name of its parent."""
    spans: Sequence[ReadableSpan] = memory.get_finished_spans()
    by_id = {span.context.span_id: span.name for span in spans}
    return sorted((one.name, by_id.get(one.parent.span_id, "") if one.parent else "-") for one in spans)


WHOLE = [("append", "turn"), ("chat m", "node write"), ("node write", "turn"), ("turn", "")]


def test_a_sampled_turn_becomes_spans_as_it_runs(memory: InMemorySpanExporter) -> None:
    turn = traces(memory).turn("turn", SAMPLED, {}, again=True)
    run(turn)
    assert tree(memory) == WHOLE
    spans = {span.name: span for span in memory.get_finished_spans()}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    assert f"{spans['turn'].links[0].context.span_id:016x}" == "b7ad6b7169203331"
    assert spans["node write"].attributes == {"responsa.passages": 3, "responsa.diverted": "passages"}
    # The settings allow no texts.
    assert spans["chat m"].attributes == {"gen_ai.request.model": "m"}


@pytest.mark.parametrize(
    ("slow_seconds", "failed", "written"), [(3600, False, []), (0, False, WHOLE), (3600, True, WHOLE)]
)
def test_an_unsampled_turn_becomes_spans_if_it_was_slow_or_failed(
    memory: InMemorySpanExporter, slow_seconds: float, failed: bool, written: Sequence[tuple[str, str]]
) -> None:
    turn = traces(memory, slow_seconds=slow_seconds).turn("turn", UNSAMPLED, {}, again=False)
    assert turn.traceparent == ""  # not begun
    run(turn, failed=failed)
    assert tree(memory) == written
    for span in memory.get_finished_spans():
        assert f"{span.context.trace_id:032x}" == TRACE
        assert span.attributes is not None
        if span.name == "turn":
            assert span.attributes.get("error.type") == ("WORKER_LOST" if failed else None)


def test_an_unsampled_turn_keeps_a_bounded_number_of_stages(memory: InMemorySpanExporter) -> None:
    turn = traces(memory, slow_seconds=0).turn("turn", UNSAMPLED, {}, again=False)
    with turn:
        for _ in range(2 * MOST_KEPT):
            with stage("node"):
                pass
    turn.settle()
    assert len(memory.get_finished_spans()) == 1 + MOST_KEPT


def test_at_debug_level_each_stage_is_a_line_with_times_and_counts(memory: InMemorySpanExporter) -> None:
    lines = Lines()
    run(Traces(log=lines).turn("turn", "", {"turn": "turns/1"}, again=False))
    assert [fields["stage"] for _, fields in lines] == ["chat m", "node write", "append"]
    event, fields = lines[1]
    assert event == "stage"
    assert isinstance(fields.pop("ms"), float)
    assert fields == {"stage": "node write", "turn": "turns/1", "passages": 3, "diverted": "passages"}
    assert not memory.get_finished_spans()


def test_nothing_is_recorded_outside_of_calls_and_after_their_end(memory: InMemorySpanExporter) -> None:
    assert stage("node") is IDLE
    assert not OFF.on
    with traces(memory).call("call", [SAMPLED], {}) as call:
        assert current() is call
    with call.current():  # as in a task that was started in the call and outlives it
        assert stage("node") is IDLE
    assert [span.name for span in memory.get_finished_spans()] == ["call"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [SAMPLED, SAMPLED],
        [SAMPLED.upper()],
        [SAMPLED + "-more"],
        ["00-" + "0" * 32 + "-b7ad6b7169203331-01"],
        ["9" * 10_000],
    ],
)
def test_a_header_that_names_no_span_is_ignored(memory: InMemorySpanExporter, headers: Sequence[str]) -> None:
    with traces(memory).call("call", headers, {}) as call:
        assert TRACE not in call.traceparent
        assert context_of(call.traceparent) is not None
    assert not memory.get_finished_spans()


async def test_a_generator_that_is_closed_in_another_task_leaves_no_stage_behind(
    memory: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    async def pieces() -> object:
        with stage("stream"):
            yield 1

    with traces(memory).call("call", [SAMPLED], {}):
        stream = pieces()
        await anext(stream)
    await asyncio.create_task(stream.aclose())
    assert not caplog.records
    assert tree(memory) == [("call", ""), ("stream", "call")]


def test_a_request_names_its_host_and_has_the_trace(memory: InMemorySpanExporter) -> None:
    with traces(memory).call("call", [SAMPLED], {}), request("POST", "10.0.0.1", 443) as sent:
        assert TRACE in sent.traceparent
    assert memory.get_finished_spans()[0].attributes == {
        "http.request.method": "POST",
        "server.address": "10.0.0.1",
        "server.port": 443,
    }
