"""Each node alone, and the contract that all nodes keep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from responsa_server.agents import nodes
from responsa_server.agents.engine.graph import BEGIN, FINISH, Graph, Plan, PlanError, Route
from responsa_server.agents.engine.kinds import NodeParts, PartMissing
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Progress, Run
from responsa_server.agents.engine.prompts import FrontMatter, PromptSet, PromptSource
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.agents import Meter
from responsa_server.domain.errors import Reason, TooSlow, Unavailable
from responsa_server.tools.table import KINDS as TOOL_KINDS
from tests.instance import ROOT
from tests.raising import raises
from tests.unit.agents.evidence import WHO, FixedEvidence
from tests.unit.agents.shipping import Judge, Staff
from tests.unit.agents.speaking import Says
from tools.agents_reference import PAGES, page, reference, tools_reference

HELLO = PromptSource(
    "prompts/hello.md",
    FrontMatter.model_validate({"variables": {"question": "as asked"}}),
    "You asked: {{ question }}",
)
PARTS = NodeParts(
    FixedEvidence(),
    Judge(),
    Staff(),
    model=Says(),
    prompts=PromptSet({"hello": HELLO}),
    sections=FixedEvidence(),
)


def run_into(events: list[Progress]) -> Run:
    return Run(WHO, events.append, Meter().add)


def quiet() -> Run:
    return run_into([])


OPTIONS: dict[str, dict[str, object]] = {
    **{kind: {"examples": "e"} for kind in ("intent_router", "question_categoriser", "retrieval_need")},
    "template": {"template": "hello"},
    "tool_requester": {"prompt": "hello"},
    "tool_chooser": {"prompt": "hello"},
}


def made(kind: str, parts: NodeParts = PARTS) -> Node[Any, Any]:
    table = KINDS[kind]
    return table.make(parts, table.options.model_validate(OPTIONS.get(kind, {})), kind)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_the_table_makes_what_it_says_and_refuses_what_is_not_its_input(kind: str) -> None:
    node = made(kind)
    assert node.input_model is KINDS[kind].input_model
    assert node.output_model is KINDS[kind].output_model
    # All inputs of some nodes are optional.
    if any(field.is_required() for field in node.input_model.model_fields.values()):
        with pytest.raises(ValidationError):
            node.validate_input({})
    with pytest.raises(ValidationError):
        node.validate_output(node.output_model.model_construct())


def test_every_file_of_nodes_has_a_line_in_the_table() -> None:
    files = {path.stem for path in Path(nodes.__file__).parent.glob("*.py")} - {"__init__", "table"}
    assert files == {KINDS[kind].output_model.__module__.rsplit(".", 1)[1] for kind in KINDS}


@pytest.mark.parametrize(
    "kind",
    [
        "retriever",
        "prompt",
        "section_answer",
    ],
)
def test_a_node_without_its_part_is_not_made(kind: str) -> None:
    with pytest.raises(PartMissing, match="there is no"):
        made(kind, NodeParts())


class Text(NodeModel):
    question: str


class Echo(Node[Text, Text]):
    """A node with a scripted behaviour."""

    input_model = Text
    output_model = Text

    def __init__(
        self, name: str, work: Callable[[], Any] = lambda: None, policy: Policy | None = None
    ) -> None:
        self.name = name
        self.policy = policy or Policy()
        self._work = work

    async def process(self, inputs: Text, run: Run) -> Text:
        result = self._work()
        if asyncio.iscoroutine(result):
            result = await result
        return Text(question=inputs.question + "!") if result is None else result


@pytest.mark.parametrize(
    ("routes", "complaint"),
    [
        ([Route(BEGIN, ("a",))], "need one route each"),
        ([Route(BEGIN, ("a",)), Route("a", ("c",))], "nodes that do not exist: c"),
        ([Route(BEGIN, (FINISH,)), Route("a", (FINISH,))], "no route leads to: a"),
        ([Route(BEGIN, ("a", FINISH)), Route("a", (FINISH,))], "has several targets"),
    ],
)
def test_a_plan_with_a_mistake_is_refused_by_name(routes: list[Route], complaint: str) -> None:
    with pytest.raises(PlanError, match=complaint):
        Graph(Plan({"a": Echo("a")}, routes))


async def test_a_step_that_hangs_is_stopped_and_what_it_broke_is_not_passed_on() -> None:
    hanging = Echo(
        "a", lambda: asyncio.Event().wait(), Policy(timeout_seconds=0.01, attempts=2, pause_seconds=0)
    )
    graph = Graph(Plan({"a": hanging}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]))
    events: list[Progress] = []
    caught = await raises(Unavailable, graph.run({"question": "x"}, run_into(events)))
    assert caught.metadata == {"part": "a"}
    broken = Echo("a", lambda: Text.model_construct(question=7))  # pyright: ignore[reportArgumentType]
    graph = Graph(Plan({"a": broken}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]))
    await raises((ValidationError, UserWarning), graph.run({"question": "x"}, quiet()))


async def test_what_took_too_long_is_not_tried_again() -> None:
    tried: list[int] = []

    def slow() -> None:
        tried.append(len(tried))
        raise TooSlow(Reason.PART_UNAVAILABLE, "It took too long.", {"part": "x"})

    graph = Graph(
        Plan(
            {"a": Echo("a", slow, Policy(attempts=3, pause_seconds=0))},
            [Route(BEGIN, ("a",)), Route("a", (FINISH,))],
        )
    )
    await raises(TooSlow, graph.run({"question": "x"}, quiet()))
    assert tried == [0]


# Every key has a description, and every documented default is the actual default.
def test_every_key_stands_there_with_its_default_and_what_it_says() -> None:
    lines = reference().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| `")]
    assert [row for row in rows if not row[2].strip(" |")] == []
    for row in (
        ("| `name`", "required"),
        ("| `history.messages`", "`10`"),
        ("| `retrieval.rerank`", "`true`"),
        ("| `retrieval.collections`", "empty"),
        ("| `model.temperature`", "unset"),
        ("| `model.chain`", "`default`"),
        ("| `from`", "required"),
        ("| `is`", "unset"),
    ):
        assert row in [(one[0], one[1]) for one in rows]
    assert {row[0][3:-1] for row in rows if len(row) == 4} == set(KINDS)


def test_the_pages_are_as_the_models_say() -> None:
    for name, tables in PAGES.items():
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert text == page(text, tables()), "run `make generate`"
    text = (ROOT / "docs" / "agent-keys.md").read_text(encoding="utf-8")
    assert page(text.replace("| `history.messages`", "| `history.massages`"), reference()) == text
    with pytest.raises(ValueError, match="lacks the two markers"):
        page("# Agents", "")


def test_every_key_of_a_tool_and_every_kind_is_described() -> None:
    lines = tools_reference().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("| `")]
    assert [row for row in rows if not row[2].strip(" |")] == []
    assert ["| `timeout`", "`20.0`"] in [row[:2] for row in rows]
    assert [line[4:] for line in lines if line.startswith("### ")] == sorted(TOOL_KINDS)


def test_each_kind_is_told_of_in_words() -> None:
    words = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"- `{kind}`" not in words] == []
