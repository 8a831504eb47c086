"""Orders the passages that a search found, and chooses those that an answer without a language model shows."""

from __future__ import annotations

from typing import Final

from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, Policy, Run
from responsa_server.domain.answers import Evidence, EvidenceSource, Ranking
from responsa_server.domain.events import Step


class RankInput(NodeModel):
    """The question and its evidence."""

    question: str
    standalone_question: str = ""
    evidence: Evidence


class RankOutput(NodeModel):
    """The evidence in its new order, and what to show of it without a language model."""

    evidence: Evidence
    ranking: Ranking


class Rank(Node[RankInput, RankOutput]):
    """Orders the evidence, with the reranking model if there is one."""

    name = "rank"
    input_model = RankInput
    output_model = RankOutput
    announcement = Announcement(Step.GRADING, "Analyzing results...")
    # Repeating this step is faster than storing its result, as with the evidence (see Retrieve).
    policy = Policy(timeout_seconds=20.0, attempts=3, pause_seconds=0.1, keep_after_seconds=1.0)

    def __init__(self, source: EvidenceSource) -> None:
        self._source = source

    async def process(self, given: RankInput, run: Run) -> RankOutput:
        """Order the evidence."""
        question = given.standalone_question or given.question
        ranked = await self._source.rank(run.who, question, given.evidence)
        run.spend(ranked.usage)
        if ranked.fallback is not None:
            run.fell_back(ranked.fallback)
        return RankOutput(evidence=ranked.evidence, ranking=ranked.ranking)


RANKER: Final = NodeKind(
    lambda parts, _, __: Rank(required(parts.source, "source of evidence")), RankInput, RankOutput
)
