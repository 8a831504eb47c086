"""Tells a text that was written before without being told."""

from __future__ import annotations

from typing import Final

from responsa_server.agents.engine.compose import split
from responsa_server.agents.engine.node import Node, NodeModel, Run
from responsa_server.domain.events import Delta

MAX_DELTA_BYTES: Final = 1024


class OutputModel(NodeModel):
    """The answer's text, and whether it is all of it."""

    text: str
    complete: bool


class Output(Node[OutputModel, OutputModel]):
    """Tells the text, piece by piece, and leaves it as it is."""

    input_model = OutputModel
    output_model = OutputModel

    def __init__(self, name: str) -> None:
        self.name = name

    async def process(self, given: OutputModel, run: Run) -> OutputModel:
        """Tell it."""
        tell(given.text, run)
        return given


def tell(text: str, run: Run, start: int = 0) -> int:
    """Tell a text in deltas from byte `start` of the answer on; returns where it ends."""
    for part in split(text, MAX_DELTA_BYTES):
        run.emit(Delta(part, start))
        start += len(part.encode())
    return start
