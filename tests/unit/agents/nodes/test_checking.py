"""Each mark that names a passage is a citation. The text stays as it was, or is held back until its citations are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from responsa_contract import QuoteOrigin
from responsa_server.agents.engine.calling import CallModel, ResultModel
from responsa_server.agents.engine.citations import AnswerModel, MarkFilter, of_plain
from responsa_server.agents.nodes.checking import CitationChecker, CitationCheckerInput, CitationCheckerOutput
from responsa_server.domain.answers import CheckedClaim, CitedSentence, Evidence, FoundSource, Quote
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    MAX_CITATIONS,
    MAX_FULL_CITATIONS,
    MAX_SHORT_QUOTE_BYTES,
    AnswerOutcome,
    ByteRange,
    Cited,
    Delta,
    ToolCitation,
    ToolOrigin,
    ToolOutcome,
    ToolSource,
)
from tests.unit.agents.evidence import evidence, quote, retrieval
from tests.unit.agents.shipping import known
from tests.unit.agents.speaking import Turn


class Believes:
    """A judge with fixed verdicts by claim."""

    def __init__(self, quotes: Mapping[str, Quote], invented: Sequence[str] = ()) -> None:
        self.quotes = quotes
        self.invented = invented
        self.asked: list[tuple[Sequence[tuple[str, int]], int]] = []
        self.sources: Sequence[FoundSource] = ()

    async def check(
        self,
        claims: Sequence[CitedSentence],
        evidence: Evidence,
        most_bytes: int,
        sources: Sequence[FoundSource] = (),
    ) -> Sequence[CheckedClaim | None]:
        self.asked.append(([(claim.text, claim.passage) for claim in claims], most_bytes))
        self.sources = sources
        nothing = quote("")
        return [
            CheckedClaim(nothing, nothing, QuoteOrigin.NOT_FOUND)
            if claim.text in self.invented
            else known(self.quotes.get(claim.text))
            for claim in claims
        ]


FETCHED = datetime(2026, 11, 22, 23, 40, tzinfo=UTC)


def written(marked: str, *, complete: bool = True, evidence: Evidence | None = None) -> CitationCheckerInput:
    marks = MarkFilter()
    text = marks.feed(marked) + marks.end()
    given = {"text": text, "complete": complete, "marks": marks.marks, "shown": 2 if evidence else 0}
    return CitationChecker(Believes({})).validate_input(
        given | ({"evidence": evidence} if evidence is not None else {})
    )


def answer_of(output: CitationCheckerOutput) -> AnswerModel:
    assert output.answer is not None
    return output.answer


async def test_what_names_a_passage_is_cited() -> None:
    judge = Believes({"It boils.": quote("Water boils."), "It freezes.": quote("Water freezes.", score=0.5)})
    node = CitationChecker(judge, retrieval(context_tokens=175))
    turn = Turn()
    given = written("It boils. [1] It sings. [2] It freezes. [2] So it is.", evidence=evidence(3))
    output = await node.process(given, turn.run)
    assert judge.asked == [([("It boils.", 1), ("It sings.", 2), ("It freezes.", 2)], 700)]
    answer = answer_of(output)
    assert answer.text == "It boils. It sings. It freezes. So it is."
    assert [(citation.quote, citation.answer, citation.score) for citation in answer.citations] == [
        ("Water boils.", ByteRange(0, 9), 0.8),
        ("Water freezes.", ByteRange(20, 31), 0.5),
    ]
    assert (answer.outcome, answer.passages_used) == (AnswerOutcome.COMPLETE, 2)
    assert [event.citation.quote for event in turn.events if isinstance(event, Cited)] == [
        "Water boils.",
        "Water freezes.",
    ]
    assert len(turn.events) == 2
    node.validate_output(output)


async def test_a_text_without_marks_or_without_documents_is_an_answer_without_citations() -> None:
    judge = Believes({})
    node = CitationChecker(judge)
    for inputs, used in (
        (written("Hello.", complete=False), 0),
        (written("It boils. [1]"), 0),
        (written("Hello.", evidence=evidence()), 2),
    ):
        turn = Turn()
        output = await node.process(inputs, turn.run)
        answer = answer_of(output)
        assert (answer.citations, answer.passages_used, turn.events) == ((), used, [])
        assert answer.outcome is (AnswerOutcome.COMPLETE if inputs.complete else AnswerOutcome.OUTPUT_LIMIT)
    assert len(judge.asked) == 1


async def test_an_answer_has_no_more_citations_than_it_may() -> None:
    sentences = [f"Sentence {number} stands here." for number in range(MAX_CITATIONS + 3)]
    node = CitationChecker(Believes({sentence: quote("Yes. " * 80) for sentence in sentences}))
    output = await node.process(written(" ".join(f"{sentence} [1]" for sentence in sentences)), Turn().run)
    answer = answer_of(output)
    assert (len(answer.citations), answer.outcome) == (MAX_CITATIONS, AnswerOutcome.OUTPUT_LIMIT)
    sizes = [len(one.quote) for one in answer.citations]
    assert sizes[MAX_FULL_CITATIONS - 1] == 400
    assert max(sizes[MAX_FULL_CITATIONS:]) <= MAX_SHORT_QUOTE_BYTES


def result(call_id: str, *texts: str) -> ResultModel:
    return ResultModel(
        call=CallModel(call_id=f"model-{call_id}", tool="web_search", arguments={}),
        outcome=ToolOutcome.OK,
        content="found",
        id=call_id,
        sources=tuple(ToolSource("https://example.org/", "Example", FETCHED, text) for text in texts),
    )


async def test_the_numbers_after_those_of_the_passages_name_the_tools_sources() -> None:
    origin = ToolOrigin("tool-2", "web_search", 0, FETCHED)
    whole = quote("It sings loudly.")
    fetched = replace(whole, passage=replace(whole.passage, origin=origin))
    judge = Believes({"It boils.": quote("Water boils."), "It sings.": fetched})
    node = CitationChecker(judge)
    # The call that is repeated has the id of the first one, and its sources have the numbers of the first one.
    results = (result("tool-1", "a", "b"), result("tool-1", "a", "b"), result("tool-2", "c"))
    given = written("It boils. [1] It sings. [5] It freezes. [3]", evidence=evidence(2))
    output = await node.process(given.model_copy(update={"results": results}), Turn().run)
    assert judge.asked[0][0] == [("It boils.", 1), ("It sings.", 5), ("It freezes.", 3)]
    assert [source.source.text for source in judge.sources] == ["a", "b", "c"]
    assert judge.sources[2].origin == origin
    answer = answer_of(output)
    assert [of_plain(citation).answer for citation in answer.citations] == [
        ByteRange(0, 9),
        ByteRange(10, 19),
    ]
    cited = of_plain(answer.citations[1])
    assert isinstance(cited, ToolCitation)
    assert (cited.origin, cited.quote) == (origin, "It sings loudly.")
    # As state, and read back from it.
    plain = node.validate_output(output)
    assert AnswerModel.model_validate(plain["answer"]) == output.answer


async def test_a_text_that_is_held_is_sent_with_its_citations_if_all_of_them_pass() -> None:
    node = CitationChecker(Believes({"It boils.": quote("Water boils.")}), hold=True)
    turn = Turn()
    output = await node.process(written("It boils. [1] So it is.", evidence=evidence()), turn.run)
    assert (answer_of(output).text, output.problem) == ("It boils. So it is.", "")
    assert [type(event) for event in turn.events] == [Delta, Cited]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("It boils. [1] It sings. [2]", "do not say what they say: “It sings.”"),
        ("It boils. [1] It has 3 songs.", "have a figure and name no passage: “It has 3 songs.”"),
        ("It boils.", "No sentence names a passage"),
    ],
)
async def test_a_text_that_is_held_is_dropped_once_and_then_given_up(text: str, problem: str) -> None:
    judge = Believes({"It boils.": quote("Water boils.")}, invented=["It sings."])
    node = CitationChecker(judge, hold=True)
    given, turn = written(text, evidence=evidence()), Turn()
    output = await node.process(given, turn.run)
    assert (output.answer, output.text, turn.events) == (None, "", [])
    assert problem in output.problem
    with pytest.raises(Unavailable) as caught:
        await node.process(given.model_copy(update={"problem": output.problem}), turn.run)
    assert (caught.value.metadata["cause"], turn.events) == ("uncited", [])
