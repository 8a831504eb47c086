"""The node that chooses tools: by examples and rules, and by a model's selection."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.config.tools import LiveTools
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import Run
from responsa_server.agents.engine.state import Said
from responsa_server.agents.nodes.choosing import ChooserInput, ChooserOptions, ToolChooser
from responsa_server.app.tools import checked_tools
from responsa_server.domain.events import FallbackKind
from responsa_server.domain.intents import Classified, Example, IntentClassifier
from responsa_server.domain.models import Ended, ModelError, ModelFault, ModelPiece, ModelPrompt, TextPiece
from responsa_server.domain.tools import Effect, FixedTools, ToolCard
from tests.unit.graph.speaking import Does, Says, Turn

PROMPTS = examine(SHIPPED / "default", Surroundings()).prompts
FULL = ChooserOptions(
    prompt="tool_selection",
    web_prompt="web_search_query",
    search_prompt="kb_search_query",
    api_prompt="api_query_builder",
)
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
EXAMPLES = "examples/tools.jsonl"
ORDERS = """
kind = "http_api"
url = "https://orders.example/{number}"
parameters = { number = { type = "string", pattern = "^FH-[0-9]{5}$" } }
examples = ["where is my order"]
"""
TICKETS = """
kind = "http_api"
method = "POST"
url = "https://tickets.example/new"
parameters = { order = { type = "string", pattern = "^FH-[0-9]{5}$" } }
examples = ["open a ticket"]
"""
WEB = """
kind = "web_search"
provider = "searxng"
url = "https://search.example"
"""
SECRET_ORDERS = ORDERS + '[allow]\nagents = ["other"]\n'


@dataclass
class Guesses:
    """A classifier that gives one label the score .9, by a word in the text, and the rest to "none"; or that always gives `scores`. It is surer about the form of a message. It is a trainer
    too, and records the examples.
    """

    words: Sequence[tuple[str, str]]
    examples: list[Example] = field(default_factory=list[Example])
    labels: Sequence[str] = ("none",)
    scores: Mapping[str, float] = field(default_factory=dict[str, float])

    async def classify(self, text: str) -> Classified:
        if text.startswith(("asksa", "tellsa", "unaskeda")):
            label = "none" if "tellsa" in text or "rewordsa" in text else "tool"
            return Classified(label, 0.99, in_scope=True, all={"none": 0.01, label: 0.99})
        if self.scores:
            return Classified("", 0.0, in_scope=False, all=self.scores)
        label = next((label for word, label in self.words if word in text.casefold()), "none")
        return Classified(label, 0.9, in_scope=True, all={"none": 0.1, label: 0.9})

    async def trained(self, examples: Sequence[Example], *, key: bytes) -> IntentClassifier:
        self.examples += examples
        return self


GUESSES = (
    ("order", "orders"),
    ("ticket", "tickets"),
    ("%", "calculator"),
    ("time", "time"),
    ("return", "knowledge_search"),
    ("news", "web_search"),
    ("days", "time"),
    ("weekday", "time"),
)


def tools(folder: Path, **files: str) -> LiveTools:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    live = checked_tools(folder)
    assert live.problems() == []
    return live


def chooser(
    live: LiveTools, model: Says | None = None, options: ChooserOptions = FULL, *use: str
) -> tuple[ToolChooser, Guesses]:
    learns = Guesses(GUESSES)
    parts = NodeParts(
        model=model,
        larger=model,
        prompts=PROMPTS,
        tools=live,
        classifiers={EXAMPLES: Guesses(GUESSES)},
        trainer=learns,
        traits=Traits(
            agent="guide", tools=use or ("orders", "tickets", "calculator", "time", "knowledge_search")
        ),
        clock=lambda: NOW,
    )
    return ToolChooser(parts, "choose", options), learns


def says(text: str) -> Says:
    return Says([TextPiece(text), Ended(complete=True)])


async def chosen(
    node: ToolChooser, text: str, run: Run | None = None, *history: str
) -> list[tuple[str, object]]:
    said = [
        Said.model_validate({"speaker": ("user", "assistant")[place % 2], "text": one})
        for place, one in enumerate(history)
    ]
    found = await node.process(ChooserInput(question=text, history=tuple(said)), run or Turn().run)
    return [(one.tool, one.arguments) for one in found.calls]


async def test_several_tools_for_one_message(tmp_path: Path) -> None:
    node, learns = chooser(tools(tmp_path, orders=ORDERS))
    await node.prepare()
    forms = "asksa asksb asksc begin where is my x end"
    expected = [Example("where is my order", "orders"), Example(forms, "tool")]
    assert learns.examples == expected, "the declaration's own, and their forms"
    found = await chosen(node, "Where is my order fh-10382, and how do I return it? And what is 17 % of 240?")
    assert found == [
        ("orders", {"number": "FH-10382"}),
        ("knowledge_search", {"query": "how do I return it?"}),
        ("calculator", {"expression": "240 * 17 / 100"}),
    ]
    assert len(learns.examples) == 2, "trained once"


@pytest.mark.parametrize(
    ("text", "calls", "parts", "parts_called"),
    [
        (
            "How far ahead do I book a tour, and what is 17 % of 240?",
            ["calculator"],
            ("How far ahead do I book a tour",),
            {"what is 17 % of 240?": ("choose-1",)},
        ),
        # Two parts may have one call, and one part two.
        (
            "What time is it? And what is the time? And what time is it in Rome and Oslo?",
            ["time", "time", "time"],
            (),
            {
                "What time is it?": ("choose-1",),
                "what is the time?": ("choose-1",),
                "what time is it in Rome and Oslo?": ("choose-2", "choose-3"),
            },
        ),
        (
            "What does a tour cost? And how do I return a ticket?",
            [],
            ("What does a tour cost?", "how do I return a ticket?"),
            {},
        ),
        # A sentence that leads to one question is not a part of it.
        ("My bicycle was stolen last night. What does the insurance pay?", [], (), {}),
        ("What is 17 % of 240?", ["calculator"], (), {}),
        ("What is 17 % of 240? And what is that in total?", ["calculator"], (), {}),
        # A computation in several sentences answers them all.
        ("It is 20 % off now and costs 132. What was it before?", ["calculator"], (), {}),
        # A fifth question is not lost.
        (
            "Who leads? Who cooks? Who drives? What does a tour cost? How do I return a ticket?",
            [],
            ("Who leads?", "Who cooks?", "Who drives?", "What does a tour cost? How do I return a ticket?"),
            {},
        ),
    ],
)
async def test_what_no_tool_answers_stays_open(
    tmp_path: Path,
    text: str,
    calls: Sequence[str],
    parts: tuple[str, ...],
    parts_called: Mapping[str, Sequence[str]],
) -> None:
    node, _ = chooser(tools(tmp_path), None, FULL.model_copy(update={"documents": False}))
    found = await node.process(ChooserInput(question=text), Turn().run)
    assert ([one.tool for one in found.calls], found.parts) == (calls, parts)
    assert found.parts_called == parts_called


async def test_what_a_message_only_mentions_calls_no_tool(tmp_path: Path) -> None:
    node, _ = chooser(tools(tmp_path, orders=ORDERS))
    for text in (
        "I have just placed order FH-10382, can't wait!",
        "My order FH-10382 was here by noon.",
        "Translate into Dutch: where is my order FH-10382?",
        "Are you able to tell me the time if I ask?",
        "so that was order FH-10382, thanks",
    ):
        assert await chosen(node, text) == [], text
    for text in (
        "My order FH-10382 was meant to come yesterday. Where is it?",
        "I ordered a stove, number FH-10382, and it still isn't here",
        "order FH-10382 please",
    ):
        assert [tool for tool, _ in await chosen(node, text)] == ["orders"], text
    returned = "6 returns at 7.95 each, less 15 % of 240? And what is that in total?"
    assert await chosen(node, returned) == [], "the question for the total is not searched for"


async def test_a_number_that_only_one_tool_takes_decides_for_it(tmp_path: Path) -> None:
    node, learns = chooser(tools(tmp_path, orders=ORDERS))
    learns.scores = {"none": 0.1, "knowledge_search": 0.4, "orders": 0.2, "tool": 0.3}
    assert [tool for tool, _ in await chosen(node, "Has FH-10382 left the warehouse?")] == ["orders"]


async def test_an_orders_number_outweighs_a_somewhat_likelier_search(tmp_path: Path) -> None:
    node, learns = chooser(tools(tmp_path, orders=ORDERS))
    learns.scores = {"none": 0.2, "knowledge_search": 0.6, "orders": 0.2}
    assert [tool for tool, _ in await chosen(node, "How long is the wait for the mat, FH-10382?")] == [
        "orders"
    ]
    assert [tool for tool, _ in await chosen(node, "How long is the wait?")] == ["knowledge_search"]


async def test_a_clause_with_a_pronoun_takes_its_value_from_the_whole_message(tmp_path: Path) -> None:
    node, _ = chooser(tools(tmp_path, orders=ORDERS))
    apart = "What time is it in Oslo? The lady paid for FH-10382. Has that order reached us, is it paid?"
    assert ("orders", {"number": "FH-10382"}) in await chosen(node, apart)
    assert all(
        tool != "orders"
        for tool, _ in await chosen(node, apart.replace("that", "my").replace("it paid", "all paid"))
    )


async def test_a_pronoun_may_stand_for_the_date_of_an_earlier_clause(tmp_path: Path) -> None:
    node, _ = chooser(tools(tmp_path))
    found = await chosen(node, "How many days are there until 24 December 2026, and what weekday is it?")
    assert found == [
        ("time", {"time": "2026-11-23", "until": "2026-12-24"}),
        ("time", {"time": "2026-12-24"}),
    ]


async def test_a_search_that_follows_on_is_of_the_same_kind(tmp_path: Path) -> None:
    node, _ = chooser(tools(tmp_path, web=WEB), None, FULL, "knowledge_search", "web")
    found = await chosen(node, "Can I return a tent? And is there any news on it?")
    assert [tool for tool, _ in found] == ["knowledge_search", "knowledge_search"]
    found = await chosen(node, "Can I return a tent? And is there any news on the strike?")
    assert [tool for tool, _ in found] == ["knowledge_search", "web"]


async def test_the_documents_come_before_the_web_unless_the_web_is_much_likelier(tmp_path: Path) -> None:
    live = tools(tmp_path, web=WEB, orders=ORDERS)
    node, learns = chooser(live, None, FULL, "knowledge_search", "web", "orders")
    learns.scores = {"none": 0.1, "knowledge_search": 0.35, "web_search": 0.55}
    assert [tool for tool, _ in await chosen(node, "Who is the manager for Wales?")] == ["knowledge_search"]
    learns.scores = {"none": 0.1, "knowledge_search": 0.2, "web_search": 0.7}
    assert [tool for tool, _ in await chosen(node, "Who is the manager for Wales?")] == ["web"]


async def test_a_tool_without_its_arguments_is_not_chosen(tmp_path: Path) -> None:
    node, _ = chooser(tools(tmp_path, orders=ORDERS))
    assert await chosen(node, "Where is my order?") == []
    assert await chosen(node, "Hello! I am number 17.") == []


async def test_a_follow_up_takes_the_tool_of_the_question_before(tmp_path: Path) -> None:
    node, _ = chooser(tools(tmp_path))
    found = await chosen(node, "and in Los Angeles?", None, "What time is it in Tokyo?", "It is 18:30.")
    assert found == [("time", {"zone": "America/Los_Angeles"})]
    before = Said.model_validate({"speaker": "user", "text": "What time is it in Tokyo?"})
    asked = ChooserInput(question="And in Oslo? And in Rome?", history=(before,))
    assert (await node.process(asked, Turn().run)).parts == (), "the tool answers the whole message"


async def test_what_changes_something_needs_a_model(tmp_path: Path) -> None:
    live = tools(tmp_path, tickets=TICKETS)
    node, _ = chooser(live)
    assert await chosen(node, "Open a ticket for FH-10382!") == []
    by_model, _ = chooser(live, says('{"tools": ["tickets"]}'), ChooserOptions(prompt="tool_selection"))
    assert await chosen(by_model, "Open a ticket for FH-10382!") == [("tickets", {"order": "FH-10382"})]


@pytest.mark.parametrize("use", [("calculator",), ("orders",)], ids=["not used", "not allowed"])
async def test_a_tool_that_was_not_granted_is_never_chosen(tmp_path: Path, use: Sequence[str]) -> None:
    live = tools(tmp_path, orders=SECRET_ORDERS)
    node, learns = chooser(live, None, FULL, *use)
    assert await chosen(node, "Where is my order FH-10382?") == []
    assert learns.examples == []
    # A model that names the tool all the same chooses none: the rules decide after its second mistake.
    model = says('{"tools": ["orders"]}')
    asked, _ = chooser(live, model, FULL, *use)
    assert await chosen(asked, "Where is my order FH-10382?") == []
    assert all("orders" not in one.messages[0].text for one in model.asked)


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        (says('{"tools": "time"}'), "structured_invalid"),
        (Says([ModelError(ModelFault.UNREACHABLE, "")]), "model_unavailable:unreachable"),
    ],
    ids=["wrong JSON", "away"],
)
async def test_without_the_models_answer_the_examples_decide(tmp_path: Path, model: Says, cause: str) -> None:
    node, _ = chooser(tools(tmp_path), model, ChooserOptions(prompt="tool_selection"))
    run = Turn().run
    assert await chosen(node, "What time is it?", run) == [("time", {})]
    (fallback,) = run.fallen
    assert (fallback.kind, fallback.cause) == (FallbackKind.CLASSIFIER, cause)


@dataclass
class Answers(Says):
    """A model with one answer for each prompt, by the prompt's name."""

    answers: Mapping[str, str] = field(default_factory=dict[str, str])

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        self.asked.append(prompt)
        yield TextPiece(self.answers[prompt.purpose])
        yield Ended(complete=True)


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        ({"possible": True, "arguments": {"number": "FH-10382"}}, [("orders", {"number": "FH-10382"})]),
        ({"possible": False, "arguments": {}}, []),
        ({"possible": True, "arguments": {"number": "the last one"}}, []),
    ],
    ids=["whole", "impossible", "unfit"],
)
async def test_a_model_chooses_and_writes_the_arguments(
    tmp_path: Path, answer: Mapping[str, object], calls: Sequence[tuple[str, object]]
) -> None:
    model = Answers(
        answers={
            "tool_selection": '{"tools": ["orders", "knowledge_search", "orders"]}',
            "api_query_builder": json.dumps(answer),
            "kb_search_query": '{"query": "returning a stove"}',
        }
    )
    node, _ = chooser(tools(tmp_path, orders=ORDERS), model)
    history = ("I bought the stove of order FH-10382.", "Good.")
    found = await chosen(node, "Where is it? And how would I give it back?", None, *history)
    assert found == [*calls, ("knowledge_search", {"query": "returning a stove"})]
    schema = json.dumps(next(one.schema for one in model.asked if one.purpose == "api_query_builder"))
    assert "^FH-[0-9]{5}$" in schema


async def test_a_call_that_has_a_result_is_not_requested_again() -> None:
    tool = Does(Effect.NONE, card=ToolCard("time", "Tells the time."))
    parts = NodeParts(tools=FixedTools([tool]), classifiers={EXAMPLES: Guesses(GUESSES)}, clock=lambda: NOW)
    node = ToolChooser(parts)
    first = await node.process(ChooserInput(question="What time is it?"), Turn().run)
    result = {"call": first.calls[0].model_dump(), "outcome": "ok", "content": "9:30", "id": "call-1"}
    again = ChooserInput.model_validate({"question": "What time is it?", "results": [result]})
    assert (await node.process(again, Turn().run)).calls == ()
