"""Writes the answer out of quoted sentences."""

from __future__ import annotations

from pydantic import Field

from responsa_server.domain.answers import Evidence, Extraction
from responsa_server.domain.turns import MAX_CITATIONS, AnswerOutcome, ByteRange, Citation, Step
from responsa_server.graph.compose import compose
from responsa_server.graph.node import Announcement, Node, NodeModel, Plain, Run


class AnswerInput(NodeModel):
    """What supports the answer, and what was read for it."""

    extraction: Extraction
    evidence: Evidence


class CitationModel(NodeModel):
    """A citation as plain state keeps it: the hash is in hexadecimal."""

    passage_id: str
    document_id: str
    version: int = Field(ge=1)
    title: str
    uri: str
    source: ByteRange
    quote: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    answer: ByteRange
    score: float = Field(ge=0, le=1)


class AnswerModel(NodeModel):
    """The answer, whole: quoted sentences alone, so nothing in it is without a citation."""

    text: str = Field(min_length=1)
    citations: tuple[CitationModel, ...] = Field(min_length=1, max_length=MAX_CITATIONS)
    outcome: AnswerOutcome
    passages_used: int = Field(ge=1)


class AnswerOutput(NodeModel):
    """What the turn ends with."""

    answer: AnswerModel


class Answer(Node[AnswerInput, AnswerOutput]):
    """Quotes the sentences exactly, each with its citation, and tells them as it goes."""

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
            citations=tuple(_model(one) for one in composed.citations),
            outcome=composed.outcome,
            passages_used=given.evidence.passages,
        )
        return AnswerOutput(answer=model)

    def validate_output(self, output: AnswerOutput) -> Plain:
        """Also checks that every citation quotes the answer's own bytes."""
        plain = super().validate_output(output)
        text = output.answer.text.encode()
        for one in output.answer.citations:
            if text[one.answer.start : one.answer.end] != one.quote.encode():
                raise ValueError("a citation's range is not its quote's place in the answer")
        return plain


def _model(citation: Citation) -> CitationModel:
    return CitationModel(
        passage_id=str(citation.passage_id),
        document_id=str(citation.document_id),
        version=citation.version,
        title=citation.title,
        uri=citation.uri,
        source=citation.source,
        quote=citation.quote,
        sha256=citation.sha256.hex(),
        answer=citation.answer,
        score=citation.score,
    )
