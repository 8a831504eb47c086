"""One question is one trace, from the caller through Envoy to the end of the turn."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence

import httpx2
import pytest
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
    "turn": "accept",
    "node retrieve": "turn",
    "retrieval": "node retrieve",
    "words": "retrieval",
    "vectors": "retrieval",
    "PostgresVectorIndex.nearest": "vectors",
    "rank": "retrieval",
    "append": "turn",
    "finish": "turn",
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
    (turn,) = (one for one in found if one.name == "turn")
    assert turn.attributes["responsa.turn"] == answered.json()["name"]
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


def test_a_question_that_was_not_sampled_sends_nothing(
    tenant_with_a_document: Responsa, spans: Receiver
) -> None:
    turn = tenant_with_a_document.answer(QUESTION).name
    assert turn not in {span.attributes.get("responsa.turn") for span in spans.spans}
