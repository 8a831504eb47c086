"""One question is one trace, from the caller through Envoy to the end of the turn."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import httpx2
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan
from opentelemetry.trace import NonRecordingSpan, use_span

from responsa_client import Responsa
from responsa_server.telemetry.stages import context_of
from tests.callers import Tenant
from tests.instance import Instance, eventually
from tests.wire.otlp import Receiver, Span

QUESTION = "How many steps has the lighthouse of Marrow?"
DOCUMENT = "# Lighthouse\n\nThe lighthouse of Marrow has 214 steps and was built in 1871.\n"
CHAT = "responsa.chat.v1.ChatService"
TREE = {
    "accept": f"{CHAT}/{{}}",
    "invoke_agent default": "accept",
    "node retrieve": "invoke_agent default",
    "retrieval": "node retrieve",
    "words": "retrieval",
    "candidates": "retrieval",
    "ResidentStore.stamps": "retrieval",
    "append": "invoke_agent default",
    "finish": "invoke_agent default",
    "TurnLog.finish": "finish",
    f"{CHAT}/{{}}": "ingress",
    "PostgresTurnStore.accept": "accept",
}
"""Some of the spans of a question that is answered from a document, with their parents. The braces stand for the method."""


@pytest.fixture
def tenant_with_a_document(instance: Instance, tenant: Tenant) -> Iterator[Responsa]:
    with Responsa(instance.url, tenant.key()) as client:
        client.create_collection("marrow")
        client.wait(client.create_document(DOCUMENT, source_key="lighthouse", collection="marrow"))
        yield client


def whole(spans: Receiver, trace: str, method: str) -> Sequence[Span]:
    """The spans of a trace, once all expected ones have arrived."""
    wanted = {(name.format(method), above.format(method)) for name, above in TREE.items()}

    def edges() -> set[tuple[str, str]]:
        found = spans.trace(trace)
        names = {span.id: span.name for span in found}
        return {(span.name, names.get(span.parent, "")) for span in found}

    eventually(lambda: wanted <= edges(), lambda: f"{wanted - edges()} of {edges()}")
    return spans.trace(trace)


def test_a_question_over_rest_is_one_trace_without_its_text(
    instance: Instance, tenant: Tenant, tenant_with_a_document: Responsa, spans: Receiver
) -> None:
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    headers = {"authorization": f"Bearer {tenant.key()}", "traceparent": f"00-{trace}-{span}-01"}
    answered = httpx2.post(
        f"{instance.url}/v1/turns:answer", json={"text": QUESTION}, headers=headers, trust_env=False
    )
    assert answered.json()["state"] == "TURN_STATE_ANSWERED"
    found = whole(spans, trace, "Answer")
    ids = {one.id for one in found}
    (root,) = (one for one in found if one.parent not in ids)
    assert (root.name, root.parent, root.service) == ("ingress", span, "responsa-envoy")
    (turn,) = (one for one in found if one.name == "invoke_agent default")
    assert {
        "responsa.turn": answered.json()["name"],
        "responsa.outcome": "answered",
        "gen_ai.agent.name": "default",
    }.items() <= turn.attributes.items()
    (embeddings,) = (one for one in found if one.name == "embeddings all-MiniLM-L6-v2")
    assert (embeddings.attributes["gen_ai.provider.name"], embeddings.kind) == (
        "embedded",
        SentSpan.SPAN_KIND_INTERNAL,
    )
    sent = b"".join(spans.raw)
    for text in (QUESTION, "lighthouse", "214 steps"):
        assert text.encode() not in sent

    failed = httpx2.get(
        f"{instance.url}/v1/turns/00000000-0000-7000-8000-000000000000", headers=headers, trust_env=False
    )
    (info,) = (one for one in failed.json()["details"] if one["@type"].endswith("ErrorInfo"))
    assert info["metadata"]["trace_id"] == trace
    lines = [json.loads(line) for line in instance.log("server").splitlines() if trace in line]
    assert {(line["event"], line["trace_id"]) for line in lines} >= {("call", trace), ("turn_ended", trace)}


def test_a_question_by_a_program_with_spans_is_one_trace(
    tenant_with_a_document: Responsa, spans: Receiver
) -> None:
    caller = context_of(f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01")
    assert caller is not None
    with use_span(NonRecordingSpan(caller)):
        list(tenant_with_a_document.ask(QUESTION))
    found = whole(spans, f"{caller.trace_id:032x}", "Ask")
    assert f"{caller.span_id:016x}" in {span.parent for span in found if span.name == "ingress"}


FOREIGN = """
import asyncio, sys
import grpc
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import aio_client_interceptors
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from responsa.chat.v1.chat_service_pb2 import AskRequest
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub
from responsa_client import AsyncResponsa, Responsa

url, key, collector, question = sys.argv[1:]
provider = TracerProvider(resource=Resource({"service.name": "foreign"}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=collector)))
trace.set_tracer_provider(provider)


async def ask():
    target = url.removeprefix("http://")
    async with grpc.aio.insecure_channel(target, interceptors=aio_client_interceptors()) as channel:
        metadata = (("authorization", f"Bearer {key}"),)
        assert [frame async for frame in ChatServiceStub(channel).Ask(AskRequest(text=question), metadata=metadata)]
    async with AsyncResponsa(url, key) as client:
        await client.answer(question)


with trace.get_tracer("foreign").start_as_current_span("program") as span, Responsa(url, key) as client:
    asyncio.run(ask())
    client.answer(question)
    for _ in client.ask(question):
        pass
    print(f"{span.get_span_context().trace_id:032x}")
"""


def test_questions_of_a_foreign_program_are_one_trace_from_its_client_to_the_log(
    instance: Instance, tenant: Tenant, tenant_with_a_document: Responsa, spans: Receiver
) -> None:
    # The first question goes over plain stubs with OpenTelemetry's interceptors, the others over the client, which has
    # the extra `otel`.
    del tenant_with_a_document
    command = [sys.executable, "-c", FOREIGN, instance.url, tenant.key(), spans.grpc, QUESTION]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    trace = done.stdout.strip()
    ways = Counter(
        [
            *(
                f"program > /{CHAT}/{method} > ingress > {CHAT}/{method}"
                for method in ("Ask", "Answer", "Answer")
            ),
            f"program > ingress > {CHAT}/Ask",
        ]
    )

    def paths(trace: str) -> Sequence[str]:
        names = {span.id: span for span in spans.trace(trace)}
        joined: list[str] = []
        for span in names.values():
            path = [span]
            while path[-1].parent in names:
                path.append(names[path[-1].parent])
            joined.append(" > ".join(one.name for one in reversed(path)))
        return joined

    eventually(lambda: ways <= Counter(paths(trace)), lambda: "\n".join(paths(trace)))
    served = {
        span.attributes["responsa.call_id"]
        for span in spans.trace(trace)
        if span.name in (f"{CHAT}/Ask", f"{CHAT}/Answer")
    }
    assert len(served) == 4
    lines = [json.loads(line) for line in instance.log("server").splitlines() if trace in line]
    assert {line["call_id"] for line in lines if line["event"] == "call"} == served
    assert len([line for line in lines if line["event"] == "turn_ended"]) == 4


def test_a_question_that_was_not_sampled_sends_nothing(
    tenant_with_a_document: Responsa, spans: Receiver
) -> None:
    turn = tenant_with_a_document.answer(QUESTION).name
    assert turn not in {span.attributes.get("responsa.turn") for span in spans.spans}
