"""Sends a text that an earlier node has written and not sent."""

from __future__ import annotations

from typing import Final

from responsa_server.agents.engine.answer_text import emit_text
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Node, NodeModel, Run


class OutputModel(NodeModel):
    """The answer's text, and whether it is all of it."""

    text: str
    complete: bool


class Output(Node[OutputModel, OutputModel]):
    """Sends the text in pieces, unchanged."""

    input_model = OutputModel
    output_model = OutputModel

    def __init__(self, name: str) -> None:
        self.name = name

    async def process(self, given: OutputModel, run: Run) -> OutputModel:
        """Send the text."""
        emit_text(given.text, run)
        return given


KIND: Final = NodeKind(
    lambda _, __, name: Output(name),
    OutputModel,
    OutputModel,
    streams=True,
    repeats_text=True,
)
