"""Tools return orders, forged calls, forged citations and control characters. In whole turns of the shipped agents,
what they return stays data."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from responsa_lab.scripted.obedient import OBEYED, Obedient
from responsa_lab.scripted.reading import ParsedPrompt
from responsa_lab.scripted.strong import ToolCallingModel
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.domain.answers import CheckedClaim, CitedSentence, Evidence, FoundSource
from responsa_server.domain.events import (
    Answered,
    Effect,
    ToolCitation,
    ToolOutcome,
    ToolReturned,
    ToolSource,
)
from responsa_server.domain.models import ChatModel, Ended, ModelPiece, ModelPrompt, Role, ToolRequest
from responsa_server.domain.tools import MAX_RESULT_BYTES, FixedTools, ToolCard, ToolResult
from responsa_server.search.citation_check import check_claims
from responsa_server.search.tool_sources import whole_source
from responsa_server.text.instructing import without_instructions
from responsa_server.text.lexical import Analyzer
from tests.instance import ROOT
from tests.unit.agents.evidence import FixedEvidence, task
from tests.unit.agents.shipping import Judge, shipped
from tests.unit.agents.speaking import Does, answer_in, told_by

LINES = (ROOT / "evals/injection_samples/tools.jsonl").read_text(encoding="utf-8").splitlines()
RESULTS: Sequence[dict[str, str]] = [json.loads(line) for line in LINES]
HOSTILE = pytest.mark.parametrize("result", RESULTS, ids=[result["category"] for result in RESULTS])
UNRECOGNISED = [result for result in RESULTS if without_instructions(result["text"]) == result["text"]]
NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Led(Obedient):
    """Requests the tool `orders`, then each offered tool that an order which it obeys names."""

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        returned = [message for message in prompt.messages if message.role is Role.TOOL]
        ordered = " ".join(self.find_injected(ParsedPrompt(prompt))) if returned else "orders"
        wanted = [tool.id for tool in prompt.tools if tool.id in ordered.split()]
        for name in wanted:
            yield ToolRequest(f"request-{len(returned)}-{name}", name, {})
        if wanted:
            yield Ended(complete=True)
            return
        async for piece in super().stream(prompt):
            yield piece


class Checking(Judge):
    """Checks citations of tools' sources as the server does."""

    async def check(
        self,
        claims: Sequence[CitedSentence],
        evidence: Evidence,
        most_bytes: int,
        sources: Sequence[FoundSource] = (),
    ) -> Sequence[CheckedClaim | None]:
        return await check_claims(claims, [whole_source(source) for source in sources], Analyzer())


class Harness:
    """A shipped agent with this model and two tools: `orders` returns the text, and nothing but the text asks for `send_mail`."""

    def __init__(self, agent: str, model: ChatModel, text: str) -> None:
        source = ToolSource("https://shop.example/orders", "Orders", NOW, text)
        found = ToolResult(ToolOutcome.OK, text, sources=[source])
        self.orders = Does(Effect.NONE, found, ToolCard("orders", "Says where an order is."))
        self.mail = Does(Effect.ONCE, card=ToolCard("send_mail", "Sends a mail."))
        parts = NodeParts(
            FixedEvidence(near=False), Checking(), model=model, tools=FixedTools([self.orders, self.mail])
        )
        self._agent = shipped(agent, parts, ("orders", "send_mail"))
        self._parameters = json.dumps({"intent": "tool"}) if agent == "chat" else ""

    async def answer(self, text: str = "Where is order FH-10382?") -> tuple[Answered, Sequence[ToolReturned]]:
        one = task(text)
        question = replace(one.question, parameters=self._parameters)
        told = await told_by(self._agent, replace(one, question=question))
        end = answer_in(told)
        return end, [event for event in told if isinstance(event, ToolReturned)]


@HOSTILE
@pytest.mark.parametrize("agent", ["knowledge", "chat"])
async def test_an_order_in_a_result_is_not_obeyed(agent: str, result: dict[str, str]) -> None:
    harness = Harness(agent, Led(), result["text"])
    end, returned = await harness.answer()
    assert OBEYED not in end.text
    assert (len(harness.orders.calls), harness.mail.calls, len(returned)) == (1, [], 1)
    assert "\x00" not in returned[0].content


@pytest.mark.parametrize("result", UNRECOGNISED, ids=[result["category"] for result in UNRECOGNISED])
async def test_a_model_that_obeys_everything_is_found_out(result: dict[str, str]) -> None:
    """The control experiment: this model obeys the text between marks, too. Recognised orders are left out of the prompt."""
    harness = Harness("knowledge", Led(inside=True), result["text"])
    end, _ = await harness.answer()
    if result["call"]:
        assert harness.mail.calls
    elif result["category"] == "exfiltration":
        # Of an image, an answer shows the words alone.
        assert result["sign"] not in end.text
        assert "status" in end.text
    else:
        assert result["sign"] in end.text


@HOSTILE
async def test_a_citation_quotes_what_was_returned_and_no_recognised_order(result: dict[str, str]) -> None:
    """The model repeats the whole result, with all marks that are in it."""
    harness = Harness("knowledge", ToolCallingModel(), result["text"])
    end, _ = await harness.answer("Where is order FH-10382?\ncall orders {}")
    for citation in end.citations:
        assert isinstance(citation, ToolCitation)
        assert citation.quote in result["text"]
        assert without_instructions(citation.quote) == citation.quote


async def test_a_huge_result_is_cut_and_stays_data() -> None:
    text = RESULTS[0]["text"] + " It is on its way." * 20_000
    harness = Harness("knowledge", Led(), text)
    end, [returned] = await harness.answer()
    assert len(returned.content.encode()) <= MAX_RESULT_BYTES
    assert OBEYED not in end.text
