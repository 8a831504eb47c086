"""The node that adds what tools returned to the evidence."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from responsa_server.agents.engine.calling import ResultModel
from responsa_server.agents.engine.citations import found_sources
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Node, NodeModel, Policy, Run
from responsa_server.domain.answers import Evidence, EvidenceSource


class GatherInput(NodeModel):
    """The question, its evidence if the documents were searched, and the results of tools. gathered: how many results the evidence contains already."""

    question: str
    standalone_question: str = ""
    evidence: Evidence | None = None
    results: tuple[ResultModel, ...] = ()
    gathered: int = Field(default=0, ge=0)


class GatherOutput(NodeModel):
    """The evidence with the texts of the tools' sources. gathered: how many results it contains; prompts do not show these again."""

    evidence: Evidence
    gathered: int = Field(ge=0)


class Gather(Node[GatherInput, GatherOutput]):
    """Adds the texts of the tools' sources to the passages, so that prompts show them, and answers quote and cite them, like passages of documents."""

    name = "gather"
    input_model = GatherInput
    output_model = GatherOutput
    # Repeating this step is faster than storing its result, as with the evidence (see Retrieve).
    policy = Policy(keep_after_seconds=1.0)

    def __init__(self, source: EvidenceSource) -> None:
        self._source = source

    async def process(self, given: GatherInput, run: Run) -> GatherOutput:
        """Add the sources to the evidence."""
        question = given.standalone_question or given.question
        added = found_sources(given.results[given.gathered :])
        evidence = await self._source.with_sources(question, given.evidence, added)
        return GatherOutput(evidence=evidence, gathered=len(given.results))


SOURCE_GATHERER: Final = NodeKind(
    lambda parts, _, __: Gather(required(parts.source, "source of evidence")), GatherInput, GatherOutput
)
