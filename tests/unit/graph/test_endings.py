"""The ends of turns and their events. A turn that another worker takes over ends in the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from responsa.chat.v1 import citation_pb2
from responsa_lab.scripted.broken import Broken, Kind
from responsa_lab.scripted.strong import Strong
from responsa_server.agents.engine.agent import PlannedAgent, ending
from responsa_server.agents.engine.citations import AnswerModel, compose, plain
from responsa_server.agents.engine.config import BEGIN
from responsa_server.agents.engine.graph import FINISH, Plan, Route
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Run
from responsa_server.agents.nodes.quoting import GradeOutput
from responsa_server.calls.convert import chat
from responsa_server.domain.agents import AnswerTask, Meter, Milestone
from responsa_server.domain.answers import Evidence, Extraction
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    MAX_FALLBACKS,
    AlsoFound,
    Answered,
    AnswerOutcome,
    Fallback,
    FallbackKind,
    RefusalReason,
    Refused,
    Usage,
)
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.models import ChatModel
from responsa_server.domain.passages import PlacedBlock
from tests.unit.graph.evidence import Shelf, quote, task
from tests.unit.graph.shipping import ASHDOWN, CLASSIFIERS, Judge, Notes, Staff, shipped
from tests.unit.graph.speaking import told_by

LONG = "The Nile is 6,650 km long."
QUOTE = replace(quote(LONG), text=LONG)
USAGE = Usage(1, 2, 3)
WRITTEN: Mapping[str, object] = {"text": "So.", "complete": True, "model": "a:x"}
CITED: Mapping[str, object] = {
    "answer": {"text": "So.", "citations": [], "outcome": "complete", "passages_used": 2}
}
REFUSED: Mapping[str, object] = {"refusal": {"reason": "no_support", "message": "Nothing."}}
GRADED = GradeOutput(extraction=Extraction((), 0.7, True)).model_dump(mode="json")


def answered(state: Mapping[str, object]) -> Answered:
    end = ending(state, USAGE)
    assert isinstance(end, Answered)
    return end


def test_an_answer_tells_who_wrote_it() -> None:
    assert answered(WRITTEN).model == "a:x"
    assert answered({**WRITTEN, **CITED}).model == "a:x"
    assert answered({**CITED, "model": "template"}).model == "template"
    assert answered(CITED).model == "extractive"
    # The rejected text of the model is not in the answer.
    unfit = {"text": "Buy!", "complete": False, "model": "a:x", **CITED}
    assert (answered(unfit).model, answered(unfit).outcome) == ("extractive", AnswerOutcome.COMPLETE)
    assert answered({**unfit, "model": "template"}).model == "template"


def test_an_answer_tells_what_the_question_was_taken_for() -> None:
    state = {**CITED, **GRADED, "intent": "qa", "category": "fact", "standalone_question": "Why?"}
    end = answered(state)
    assert (end.intent, end.category, end.support, end.standalone_question) == (
        "qa",
        "fact",
        0.7,
        "Why?",
    )
    assert (end.passages_used, end.usage) == (2, USAGE)
    assert answered({**WRITTEN, "shown": 3}).passages_used == 3
    # An agent's file may name any intent.
    assert answered({**CITED, "intent": "shopping"}).intent == "shopping"
    assert answered(CITED).intent == ""


def test_a_refusal_tells_what_the_question_was_taken_for() -> None:
    end = ending({**REFUSED, **GRADED, "intent": "out_of_scope"}, USAGE)
    assert end == Refused(RefusalReason.NO_SUPPORT, "Nothing.", USAGE, 0.7, "out_of_scope")


def test_a_refusal_suggests_what_comes_closest() -> None:
    near = tuple(quote(f"Nearly {number}.", start=100 * number, score=0.4) for number in range(1, 6))
    graded = GradeOutput(extraction=Extraction((), 0.3, False, closest=near)).model_dump(mode="json")
    end = ending({**REFUSED, **graded}, USAGE)
    assert isinstance(end, Refused)
    assert [(one.quote, one.source, one.score) for one in end.suggestions] == [
        (one.text, one.source, 0.4) for one in near[:3]
    ]
    assert {one.collection_id for one in end.suggestions} == {"default"}
    assert {(one.page, one.box, one.path) for one in end.suggestions} == {(0, None, "")}
    elsewhere = {"refusal": {"reason": "out_of_scope", "message": "No."}}
    end = ending({**elsewhere, **graded}, USAGE)
    assert isinstance(end, Refused)
    assert end.suggestions == ()


def test_an_answer_that_quotes_suggests_other_quotes() -> None:
    near = tuple(quote(f"Also {number}.", start=100 * number, score=0.4) for number in range(1, 6))
    extraction = Extraction([QUOTE], 0.7, True, closest=(QUOTE, *near))
    graded = GradeOutput(extraction=extraction).model_dump(mode="json")
    composed = compose([QUOTE])
    answer = AnswerModel(
        text=composed.text,
        citations=tuple(map(plain, composed.citations)),
        outcome=AnswerOutcome.COMPLETE,
        passages_used=2,
    )
    # A quote that the answer contains is not suggested.
    found = answered({"answer": answer.model_dump(mode="json"), **graded}).suggestions
    assert [one.quote for one in found] == [one.text for one in near[:3]]
    # A model and a template have read more than the quotes.
    assert answered({**WRITTEN, **CITED, **graded}).suggestions == ()
    assert answered({**CITED, **graded, "model": "template"}).suggestions == ()


def test_a_suggestion_has_the_place_of_the_first_block_that_it_quotes() -> None:
    one = quote("On page two. On page three.")
    start = one.source.start
    places = (
        PlacedBlock(start, start + 12, 2, (10, 20, 900, 40), "Sheet1!A2"),
        PlacedBlock(start + 13, one.source.end, 3, None, ""),
    )
    near = replace(one, passage=replace(one.passage, places=places))
    graded = GradeOutput(extraction=Extraction((), 0.3, False, closest=(near,))).model_dump(mode="json")
    end = ending({**REFUSED, **graded}, USAGE)
    assert isinstance(end, Refused)
    (found,) = (chat.suggestion(one) for one in end.suggestions)
    assert (found.page, found.path) == (2, "Sheet1!A2")
    assert found.box == citation_pb2.PageBox(left=10, top=20, right=900, bottom=40)


def test_an_answer_tells_where_it_is_from_and_what_else_there_is() -> None:
    def also(collection: str) -> AlsoFound:
        return AlsoFound(collection, UUID(int=1), 1, "Rivers")

    own = CollectionKind.OWN
    evidence = Evidence(
        2,
        0,
        {},
        "",
        ("default", "notes"),
        {"default": own, "notes": own},
        (also("responsa-docs"), also("default")),
    )
    extraction = Extraction([QUOTE], 0.7, True, also_found=(also("notes"),))
    found = {
        "evidence": TypeAdapter(Evidence).dump_python(evidence, mode="json"),
        **GradeOutput(extraction=extraction).model_dump(mode="json"),
    }
    quoted = answered({**CITED, **found})
    assert (quoted.collection_id, quoted.collection_kind) == ("default", CollectionKind.OWN)
    assert [one.collection_id for one in quoted.also_found] == ["notes", "responsa-docs"]
    # All passages of the evidence may be in what a model wrote.
    written = answered({**WRITTEN, **CITED, **found})
    assert (written.collection_id, written.collection_kind) == ("", CollectionKind.OWN)
    assert [one.collection_id for one in written.also_found] == ["responsa-docs"]
    # A text that was written without passages is from nowhere.
    assert answered({**WRITTEN, **found}).collection_kind is None


def test_a_text_that_was_cut_is_not_whole_however_it_was_cited() -> None:
    cut = {**WRITTEN, "complete": False}
    assert answered(cut).outcome is AnswerOutcome.OUTPUT_LIMIT
    assert answered({**cut, **CITED}).outcome is AnswerOutcome.OUTPUT_LIMIT
    assert answered({**WRITTEN, **CITED}).outcome is AnswerOutcome.COMPLETE


# Takeovers


def agent(name: str, model: ChatModel, counted: list[Fallback] | None = None) -> PlannedAgent:
    shelf = Shelf(quotes=[QUOTE])
    parts = NodeParts(shelf, shelf, Judge([QUOTE]), Staff(), Notes(), model, classifiers=CLASSIFIERS)
    one = shipped(name, parts)
    counting = counted.append if counted is not None else None
    return PlannedAgent(one.plan, one._options, counted=counting)  # pyright: ignore[reportPrivateUsage] - the same agent, whose fallbacks are counted


def asked(name: str) -> AnswerTask:
    one = task("How long is the river Nile?")
    parameters = json.dumps({"teacher_id": str(ASHDOWN)}) if name == "tutor" else ""
    return replace(one, question=replace(one.question, parameters=parameters), conversation_id=UUID(int=9))


@pytest.mark.parametrize("name", ["chat", "tutor"])
async def test_a_turn_that_is_taken_over_at_any_milestone_ends_as_it_would_have(name: str) -> None:
    one = agent(name, Strong())
    question = asked(name)
    told = await told_by(one, question)
    end = told[-1]
    assert isinstance(end, Answered)
    milestones = [found.state for found in told if isinstance(found, Milestone)]
    assert milestones
    for state in milestones:
        again = (await told_by(one, replace(question, resume=state, meter=Meter())))[-1]
        assert isinstance(again, Answered)
        assert replace(again, usage=end.usage) == end


async def test_what_was_done_without_is_known_after_a_takeover_however_it_ends() -> None:
    counted: list[Fallback] = []
    question = asked("chat")
    with pytest.raises(Unavailable):
        await told_by(agent("chat", Broken(Kind.CUT), counted), question)
    routed = Fallback(FallbackKind.CLASSIFIER, "broken-cut", "intent", "model_unavailable:cut")
    assert list(question.meter.fallbacks) == counted == [routed]
    told = await told_by(agent("chat", Broken(Kind.UNREACHABLE)), asked("chat"))
    first = next(one.state for one in told if isinstance(one, Milestone))
    later = replace(asked("chat"), resume=first, meter=Meter())
    with pytest.raises(Unavailable):
        await told_by(agent("chat", Broken(Kind.CUT)), later)
    assert [one.cause for one in later.meter.fallbacks] == ["model_unavailable:unreachable"]


async def test_what_was_done_without_is_counted_once_also_of_a_turn_that_is_cut_short() -> None:
    counted: list[Fallback] = []
    question = asked("chat")
    told = await told_by(agent("chat", Broken(Kind.UNREACHABLE), counted), question)
    assert [one.target for one in counted] == ["intent", "quote"]
    counted.clear()
    # The turn runs until the first milestone, which follows the router. Then its time is up, or a caller cancels the
    # turn.
    first = next(place for place, one in enumerate(told) if isinstance(one, Milestone))
    cut = replace(question, meter=Meter())
    await told_by(agent("chat", Broken(Kind.UNREACHABLE), counted), cut, first + 1)
    assert [one.target for one in counted] == ["intent"]
    # The next worker counts only the fallbacks after the milestone.
    state = told[first]
    assert isinstance(state, Milestone)
    later = replace(question, resume=state.state, meter=Meter())
    end = (await told_by(agent("chat", Broken(Kind.UNREACHABLE), counted), later))[-1]
    assert isinstance(end, Answered)
    assert [one.target for one in counted] == [one.target for one in end.fallbacks] == ["intent", "quote"]


class Nothing(NodeModel):
    text: str = ""
    complete: bool = True


class FallsOften(Node[Nothing, Nothing]):
    """A node with more fallbacks than an event can list."""

    name = "a"
    input_model = Nothing
    output_model = Nothing
    policy = Policy()

    async def process(self, given: Nothing, run: Run) -> Nothing:
        for number in range(40):
            run.fell_back(Fallback(FallbackKind.RULE, "a", str(number // 2), "why"))
        return Nothing(text="So.")


async def test_the_first_sixteen_are_told_each_once() -> None:
    one = PlannedAgent(
        Plan({"a": FallsOften()}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]),
        agent("chat", Strong())._options,  # pyright: ignore[reportPrivateUsage] - any options serve this test
    )
    end = (await told_by(one, asked("chat")))[-1]
    assert isinstance(end, Answered)
    assert [found.target for found in end.fallbacks] == [str(number) for number in range(MAX_FALLBACKS)]
