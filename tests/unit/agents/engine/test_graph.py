"""Plans made from configurations: the default agent, conditions, fallback edges, limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from responsa_server.agents.config.files import examine
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.domain.agents import AgentEvent
from responsa_server.domain.answers import DEFAULT_SEARCH, Evidence, SearchOptions
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    RefusalReason,
    Status,
    Usage,
)
from responsa_server.domain.models import Ended, Price, Spent, TextPiece
from responsa_server.domain.people import Principal
from tests.raising import raises
from tests.unit.agents.configured import SURROUNDINGS, TEST_KINDS, write
from tests.unit.agents.evidence import FixedEvidence, task
from tests.unit.agents.shipping import NILE, SHOWN
from tests.unit.agents.speaking import Says, refusal_in, text, told_by

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


class Away(FixedEvidence):
    async def search(
        self,
        caller: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": "postgresql"})


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
            raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": "postgresql"})

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
    fixed = Away()
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


async def test_no_model_is_asked_when_the_tokens_are_spent(tmp_path: Path) -> None:
    fixed = FixedEvidence(NILE)
    model = Says(
        [TextPiece("One two."), Spent(Usage(input_tokens=150, output_tokens=60)), Ended(complete=True)]
    )
    again = 'write = { kind = "prompt", prompt = "write" }\nmore = { kind = "prompt", prompt = "write" }'
    folder = write(
        tmp_path,
        ("agent.toml", "steps = 20", "tokens = 200"),
        ("agent.toml", 'write = { kind = "prompt", prompt = "write" }', again),
        (
            "agent.toml",
            '  { from = "write", to = "quote"',
            '  { from = "write", to = "more" },\n  { from = "write", to = "quote"',
        ),
    )
    told = await told_by(agent(folder, NodeParts(fixed, model=model)), task("How long is the Nile?"))
    end = told[-1]
    assert len(model.prompts) == 1
    assert isinstance(end, Answered)
    assert (end.text, end.outcome) == ("One two.", AnswerOutcome.OUTPUT_LIMIT)
