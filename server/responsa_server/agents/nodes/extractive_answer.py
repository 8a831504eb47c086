"""Writes an answer of quoted sentences."""

from __future__ import annotations

from typing import Final

from responsa_server.agents.engine.citations import AnswerModel, compose, plain
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, Plain, Run
from responsa_server.domain.answers import Evidence, Extraction
from responsa_server.domain.events import Step


class AnswerInput(NodeModel):
    """The sentences of the answer, and the evidence they come from."""

    extraction: Extraction
    evidence: Evidence


class AnswerOutput(NodeModel):
    """The answer: only quotes, each with its citation."""

    answer: AnswerModel


class Answer(Node[AnswerInput, AnswerOutput]):
    """Quotes the sentences exactly, and sends each with its citation."""

    name = "answer"
    input_model = AnswerInput
    output_model = AnswerOutput
    announcement = Announcement(Step.GENERATING, "Generating response...")

    async def process(self, given: AnswerInput, run: Run) -> AnswerOutput:
        """Compose the answer and emit its deltas and citations."""
        composed = compose(given.extraction.quotes)
        for event in composed.events:
            run.emit(event)
        model = AnswerModel(
            text=composed.text,
            citations=tuple(plain(one) for one in composed.citations),
            outcome=composed.outcome,
            passages_used=given.evidence.passages,
        )
        return AnswerOutput(answer=model)

    def validate_output(self, output: AnswerOutput) -> Plain:
        """Also checks that there are citations, and that each quotes the answer's own bytes."""
        checked = super().validate_output(output)
        text = output.answer.text.encode()
        if not output.answer.citations:
            raise ValueError("an answer of quotes alone cites each of them")
        for one in output.answer.citations:
            if text[one.answer.start : one.answer.end] != one.quote.encode():
                raise ValueError("a citation's range is not its quote's place in the answer")
        return checked


KIND: Final = NodeKind(
    lambda _, __, ___: Answer(), AnswerInput, AnswerOutput, streams=True, needs_test="extraction"
)
