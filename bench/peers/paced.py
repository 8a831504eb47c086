"""An agent for measuring open turns. The question sets how long the agent runs, and the pace at which it emits pieces of text."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Final

from bench.agents import OPTIONS
from responsa_server.agents.engine.agent import PlannedAgent
from responsa_server.agents.engine.graph import BEGIN, FINISH, Plan, Route
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, Policy, Run
from responsa_server.domain.events import Delta, Step

LIMIT_SECONDS: Final = 3600.0
_PIECE: Final = "token "


class Pace(NodeModel):
    """The question `SECONDS PER_SECOND`, for example `10 50`. With 0 pieces per second, the agent emits nothing."""

    question: str


class Paced(NodeModel):
    """The text of the turn. Nothing uses the text."""

    text: str = ""
    complete: bool = True


class Telling(Node[Pace, Paced]):
    """Emits each piece at the time when it is due. A late piece is emitted at once."""

    name = "tell"
    input_model = Pace
    output_model = Paced
    announcement = Announcement(Step.GENERATING, "Generating response...")
    policy = Policy(timeout_seconds=LIMIT_SECONDS)

    async def process(self, inputs: Pace, run: Run) -> Paced:
        seconds, rate = (float(part) for part in inputs.question.split())
        loop = asyncio.get_running_loop()
        begun = loop.time()
        if rate == 0:
            await asyncio.sleep(seconds)
            return Paced()
        number = int(seconds * rate)
        for place in range(number):
            if (pause := begun + place / rate - loop.time()) > 0:
                await asyncio.sleep(pause)
            run.emit(Delta(_PIECE, place * len(_PIECE)))
        return Paced(text=_PIECE * number)


def agent() -> PlannedAgent:
    """The agent. Its version belongs to this process, so that no other process takes over its open turns."""
    routes = [Route(BEGIN, ("tell",)), Route("tell", (FINISH,))]
    version = f"agents/default/versions/{900_000_000 + os.getpid()}"
    options = replace(OPTIONS, version=version, time_limit_seconds=LIMIT_SECONDS)
    return PlannedAgent(Plan({"tell": Telling()}, routes), options)
