"""The nodes that classify a message: intent, category, whether it needs documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from pydantic import ValidationError

from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.state import StateMessage
from responsa_server.agents.nodes.deciding import (
    CategoryInput,
    CategoryOptions,
    IntentInput,
    IntentOptions,
    IntentOutput,
    IntentRouter,
    NeedInput,
    NeedOptions,
    NeedOutput,
    QuestionCategoriser,
    RetrievalNeed,
)
from responsa_server.domain.events import Fallback, FallbackKind
from responsa_server.domain.intents import Example, IntentClassifier
from responsa_server.domain.models import ChatModel, ModelError, ModelFault
from tests.unit.agents.asking import PROMPTS
from tests.unit.agents.evidence import FixedEvidence, retrieval
from tests.unit.agents.shipping import Knows
from tests.unit.agents.speaking import Says, Turn, says

OPTIONS = IntentOptions(examples="e", prompt="intent_classification")
KNOWS = Knows({"Hello": "chitchat", "Why": "qa"})
TALK = tuple(
    StateMessage.model_validate({"speaker": who, "text": text})
    for who, text in (("user", "How long is the river Nile?"), ("assistant", "The Nile is long."))
)
EXAMPLES = [
    *(Example(f"text {number}", "qa" if number % 2 else "post") for number in range(20)),
    Example("Book a train", "oos"),
]


def parts(
    model: ChatModel | None, classifier: IntentClassifier | None = None, examples: Sequence[Example] = ()
) -> NodeParts:
    """What a node is made of whose examples are in the file "e"."""
    classifiers = {"e": classifier} if classifier is not None else {}
    return NodeParts(model=model, prompts=PROMPTS, classifiers=classifiers, examples={"e": examples})


# Intent


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("qa", "qa"), ("chitchat", "chitchat"), ("post", "post"), ("linkedin", "post")],
)
async def test_a_chosen_intent_goes_before_all_else(choice: str, expected: str) -> None:
    model = says('{"intent": "qa", "follow_up": false}')
    node = IntentRouter(parts(model, KNOWS), OPTIONS, "intent")
    turn = Turn()
    found = await node.process(IntentInput(question="Hello", parameters={"intent": choice}), turn.run)
    assert found == IntentOutput(intent=expected, follow_up=False)
    assert model.prompts == []


@pytest.mark.parametrize("choice", ["out_of_scope", "tool", 7, None, ["qa"]])
async def test_what_is_no_intent_to_choose_chooses_nothing(choice: object) -> None:
    node = IntentRouter(parts(None, KNOWS), OPTIONS, "intent")
    asked = IntentInput.model_validate({"question": "Hello", "parameters": {"intent": choice}})
    assert (await node.process(asked, Turn().run)).intent == "chitchat"


async def test_a_model_goes_before_the_classifier() -> None:
    model = says('{"intent": "post", "follow_up": true}')
    node = IntentRouter(parts(model, KNOWS, EXAMPLES), OPTIONS, "intent")
    assert node.calls_model
    output = await node.process(IntentInput(question="Hello", history=TALK), Turn().run)
    assert output == IntentOutput(intent="post", follow_up=True)
    (prompt,) = model.prompts
    instructions = prompt.messages[0].text
    assert "exactly one of: chitchat, qa, post, out_of_scope" in instructions
    assert instructions.count(" => qa") == instructions.count(" => post") == 4
    assert "- Book a train => out_of_scope" in instructions
    assert '"enum":["chitchat","qa","post","out_of_scope"]' in instructions
    # The first message is not a follow-up.
    output = await node.process(IntentInput(question="Hello"), Turn().run)
    assert output.follow_up is False


@pytest.mark.parametrize(
    "answer", ["no json", '{"intent": "shopping", "follow_up": false}', '{"intent": "qa"}']
)
async def test_a_model_that_answers_something_else_gives_way_to_the_classifier(answer: str) -> None:
    turn = Turn()
    run = turn.run
    node = IntentRouter(parts(says(answer), KNOWS), OPTIONS, "intent")
    assert (await node.process(IntentInput(question="Hello"), run)).intent == "chitchat"
    assert run.fallen == [Fallback(FallbackKind.CLASSIFIER, "m", "intent", "structured_invalid")]


async def test_without_model_and_classifier_a_question_is_a_question() -> None:
    run = Turn().run
    node = IntentRouter(parts(Says([ModelError(ModelFault.TIMEOUT, "")])), OPTIONS, "intent")
    assert (await node.process(IntentInput(question="Hello"), run)).intent == "qa"
    assert run.fallen == [Fallback(FallbackKind.RULE, "m", "intent", "model_unavailable:timeout")]
    other = IntentRouter(NodeParts(), IntentOptions(examples="e", intents=("buy", "sell")), "intent")
    assert (await other.process(IntentInput(question="Hello"), Turn().run)).intent == "buy"


async def test_what_the_classifier_does_not_know_is_out_of_scope() -> None:
    node = IntentRouter(parts(None, KNOWS), OPTIONS, "intent")
    assert not node.calls_model
    assert (await node.process(IntentInput(question="Book a train"), Turn().run)).intent == "out_of_scope"
    # A label that the classifier knows but the agent lacks is also out of scope.
    other = IntentRouter(parts(None, KNOWS), IntentOptions(examples="e", intents=("qa",)), "intent")
    assert (await other.process(IntentInput(question="Hello"), Turn().run)).intent == "out_of_scope"


def test_the_options_need_examples_and_an_intent() -> None:
    with pytest.raises(ValidationError):
        IntentOptions.model_validate({})
    with pytest.raises(ValidationError):
        IntentOptions.model_validate({"examples": "e", "intents": []})


# Category


async def test_the_classifier_tells_the_category_or_none() -> None:
    node = QuestionCategoriser(parts(None, KNOWS), CategoryOptions(examples="e"), "category")
    assert (await node.process(CategoryInput(question="Why?"), Turn().run)).category == "qa"
    assert (await node.process(CategoryInput(question="Thus?"), Turn().run)).category == ""
    # The node uses the rewritten question.
    asked = CategoryInput(question="Thus?", standalone_question="Why thus?")
    assert (await node.process(asked, Turn().run)).category == "qa"
    nothing = QuestionCategoriser(NodeParts(), CategoryOptions(examples="e"), "category")
    assert (await nothing.process(CategoryInput(question="Why?"), Turn().run)).category == ""


async def test_a_model_tells_the_category_by_the_labels_of_the_examples() -> None:
    options = CategoryOptions(examples="e", prompt="intent_classification")
    model = says('{"category": "post"}')
    node = QuestionCategoriser(parts(model, None, EXAMPLES), options, "category")
    assert (await node.process(CategoryInput(question="Why?"), Turn().run)).category == "post"
    assert "exactly one of: post, qa, out_of_scope" in model.prompts[0].messages[0].text
    run = Turn().run
    node = QuestionCategoriser(parts(says('{"category": "x"}'), KNOWS, EXAMPLES), options, "category")
    assert (await node.process(CategoryInput(question="Why?"), run)).category == "qa"
    assert [one.kind for one in run.fallen] == [FallbackKind.CLASSIFIER]
    # Without labels the node asks no model.
    assert not QuestionCategoriser(parts(model), options, "category").calls_model


# Need


NEEDS = Knows({"Hello": "direct", "Thanks": "direct", "What": "retrieve"})


@pytest.mark.parametrize(
    ("question", "needs"),
    [
        ("Hello to all teachers and pupils and guests!", False),
        ("What is a river delta made of in general?", True),
        ("Something that nobody has ever asked about?", True),
        ("What is it?", True),
        ("I have just bought a lamp for the desk in my room.", True),
        ("Light travels through empty space at any speed.", True),
    ],
)
async def test_what_is_not_known_to_need_nothing_is_looked_for(question: str, *, needs: bool) -> None:
    for model in (None, says("")):  # a model would rewrite what may go on with the talk
        node = RetrievalNeed(parts(model, NEEDS), NeedOptions(examples="e"), "need")
        found = await node.process(NeedInput(question=question, history=TALK), Turn().run)
        assert found == NeedOutput(needs_retrieval=needs, follow_up=model is not None)


async def test_a_message_is_looked_for_if_the_classifier_is_not_sure_enough() -> None:
    for sure, needs in ((0.9, False), (0.95, True)):
        node = RetrievalNeed(parts(None, NEEDS), NeedOptions(examples="e", sure=sure), "need")
        assert (await node.process(NeedInput(question="Hello!"), Turn().run)).needs_retrieval is needs


@pytest.mark.parametrize(
    ("question", "looked_up", "needs"),
    [
        ("Hello", "", False),
        ("hello, Pharos!", "Pharos!", True),
        ("Hello and many thanks, Pharos!", "", False),
        ("Hello Rhodos", "Rhodos", False),
    ],
)
async def test_what_documents_have_and_no_small_talk_is_looked_for(
    question: str, looked_up: str, *, needs: bool
) -> None:
    fixed = FixedEvidence(words={"Pharos!"})
    examples = [Example("Hello! And many thanks", "direct"), Example("Rhodos?", "retrieve")]
    knows = Knows({"Hello": "direct", "hello": "direct"})
    node = RetrievalNeed(
        replace(
            parts(None, knows, examples),
            source=fixed,
            traits=replace(Traits(), retrieval=retrieval(collections=("own",))),
        ),
        NeedOptions(examples="e"),
        "need",
    )
    assert (await node.process(NeedInput(question=question), Turn().run)).needs_retrieval is needs
    assert fixed.looked_up == ([(looked_up, ("own",))] if looked_up else [])


async def test_a_model_decides_and_the_classifier_when_it_does_not() -> None:
    options = NeedOptions(examples="e", prompt="intent_classification")
    model = says('{"needs_retrieval": false, "follow_up": true}')
    node = RetrievalNeed(parts(model, NEEDS), options, "need")
    found = await node.process(NeedInput(question="What is it?", history=TALK), Turn().run)
    assert found == NeedOutput(needs_retrieval=False, follow_up=True)
    run = Turn().run
    node = RetrievalNeed(parts(says("?"), NEEDS), options, "need")
    assert (await node.process(NeedInput(question="What is it?"), run)).needs_retrieval
    assert [one.kind for one in run.fallen] == [FallbackKind.CLASSIFIER]
