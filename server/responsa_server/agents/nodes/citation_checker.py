"""Checks a model's text against the passages that its marks name, and cites those that support it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from responsa_server.agents.engine.citations import AnswerModel, Mark, citation, claims, plain
from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, Run
from responsa_server.agents.nodes.retriever import DEFAULT_RETRIEVAL
from responsa_server.domain.answers import CitationJudge, Claim, Evidence, EvidenceSource, Quote
from responsa_server.domain.events import MAX_CITATIONS, AnswerOutcome, Cited, Step

_NOTHING: Final = Evidence(0, 0, {})


class CitationCheckerInput(NodeModel):
    """The text as it was sent, the marks that were removed from it, and the evidence that the model was shown."""

    text: str = Field(min_length=1)
    complete: bool = True
    marks: tuple[Mark, ...] = ()
    evidence: Evidence = _NOTHING


class CitationCheckerOutput(NodeModel):
    """The cited answer. unsupported: how many sentences their passages do not support; they stay in the answer without a citation."""

    answer: AnswerModel
    unsupported: int = Field(ge=0)


class CitationChecker(Node[CitationCheckerInput, CitationCheckerOutput]):
    """Adds citations. It never changes the text, which has been sent."""

    name = "cite"
    input_model = CitationCheckerInput
    output_model = CitationCheckerOutput
    announcement = Announcement(Step.VERIFYING, "Checking the sources...")

    def __init__(
        self, source: EvidenceSource, judge: CitationJudge, table: RetrievalTable = DEFAULT_RETRIEVAL
    ) -> None:
        self._source = source
        self._judge = judge
        self._most_bytes = table.context_bytes

    async def process(self, given: CitationCheckerInput, run: Run) -> CitationCheckerOutput:
        """Send the citations in the order of the text."""
        found = claims(given.text, given.marks)
        quotes: Sequence[Quote | None] = ()
        if found:
            asked = [Claim(one.text, one.passage) for one in found]
            quotes = await self._judge.judge(asked, given.evidence, self._most_bytes)
        borne_out = [
            citation(claimed, quote)
            for claimed, quote in zip(found, quotes, strict=True)
            if quote is not None
        ]
        kept = borne_out[:MAX_CITATIONS]
        for one in kept:
            run.emit(Cited(one))
        shown = len(self._source.passages(given.evidence, self._most_bytes)) if given.evidence.passages else 0
        return CitationCheckerOutput(
            answer=AnswerModel(
                text=given.text,
                citations=tuple(plain(one) for one in kept),
                outcome=AnswerOutcome.COMPLETE if given.complete else AnswerOutcome.OUTPUT_LIMIT,
                passages_used=shown,
            ),
            unsupported=len(found) - len(borne_out),
        )


KIND: Final = NodeKind(
    lambda parts, _, __: CitationChecker(
        required(parts.source, "source of evidence"),
        required(parts.judge, "judge of citations"),
        parts.traits.retrieval,
    ),
    CitationCheckerInput,
    CitationCheckerOutput,
)
