"""An agent for measuring the machinery of a turn. Its turn has three statuses and sixty-four pieces of text, and the
agent itself does hardly any work."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from responsa_server.agents.engine.agent import AgentOptions, PlannedAgent
from responsa_server.agents.engine.graph import BEGIN, FINISH, Plan, Route
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, Run
from responsa_server.domain.events import Delta, Step

EVENTS: Final = 69
"""The number of events of a turn: the start, three statuses, sixty-four deltas, and the answer."""
_PIECES: Final = tuple(f"word{number:02d} and " for number in range(64))


class Nothing(NodeModel):
    """No input."""


class Text(NodeModel):
    """The text of the last node."""

    text: str = ""
    complete: bool = True


class Step1(Node[Nothing, Text]):
    """Announces its step and does nothing else."""

    input_model = Nothing
    output_model = Text

    def __init__(self, name: str, step: Step, message: str) -> None:
        self.name = name
        self.announcement = Announcement(step, message)

    async def process(self, inputs: Nothing, run: Run) -> Text:
        return Text()


class Pieces(Step1):
    """Emits sixty-four pieces."""

    async def process(self, inputs: Nothing, run: Run) -> Text:
        offset = 0
        for piece in _PIECES:
            run.emit(Delta(piece, offset))
            offset += len(piece)
        return Text(text="".join(_PIECES))


def agent(options: AgentOptions) -> PlannedAgent:
    """The agent. Its version is unique, so that no other server takes over its open turns."""
    nodes = {
        "retrieve": Step1("retrieve", Step.RETRIEVING, "Searching knowledge base..."),
        "grade": Step1("grade", Step.GRADING, "Analyzing results..."),
        "answer": Pieces("answer", Step.GENERATING, "Generating response..."),
    }
    routes = [
        Route(BEGIN, ("retrieve",)),
        Route("retrieve", ("grade",)),
        Route("grade", ("answer",)),
        Route("answer", (FINISH,)),
    ]
    return PlannedAgent(Plan(nodes, routes), replace(options, version="agents/default/versions/900000001"))
