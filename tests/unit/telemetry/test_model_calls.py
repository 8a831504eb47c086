"""The spans of a call to a language model over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.providers.chain import ChainModel, ModelChain, ModelCircuits
from responsa_server.telemetry.stages import Traces
from tests.unit.providers.openai_serving import STOP, served, text
from tests.unit.providers.test_chain import Dear
from tests.unit.providers.told import gathered

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
USAGE = '{"model":"m-2026","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}'
MESSAGES = {
    "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Why?"}]}],
    "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "Because."}]}],
}


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize("answers", [True, False])
async def test_a_call_is_one_span_with_its_request_and_its_texts_only_if_allowed(
    memory: InMemorySpanExporter, texts: bool, answers: bool
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    traces = Traces(provider.get_tracer("test"), texts=texts)
    headers: list[Mapping[str, str]] = []

    async def handle(exchange: LoopbackExchange) -> None:
        headers.append(exchange.request.headers)
        if not answers:
            await exchange.reply(503, b"{}", {})
            return
        await exchange.begin("text/event-stream")
        for one in (text("Beca"), text("use."), STOP, USAGE, "[DONE]"):
            await exchange.piece(f"data: {one}\n\n".encode())
        await exchange.end()

    async with served(handle) as model:
        member = ChainModel("lab:m", "lab", model)
        with traces.call("call", [SAMPLED], {}):
            _, error = await gathered(ModelChain([member], Dear(), ModelCircuits(), patience_seconds=300))
    assert (error is None) == answers
    by_name = {span.name: span for span in memory.get_finished_spans()}
    chat, post = by_name["chat m"], by_name["POST"]
    assert chat.parent is not None
    assert post.parent is not None
    assert (chat.parent.span_id, post.parent.span_id) == (
        by_name["call"].context.span_id,
        chat.context.span_id,
    )
    assert chat.kind is SpanKind.CLIENT
    assert headers[0]["traceparent"] == f"{SAMPLED[:36]}{post.context.span_id:016x}-01"
    attributes = dict(chat.attributes or {})
    shown = {name: json.loads(str(attributes.pop(name))) for name in MESSAGES if name in attributes}
    said = {**MESSAGES, **({} if answers else {"gen_ai.output.messages": [_nothing()]})}
    assert shown == (said if texts else {})
    assert attributes["gen_ai.provider.name"] == "lab"
    assert attributes["gen_ai.request.model"] == "m"
    if answers:
        assert attributes["gen_ai.usage.input_tokens"] == 7
        assert attributes["gen_ai.usage.output_tokens"] == 3
        assert attributes["responsa.cost_usd_micros"] == 10
        assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
        assert attributes["gen_ai.response.model"] == "m-2026"
        assert attributes["gen_ai.response.time_to_first_chunk"] >= 0
    else:
        assert attributes["error.type"] == "overloaded"
        assert (post.attributes or {})["http.response.status_code"] == 503


def _nothing() -> object:
    return {"role": "assistant", "parts": [{"type": "text", "content": ""}]}
