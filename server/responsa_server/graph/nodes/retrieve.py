"""Searches the documents."""

from __future__ import annotations

from responsa_server.domain.answers import Evidence
from responsa_server.domain.ports.answers import EvidenceSource
from responsa_server.domain.turns import Step, Usage
from responsa_server.graph.node import Announcement, Node, NodeModel, Policy, Run
from responsa_server.graph.rewriting import points_back


class RetrieveInput(NodeModel):
    """The question and where to look. standalone_question: "" when the question stands alone as it is."""

    question: str
    standalone_question: str = ""
    collections: tuple[str, ...] = ()


class RetrieveOutput(NodeModel):
    """What was found."""

    evidence: Evidence


class Retrieve(Node[RetrieveInput, RetrieveOutput]):
    """Asks the knowledge, once more when it cannot be reached."""

    name = "retrieve"
    input_model = RetrieveInput
    output_model = RetrieveOutput
    announcement = Announcement(Step.RETRIEVING, "Searching knowledge base...")
    # Evidence is the largest part of the state, and found again in some 10 ms; what takes longer is waiting, which a milestone would only add to.
    policy = Policy(timeout_seconds=20.0, attempts=3, pause_seconds=0.1, keep_after_seconds=1.0)

    def __init__(self, source: EvidenceSource) -> None:
        self._source = source

    async def process(self, given: RetrieveInput, run: Run) -> RetrieveOutput:
        """Search for the question.

        One that was made to stand alone though it had no pronoun may have been a new question, only short: then both wordings are searched for.
        """
        questions = (given.standalone_question or given.question,)
        if given.standalone_question and not points_back(given.question):
            questions = (given.standalone_question, given.question)
        evidence = await self._source.search(run.who, questions, given.collections)
        run.spend(Usage(evidence.embedding_tokens))
        return RetrieveOutput(evidence=evidence)
