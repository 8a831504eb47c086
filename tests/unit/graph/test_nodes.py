"""Each node alone, and the contract that all of them keep."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from responsa_server.domain.answers import Extraction
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.ports.agents import Meter
from responsa_server.domain.turns import AnswerOutcome, Cited, Delta, RefusalReason, Status, Step, Usage
from responsa_server.graph.builder import BEGIN, FINISH, Plan, PlanError, Route, build, run
from responsa_server.graph.node import Announcement, Node, NodeModel, Policy, Progress, Run
from responsa_server.graph.nodes.answer import Answer, AnswerInput, AnswerOutput
from responsa_server.graph.nodes.grade import Grade, GradeInput
from responsa_server.graph.nodes.refuse import Refuse, RefuseInput
from responsa_server.graph.nodes.retrieve import Retrieve, RetrieveInput
from responsa_server.graph.nodes.rewrite import Rewrite, RewriteInput
from responsa_server.graph.registry import NODES, NodeParts, PartMissing
from tests.unit.graph.evidence import WHO, Shelf, evidence, quote
from tests.unit.graph.speaking import Says

PARTS = NodeParts(Shelf(), Shelf(), Says())


def run_into(events: list[Progress]) -> Run:
    return Run(WHO, events.append, Meter().add)


def quiet() -> Run:
    return run_into([])


async def test_rewrite_gives_the_standalone_question_or_nothing() -> None:
    history = [
        {"speaker": "user", "text": "How long is the Nile?"},
        {"speaker": "assistant", "text": "Long.", "titles": ["Rivers"]},
    ]
    node = Rewrite()
    given = node.validate_input(
        {"question": "Where is it?", "history": history, "evidence": "not its business"}
    )
    assert node.validate_output(await node.process(given, quiet())) == {
        "standalone_question": "Where is it? (Rivers, Nile)"
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
    assert shelf.asked == [(("Where is it? (Nile)",), ("a",))]
    assert meter.usage == Usage(embedding_tokens=7)
    assert json.loads(json.dumps(output)) == output  # plain


async def test_grade_says_whether_the_evidence_supports_an_answer() -> None:
    for supported in (True, False):
        node = Grade(Shelf(quotes=[quote("Yes.")], supported=supported))
        output = await node.process(GradeInput(question="?", evidence=evidence()), quiet())
        assert output.extraction.supported is supported


async def test_answer_emits_what_it_returns() -> None:
    events: list[Progress] = []
    node = Answer()
    extraction = Extraction([quote("One."), quote("Two.")], 0.9, True)
    output = await node.process(AnswerInput(extraction=extraction, evidence=evidence(4)), run_into(events))
    assert [type(one) for one in events] == [Delta, Cited, Delta, Cited]
    assert (output.answer.text, output.answer.passages_used) == ("One.\nTwo.", 4)
    assert output.answer.outcome is AnswerOutcome.COMPLETE
    node.validate_output(output)
    one, two = output.answer.citations
    swapped = AnswerOutput(
        answer=output.answer.model_copy(
            update={"citations": (two, one.model_copy(update={"answer": two.answer}))}
        )
    )
    with pytest.raises(ValueError, match="its quote's place"):
        node.validate_output(swapped)


@pytest.mark.parametrize(
    ("collections", "passages", "expected"),
    [
        ((), 3, ["all documents that you may read", "no passage says enough"]),
        (("rivers",), 0, ["the collection rivers", "found nothing on it"]),
        (("a", "b"), 1, ["the collections a, b"]),
        (tuple("abcdefghij"), 1, ["a, b, c, d, e, f, g, h and others"]),
    ],
)
async def test_refuse_tells_what_was_searched_and_what_helps(
    collections: tuple[str, ...], passages: int, expected: list[str]
) -> None:
    given = RefuseInput(question="Why " + "x" * 500, collections=collections, evidence=evidence(passages))
    output = await Refuse().process(given, quiet())
    assert output.refusal.reason is RefusalReason.NO_SUPPORT
    for part in [*expected, "add a document", "…”"]:
        assert part in output.refusal.message


@pytest.mark.parametrize("name", sorted(NODES))
def test_every_node_of_the_table_is_named_as_there_and_refuses_what_is_not_its_input(name: str) -> None:
    node = NODES[name](PARTS)
    assert node.name == name
    assert issubclass(node.input_model, NodeModel)
    assert issubclass(node.output_model, NodeModel)
    with pytest.raises(ValidationError):
        node.validate_input({})
    with pytest.raises(ValidationError):
        node.validate_output(node.output_model.model_construct())


def test_what_is_announced_is_what_users_are_promised() -> None:
    told = {name: make(PARTS).announcement for name, make in NODES.items()}
    assert told == {
        "rewrite": Announcement(Step.REWRITING, "Rephrasing your question..."),
        "retrieve": Announcement(Step.RETRIEVING, "Searching knowledge base..."),
        "grade": Announcement(Step.GRADING, "Analyzing results..."),
        "answer": Announcement(Step.GENERATING, "Generating response..."),
        "refuse": None,
        "prompt": Announcement(Step.GENERATING, "Generating response..."),
        "tool": None,  # announced call by call, since not each is made
    }


@pytest.mark.parametrize("name", ["retrieve", "grade", "prompt"])
def test_a_node_without_its_part_is_not_made(name: str) -> None:
    with pytest.raises(PartMissing, match="there is no"):
        NODES[name](NodeParts())


class Text(NodeModel):
    question: str


class Echo(Node[Text, Text]):
    """Does what its test says."""

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
    graph = build(plan)
    assert (await run(graph, {"question": "x"}, quiet()))["question"] == "x!!"
    assert (await run(graph, {"question": "x?"}, quiet()))["question"] == "x?!"


@pytest.mark.parametrize(
    ("routes", "complaint"),
    [
        ([Route(BEGIN, ("a",))], "need one route each"),
        ([Route(BEGIN, ("a",)), Route("a", ("c",))], "unknown nodes: c"),
        ([Route(BEGIN, (FINISH,)), Route("a", (FINISH,))], "no route leads to: a"),
        ([Route(BEGIN, ("a", FINISH)), Route("a", (FINISH,))], "no choice"),
    ],
)
def test_a_plan_with_a_mistake_is_refused_by_name(routes: list[Route], complaint: str) -> None:
    with pytest.raises(PlanError, match=complaint):
        build(Plan({"a": Echo("a")}, routes))


async def test_a_step_that_hangs_is_stopped_and_what_it_broke_is_not_passed_on() -> None:
    hanging = Echo(
        "a", lambda: asyncio.Event().wait(), Policy(timeout_seconds=0.01, attempts=2, pause_seconds=0)
    )
    graph = build(Plan({"a": hanging}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]))
    events: list[Progress] = []
    with pytest.raises(Unavailable) as caught:
        await run(graph, {"question": "x"}, run_into(events))
    assert caught.value.metadata == {"part": "a"}
    broken = Echo("a", lambda: Text.model_construct(question=7))  # pyright: ignore[reportArgumentType]
    graph = build(Plan({"a": broken}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]))
    with pytest.raises((ValidationError, UserWarning)):
        await run(graph, {"question": "x"}, quiet())


async def test_a_status_is_told_once_before_the_work() -> None:
    events: list[Progress] = []
    told: list[int] = []
    node = Echo("a", lambda: told.append(len(events)))
    node.announcement = Announcement(Step.GRADING, "Analyzing results...")
    graph = build(Plan({"a": node}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]))
    await run(graph, {"question": "x"}, run_into(events))
    assert (events, told) == ([Status(Step.GRADING, "Analyzing results...")], [1])
