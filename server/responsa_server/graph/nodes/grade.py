"""Judges whether what was found answers the question."""

from __future__ import annotations

from responsa_server.domain.answers import Evidence, Extraction
from responsa_server.domain.ports.answers import Extractor
from responsa_server.domain.turns import Step
from responsa_server.graph.node import Announcement, Node, NodeModel, Policy, Run


class GradeInput(NodeModel):
    """The question and what was found for it."""

    question: str
    standalone_question: str = ""
    evidence: Evidence


class GradeOutput(NodeModel):
    """The sentences that answer best, and whether they do."""

    extraction: Extraction


class Grade(Node[GradeInput, GradeOutput]):
    """Chooses sentences and weighs their support."""

    name = "grade"
    input_model = GradeInput
    output_model = GradeOutput
    announcement = Announcement(Step.GRADING, "Analyzing results...")
    # As with what it reads (see Retrieve): done again sooner than kept.
    policy = Policy(keep_after_seconds=1.0)

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor

    async def process(self, given: GradeInput, run: Run) -> GradeOutput:
        """Extract the best-supported sentences."""
        question = given.standalone_question or given.question
        return GradeOutput(extraction=await self._extractor.extract(question, given.evidence))
