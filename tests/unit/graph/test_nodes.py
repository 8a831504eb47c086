"""Each node alone, and the contract that all nodes keep."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from responsa_server.agents import nodes
from responsa_server.agents.engine.graph import BEGIN, FINISH, Graph, Plan, PlanError, Route
from responsa_server.agents.engine.kinds import NodeParts, PartMissing
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, Policy, Progress, Run
from responsa_server.agents.engine.prompts import FrontMatter, PromptSet, PromptSource
from responsa_server.agents.nodes.refuse import Refuse, RefuseInput
from responsa_server.agents.nodes.searching import Retrieve, RetrieveInput, Rewrite, RewriteInput
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.agents import Meter
from responsa_server.domain.errors import Reason, TooSlow, Unavailable
from responsa_server.domain.events import (
    Delta,
    RefusalReason,
    Status,
    Step,
    Usage,
)
from tests.unit.graph.evidence import WHO, Shelf, evidence
from tests.unit.graph.shipping import Judge, Staff
from tests.unit.graph.speaking import Says

HELLO = PromptSource(
    "prompts/hello.md",
    FrontMatter.model_validate({"variables": {"question": "as asked"}}),
    "You asked: {{ question }}",
)
PARTS = NodeParts(
    Shelf(),
    Judge(),
    Staff(),
    model=Says(),
    prompts=PromptSet({"hello": HELLO}),
    sections=Shelf(),
)


def run_into(events: list[Progress]) -> Run:
    return Run(WHO, events.append, Meter().add)


def quiet() -> Run:
    return run_into([])


async def test_rewrite_gives_the_standalone_question_or_nothing() -> None:
    history = [
        {"speaker": "user", "text": "How long is the Nile?"},
        {"speaker": "assistant", "text": "The Nile is long.", "titles": ["Rivers"]},
    ]
    node = Rewrite()
    given = node.validate_input(
        {"question": "Where is it?", "history": history, "evidence": "not its business"}
    )
    assert node.validate_output(await node.process(given, quiet())) == {
        "standalone_question": "Where is it? (How long is the Nile?)"
    }
    alone = RewriteInput(question="Which rivers of Africa are longest?")
    assert (await node.process(alone, quiet())).standalone_question == ""


async def test_retrieve_searches_for_the_standalone_question_within_the_scope() -> None:
    shelf = Shelf()
    node = Retrieve(shelf)
    given = RetrieveInput(
        question="Where is it?", standalone_question="Where is it? (Nile)", collections=("a",)
    )
    meter = Meter()
    output = node.validate_output(await node.process(given, Run(WHO, lambda _: None, meter.add)))
    assert shelf.asked == [(("Where is it? (Nile)", "Where is it?"), ("a",))]
    assert meter.usage == Usage(embedding_tokens=7)
    assert json.loads(json.dumps(output)) == output  # the output is plain data


@pytest.mark.parametrize(
    ("collections", "passages", "expected"),
    [
        ((), 3, ["all documents that you may read", "no passage says enough"]),
        (("rivers",), 0, ["the collection rivers", "found nothing about it"]),
        (("a", "b"), 1, ["the collections a, b"]),
        (tuple("abcdefghij"), 1, ["a, b, c, d, e, f, g, h and others"]),
    ],
)
async def test_refuse_tells_what_was_searched_and_what_helps(
    collections: tuple[str, ...], passages: int, expected: list[str]
) -> None:
    given = RefuseInput(question="Why " + "x" * 500, collections=collections, evidence=evidence(passages))
    output = await Refuse(NodeParts()).process(given, quiet())
    assert output.refusal.reason is RefusalReason.NO_SUPPORT
    for part in [*expected, "add a document", "…”"]:
        assert part in output.refusal.message


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
    if kind == "condition":  # this kind reads and writes nothing
        assert node.validate_input({"question": "?"}).model_dump() == {}
        return
    # All inputs of some nodes are optional.
    if any(field.is_required() for field in node.input_model.model_fields.values()):
        with pytest.raises(ValidationError):
            node.validate_input({})
    with pytest.raises(ValidationError):
        node.validate_output(node.output_model.model_construct())


def test_every_file_of_nodes_has_a_line_in_the_table() -> None:
    files = {path.stem for path in Path(nodes.__file__).parent.glob("*.py")} - {"__init__", "table"}
    assert files == {KINDS[kind].output_model.__module__.rsplit(".", 1)[1] for kind in KINDS}


def test_what_is_announced_is_what_users_are_promised() -> None:
    told = {kind: made(kind).announcement for kind in KINDS}
    routing = Announcement(Step.ROUTING, "Classifying your query...")
    assert told == {
        "intent_router": routing,
        "question_categoriser": routing,
        "retrieval_need": routing,
        "tool_chooser": Announcement(Step.ROUTING, "Choosing tools..."),
        "teacher": None,
        "summariser": None,
        "post_processor": None,
        "output": None,
        "citation_checker": Announcement(Step.VERIFYING, "Checking the sources..."),
        "query_expander": None,
        "rewriter": Announcement(Step.REWRITING, "Rephrasing your question..."),
        "retriever": Announcement(Step.RETRIEVING, "Searching knowledge base..."),
        "ranker": Announcement(Step.GRADING, "Analyzing results..."),
        "passages": Announcement(Step.GENERATING, "Generating response..."),
        "section_answer": Announcement(Step.GENERATING, "Generating response..."),
        "raw_sections": Announcement(Step.GENERATING, "Generating response..."),
        "code_checker": None,
        "template": Announcement(Step.GENERATING, "Generating response..."),
        "failure_reporter": None,
        "tool_requester": Announcement(Step.ROUTING, "Choosing tools..."),
        "refuse": None,
        "condition": None,
        "prompt": Announcement(Step.GENERATING, "Generating response..."),
        "tool_caller": None,  # each call sends its own status, because not every call is made
        "source_gatherer": None,
    }


@pytest.mark.parametrize(
    "kind",
    [
        "retriever",
        "ranker",
        "prompt",
        "template",
        "teacher",
        "citation_checker",
        "section_answer",
        "raw_sections",
        "code_checker",
    ],
)
def test_a_node_without_its_part_is_not_made(kind: str) -> None:
    with pytest.raises(PartMissing, match="there is no"):
        made(kind, NodeParts())


async def test_a_template_is_told_as_it_is_kept() -> None:
    node = made("template")
    events: list[Progress] = []
    output = node.validate_output(
        await node.process(node.validate_input({"question": "Who?"}), run_into(events))
    )
    answer: dict[str, object] = {
        "text": "You asked: Who?",
        "citations": [],
        "outcome": "complete",
        "passages_used": 0,
        "collections": [],
        "excerpts": 0,
        "unsupported": 0,
    }
    assert output == {"answer": answer, "model": "template"}
    assert events == [Delta("You asked: Who?", 0)]


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

    async def process(self, given: Text, run: Run) -> Text:
        result = self._work()
        if asyncio.iscoroutine(result):
            result = await result
        return Text(question=given.question + "!") if result is None else result


async def test_a_plan_runs_from_begin_to_finish_by_its_routes() -> None:
    plan = Plan(
        {"a": Echo("a"), "b": Echo("b")},
        [
            Route(BEGIN, ("a", "b"), lambda state: "b" if "?" in state.get("question", "") else "a"),
            Route("a", ("b",)),
            Route("b", (FINISH,)),
        ],
    )
    graph = Graph(plan)
    assert (await graph.run({"question": "x"}, quiet()))["question"] == "x!!"
    assert (await graph.run({"question": "x?"}, quiet()))["question"] == "x?!"


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
    with pytest.raises(Unavailable) as caught:
        await graph.run({"question": "x"}, run_into(events))
    assert caught.value.metadata == {"part": "a"}
    broken = Echo("a", lambda: Text.model_construct(question=7))  # pyright: ignore[reportArgumentType]
    graph = Graph(Plan({"a": broken}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]))
    with pytest.raises((ValidationError, UserWarning)):
        await graph.run({"question": "x"}, quiet())


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
    with pytest.raises(TooSlow):
        await graph.run({"question": "x"}, quiet())
    assert tried == [0]


async def test_a_status_is_told_once_before_the_work() -> None:
    events: list[Progress] = []
    told: list[int] = []
    node = Echo("a", lambda: told.append(len(events)))
    node.announcement = Announcement(Step.GRADING, "Analyzing results...")
    graph = Graph(Plan({"a": node}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]))
    await graph.run({"question": "x"}, run_into(events))
    assert (events, told) == ([Status(Step.GRADING, "Analyzing results...")], [1])
