"""Plans made from configurations: the default agent, conditions, fallback edges, limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from bench.agents import OPTIONS, AgentTable, GraphAgent
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import SHIPPED, examine
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import Limits
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.agents import AgentEvent, Agents, AnswerTask, Milestone
from responsa_server.domain.answers import DEFAULT_SEARCH, Evidence, SearchOptions
from responsa_server.domain.conversations import Message, Speaker
from responsa_server.domain.errors import NotFound, Reason, Unavailable
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
from responsa_server.domain.people import Principal
from tests.unit.agents.configured import SURROUNDINGS, TEST_KINDS, write
from tests.unit.agents.evidence import Shelf, excerpt, passages_of, task
from tests.unit.agents.speaking import Says, text, told_by

VERSION = "agents/test/versions/1"
LONG = "The Nile is 6,650 km long."
NILE = excerpt(LONG)
SHOWN = passages_of(NILE)
HISTORY = [
    Message(uuid7(), uuid7(), uuid7(), speaker, text, (), None, datetime.now(UTC))
    for speaker, text in ((Speaker.USER, "How long is the river Nile?"), (Speaker.ASSISTANT, LONG))
]


def agent(folder: Path, parts: NodeParts, price: Callable[[], Price | None] = lambda: None) -> PlannedAgent:
    found = examine(folder, SURROUNDINGS, folder / "none")
    assert found.problems == []
    assert found.config is not None
    return PlannedAgent(
        plan(found.config, parts, found.prompts, TEST_KINDS),
        agent_options(found.config, VERSION),
        price=price,
    )


def steps(told: Sequence[AgentEvent]) -> list[str]:
    return [one.step.value for one in told if isinstance(one, Status)]


class Away(Shelf):
    async def search(
        self,
        who: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": "postgresql"})


# The default agent


@pytest.mark.parametrize(
    ("question", "history"),
    [("How long is the river Nile in kilometres?", []), ("And where does it end?", HISTORY)],
)
@pytest.mark.parametrize("near", [True, False])
async def test_the_default_agent_says_the_same_from_its_file_as_from_its_code(
    question: str, history: list[Message], near: bool
) -> None:
    found = examine(SHIPPED / "default", Surroundings())
    assert found.config is not None
    shelf = Shelf(NILE, near=near)
    configured = PlannedAgent(
        plan(found.config, NodeParts(shelf), None, KINDS),
        agent_options(found.config, "agents/default/versions/1"),
    )
    assert agent_options(found.config, "agents/default/versions/1") == replace(
        OPTIONS, history_tokens=3000, limits=Limits(tokens=60000, cost_micros=500000)
    )
    asked = [
        AnswerTask(one.turn_id, one.who, one.question, one.history) for one in [task(question, history)] * 2
    ]
    from_file, from_code = (
        await told_by(configured, asked[0]),
        await told_by(GraphAgent(shelf), asked[1]),
    )
    # On a loaded machine, a node may take so long that its outcome is kept.
    assert [one for one in from_file if not isinstance(one, Milestone)] == [
        one for one in from_code if not isinstance(one, Milestone)
    ]


# Choices


async def test_an_edge_is_taken_as_its_condition_says(tmp_path: Path) -> None:
    shelf = Shelf(NILE)
    one = agent(write(tmp_path), NodeParts(shelf))
    told = await told_by(one, task("Hello, who are you?"))
    assert text(told) == "Hello. You asked: Hello, who are you?"
    assert isinstance(told[-1], Answered)
    told = await told_by(one, task("How long is the Nile?"))
    assert steps(told) == ["retrieving", "grading", "generating"]
    assert text(told) == SHOWN


async def test_with_a_model_the_ways_to_it_are_open_and_without_one_its_node_is_not_there(
    tmp_path: Path,
) -> None:
    shelf = Shelf(NILE)
    with_model = agent(
        write(tmp_path), NodeParts(shelf, model=Says([TextPiece("Long."), Ended(complete=True)]))
    )
    assert "write" in with_model.plan.nodes
    assert text(await told_by(with_model, task("How long is the Nile?"))) == "Long."
    without = agent(write(tmp_path), NodeParts(shelf))
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

    shelf = Shelf(NILE, before=away)
    told = await told_by(agent(folder, NodeParts(shelf)), task("How long is the Nile?"))
    assert [one.message for one in told if isinstance(one, Status)] == [
        "AgentScanner...",
        "Generating response...",
    ]
    assert text(told) == SHOWN


# Fallback edges


POST = [
    ("agent.toml", 'kind = "prompt", prompt = "write"', 'kind = "prompt", prompt = "write", stream = false'),
    (
        "agent.toml",
        "quote = {",
        'post = { kind = "post_processor", prefixes = ["Post:"], must_not_have = ["buy"] }\nquote = {',
    ),
    (
        "agent.toml",
        '  { from = "write", to = "quote"',
        '  { from = "write", to = "post" },\n  { from = "post", to = "quote", on = "unavailable" },\n  { from = "write", to = "quote"',
    ),
]


async def test_a_text_is_made_fit_before_it_is_told_or_gives_way(tmp_path: Path) -> None:
    shelf = Shelf(NILE)
    folder = write(tmp_path, *POST)
    fit = Says([TextPiece("Post: "), TextPiece("The Nile."), Ended(complete=True)])
    told = await told_by(agent(folder, NodeParts(shelf, model=fit)), task("How long is the Nile?"))
    end = told[-1]
    assert isinstance(end, Answered)
    assert (end.text, end.model) == (text(told), "m") == ("The Nile.", "m")
    unfit = Says([TextPiece("Buy the Nile."), Ended(complete=False)])
    told = await told_by(agent(folder, NodeParts(shelf, model=unfit)), task("How long is the Nile?"))
    end = told[-1]
    assert isinstance(end, Answered)
    assert (end.text, end.model, end.outcome) == (SHOWN, "passages", AnswerOutcome.COMPLETE)
    assert end.text == text(told)
    assert list(end.fallbacks) == [
        Fallback(FallbackKind.PASSAGES, "model", "quote", "model_unavailable:unfit")
    ]


async def test_without_an_edge_that_fits_the_failure_stands(tmp_path: Path) -> None:
    change = (
        "agent.toml",
        'to = "hello", on = "unavailable" }',
        'to = "hello", on = "unavailable", when = { field = "intent", is = "chat" } }',
    )
    shelf = Away()
    folder = write(tmp_path, change, ("agent.toml", "timeout = 20", "timeout = 20, retry = { attempts = 1 }"))
    with pytest.raises(Unavailable, match="away"):
        await told_by(agent(folder, NodeParts(shelf)), task("How long is the Nile?"))


# Limits

ROUND = (
    "agent.toml",
    '  { from = "retrieve", to = "grade" },\n',
    '  { from = "retrieve", to = "retrieve", limit = 3 },\n  { from = "retrieve", to = "grade" },\n',
)


async def test_a_turn_that_takes_more_steps_than_it_may_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(NILE)
    folder = write(tmp_path, ROUND, ("agent.toml", "steps = 20", "steps = 5"))
    told = await told_by(agent(folder, NodeParts(shelf)), task("How long is the Nile?"))
    end = told[-1]
    assert isinstance(end, Refused)
    assert end.reason is RefusalReason.BUDGET
    assert "steps" in end.message
    assert len(shelf.asked) == 4


async def test_no_model_is_asked_when_the_tokens_are_spent(tmp_path: Path) -> None:
    shelf = Shelf(NILE)
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
    told = await told_by(agent(folder, NodeParts(shelf, model=model)), task("How long is the Nile?"))
    end = told[-1]
    assert len(model.asked) == 1
    assert isinstance(end, Answered)
    assert (end.text, end.outcome) == ("One two.", AnswerOutcome.OUTPUT_LIMIT)


def versioned(version: str) -> GraphAgent:
    shelf = Shelf()
    return GraphAgent(shelf, replace(OPTIONS, version=version))


def test_agents_are_found_by_id_and_by_version() -> None:
    one, other = versioned("agents/default/versions/1"), versioned("agents/testing/versions/3")
    table: Agents = AgentTable({"default": one, "testing": other})
    assert table.named("") is table.named("default") is one
    assert table.named("testing") is table.at("agents/testing/versions/3") is other
    assert list(table.versions) == ["agents/default/versions/1", "agents/testing/versions/3"]
    with pytest.raises(NotFound) as caught:
        table.named("nobody")
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND
    assert caught.value.metadata == {
        "resource_type": "agent",
        "resource_name": "agents/nobody",
        "known": "default,testing",
    }
    with pytest.raises(KeyError):
        table.at("agents/default/versions/2")


def test_a_table_must_fit_its_agents() -> None:
    with pytest.raises(ValueError, match="no agent default"):
        AgentTable({})
    with pytest.raises(ValueError, match="under the id other"):
        AgentTable(
            {
                "default": versioned("agents/default/versions/1"),
                "other": versioned("agents/default/versions/1"),
            }
        )
