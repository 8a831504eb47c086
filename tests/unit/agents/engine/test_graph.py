"""Plans made from configurations: the default agent, conditions, fallback edges, limits, and turns beyond their budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from responsa_server.agents.config.files import examine
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.state import to_milestone
from responsa_server.domain.agents import AgentEvent, Milestone
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    Fallback,
    FallbackKind,
    RefusalReason,
    Refused,
    Status,
    Usage,
)
from responsa_server.domain.models import Ended, Price, Spent, TextPiece
from responsa_server.domain.quotas import Demand, Grant, Metric
from responsa_server.domain.turns import Question
from tests.raising import raises
from tests.unit.agents.asking import costing
from tests.unit.agents.configured import SURROUNDINGS, TEST_KINDS, write
from tests.unit.agents.evidence import FixedEvidence, report_away, task
from tests.unit.agents.shipping import NILE, SHOWN
from tests.unit.agents.speaking import Says, answer_in, refusal_in, text, told_by

VERSION = "agents/test/versions/1"


def agent(folder: Path, parts: NodeParts, price: Callable[[], Price | None] = lambda: None) -> PlannedAgent:
    found = examine(folder, SURROUNDINGS, folder / "none")
    assert found.problems == []
    assert found.config is not None
    return PlannedAgent(
        plan(found.config, parts, found.prompts, TEST_KINDS),
        agent_options(found.config, VERSION),
        price=price,
    )


def steps(events: Sequence[AgentEvent]) -> list[str]:
    return [one.step.value for one in events if isinstance(one, Status)]


# Choices


async def test_an_edge_is_taken_as_its_condition_says(tmp_path: Path) -> None:
    fixed = FixedEvidence(NILE)
    one = agent(write(tmp_path), NodeParts(fixed))
    told = await told_by(one, task("Hello, who are you?"))
    assert text(told) == "Hello. You asked: Hello, who are you?"
    assert isinstance(told[-1], Answered)
    told = await told_by(one, task("How long is the Nile?"))
    assert steps(told) == ["retrieving", "grading", "generating"]
    assert text(told) == SHOWN


async def test_with_a_model_the_ways_to_it_are_open_and_without_one_its_node_is_not_there(
    tmp_path: Path,
) -> None:
    fixed = FixedEvidence(NILE)
    with_model = agent(
        write(tmp_path), NodeParts(fixed, model=Says([TextPiece("Long."), Ended(complete=True)]))
    )
    assert "write" in with_model.plan.nodes
    assert text(await told_by(with_model, task("How long is the Nile?"))) == "Long."
    without = agent(write(tmp_path), NodeParts(fixed))
    assert "write" not in without.plan.nodes


async def test_a_node_is_told_and_run_as_its_table_says(tmp_path: Path) -> None:
    change = (
        "agent.toml",
        'kind = "retriever", timeout = 20',
        'kind = "retriever", status = "AgentScanner...", retry = { attempts = 2, pause = 0 }, writes = { evidence = "found" }',
    )
    other = ("agent.toml", 'kind = "ranker"', 'kind = "ranker", status = "", reads = { evidence = "found" }')
    folder = write(
        tmp_path,
        change,
        other,
        (
            "agent.toml",
            'kind = "passages"',
            'kind = "passages", reads = { evidence = "found" }',
        ),
        ("agent.toml", 'kind = "refuse"', 'kind = "refuse", reads = { evidence = "found" }'),
    )
    left = iter([True, False])

    def away() -> None:
        if next(left):
            report_away()

    fixed = FixedEvidence(NILE, before=away)
    told = await told_by(agent(folder, NodeParts(fixed)), task("How long is the Nile?"))
    assert [one.message for one in told if isinstance(one, Status)] == [
        "AgentScanner...",
        "Generating response...",
    ]
    assert text(told) == SHOWN


# Fallback edges


async def test_without_an_edge_that_fits_the_failure_stands(tmp_path: Path) -> None:
    change = (
        "agent.toml",
        'to = "hello", on = "unavailable" }',
        'to = "hello", on = "unavailable", when = { field = "intent", is = "chat" } }',
    )
    fixed = FixedEvidence(before=report_away)
    folder = write(tmp_path, change, ("agent.toml", "timeout = 20", "timeout = 20, retry = { attempts = 1 }"))
    await raises(Unavailable, told_by(agent(folder, NodeParts(fixed)), task("How long is the Nile?")), "away")


# Limits

ROUND = (
    "agent.toml",
    '  { from = "retrieve", to = "grade" },\n',
    '  { from = "retrieve", to = "retrieve", limit = 3 },\n  { from = "retrieve", to = "grade" },\n',
)


async def test_a_turn_that_takes_more_steps_than_it_may_is_refused(tmp_path: Path) -> None:
    fixed = FixedEvidence(NILE)
    folder = write(tmp_path, ROUND, ("agent.toml", "steps = 20", "steps = 5"))
    told = await told_by(agent(folder, NodeParts(fixed)), task("How long is the Nile?"))
    end = refusal_in(told)
    assert end.reason is RefusalReason.BUDGET
    assert "steps" in end.message
    assert len(fixed.asked) == 4


# A turn without budget for a model. Emitted text stays, other text does not become an answer, and nodes that need no model run.
WRITE = 'write = { kind = "prompt", prompt = "write" }'
ENDS = '  { from = "write", to = "quote", on = "unavailable" },\n]'
USED = Spent(Usage(input_tokens=150, output_tokens=60))
QUESTION = "How long is the Nile?"


def drafting(folder: Path, *, limits: str, stream: bool = False) -> Path:
    """An agent whose first node drafts a text, whose second node calls a model, and whose third node emits the draft."""
    nodes = (
        f'write = {{ kind = "prompt", prompt = "write", stream = {str(stream).lower()} }}\n'
        f'check = {{ kind = "{"rewriter" if stream else "prompt"}", prompt = "write"{"" if stream else ", stream = false"} }}\n'
    )
    nodes += "" if stream else 'out = { kind = "output" }'
    edges = f'  {{ from = "write", to = "check" }},\n  {{ from = "check", to = "{"finish" if stream else "out"}" }},\n]'
    return write(
        folder,
        ("agent.toml", "steps = 20", limits),
        ("agent.toml", WRITE, nodes),
        ("agent.toml", ENDS, edges),
    )


def parts(model: Says, price: Price | None = None) -> NodeParts:
    fixed = FixedEvidence(NILE)
    return NodeParts(fixed, model=model, price=costing(price))


async def test_a_draft_that_nobody_has_told_is_no_answer(tmp_path: Path) -> None:
    model = Says([TextPiece("One two."), USED, Ended(complete=True)])
    price = Price(*[Decimal(5)] * 4)
    for limits, most in (("tokens = 200", 0), ("steps = 4", 0), ("steps = 20", 1)):
        question = task(QUESTION)
        question = replace(question, question=replace(question.question, max_cost_micros=most))
        told = await told_by(agent(drafting(tmp_path / limits, limits=limits), parts(model, price)), question)
        end = refusal_in(told)
        assert (end.reason, text(told)) == (RefusalReason.BUDGET, "")
        assert question.meter.over_request == bool(most)


async def test_a_text_that_was_told_stays_also_after_a_takeover(tmp_path: Path) -> None:
    model = Says([TextPiece("Größe."), USED, Ended(complete=True)])
    drafter = agent(drafting(tmp_path, limits="steps = 4", stream=True), parts(model))
    question = task(QUESTION)
    told = await told_by(drafter, question)
    end = answer_in(told)
    assert (end.text, end.outcome) == ("Größe.", AnswerOutcome.OUTPUT_LIMIT)
    last = [found.state for found in told if isinstance(found, Milestone)][-1]
    again = answer_in(await told_by(drafter, replace(question, resume=last)))
    assert (again.text, again.outcome) == (end.text, end.outcome)


async def test_after_a_takeover_the_answer_ends_at_the_byte_that_was_sent(tmp_path: Path) -> None:
    one = agent(drafting(tmp_path, limits="steps = 4", stream=True), parts(Says()))
    sent = to_milestone("check", {"text": "Größe. A draft", "complete": True, "bytes_sent": 8, "steps": 4})
    end = answer_in(await told_by(one, replace(task(QUESTION), resume=sent)))
    assert (end.text, end.outcome) == ("Größe.", AnswerOutcome.OUTPUT_LIMIT)


@pytest.mark.parametrize(
    ("limits", "most", "grant", "cause"),
    [
        # The prompt alone exceeds the turn's limit, that of the request, or what was reserved of a quota that has more.
        ("tokens = 20", 0, None, "budget:tokens"),
        ("steps = 20", 1, None, "budget:cost_micros"),
        ("steps = 20", 0, Grant(tokens=20), "budget:tokens"),
    ],
)
async def test_where_the_documents_do_they_are_shown(
    tmp_path: Path, limits: str, most: int, grant: Grant | None, cause: str
) -> None:
    model, question = Says([Ended(complete=True)]), task(QUESTION)
    question = replace(question, question=replace(question.question, max_cost_micros=most), grant=grant)
    folder = write(tmp_path, ("agent.toml", "steps = 20", limits))
    told = await told_by(agent(folder, parts(model, Price(*[Decimal(5)] * 4))), question)
    end = answer_in(told)
    assert (end.text, text(told), end.model, model.prompts) == (SHOWN, SHOWN, "passages", [])
    assert list(end.fallbacks) == [Fallback(FallbackKind.PASSAGES, "model", "quote", cause)]


async def test_a_quota_that_has_too_little_left_refuses_although_the_documents_could_be_quoted(
    tmp_path: Path,
) -> None:
    model = Says([Ended(complete=True)])
    one = agent(write(tmp_path), parts(model, Price(*[Decimal(5)] * 4)))
    for grant, word in (
        (Grant(tokens=30, short=frozenset({Metric.TOKENS})), "tokens"),
        (Grant(cost_micros=30, short=frozenset({Metric.COST_MICROS})), "money"),
    ):
        told = await told_by(one, replace(task(QUESTION), grant=grant))
        end = refusal_in(told)
        assert (end.reason, text(told), model.prompts) == (RefusalReason.QUOTA, "", [])
        assert word in end.message
        assert "your quota" in end.message


async def test_at_the_end_of_a_quota_a_prompt_counts_its_bytes(tmp_path: Path) -> None:
    """With an estimate of four bytes a token, the call could use more than the quota has left."""
    model = Says([TextPiece("One two."), USED, Ended(complete=True)])
    one = agent(write(tmp_path), parts(model))
    granted = [Grant(tokens=300, short=short) for short in (frozenset[Metric](), frozenset({Metric.TOKENS}))]
    ends = [(await told_by(one, replace(task(QUESTION), grant=grant)))[-1] for grant in granted]
    assert isinstance(ends[0], Answered)
    assert isinstance(ends[1], Refused)
    assert len(model.prompts) == 1


def test_what_an_agent_demands(tmp_path: Path) -> None:
    limited = write(tmp_path, ("agent.toml", "steps = 20", "tokens = 200, cost_micros = 90"))
    one = agent(limited, parts(Says()), price=lambda: Price(Decimal(1), Decimal(0), Decimal(4), Decimal(3)))
    assert one.demand(Question("Größe?")) == Demand(200, 90, Decimal(4), 8)
    assert one.demand(Question("Why?", max_cost_micros=50)) == Demand(200, 50, Decimal(4), 4)
    assert agent(limited, replace(parts(Says()), model=None)).demand(Question("Why?")) is None


async def test_neither_a_model_is_asked_nor_another_node_run_behind_a_text_that_was_told(
    tmp_path: Path,
) -> None:
    model = Says([TextPiece("One two."), USED, Ended(complete=True)])
    more = WRITE + '\nmore = { kind = "prompt", prompt = "write" }'
    folder = write(
        tmp_path,
        ("agent.toml", "steps = 20", "tokens = 200"),
        ("agent.toml", WRITE, more),
        (
            "agent.toml",
            ENDS,
            '  { from = "write", to = "more" },\n  { from = "more", to = "refuse", on = "unavailable" },\n]',
        ),
    )
    told = await told_by(agent(folder, parts(model)), task(QUESTION))
    end = answer_in(told)
    assert (end.text, text(told), end.outcome) == ("One two.", "One two.", AnswerOutcome.OUTPUT_LIMIT)
    assert len(model.prompts) == 1
