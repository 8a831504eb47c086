"""The same questions through every transport of an instance have the same outcomes. LACKS lists what a transport cannot
carry; nothing else differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Final
from uuid import uuid4

import pytest

from clients.conformance.runner import driving
from responsa_server.transports.ws.html import of_markdown
from tests.callers import Credential, Registry, Tenant
from tests.clients.drivers import DRIVERS, build, each
from tests.gateway.sockets import Client
from tests.instance import Instance, eventually
from tests.transports import TERMINAL, Call, Json, Outcome, Way, Ways, method_of, request_of
from tests.transports_sse import Sse, events_in

DOCUMENTS: Final = {
    "lighthouses.md": (
        "# Lighthouses\n\nThe lighthouse of Alexandria stood on the island of Pharos. It was "
        "built in the third century BC.\n\n# Mills\n\nSandford's mill grinds rye; 2,016 cogs "
        "turn its stones."
    ),
    "fähre.md": "# Fähre 🚢\n\nDie Fähre nach Öland fährt um 6 Uhr von Kalmar ab — „naïve“ Gäste zahlen 40 €.",
}


@dataclass(frozen=True)
class Question:
    """A question. key: its request_id; "" for a new one."""

    text: str
    agent: str = "default"
    key: str = ""


@dataclass(frozen=True)
class Seen:
    """The outcome of a question. citations: each with its document's version and its bytes in the text. reason: why
    there is no answer. field: the wrong field, in the words of the contract."""

    outcome: str
    text: str = ""
    citations: tuple[tuple[str, int, int], ...] = ()
    reason: str = ""
    field: str = ""


QUESTIONS: Final = {
    "a cited answer": Question("How many cogs turn the stones of Sandford's mill?"),
    "several citations": Question("Where did the lighthouse of Alexandria stand?"),
    "Unicode": Question("Wann fährt die Fähre 🚢 nach Öland?"),
    "no support": Question("What is my openness?", "personal"),
    "small talk": Question("Hello, how are you today?", "chat"),
    "cancelled": Question("Which one burns?", key=str(uuid4())),
    "bad input": Question(" "),
    "an unknown agent": Question("Why?", "nobody"),
}
LACKS: Final[Mapping[str, Callable[[Seen], Seen]]] = {
    # The text is HTML, and a source has no place in it.
    "websocket": lambda seen: replace(
        seen,
        text=of_markdown(seen.text) if seen.outcome == "answer" else seen.text and f"<p>{escape(seen.text, quote=False)}</p>",
        citations=tuple((document, 0, 0) for document, _, _ in seen.citations),
    ),
    # The API of OpenAI has no reasons of refusals.
    "openai": lambda seen: replace(seen, reason="") if seen.outcome == "refused" else seen,
}  # fmt: skip


class Harness:
    """A tenant with documents, and all transports for its user."""

    def __init__(self, instance: Instance, tenant: Tenant, ways: Ways) -> None:
        self.target = instance.target
        self.key = tenant.key()
        self.headers = tenant.headers(Credential.USER)
        self._ways = ways
        ways.add(Way.SSE, Sse(ways.http))
        for name, text in DOCUMENTS.items():
            metadata = {"sourceKey": name, "title": name.partition(".")[0].capitalize()}
            made = self._call("KnowledgeService/CreateDocument", metadata=metadata, text=text)
            self._call("Operations/WaitOperation", name=made["name"], timeout="60s")
        self.cancelled_turn = self._cancel(tenant)
        self.expected = {name: self.over_grpc(question) for name, question in QUESTIONS.items()}

    def _call(self, method: str, **request: Any) -> Json:
        return self._ways.call(method, request, self.headers).message

    def _cancel(self, tenant: Tenant) -> str:
        question = QUESTIONS["cancelled"]
        with tenant.registry.holding("collection_stat"):  # its search waits
            asked = {"text": question.text, "agent": "agents/default", "requestId": question.key}
            turn = self._call("ChatService/StartTurn", **asked)["name"]
            eventually(
                lambda: int(self._call("ChatService/GetTurn", name=turn)["lastSeq"]) >= 2, "it searches"
            )
            self._call("ChatService/CancelTurn", name=turn)
        return turn

    def _contract(self, question: Question, way: Way, method: str) -> Seen:
        request = {"text": question.text, "agent": f"agents/{question.agent}", "requestId": question.key}
        descriptor = method_of(f"ChatService/{method}")
        call = Call(descriptor, [request_of(descriptor, request)], headers=self.headers)
        return of_contract(self._ways.by_name[way].call(call))

    def over_grpc(self, question: Question) -> Seen:
        return self._contract(question, Way.GRPC, "Ask")

    def grpc_answer(self, question: Question) -> Seen:
        return self._contract(question, Way.GRPC, "Answer")

    def grpc_web(self, question: Question) -> Seen:
        return self._contract(question, Way.WEB, "Ask")

    def rest(self, question: Question) -> Seen:
        return self._contract(question, Way.REST, "Answer")

    def ndjson(self, question: Question) -> Seen:
        return self._contract(question, Way.REST, "Ask")

    def sse(self, question: Question) -> Seen:
        return self._contract(question, Way.SSE, "Ask")

    def websocket(self, question: Question) -> Seen:
        key = {"request_id": question.key} if question.key else {}
        with Client(self.target, key=self.key) as client:
            last = client.say(type="ask", content=question.text, agent=question.agent, **key).turn()[-1]
        if last["type"] == "error":
            return failed(last["status"], {"content": "text"})
        told = last["metadata"]
        return Seen(
            told.get("outcome", "answer"),
            last["content"],
            tuple((one["document"], 0, 0) for one in told["sources"]),
            told.get("reason", "").upper(),
        )

    def openai(self, question: Question) -> Seen:
        body = {
            "model": f"{question.agent}:plain",
            "messages": [{"role": "user", "content": question.text}],
        }
        headers = self.headers | ({"idempotency-key": question.key} if question.key else {})
        reply = self._ways.http.post("/v1/chat/completions", json=body, headers=headers).json()
        if "error" in reply:
            error = reply["error"]
            field = {"messages[0].content": "text", "model": "", None: ""}[error["param"]]
            return _cancelled_or(Seen("error", reason=error["code"], field=field))
        message = reply["choices"][0]["message"]
        text = message["content"]
        cited = [one["url_citation"] for one in message["annotations"]]
        return Seen(
            "refused" if message["refusal"] else "answer",
            text,
            tuple(
                (one["url"].partition("/#/")[2], *in_bytes(text, one["start_index"], one["end_index"]))
                for one in cited
            ),
        )  # fmt: skip

    def mcp(self, question: Question) -> Seen:
        given = {"question": question.text, "agent": question.agent, "request_id": question.key}
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "ask", "arguments": given},
        }
        headers = self.headers | {"accept": "application/json, text/event-stream"}
        reply = self._ways.http.post("/mcp", json=call, headers=headers)
        (event,) = events_in(reply.text.replace("\r\n", "\n"))
        result = json.loads(event["data"])["result"]
        content = result["structuredContent"]
        if result["isError"]:
            field = next((one["field"] for one in content.get("fields", ())), "")
            return Seen("error", reason=content["reason"], field={"question": "text"}.get(field, field))
        text = content["text"]
        return Seen(
            {"answered": "answer"}.get(content["outcome"], content["outcome"]),
            text,
            tuple(
                (one["document"], *in_bytes(text, one["start"], one["end"])) for one in content["citations"]
            ),
            content.get("refusal", ""),
        )


TRANSPORTS: Final[Mapping[str, Callable[[Harness, Question], Seen]]] = {
    "gRPC, unary": Harness.grpc_answer,
    "gRPC-Web": Harness.grpc_web,
    "REST": Harness.rest,
    "NDJSON": Harness.ndjson,
    "SSE": Harness.sse,
    "websocket": Harness.websocket,
    "openai": Harness.openai,
    "mcp": Harness.mcp,
}


def of_contract(outcome: Outcome) -> Seen:
    """What the messages of Ask or Answer say."""
    if outcome.problem is not None:
        return failed(outcome.problem, {})
    last = outcome.messages[-1]
    event = last["events"][-1] if "events" in last else last["terminalEvent"]
    (kind,) = set(TERMINAL) & set(event)
    end = event[kind]
    return Seen(
        kind,
        end.get("text", end.get("message", "")),
        tuple(
            (one["documentVersion"], *(int(one["answerRange"].get(edge, 0)) for edge in ("start", "end")))
            for one in end.get("citations", ())
        ),
        end.get("reason", "").removeprefix("REFUSAL_REASON_") if kind == "refused" else "",
    )


def failed(status: Json, names: Mapping[str, str]) -> Seen:
    """What a google.rpc.Status says. names: the contract's fields by the transport's."""
    details = {key: value for one in status["details"] for key, value in one.items()}
    field = next((one["field"] for one in details.get("fieldViolations", ())), "")
    return Seen("error", reason=details["reason"], field=names.get(field, field))


def _cancelled_or(seen: Seen) -> Seen:
    return Seen("cancelled") if seen.reason == "CANCELLED" else seen


def in_bytes(text: str, start: int, end: int) -> tuple[int, int]:
    return len(text[:start].encode()), len(text[:end].encode())


@pytest.fixture(scope="module")
def harness(instance: Instance, registry: Registry) -> Iterator[Harness]:
    with Ways(instance.target) as ways:
        yield Harness(instance, registry.new_tenant(), ways)


def test_the_questions_have_the_outcomes_that_they_are_asked_for(harness: Harness) -> None:
    seen = harness.expected
    assert {name: (one.outcome, one.reason, one.field) for name, one in seen.items()} == {
        "a cited answer": ("answer", "", ""),
        "several citations": ("answer", "", ""),
        "Unicode": ("answer", "", ""),
        "no support": ("refused", "NO_SUPPORT", ""),
        "small talk": ("answer", "", ""),
        "cancelled": ("cancelled", "", ""),
        "bad input": ("error", "INVALID_FIELD", "text"),
        "an unknown agent": ("error", "RESOURCE_NOT_FOUND", ""),
    }
    assert len(seen["several citations"].citations) > 1
    assert "Öland" in seen["Unicode"].text
    assert seen["Unicode"].citations
    assert not seen["small talk"].citations


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_transport_says_what_grpc_says(harness: Harness, transport: str) -> None:
    carried = LACKS.get(transport, lambda seen: seen)
    seen = {name: TRANSPORTS[transport](harness, question) for name, question in QUESTIONS.items()}
    assert seen == {name: carried(one) for name, one in harness.expected.items()}


@each(DRIVERS)
async def test_a_client_says_what_grpc_says(harness: Harness, client: str) -> None:
    """A driver tells the number of citations, and of a refusal nothing but that it is one."""
    build(client)
    async with driving(DRIVERS[client]) as driver:
        for name, question in QUESTIONS.items():
            result = await driver.obey(
                {
                    "case": name,
                    "address": harness.target,
                    "tokens": [harness.key],
                    "start": "resume" if question.key else "ask",
                    "agent": question.agent,
                    "text": question.text,
                    "turn": harness.cancelled_turn if question.key else "",
                    "after_seq": 0,
                    "include_deltas": True,
                    "cancel_after": 0,
                    "backoff_ms": 100,
                    "silence_ms": 60_000,
                    "patience_ms": 60_000,
                    "timeout_ms": None,
                }
            )
            wanted, error = harness.expected[name], result["error"]
            text = wanted.text if wanted.outcome == "answer" else ""
            assert (result["text"], result["citations"]) == (text, len(wanted.citations)), result
            if error is None:
                assert result["terminal"] == wanted.outcome
            else:
                fields = "".join(field for field, _, _ in error["fields"])
                assert Seen("error", reason=error["reason"], field=fields) == wanted
