"""The ends of turns and their events. A turn that another worker takes over ends in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from responsa_contract import JudgeVerdict, QuoteOrigin
from responsa_lab.scripted.strong import Broken, FailureKind, Strong
from responsa_server.agents.engine.agent import PlannedAgent, ending
from responsa_server.agents.engine.citations import citation, plain
from responsa_server.agents.engine.config import BEGIN
from responsa_server.agents.engine.declining import NO_ANSWER
from responsa_server.agents.engine.graph import FINISH, Plan, Route
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Run
from responsa_server.domain.agents import Meter, Milestone
from responsa_server.domain.answers import CheckedClaim, CitedSentence, Evidence, Ranking
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    MAX_FALLBACKS,
    Answered,
    AnswerOutcome,
    ByteRange,
    Citation,
    Fallback,
    FallbackKind,
    RefusalReason,
    Refused,
    Usage,
)
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.models import ChatModel
from tests.raising import raises
from tests.unit.agents.evidence import excerpt
from tests.unit.agents.shipping import LONG, QUOTE, parts_of, shipped, task_for
from tests.unit.agents.speaking import answer_in, refusal_in, says, told_by

USAGE = Usage(1, 2, 3)
WRITTEN: Mapping[str, object] = {"text": "So.", "complete": True, "model": "a:x"}
CITED: Mapping[str, object] = {
    "answer": {"text": "So.", "citations": [], "outcome": "complete", "passages_used": 2}
}
REFUSED: Mapping[str, object] = {"refusal": {"reason": "no_support", "message": "Nothing."}}
NILE, LAKE, MORE = excerpt(LONG), excerpt("A lake.", title="Lakes"), excerpt("More.")
GRADED = Ranking((NILE, LAKE), (MORE,), 0.7, near=True)
CITATION = cast(
    "Citation",
    citation(CitedSentence("x", ByteRange(0, 3), 1), CheckedClaim(QUOTE, QUOTE, QuoteOrigin.COPIED), 0),
)


def answered(state: Mapping[str, object], ranking: Ranking = GRADED) -> Answered:
    return answer_in([ending(state, ranking, USAGE)])


def test_an_answer_tells_who_wrote_it_and_how_much_of_it_has_no_support() -> None:
    cited = {
        **cast("dict[str, object]", CITED["answer"]),
        "outcome": "output_limit",
        "citations": [plain(CITATION), plain(replace(CITATION, verdict=JudgeVerdict.DENIED))],
    }
    end = answered({**WRITTEN, "answer": cited})
    assert (end.unsupported, end.outcome) == (1, AnswerOutcome.OUTPUT_LIMIT)
    assert answered({**WRITTEN, "complete": False}).outcome is AnswerOutcome.OUTPUT_LIMIT
    assert answered(WRITTEN).model == "a:x"
    assert answered({**WRITTEN, **CITED}).model == "a:x"
    assert answered({**CITED, "model": "template"}).model == "template"
    # A text of a model that was rejected is not in the answer.
    unfit = {"text": "Buy!", "complete": False, **CITED, "model": "passages"}
    assert (answered(unfit).model, answered(unfit).outcome) == ("passages", AnswerOutcome.COMPLETE)


def test_an_answer_tells_what_the_question_was_taken_for() -> None:
    state = {**CITED, "intent": "qa", "category": "fact", "standalone_question": "Why?"}
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


def test_a_refusal_tells_what_the_question_was_taken_for_and_shows_what_comes_closest() -> None:
    end = ending({**REFUSED, "intent": "out_of_scope"}, GRADED, USAGE)
    expected = Refused(RefusalReason.NO_SUPPORT, "Nothing.", USAGE, 0.7, "out_of_scope")
    assert end == replace(expected, excerpts=(NILE, LAKE))
    for reason, shown in (("needs_model", (NILE, LAKE)), ("out_of_scope", ())):
        refusal = refusal_in([ending({"refusal": {"reason": reason, "message": "No."}}, GRADED, USAGE)])
        assert refusal.excerpts == shown
    # A model that finds no answer refuses even if no node does.
    declined = refusal_in([ending({**WRITTEN, "text": "", "declined": True}, GRADED, USAGE)])
    assert (declined.reason, declined.excerpts) == (RefusalReason.NO_SUPPORT, (NILE, LAKE))


def test_an_answer_of_passages_has_the_excerpts_that_its_text_shows() -> None:
    answer = {**cast("dict[str, object]", CITED["answer"]), "excerpts": 2}
    shown = answered({"answer": answer, "model": "passages"})
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
    whole = answered({"answer": section, "model": "passages"})
    assert (whole.excerpts, whole.more_excerpts) == ((), [LAKE, MORE])
    # What a model or a template has written shows none.
    assert answered({**WRITTEN, **CITED}).more_excerpts == ()


def test_an_answer_tells_where_it_is_from() -> None:
    own = CollectionKind.OWN
    evidence = Evidence(2, 0, {}, "", collections=("default", "notes"), kinds={"default": own, "notes": own})
    with_evidence = {"evidence": evidence}
    cited = {**cast("dict[str, object]", CITED["answer"]), "collections": ["default"]}
    one = answered({**WRITTEN, "answer": cited, **with_evidence})
    assert (one.collection_id, one.collection_kind) == ("default", own)
    # All passages of the evidence may be in a text without citations.
    written = answered({**WRITTEN, **CITED, **with_evidence})
    assert (written.collection_id, written.collection_kind) == ("", own)
    # A text that was written without passages is from nowhere.
    assert answered({**WRITTEN, **with_evidence}).collection_kind is None


# Takeovers


def agent(name: str, model: ChatModel, counted: list[Fallback] | None = None) -> PlannedAgent:
    one = shipped(name, parts_of(model))
    counting = counted.append if counted is not None else None
    # The same agent, whose fallbacks are counted.
    return PlannedAgent(one.plan, one._options, counted=counting)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("name", "model", "kind"),
    [("chat", Strong(), Answered), ("tutor", Strong(), Answered), ("default", says(NO_ANSWER), Refused)],
)
async def test_a_turn_that_is_taken_over_at_any_milestone_ends_as_it_would_have(
    name: str, model: ChatModel, kind: type[Answered | Refused]
) -> None:
    taken_over = agent(name, model)
    question = task_for(name)
    events = await told_by(taken_over, question)
    end = events[-1]
    assert isinstance(end, kind)
    assert kind is Answered or end.excerpts
    milestones = [found.state for found in events if isinstance(found, Milestone)]
    assert milestones
    for state in milestones:
        again = (await told_by(taken_over, replace(question, resume=state, meter=Meter())))[-1]
        assert isinstance(again, kind)
        assert replace(again, usage=end.usage) == end


async def test_what_was_done_without_is_known_after_a_takeover_however_it_ends() -> None:
    counted: list[Fallback] = []
    question = task_for("chat")
    await raises(Unavailable, told_by(agent("chat", Broken(FailureKind.CUT), counted), question))
    routed = Fallback(FallbackKind.CLASSIFIER, "broken-cut", "intent", "model_unavailable:cut")
    assert list(question.meter.fallbacks) == counted == [routed]
    told = await told_by(agent("chat", Broken(FailureKind.UNREACHABLE)), task_for("chat"))
    first = next(one.state for one in told if isinstance(one, Milestone))
    later = replace(task_for("chat"), resume=first, meter=Meter())
    await raises(Unavailable, told_by(agent("chat", Broken(FailureKind.CUT)), later))
    assert [fallback.cause for fallback in later.meter.fallbacks] == ["model_unavailable:unreachable"]


async def test_what_was_done_without_is_counted_once_also_of_a_turn_that_is_cut_short() -> None:
    counted: list[Fallback] = []
    question = task_for("chat")
    events = await told_by(agent("chat", Broken(FailureKind.UNREACHABLE), counted), question)
    assert [one.target for one in counted] == ["intent", "passages"]
    counted.clear()
    # The turn runs until the first milestone, which follows the router. Then its time is up, or a caller cancels the
    # turn.
    first = next(place for place, one in enumerate(events) if isinstance(one, Milestone))
    cut = replace(question, meter=Meter())
    await told_by(agent("chat", Broken(FailureKind.UNREACHABLE), counted), cut, first + 1)
    assert [one.target for one in counted] == ["intent"]
    # The next worker counts only the fallbacks after the milestone.
    state = events[first]
    assert isinstance(state, Milestone)
    later = replace(question, resume=state.state, meter=Meter())
    end = answer_in(await told_by(agent("chat", Broken(FailureKind.UNREACHABLE), counted), later))
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

    async def process(self, inputs: Nothing, run: Run) -> Nothing:
        for number in range(40):
            run.fell_back(Fallback(FallbackKind.RULE, "a", str(number // 2), "why"))
        return Nothing(text="So.")


async def test_the_first_sixteen_are_told_each_once() -> None:
    one = PlannedAgent(
        Plan({"a": FallsOften()}, [Route(BEGIN, ("a",)), Route("a", (FINISH,))]),
        agent("chat", Strong())._options,  # pyright: ignore[reportPrivateUsage] - any options serve this test
    )
    end = answer_in(await told_by(one, task_for("chat")))
    assert [found.target for found in end.fallbacks] == [str(number) for number in range(MAX_FALLBACKS)]
