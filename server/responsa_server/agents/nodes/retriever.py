"""Searches the documents."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.agents.engine.kinds import NodeKind, required
from responsa_server.agents.engine.node import Announcement, Node, NodeModel, Policy, Run
from responsa_server.agents.engine.rewriting import points_back
from responsa_server.agents.nodes.query_expander import distinct
from responsa_server.domain.answers import Evidence, EvidenceSource, SearchOptions
from responsa_server.domain.events import Fallback, FallbackKind, Step, Usage

DEFAULT_RETRIEVAL = RetrievalTable.model_validate({})
_VECTORS_GONE = "part_unavailable:vectors"


class RetrieveInput(NodeModel):
    """The question and the collections to search. standalone_question: "" if the question needs no rewriting; expansions: other wordings."""

    question: str
    standalone_question: str = ""
    expansions: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()


class RetrieveOutput(NodeModel):
    """The passages that were found."""

    evidence: Evidence


class Retrieve(Node[RetrieveInput, RetrieveOutput]):
    """Searches, with up to three attempts while a part is unavailable."""

    name = "retrieve"
    input_model = RetrieveInput
    output_model = RetrieveOutput
    announcement = Announcement(Step.RETRIEVING, "Searching knowledge base...")
    # Evidence is the largest part of the state, and another search takes about 10 ms; a milestone would cost more.
    policy = Policy(timeout_seconds=20.0, attempts=3, pause_seconds=0.1, keep_after_seconds=1.0)

    def __init__(self, source: EvidenceSource, table: RetrievalTable = DEFAULT_RETRIEVAL) -> None:
        self._source = source
        self._collections = table.collections
        self._options = SearchOptions(
            table.top_k, table.threshold, table.rerank, last=table.last_collections, support=table.support
        )

    async def process(self, given: RetrieveInput, run: Run) -> RetrieveOutput:
        """Search in the collections of the request, else in the agent's own."""
        collections = given.collections or self._collections
        questions = wordings(given)
        options = replace(self._options, expansions=tuple(distinct(given.expansions, said=questions)))
        evidence = await self._source.search(run.who, questions, collections, options)
        run.spend(Usage(evidence.embedding_tokens))
        if evidence.degraded:
            run.fell_back(Fallback(FallbackKind.TEXT_ONLY, self.name, evidence.degraded, _VECTORS_GONE))
        return RetrieveOutput(evidence=evidence)


def wordings(given: RetrieveInput) -> tuple[str, ...]:
    """The wordings of the question to search for, without expansions. Passages that other words find must resemble the last one.

    A short question without a pronoun may be a new one rather than a follow-up, so it is searched for as it was asked, too.
    """
    if given.standalone_question and not points_back(given.question):
        return (given.standalone_question, given.question)
    return (given.standalone_question or given.question,)


KIND: Final = NodeKind(
    lambda parts, _, __: Retrieve(required(parts.source, "source of evidence"), parts.traits.retrieval),
    RetrieveInput,
    RetrieveOutput,
    fallback=FallbackKind.WITHOUT_RETRIEVAL,
)
