"""Nodes that make search queries from a question and order the results: with a model, without a model, and with a model
that fails.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.state import StateMessage
from responsa_server.agents.nodes.refuse import Refuse, RefuseInput, RefuseOptions
from responsa_server.agents.nodes.searching import (
    MAX_QUERY_BYTES,
    QueryExample,
    QueryExpander,
    QueryExpanderInput,
    QueryExpanderOptions,
    Rank,
    RankInput,
    Retrieve,
    RetrieveInput,
    Rewrite,
    RewriteInput,
    after_previous,
    distinct,
    queries_of,
)
from responsa_server.domain.answers import Evidence, Ranking
from responsa_server.domain.conversations import Speaker
from responsa_server.domain.events import Fallback, FallbackKind, RefusalReason, Usage
from responsa_server.domain.models import Ended, ModelError, ModelFault, ModelPiece, TextPiece
from responsa_server.domain.turns import MAX_QUESTION_BYTES
from tests.unit.agents.asking import asker
from tests.unit.agents.evidence import FixedEvidence, evidence, excerpt, retrieval
from tests.unit.agents.speaking import Says, Turn

HISTORY = (
    StateMessage(speaker=Speaker.USER, text="How long is the Nile?"),
    StateMessage(speaker=Speaker.ASSISTANT, text="The Nile is 6,650 km long.", titles=("Rivers",)),
)
FOLLOW_UP = RewriteInput(question="Where is it?", history=HISTORY, summary="They spoke of Africa.")
BY_RULE = "Where is it? (How long is the Nile?)"
GONE: Sequence[ModelPiece | Exception] = [ModelError(ModelFault.OVERLOADED, "busy")]


def says(value: object) -> Says:
    return Says([TextPiece(value if isinstance(value, str) else json.dumps(value)), Ended(complete=True)])


# Rewriting


async def test_a_model_rewrites_from_what_was_said_before() -> None:
    model = says({"query": "Where is  the river\nNile?"})
    node = Rewrite(asker(model), "kb_search_query")
    turn = Turn()
    assert (await node.process(FOLLOW_UP, turn.run)).standalone_question == "Where is the river Nile?"
    asked = "\n".join(message.text for message in model.prompts[0].messages)
    assert all(
        part in asked for part in ("Where is it?", "The Nile is 6,650 km long.", "They spoke of Africa.")
    )
    assert model.prompts[0].purpose == "kb_search_query"
    assert node.calls_model
    assert not Rewrite().calls_model


@pytest.mark.parametrize(
    "answer", [{"query": "where is it?"}, {"query": "x " * MAX_QUESTION_BYTES}], ids=["same", "too long"]
)
async def test_what_is_no_rewriting_counts_as_none(answer: object) -> None:
    run = Turn().run
    node = Rewrite(asker(says(answer)), "kb_search_query")
    found = (await node.process(FOLLOW_UP, run)).standalone_question
    assert found in ("", BY_RULE)  # a reply that is too long does not fit the schema, so the rule applies
    assert (found == BY_RULE) is bool(run.fallen)


@pytest.mark.parametrize(
    ("model", "cause"),
    [(Says(GONE), "model_unavailable:overloaded"), (says("I would rather not."), "structured_invalid")],
)
async def test_where_the_model_fails_the_rule_rewrites_and_that_is_told(model: Says, cause: str) -> None:
    run = Turn().run
    node = Rewrite(asker(model), "kb_search_query")
    assert (await node.process(FOLLOW_UP, run)).standalone_question == BY_RULE
    assert run.fallen == [Fallback(FallbackKind.RULE, "rewrite", "rule", cause)]


async def test_without_anything_said_before_no_model_is_asked() -> None:
    model = says({"query": "x"})
    node = Rewrite(asker(model), "kb_search_query")
    assert (await node.process(RewriteInput(question="Where is it?"), Turn().run)).standalone_question == ""
    assert model.prompts == []


def talk_of(*questions: str, refused: bool = False) -> list[StateMessage]:
    """Questions that were answered, or refused."""
    return [
        one
        for question in questions
        for one in (
            StateMessage(speaker=Speaker.USER, text=question),
            StateMessage(speaker=Speaker.ASSISTANT, text="Here is what was found.", refused=refused),
        )
    ]


WAITING = StateMessage(speaker=Speaker.USER, text="And the Congo?")


@pytest.mark.parametrize(
    ("question", "talk", "rewritten"),
    [
        ("Where is it?", [], None),
        ("Where is it?", talk_of("Who?", refused=True), None),
        (
            "Where is it?",
            [*talk_of("Why?", "Who?"), *talk_of("When?", refused=True), WAITING],
            "Where is it? (Who?)",
        ),
        # It would be longer than a question may be.
        ("it " * 5461, talk_of("Who?"), None),
    ],
)
def test_a_question_carries_the_answered_one_before_it(
    question: str, talk: Sequence[StateMessage], rewritten: str | None
) -> None:
    assert after_previous(question, talk) == rewritten


# Expansions


async def test_other_wordings_are_as_many_as_asked_for_and_none_is_the_question() -> None:
    queries = [
        "Why does ice  float",
        "density of ice",
        "Density of ice?",
        "",
        "x" * (MAX_QUERY_BYTES + 1),
        "b",
        "c",
    ]
    model = says({"queries": queries})
    node = QueryExpander(asker(model), QueryExpanderOptions(most=2))
    given = QueryExpanderInput(question="And why?", standalone_question="Why does ice float?")
    output = await node.process(given, Turn().run)
    assert output.expansions == ("density of ice", "b")
    asked = "\n".join(message.text for message in model.prompts[0].messages)
    assert "up to 2" in asked
    assert "Why does ice float?" in asked


async def test_without_other_wordings_the_question_is_searched_for_as_it_is() -> None:
    inputs = QueryExpanderInput(question="Why?")
    run = Turn().run
    node = QueryExpander(asker(Says(GONE)), QueryExpanderOptions())
    assert (await node.process(inputs, run)).expansions == ()
    assert run.fallen == [Fallback(FallbackKind.RULE, "expand", "question", "model_unavailable:overloaded")]
    alone = QueryExpander(None, QueryExpanderOptions())
    assert (await alone.process(inputs, Turn().run)).expansions == ()
    assert not alone.calls_model


async def test_a_source_that_does_not_exist_is_ignored_and_the_questions_own_choice_stands() -> None:
    table = retrieval(source_parameter="source", sources={"book": {"description": "All of it."}, "notes": {}})
    model = says({"queries": [], "sources": ["moon", "notes"]})
    node = QueryExpander(asker(model), QueryExpanderOptions(sources=True), table)
    assert (await node.process(QueryExpanderInput(question="Why?"), Turn().run)).sources == ("notes",)
    assert "- book: All of it." in "\n".join(message.text for message in model.prompts[0].messages)
    for where in ({"parameters": {"source": "book"}}, {"collections": ["own"]}):
        model = says({"queries": []})
        example = QueryExample(question="Who?", queries=("a", "b"), sources=("book",))
        node = QueryExpander(asker(model), QueryExpanderOptions(sources=True, examples=(example,)), table)
        given = QueryExpanderInput.model_validate({"question": "Why?", **where}, strict=False)
        assert (await node.process(given, Turn().run)).sources == ()
        asked = "\n".join(message.text for message in model.prompts[0].messages)
        assert "All of it." not in asked
        assert '- Who? => {"queries": ["a", "b"]}\n' in asked


def test_distinct_keeps_the_first_of_each() -> None:
    assert distinct(["A  b?", "a b", "c", "C.", " "], except_for=["c?"]) == ["A b?"]


# Retrieving


@pytest.mark.parametrize(
    ("question", "standalone", "expected"),
    [
        ("Where?", "", ("Where?",)),
        ("Where is it?", "Where is it? (Nile)", ("Where is it? (Nile)", "Where is it?")),
        # The original question comes last, because passages found with other queries must be near the last query.
        ("Founded when?", "Founded when? (Nile)", ("Founded when? (Nile)", "Founded when?")),
    ],
)
def test_what_is_searched_for(question: str, standalone: str, expected: tuple[str, ...]) -> None:
    assert queries_of(RetrieveInput(question=question, standalone_question=standalone)) == expected


async def test_expansions_are_searched_for_besides_and_none_is_what_was_asked() -> None:
    fixed = FixedEvidence()
    given = RetrieveInput(question="Why?", expansions=("a", "why", "b", "A"))
    await Retrieve(fixed).process(given, Turn().run)
    assert [questions for questions, _ in fixed.asked] == [("Why?",)]
    assert fixed.options[0].expansions == ("a", "b")


async def test_the_agent_says_where_and_how_unless_the_request_says_where() -> None:
    fixed = FixedEvidence()
    table = retrieval(collections=("own",), top_k=3, threshold=0.2, rerank=False)
    node = Retrieve(fixed, table)
    await node.process(RetrieveInput(question="Why?"), Turn().run)
    await node.process(RetrieveInput(question="Why?", collections=("asked",)), Turn().run)
    assert [collections for _, collections in fixed.asked] == [("own",), ("asked",)]
    found = fixed.options[0]
    assert (found.top_k, found.threshold, found.rerank) == (3, 0.2, False)


async def test_without_a_model_a_question_is_searched_with_and_without_the_one_before_it() -> None:
    fixed = FixedEvidence()
    for model in (False, True):
        node = Retrieve(fixed, has_model=model)
        await node.process(RetrieveInput(question="Where is it?", history=HISTORY), Turn().run)
    assert [questions for questions, _ in fixed.asked] == [(BY_RULE, "Where is it?"), ("Where is it?",)]


async def test_a_question_in_another_language_than_all_documents_is_translated() -> None:
    fixed, model = (
        FixedEvidence(contents=Evidence(1, 0, {}, languages=("de", "en"))),
        says({"query": "How long?"}),
    )
    run = Turn().run
    translator = Rewrite(asker(model), "kb_search_query")
    await Retrieve(fixed, translator=translator).process(RetrieveInput(question="Wie lang?"), run)
    assert [questions for questions, _ in fixed.asked] == [("Wie lang?",), ("Wie lang?",)]
    assert [options.expansions for options in fixed.options] == [(), ("How long?",)]
    assert (run.fallen, "“en”" in model.prompts[0].messages[0].text) == ([], True)
    # In a language that a document has, it is searched once, and no model is asked.
    fixed = FixedEvidence()
    translator = Rewrite(asker(model), "kb_search_query")
    await Retrieve(fixed, translator=translator).process(RetrieveInput(question="Wie lang?"), run)
    assert (len(fixed.asked), len(model.prompts)) == (1, 1)


@pytest.mark.parametrize(
    ("model", "cause"), [(None, "no_model"), (Says(GONE), "model_unavailable:overloaded")]
)
async def test_without_a_translation_the_languages_are_told(model: Says | None, cause: str) -> None:
    fixed, run = FixedEvidence(contents=Evidence(1, 0, {}, languages=("de", "en", "fr"))), Turn().run
    node = Retrieve(fixed, translator=Rewrite(model and asker(model), "kb_search_query"))
    await node.process(RetrieveInput(question="Wie lang?"), run)
    assert run.fallen == [Fallback(FallbackKind.OTHER_LANGUAGE, "de", "en,fr", cause)]
    assert len(fixed.asked) == 1


async def test_a_search_by_words_alone_is_told() -> None:
    fixed = FixedEvidence(contents=Evidence(1, 0, {}, "text_only"))
    run = Turn().run
    await Retrieve(fixed).process(RetrieveInput(question="Why?"), run)
    assert run.fallen == [
        Fallback(FallbackKind.TEXT_ONLY, "retrieve", "text_only", "part_unavailable:vectors")
    ]


# Ranking


async def test_the_question_that_was_searched_for_is_ranked_for_and_the_cost_is_the_turns() -> None:
    failed = Fallback(FallbackKind.WITHOUT_RERANKER, "cohere:r", "search", "timeout")
    fixed = FixedEvidence(excerpt("Yes."), fallback=failed, usage=Usage(cost_micros=3))
    turn = Turn()
    run = turn.run
    node = Rank(fixed)
    given = RankInput(question="And why?", standalone_question="Why is it so?", evidence=evidence())
    output = await node.process(given, run)
    assert (fixed.ranked, output.ranking) == (["Why is it so?"], fixed.ranking)
    assert (run.fallen, turn.meter.usage.cost_micros) == ([failed], 3)
    assert node.validate_output(output)["ranking"] is fixed.ranking


# Refusing


@pytest.mark.parametrize(
    ("intent", "always", "reason"),
    [
        ("out_of_scope", False, RefusalReason.OUT_OF_SCOPE),
        ("qa", False, RefusalReason.NO_SUPPORT),
        ("", True, RefusalReason.OUT_OF_SCOPE),
        ("", False, RefusalReason.NO_SUPPORT),
    ],
)
async def test_a_refusal_says_why(intent: str, always: bool, reason: RefusalReason) -> None:
    traits = Traits("Tutor", ("Why is the sky blue?",))
    given = RefuseInput(question="Set an alarm.", intent=intent)
    output = await Refuse(NodeParts(traits=traits), options=RefuseOptions(out_of_scope=always)).process(
        given, Turn().run
    )
    assert output.refusal.reason is reason
    out = reason is RefusalReason.OUT_OF_SCOPE
    assert ("Tutor" in output.refusal.message) is out
    assert ("Why is the sky blue?" in output.refusal.message) is out
    assert ("I searched" in output.refusal.message) is not out


@pytest.mark.parametrize(
    ("question", "support", "declined", "heading"),
    [
        ("Who built the lighthouse?", 0.4, False, "Closest passages"),
        ("Who built the lighthouse?", 0.0, False, "Nothing close was found"),
        ("Who built the lighthouse?", 0.9, True, "The model found no answer in these passages"),
        ("Wer hat den Leuchtturm gebaut?", 0.4, False, "Nächstliegende Stellen"),
        ("Wer hat den Leuchtturm gebaut?", 0.0, False, "Nichts Naheliegendes gefunden"),
        (
            "Wer hat den Leuchtturm gebaut?",
            0.9,
            True,
            "Das Modell hat in diesen Stellen keine Antwort gefunden",
        ),
    ],
)
async def test_only_a_model_finds_that_passages_have_no_answer(
    question: str, support: float, *, declined: bool, heading: str
) -> None:
    found = Ranking(support=support)
    given = RefuseInput(question=question, evidence=evidence(), ranking=found, declined=declined)
    message = (await Refuse(NodeParts()).process(given, Turn().run)).refusal.message
    shown, searched = message.split("\n\n")
    assert (shown, question in searched) == (heading, True)


async def test_a_refusal_says_which_collections_were_searched_and_does_not_name_them() -> None:
    traits = replace(Traits(), retrieval=retrieval(collections=("secret",)))
    for asked, said in (
        ((), "what you may read of this agent's collections"),
        (("theirs",), "the chosen collections"),
    ):
        given = RefuseInput(question="Why?", collections=asked, evidence=evidence())
        message = (await Refuse(NodeParts(traits=traits)).process(given, Turn().run)).refusal.message
        assert f"I searched {said} for " in message
        assert "secret" not in message


@pytest.mark.parametrize(
    ("collections", "passages", "remedy"),
    [
        (
            (),
            0,
            "Use the words that your documents use,",
        ),
        (
            ("law",),
            1,
            "Name the subject in full,",
        ),
    ],
)
async def test_a_refusal_names_the_filter(collections: tuple[str, ...], passages: int, remedy: str) -> None:
    found = replace(evidence(), passages=passages)
    given = RefuseInput(
        question="Why?", collections=collections, document_filter="labels.team = legal", evidence=found
    )
    message = (await Refuse(NodeParts()).process(given, Turn().run)).refusal.message
    said = "I searched the documents that match the filter “labels.team = legal” for “Why?”. "
    assert message.startswith(f"Nothing close was found\n\n{said}{remedy}")
