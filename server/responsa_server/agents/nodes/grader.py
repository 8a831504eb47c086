"""Judges whether the evidence answers the question."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from responsa_server.agents.engine.asking import FAILURES, Asker, Shape, ask_typed, cause, offered
from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import (
    Announcement,
    Node,
    NodeModel,
    NodeOptions,
    Policy,
    PromptName,
    Run,
)
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.nodes.retriever import DEFAULT_RETRIEVAL
from responsa_server.domain.answers import Evidence, EvidenceSource, Extraction, Extractor
from responsa_server.domain.events import Fallback, FallbackKind, Step

OFFERED = offered(untrusted=("question", "passages"))
"""The variables for this node's prompts."""


class GraderOptions(NodeOptions):
    """prompt: the file `prompts/NAME.md`, by which a model judges whether the passages answer; "" judges by their support alone."""

    prompt: PromptName = ""


class GradeInput(NodeModel):
    """The question and its evidence."""

    question: str
    standalone_question: str = ""
    evidence: Evidence


class GradeOutput(NodeModel):
    """The best sentences, and whether they answer the question."""

    extraction: Extraction


class Graded(NodeModel):
    """What a model answers: whether the passages hold what the question asks for."""

    answered: bool


class Grade(Node[GradeInput, GradeOutput]):
    """Chooses sentences and measures their support. A model's verdict decides where there is one, else the support."""

    name = "grade"
    input_model = GradeInput
    output_model = GradeOutput
    has_rule = True
    announcement = Announcement(Step.GRADING, "Analyzing results...")
    # As with the evidence (see Retrieve): repeating it is faster than keeping it.
    policy = Policy(keep_after_seconds=1.0)

    def __init__(
        self,
        extractor: Extractor,
        table: RetrievalTable = DEFAULT_RETRIEVAL,
        source: EvidenceSource | None = None,
        asker: Asker | None = None,
        prompt: str = "",
    ) -> None:
        """source: gives the passages to show a model; None asks no model."""
        self._extractor = extractor
        self._table = table
        self._source = source
        self._asker = asker if source is not None else None
        self._prompt = prompt
        self._shape = Shape(Graded)
        self.calls_model = self._asker is not None

    async def process(self, given: GradeInput, run: Run) -> GradeOutput:
        """Extract the best-supported sentences."""
        question = given.standalone_question or given.question
        extraction = await self._extractor.extract(question, given.evidence)
        least = self._table.support
        if least is not None:
            supported = bool(extraction.quotes) and extraction.support >= least
            extraction = replace(extraction, supported=supported)
        if self._asker is not None and self._source is not None and extraction.quotes:
            shown = self._source.passages(given.evidence, self._table.context_bytes)
            untrusted = Untrusted(question, passages=[f"{one.title}\n{one.text}" for one in shown])
            try:
                verdict = await ask_typed(self._asker, run, self._prompt, self._shape, {}, untrusted)
                extraction = replace(extraction, supported=verdict.answered)
            except FAILURES as error:
                run.fell_back(Fallback(FallbackKind.RULE, self.name, "support", cause(error)))
        return GradeOutput(extraction=extraction)


KIND: Final = NodeKind(
    lambda parts, options, _: Grade(
        required(parts.extractor, "extractor"),
        parts.traits.retrieval,
        parts.source,
        parts.decider(options.prompt),
        options.prompt,
    ),
    GradeInput,
    GradeOutput,
    GraderOptions,
    offers=OFFERED,
)
