"""The ends of turns and their events. A turn that another worker takes over ends in the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import cast
from uuid import UUID

import pytest
from pydantic import TypeAdapter

from responsa_lab.scripted.strong import Broken, Kind, Strong
from responsa_server.agents.engine.agent import PlannedAgent, ending
from responsa_server.agents.engine.citations import Claimed, citation, plain
from responsa_server.agents.engine.config import BEGIN
from responsa_server.agents.engine.graph import FINISH, Plan, Route
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Run
from responsa_server.agents.nodes.searching import RankOutput
from responsa_server.domain.agents import AnswerTask, Meter, Milestone
from responsa_server.domain.answers import Evidence, Ranking
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    MAX_FALLBACKS,
    Answered,
    AnswerOutcome,
    ByteRange,
    Citation,
    CitationState,
    Fallback,
    FallbackKind,
    RefusalReason,
    Refused,
    Usage,
)
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.models import ChatModel
from tests.unit.agents.evidence import Shelf, excerpt, quote, task
from tests.unit.agents.shipping import ASHDOWN, CLASSIFIERS, Judge, Notes, Staff, shipped
from tests.unit.agents.speaking import told_by

LONG = "The Nile is 6,650 km long."
QUOTE = replace(quote(LONG), text=LONG)
USAGE = Usage(1, 2, 3)
WRITTEN: Mapping[str, object] = {"text": "So.", "complete": True, "model": "a:x"}
CITED: Mapping[str, object] = {
    "answer": {"text": "So.", "citations": [], "outcome": "complete", "passages_used": 2}
}
REFUSED: Mapping[str, object] = {"refusal": {"reason": "no_support", "message": "Nothing."}}
NILE, LAKE, MORE = excerpt(LONG), excerpt("A lake.", title="Lakes"), excerpt("More.")
GRADED = RankOutput(
    evidence=Evidence(0, 0, {}), ranking=Ranking((NILE, LAKE), (MORE,), 0.7, near=True)
).model_dump(mode="json", include={"ranking"})
CITATION = cast("Citation", citation(Claimed("x", ByteRange(0, 3), 1), QUOTE, CitationState.QUOTED))


def answered(state: Mapping[str, object]) -> Answered:
    end = ending(state, USAGE)
    assert isinstance(end, Answered)
    return end


def test_an_answer_tells_who_wrote_it() -> None:
    assert answered(WRITTEN).model == "a:x"
    assert answered({**WRITTEN, **CITED}).model == "a:x"
    assert answered({**CITED, "model": "template"}).model == "template"
    # A text of a model that was rejected is not in the answer.
    unfit = {"text": "Buy!", "complete": False, **CITED, "model": "passages"}
    assert (answered(unfit).model, answered(unfit).outcome) == ("passages", AnswerOutcome.COMPLETE)


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
    expected = Refused(RefusalReason.NO_SUPPORT, "Nothing.", USAGE, 0.7, "out_of_scope")
    assert end == replace(expected, excerpts=(NILE, LAKE))


def test_a_refusal_shows_what_comes_closest() -> None:
    end = ending({**REFUSED, **GRADED}, USAGE)
    assert isinstance(end, Refused)
    assert end.excerpts == (NILE, LAKE)
    needs = ending({"refusal": {"reason": "needs_model", "message": "No."}, **GRADED}, USAGE)
    assert isinstance(needs, Refused)
    assert needs.excerpts == (NILE, LAKE)
    elsewhere = ending({"refusal": {"reason": "out_of_scope", "message": "No."}, **GRADED}, USAGE)
    assert isinstance(elsewhere, Refused)
    assert elsewhere.excerpts == ()


def test_a_model_that_finds_no_answer_refuses_even_if_no_node_does() -> None:
    end = ending({**WRITTEN, "text": "", "declined": True, **GRADED}, USAGE)
    assert isinstance(end, Refused)
    assert (end.reason, end.excerpts) == (RefusalReason.NO_SUPPORT, (NILE, LAKE))


def test_an_answer_of_passages_has_the_excerpts_that_its_text_shows() -> None:
    answer = {**cast("dict[str, object]", CITED["answer"]), "excerpts": 2}
    shown = answered({"answer": answer, **GRADED, "model": "passages"})
    assert (shown.excerpts, shown.more_excerpts) == ((NILE, LAKE), [MORE])
    # Of an answer of whole sections, those that the sections do not contain are further ones.
    place = NILE.source
    cited = replace(
        CITATION, document_id=NILE.document_id, version=NILE.version, source=ByteRange(place.end - 3, 999)
    )
    section = {
        **cast("dict[str, object]", CITED["answer"]),
        "citations": [plain(cited).model_dump(mode="json")],
    }
    whole = answered({"answer": section, **GRADED, "model": "passages"})
    assert (whole.excerpts, whole.more_excerpts) == ((), [LAKE, MORE])
    # What a model or a template has written shows none.
    assert answered({**WRITTEN, **CITED, **GRADED}).more_excerpts == ()


def test_an_answer_tells_where_it_is_from() -> None:
    own = CollectionKind.OWN
    evidence = Evidence(2, 0, {}, "", collections=("default", "notes"), kinds={"default": own, "notes": own})
    found = {"evidence": TypeAdapter(Evidence).dump_python(evidence, mode="json"), **GRADED}
    cited = {**cast("dict[str, object]", CITED["answer"]), "collections": ["default"]}
    one = answered({**WRITTEN, "answer": cited, **found})
    assert (one.collection_id, one.collection_kind) == ("default", own)
    # All passages of the evidence may be in a text without citations.
    written = answered({**WRITTEN, **CITED, **found})
    assert (written.collection_id, written.collection_kind) == ("", own)
    # A text that was written without passages is from nowhere.
    assert answered({**WRITTEN, **found}).collection_kind is None


def test_an_answer_counts_the_sentences_without_support() -> None:
    cited = {**cast("dict[str, object]", CITED["answer"]), "unsupported": 2, "outcome": "output_limit"}
    end = answered({**WRITTEN, "answer": cited})
    assert (end.unsupported, end.outcome) == (2, AnswerOutcome.OUTPUT_LIMIT)
    assert answered({**WRITTEN, "complete": False}).outcome is AnswerOutcome.OUTPUT_LIMIT


# Takeovers


def agent(name: str, model: ChatModel, counted: list[Fallback] | None = None) -> PlannedAgent:
    shelf = Shelf(excerpt(LONG))
    parts = NodeParts(shelf, Judge([QUOTE]), Staff(), Notes(), model, classifiers=CLASSIFIERS)
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
    assert [fallback.cause for fallback in later.meter.fallbacks] == ["model_unavailable:unreachable"]


async def test_what_was_done_without_is_counted_once_also_of_a_turn_that_is_cut_short() -> None:
    counted: list[Fallback] = []
    question = asked("chat")
    told = await told_by(agent("chat", Broken(Kind.UNREACHABLE), counted), question)
    assert [one.target for one in counted] == ["intent", "passages"]
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
    assert (
        [one.target for one in counted]
        == [fallback.target for fallback in end.fallbacks]
        == ["intent", "passages"]
    )


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
