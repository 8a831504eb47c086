"""Measures the engine's own work per turn. Our side is an agent that configuration files define; a model writes its
answer, with citations. The peer is the same graph, written by hand for LangGraph.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID, uuid4

from bench.figures import Comparison
from bench.peers.evidence import MemoryEvidence
from bench.peers.handwritten import Handwritten
from bench.peers.speaking import Speaking
from bench.processes import BenchError
from bench.report import Line
from bench.run import Run
from responsa_server.agents.config.check import Surroundings
from responsa_server.agents.config.files import examine
from responsa_server.agents.engine.agent import PlannedAgent, agent_options
from responsa_server.agents.engine.graph import plan
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain.agents import AnswerTask
from responsa_server.domain.events import Answered
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.turns import Question

TITLE: Final = "The engine alone, in one process: retrieve, rank, write (64 pieces of a model), cite; compared with LangGraph by hand"
_AGENT: Final = """
name = "Bench"
description = "A cited answer by a model."
start = "retrieve"
model = { chain = ["bench:speaking"] }

[nodes]
retrieve = { kind = "retriever" }
rank = { kind = "ranker" }
write = { kind = "prompt", prompt = "answer", cites = true }
cite = { kind = "citation_checker" }
refuse = { kind = "refuse" }

[graph]
edges = [
  { from = "retrieve", to = "rank" },
  { from = "rank", to = "write", when = { field = "evidence.passages", above = 0 } },
  { from = "rank", to = "refuse" },
  { from = "write", to = "refuse", when = { field = "declined", is = true } },
  { from = "write", to = "cite" },
]
"""
_PROMPT: Final = (
    "Answer from the passages, and mark each sentence with the number of its passage, as in [1].\n"
)
_QUESTION: Final = "When was the tide gauge at Marness set up?"


def measure(run: Run) -> list[Line]:
    """CPU time per turn. Both sides are measured alternately in this process."""
    run.say("the engine alone")
    return asyncio.run(compared(run.pick(9, 3), run.pick(200, 20)))


async def compared(rounds: int, turns: int) -> list[Line]:
    caller = Principal("default", UUID(int=1), Role.USER, "")
    evidence, model = MemoryEvidence(), Speaking()
    ours = _agent(evidence, model)
    theirs = Handwritten(evidence, model)

    async def engine() -> object:
        return await ours.answer(AnswerTask(uuid4(), caller, Question(_QUESTION), ()), lambda _: None)

    async def by_hand() -> object:
        return [one async for one in theirs.answer(caller, _QUESTION)][-1]

    await _checked(engine(), by_hand())
    sides = (engine, by_hand)
    values: list[list[float]] = [[], []]
    for number in range(rounds):
        for step in range(len(sides)):
            side = (number + step) % len(sides)
            begun = time.process_time()
            for _ in range(turns):
                await sides[side]()
            values[side].append((time.process_time() - begun) * 1000 / turns)
    found = Comparison.of(*values)
    return [Line.compared(TITLE, "CPU time per turn", "ms", "less", found, 2 * rounds * turns)]


def _agent(evidence: MemoryEvidence, model: Speaking) -> PlannedAgent:
    with tempfile.TemporaryDirectory(prefix="responsa-bench-") as place:
        folder = Path(place) / "bench"
        (folder / "prompts").mkdir(parents=True)
        (folder / "agent.toml").write_text(_AGENT, encoding="utf-8")
        (folder / "prompts" / "answer.md").write_text(_PROMPT, encoding="utf-8")
        examined = examine(folder, Surroundings())
    if examined.config is None:
        raise BenchError(
            f"the bench's agent is wrong: {'; '.join(str(problem) for problem in examined.problems)}"
        )
    parts = NodeParts(source=evidence, judge=evidence, model=model)
    return PlannedAgent(
        plan(examined.config, parts, examined.prompts, KINDS),
        agent_options(examined.config, "agents/bench/versions/1"),
    )


async def _checked(ours: Awaitable[object], theirs: Awaitable[object]) -> None:
    """Checks that both sides give the same answer. Otherwise a comparison would make no sense."""
    end = await ours
    found = await theirs
    if not isinstance(end, Answered) or not isinstance(found, dict):
        raise BenchError("the turn of the engine or of the hand-written graph did not end in an answer")
    state = cast("Mapping[str, Any]", found)
    if end.text != state.get("text") or not end.citations or len(end.citations) != len(state["citations"]):
        raise BenchError(
            f"the engine and the hand-written graph give different answers: {end.text!r}, {state!r}"
        )
