"""Searches the documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.kinds import Kind, required
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, Policy, Run
from responsa_server.agents.engine.rewriting import points_back
from responsa_server.agents.nodes.query_expander import distinct
from responsa_server.domain.answers import Evidence
from responsa_server.domain.events import Fallback, FallbackKind, Step, Usage
from responsa_server.domain.ports.answers import EvidenceSource, SearchOptions

DEFAULT_RETRIEVAL = RetrievalTable.model_validate({})
_VECTORS_GONE = "part_unavailable:vectors"


class RetrieveInput(NodeModel):
    """The question and where to look. standalone_question: "" when the question stands alone as it is; expansions: other wordings."""

    question: str
    standalone_question: str = ""
    expansions: tuple[str, ...] = ()
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

    def __init__(self, source: EvidenceSource, table: RetrievalTable = DEFAULT_RETRIEVAL) -> None:
        self._source = source
        self._collections = table.collections
        self._options = SearchOptions(table.top_k, table.threshold, table.rerank)

    async def process(self, given: RetrieveInput, run: Run) -> RetrieveOutput:
        """Search for the question, in the collections that the request names, else in the agent's own."""
        collections = given.collections or self._collections
        questions = wordings(given)
        options = replace(self._options, expansions=tuple(distinct(given.expansions, said=questions)))
        evidence = await self._source.search(run.who, questions, collections, options)
        run.spend(Usage(evidence.embedding_tokens))
        if evidence.degraded:
            run.fell_back(Fallback(FallbackKind.TEXT_ONLY, self.name, evidence.degraded, _VECTORS_GONE))
        return RetrieveOutput(evidence=evidence)


def wordings(given: RetrieveInput) -> tuple[str, ...]:
    """What is searched for besides expansions; the last one is what was asked, which an answer found by other words has to stand near.

    A question that was made to stand alone though it had no pronoun may have been a new one, only short: then it is searched for as it was asked, too.
    """
    if given.standalone_question and not points_back(given.question):
        return (given.standalone_question, given.question)
    return (given.standalone_question or given.question,)


KIND: Final = Kind(
    lambda parts, _, __: Retrieve(required(parts.source, "source of evidence"), parts.traits.retrieval),
    RetrieveInput,
    RetrieveOutput,
    fallback=FallbackKind.WITHOUT_RETRIEVAL,
)
