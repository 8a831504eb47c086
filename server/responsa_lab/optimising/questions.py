"""Asks a running server labelled questions, and compares its searches and its agent's answers with the labels."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from responsa.chat.v1 import turn_pb2
from responsa.knowledge.v1.knowledge_service_pb2 import SearchRequest
from responsa_client import CitationVerdict, search_request, turn_error
from responsa_client.aio import AsyncResponsa
from responsa_lab.evaluation.measuring import answering, source_keys
from responsa_lab.evaluation.metrics import gold_in_text, reciprocal_rank
from responsa_lab.optimising.data import LabelledQuestion, read
from responsa_lab.optimising.record import Record, Stopped
from responsa_server.agents.config.content import Content, pack
from responsa_server.agents.engine.config import AgentConfig, RetrievalTable
from responsa_server.agents.engine.node import TurnLimits
from responsa_server.cli.output import EXIT_USAGE, CommandFailed
from responsa_server.domain import names

_DEPTH: Final = 10
_COST: Final = "budget:cost_micros"
"""The cause of a fallback that saves money."""
_OVER: Final = TurnLimits(requested=True).sentence("cost_micros")
"""How a question is refused that would cost more than is left for it."""
_FAILED: Final = "model_unavailable"
"""How the cause of a fallback begins that replaces a model that failed."""


async def documents(client: AsyncResponsa) -> Mapping[str, Set[str]]:
    """The names `documents/{uuid}` of the documents that the caller may read, by the name itself and by the source_key."""
    names = dict[str, set[str]]()
    async for collection in client.collections():
        for name, key in (await source_keys(client, collection.name)).items():
            names.setdefault(key, set()).add(name)
            names[name] = {name}
    return names


def search_of(table: RetrievalTable, terms: Sequence[str], sources: Sequence[str]) -> SearchRequest:
    """The search of the API that is most like an agent's, in which other queries replace only the worse half of the
    passages. table: where the agent searches. sources: the names of the sources that a model has chosen; empty for the
    agent's collections."""
    places = [table.sources[name] for name in sources]
    own = dict.fromkeys(name for source in places for name in source.collections)
    within = own if places and all(source.collections for source in places) else table.collections
    filters = [source.filter for source in places]
    if len(places) > 1:
        named = [
            " OR ".join(f'collection = "collections/{key}"' for key in scope.collections) for scope in places
        ]
        both = ([f"({part})" for part in pair if part] for pair in zip(named, filters, strict=True))
        filters = [" OR ".join(f"({' AND '.join(pair)})" for pair in both)]
    return search_request(
        terms,
        [names.collection(name) for name in within],
        min(_DEPTH, table.top_k or _DEPTH),
        table.threshold,
        rerank=table.rerank,
        filter_by="".join(filters),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a question. refused: whether it was refused. documents: those that valid citations name. text: the answer."""

    refused: bool
    documents: Sequence[str]
    text: str

    def judge(self, question: LabelledQuestion, right: Set[str]) -> Mapping[str, bool]:
        """Whether the outcome is good by each metric. right: the labelled documents. A question that must be refused is
        good by all of them if it was."""
        as_labelled = self.refused == question.refused
        return {
            "right": as_labelled
            and (question.refused or not question.contains or gold_in_text(self.text, [question.contains])),
            "cited": as_labelled and (question.refused or bool(right & {*self.documents})),
            "refused": as_labelled,
        }


class Questions:
    """Labelled questions for an agent that answers from documents. data: the questions."""

    def __init__(
        self,
        client: AsyncResponsa,
        config: AgentConfig,
        path: Path,
        known: Collection[str],
        documents: Mapping[str, Set[str]],
        *,
        free: bool,
        small: bool,
    ) -> None:
        """known: as for `data.read`. documents: see `documents`. free: whether the agent's models cost nothing. small:
        whether one of them is a small model, whose failures are part of what is measured. Raises CommandFailed, also
        for a document that does not exist and for an agent whose searches differ from user to user."""

        source = config.retrieval.source_parameter
        if config.retrieval.subject:
            raise CommandFailed(
                "The agent finds only documents about the asking user (retrieval.subject), so its queries cannot be compared.",
                "Choose another agent.",
                EXIT_USAGE,
            )

        def wrong(question: LabelledQuestion) -> str:
            if question.part == "train" and question.refused:
                return "must be refused, which no search shows; move it to the part `test`"
            if question.part == "train" and question.parameters.get(source):
                return f"chooses its source with the parameter “{source}”; leave it out, or move the question to the part `test`"
            missing = [key for key in question.documents if key not in documents]
            return f"names the document “{missing[0]}”, which you have not" if missing else ""

        self.data = data = read(path, LabelledQuestion, wrong, known)
        self._client = client
        self._table = config.retrieval
        self._limit = config.limits.cost_micros
        self._free = free
        self._small = small
        self._right = {
            item.text: frozenset(name for key in item.documents for name in documents[key])
            for item in (*data.examples, *data.chosen, *data.test)
        }

    async def score(self, text: str, label: str) -> float:
        """1 divided by the rank of the first right document in `search_of`; 0 if none is among the first ten passages,
        or those that the agent gets, if they are fewer. label: the queries and sources as JSON; "" for none."""
        query: Mapping[str, Sequence[str]] = json.loads(label) if label else {}
        ranking = list[str]()
        # If nothing is found in the sources, the agent searches everywhere.
        for sources in (query.get("sources", ()), ()):
            if not ranking:
                request = search_of(self._table, [text, *query.get("queries", ())], sources)
                (hits,) = await self._client.batch_search([request])
                ranking = list(dict.fromkeys(hit.passage.document for hit in hits))
        return reciprocal_rank(ranking, self._right[text], _DEPTH)

    async def measure(self, content: Content, version: str, record: Record) -> Mapping[str, Sequence[bool]]:
        """Whether the server's version is good on each question of the part `test`, by metric. Raises Stopped."""
        digest = hashlib.sha256(pack(content)).hexdigest()

        async def judge(question: LabelledQuestion) -> Mapping[str, bool]:
            parts = [digest, question.text, question.parameters]
            stored = await record.keep(
                parts, self._limit, lambda limit: self._ask(version, question, limit, record)
            )
            return Outcome(**json.loads(stored)).judge(question, self._right[question.text])

        tasks = [asyncio.create_task(judge(item)) for item in self.data.test]
        try:
            await asyncio.wait(tasks)  # after a stop, what is under way ends, and its conversation is deleted
        except asyncio.CancelledError:
            record.stopped = Stopped("The run was stopped.")
            await asyncio.wait(tasks)
            raise
        finally:
            failed = [error for task in tasks if task.done() and (error := task.exception())]
        if failed:
            # After an error, the questions that were waiting are stopped.
            raise next((error for error in failed if not isinstance(error, Stopped)), failed[0])
        results = [task.result() for task in tasks]
        return {metric: [item[metric] for item in results] for metric in ("cited", "right", "refused")}

    async def _ask(
        self, version: str, question: LabelledQuestion, limit: int, record: Record
    ) -> tuple[str, int]:
        if not limit and not self._free:
            raise record.over()
        async with answering(
            self._client, question.text, agent=version, parameters=question.parameters, max_cost_micros=limit
        ) as turn:
            cost, end = turn.usage.cost_usd_micros, turn.terminal_event
            causes = [fallback.cause for fallback in turn.fallbacks]
            # A larger budget helps against no other limit of the agent.
            over = _COST in causes or end.refused.message == _OVER
            if over and limit != self._limit:
                raise record.over(cost)
            if end.refused.reason == turn_pb2.REFUSAL_REASON_QUOTA:
                raise Stopped(end.refused.message, cost)
            failed = [cause for cause in causes if cause.startswith(_FAILED) and not self._small]
            if failed or turn_error(turn) is not None:
                why = failed[0] if failed else str(turn_error(turn))
                again = "Run the same command again to go on from here."
                raise Stopped(f"{version} does not answer “{question.id}” ({why}). {again}", cost)
            cited = end.answer.citations
            checks = await self._client.verify_citations(turn.name) if cited else []
            valid = [
                source.document_version.partition("/versions/")[0]
                for source, check in zip(cited, checks, strict=True)
                if check.verdict == CitationVerdict.CITATION_VERDICT_VALID and source.document_version
            ]
            return json.dumps(asdict(Outcome(end.HasField("refused"), valid, end.answer.text))), cost
