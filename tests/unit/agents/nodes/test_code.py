"""The shipped code assistants, with and without a model, and their note on the code in a model's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from responsa_lab.scripted.strong import Strong
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.checking import code_note, own_blocks
from responsa_server.domain.agents import AgentEvent, AnswerTask
from responsa_server.domain.events import Answered, Delta, Refused
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.listing import AllOf, AnyOf
from responsa_server.domain.lists import SEARCHED
from tests.unit.agents import shipping
from tests.unit.agents.evidence import FixedEvidence, evidence, excerpt, quote
from tests.unit.agents.shipping import Knows, Remembers, parts_of, shipped
from tests.unit.agents.speaking import answer_in, told_by

CODE = "```cairo\nfn area(width: u64, height: u64) -> u64 {\n    width * height\n}\n```"
SECTION = f"The function area multiplies.\n\n{CODE}"
CLASSIFIERS = {
    "examples/categories.jsonl": Knows({"Write a contract": "contract"}, "explanation"),
    "examples/small_talk.jsonl": Knows({"Thanks": "direct", "Danke": "direct"}, "retrieve"),
    "examples/languages.jsonl": Knows({"Danke": "de", "Thanks": "en"}),
}


def parts(fixed: FixedEvidence, model: Strong | None = None) -> NodeParts:
    return parts_of(model, fixed, fixed.quotes, classifiers=CLASSIFIERS)


def books() -> FixedEvidence:
    found = replace(quote(SECTION), text=SECTION, shown=SECTION)
    return FixedEvidence(excerpt(found.text), quotes=[found])


def task_for(text: str, **parameters: object) -> AnswerTask:
    return shipping.task_for("cairo", text, **parameters)


def ended(events: Sequence[AgentEvent]) -> Answered:
    end = answer_in(events)
    assert "".join(one.text for one in events if isinstance(one, Delta)) == end.text
    return end


@pytest.mark.parametrize("agent", ["default", "cairo", "scarb", "knowledge"])
@pytest.mark.parametrize(("message", "begins"), [("Thanks!", "This is "), ("Danke!", "Hier antwortet ")])
async def test_small_talk_gets_a_fixed_text_and_searches_nothing(
    agent: str, message: str, begins: str
) -> None:
    for model in (None, Remembers("Never.")):
        fixed = books()
        end = ended(await told_by(shipped(agent, parts(fixed, model)), task_for(message)))
        assert end.text.startswith(begins)
        assert (end.model, end.citations, list(end.fallbacks), fixed.asked) == ("template", [], [], [])
        assert model is None or model.prompts == []


@pytest.mark.parametrize(("agent", "samples"), [("cairo", "cairo scarb"), ("scarb", "scarb")])
async def test_an_agent_without_documents_names_its_samples(agent: str, samples: str) -> None:
    (*_, end) = await told_by(
        shipped(agent, parts(FixedEvidence(contents=evidence(0), near=False))),
        task_for("What is a snapshot?"),
    )
    assert isinstance(end, Refused)
    assert f"`responsa samples load {samples}`" in end.message


@pytest.mark.parametrize("agent", ["cairo", "scarb"])
async def test_raw_shows_what_was_found_and_asks_no_model(agent: str) -> None:
    model = Remembers("Never.")
    end = ended(await told_by(shipped(agent, parts(books(), model)), task_for("area", raw=True)))
    assert (end.text, end.model, model.prompts) == (SECTION, "passages", [])


async def test_a_source_decides_where_is_searched() -> None:
    fixed = books()
    agent = shipped("cairo", parts(fixed))
    for source, collections, keys in (
        ("cairo_book", ("cairo",), 'source_key = "cairo_book/*"'),
        ("scarb_docs", ("scarb",), ""),
        (None, ("cairo", "scarb"), ""),
    ):
        await told_by(agent, task_for("area", **({"source": source} if source else {})))
        assert fixed.asked[-1][1] == collections
        assert fixed.options[-1].filters == tuple(parse_filter(SEARCHED, keys))
    # The question's own filter holds as well.
    one = task_for("area", source="cairo_book")
    one = replace(one, question=replace(one.question, document_filter='title = "x"'))
    await told_by(agent, one)
    assert len(fixed.options[-1].filters) == 2


async def test_a_model_chooses_the_sources_unless_the_question_does() -> None:
    fixed, model = books(), Remembers("Multiply both. [1]")
    agent = shipped("cairo", parts(fixed, model))
    book, other = (
        parse_filter(SEARCHED, f'collection = "collections/cairo" AND source_key = "{key}/*"')
        for key in ("cairo_book", "openzeppelin_docs")
    )
    for question, collections, filters in (
        ("How do I add a dependency with scarb?", ("scarb",), ()),
        ("How do openzeppelin and the book test?", ("cairo",), (AnyOf((AllOf((*book,)), AllOf((*other,)))),)),
        ("How do I compute an area?", ("cairo", "scarb"), ()),
    ):
        await told_by(agent, task_for(question))
        assert fixed.asked[-1][1] == collections
        assert fixed.options[-1].filters == filters
    await told_by(agent, task_for("How do I add a dependency with scarb?", source="cairo_book"))
    assert fixed.asked[-1][1] == ("cairo",)
    # Where the chosen source has nothing, all are searched.
    nothing = FixedEvidence(contents=evidence(0), near=False)
    await told_by(shipped("cairo", parts(nothing, model)), task_for("How do I add a dependency with scarb?"))
    assert [collections for _, collections in nothing.asked] == [("scarb",), ("cairo", "scarb")]


OWN = "```cairo\nfn volume() -> u64 {\n    1\n}\n```"


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (f"Use this. [1]\n\n{CODE}", "The code in this answer is word for word from the passages."),
        (
            f"Use this. [1]\n\n{OWN}",
            "The code in this answer was written by the model, and is unchecked.",
        ),
        (
            f"Use this. [1]\n\n{CODE}\n\nOr this:\n\n{OWN}",
            "Of the 2 blocks of code, number 2 was written by the model, and unchecked. The others are word for word from the passages.",
        ),
        ("Multiply both. [1]", ""),
    ],
)
async def test_a_models_text_says_where_its_code_is_from(text: str, note: str) -> None:
    model = Remembers(text)
    end = ended(await told_by(shipped("scarb", parts(books(), model)), task_for("How do I compute an area?")))
    sent = text.replace(" [1]", "")
    assert end.text == (f"{sent}\n\n*{note}*" if note else sent)
    assert len(end.citations) == 1


def test_white_space_around_lines_makes_no_other_code() -> None:
    passage = "fn main() {\n        let a = 1;\n\n}\nfn other() {}"
    assert own_blocks(["fn main() {\n    let a = 1;\n}"], [passage]) == []
    assert own_blocks(["let b = 1;", "let a = 1;", "let c"], [passage]) == [1, 3]
    assert "numbers 1, 3 were" in code_note(3, [1, 3])
