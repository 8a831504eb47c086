"""A turn without budget for a model. Emitted text stays, other text does not become an answer, and nodes that need no model
still run.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.state import to_milestone
from responsa_server.domain.agents import Milestone
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    Fallback,
    FallbackKind,
    RefusalReason,
    Refused,
    Usage,
)
from responsa_server.domain.models import Ended, Price, Spent, TextPiece
from responsa_server.domain.quotas import Demand, Grant, Metric
from responsa_server.domain.turns import Question
from tests.unit.agents.asking import costing
from tests.unit.agents.engine.test_graph import agent, write
from tests.unit.agents.evidence import FixedEvidence, task
from tests.unit.agents.shipping import NILE, SHOWN
from tests.unit.agents.speaking import Says, answer_in, refusal_in, text, told_by

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


async def test_where_the_documents_do_they_are_shown(tmp_path: Path) -> None:
    """The prompt alone exceeds the turn's limit."""
    model = Says([Ended(complete=True)])
    folder = write(tmp_path, ("agent.toml", "steps = 20", "tokens = 20"))
    told = await told_by(agent(folder, parts(model)), task(QUESTION))
    end = answer_in(told)
    assert (end.text, text(told), end.model, model.prompts) == (SHOWN, SHOWN, "passages", [])
    assert list(end.fallbacks) == [Fallback(FallbackKind.PASSAGES, "model", "quote", "budget:tokens")]


async def test_so_they_are_when_it_may_cost_next_to_nothing(tmp_path: Path) -> None:
    model, question = Says([Ended(complete=True)]), task(QUESTION)
    question = replace(question, question=replace(question.question, max_cost_micros=1))
    one = agent(write(tmp_path), parts(model, Price(*[Decimal(5)] * 4)))
    end = answer_in(await told_by(one, question))
    assert (end.text, model.prompts) == (SHOWN, [])
    assert [found.cause for found in end.fallbacks] == ["budget:cost_micros"]


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


async def test_a_reservation_that_the_quota_did_not_cut_limits_like_the_agents_own_limits(
    tmp_path: Path,
) -> None:
    model = Says([Ended(complete=True)])
    one = agent(write(tmp_path), parts(model))
    end = answer_in(await told_by(one, replace(task(QUESTION), grant=Grant(tokens=20))))
    assert [found.cause for found in end.fallbacks] == ["budget:tokens"]


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


async def test_what_needs_no_model_is_not_done_behind_a_text_that_was_told(tmp_path: Path) -> None:
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
