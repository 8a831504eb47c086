"""Adds to a model's text which tools failed."""

from __future__ import annotations

from typing import Final

from responsa_server.agents.engine.answer_text import emit_text
from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.failed_tools import failures_said
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Node, NodeModel, Run
from responsa_server.domain.events import MAX_ANSWER_BYTES


class FailureReporterInput(NodeModel):
    """The text as it was sent, whether it is complete, and the results of all calls."""

    text: str
    complete: bool
    results: tuple[ResultModel, ...] = ()


class FailureReporterOutput(NodeModel):
    """The text with the note on failed calls."""

    text: str
    complete: bool


class FailureReporter(Node[FailureReporterInput, FailureReporterOutput]):
    """Adds a paragraph with a fixed sentence for each tool that failed. If no call failed, the text stays as it is."""

    name = "failures"
    input_model = FailureReporterInput
    output_model = FailureReporterOutput

    async def process(self, given: FailureReporterInput, run: Run) -> FailureReporterOutput:
        """Send the note. A text that leaves no room for it stays as it is."""
        said = failures_said(given.results)
        note = f"\n\n*{said}*" if said else ""
        if len((given.text + note).encode()) > MAX_ANSWER_BYTES:
            note = ""
        emit_text(note, run, len(given.text.encode()))
        return FailureReporterOutput(text=given.text + note, complete=given.complete)


FAILURE_REPORTER: Final = NodeKind(
    lambda _, __, ___: FailureReporter(),
    FailureReporterInput,
    FailureReporterOutput,
)
