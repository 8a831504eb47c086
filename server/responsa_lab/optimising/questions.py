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
from responsa_client import CitationVerdict, search_request, turn_error
from responsa_client.aio import AsyncResponsa
from responsa_lab.evaluation.measuring import answering, source_keys
from responsa_lab.evaluation.metrics import gold_in_text, reciprocal_rank
from responsa_lab.optimising.data import Labelled, Question, read
from responsa_lab.optimising.record import Record, Stopped
from responsa_server.agents.config.content import Content, packed
from responsa_server.agents.engine.config import AgentConfig, RetrievalTable, SourceTable
from responsa_server.domain import names

_DEPTH: Final = 10
_COST: Final = "cost_micros"
"""The cause of a fallback that saves money."""


async def _found(
    client: AsyncResponsa, table: RetrievalTable, question: str, answer: str, right: Set[str]
) -> float:
    """1 divided by the rank of the first right document in the agent's search for a question; 0 if none is among the first ten."""
    given: Mapping[str, Sequence[str]] = json.loads(answer) if answer else {}
    chosen = [table.sources[name] for name in given.get("sources", ())]
    ranking = list[str]()
    # If nothing is found in the sources, the agent searches everywhere.
    for places in (chosen, []):
        request = search_request(
            [question, *given.get("queries", ())],
            _collections(table, places),
            _DEPTH,
            table.threshold,
            rerank=table.rerank,
            filter_by=_filter(places),
        )
        (hits,) = await client.batch_search([request])
        if ranking := list(dict.fromkeys(hit.passage.document for hit in hits)):
            break
    return reciprocal_rank(ranking, right, _DEPTH)


def _collections(table: RetrievalTable, places: Sequence[SourceTable]) -> Sequence[str]:
    own = dict.fromkeys(names.collection(name) for place in places for name in place.collections)
    whole = [names.collection(name) for name in table.collections]
    return [*own] if places and all(place.collections for place in places) else whole


def _filter(places: Sequence[SourceTable]) -> str:
    if len(places) < 2:
        return "".join(place.filter for place in places)
    conditions = [
        [
            " OR ".join(f'collection = "{names.collection(name)}"' for name in place.collections),
            place.filter,
        ]
        for place in places
    ]
    return " OR ".join(f"({' AND '.join(f'({one})' for one in both if one)})" for both in conditions)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a question. refused: whether it was refused. documents: those that valid citations name. text: the answer."""

    refused: bool
    documents: Sequence[str]
    text: str

    def judged(self, question: Question, right: Set[str]) -> Mapping[str, bool]:
        """Whether the outcome is good by each metric. right: the labelled documents. A question that must be refused is good by all of them if it was."""
        as_labelled = self.refused == question.refused
        return {
            "right": as_labelled
            and (question.refused or not question.contains or gold_in_text(self.text, [question.contains])),
            "cited": as_labelled and (question.refused or bool(right & {*self.documents})),
            "refused": as_labelled,
        }


async def _asked(
    client: AsyncResponsa,
    version: str,
    digest: str,
    question: Question,
    record: Record,
    *,
    limit: int,
    free: bool,
) -> Outcome:
    """What the server's version of an agent makes of a question, from the record if it was asked before. limit: what the agent itself lets a question cost; 0 for no limit."""

    async def ask(most: int) -> tuple[str, int]:
        if not most and not free:
            raise record.over()
        async with answering(
            client, question.text, agent=version, parameters=question.parameters, max_cost_micros=most
        ) as turn:
            cost, end = turn.usage.cost_usd_micros, turn.terminal_event
            saved = any(one.cause == _COST for one in end.answer.fallbacks)
            if (saved or end.refused.reason == turn_pb2.REFUSAL_REASON_BUDGET) and not 0 < limit <= most:
                raise record.over(cost)
            if (error := turn_error(turn)) is not None:
                raise Stopped(
                    f"{version} does not answer “{question.id}”: {error.message} Run the same command again to go on from here.",
                    cost,
                )
            cited = end.answer.citations
            checks = await client.verify_citations(turn.name) if cited else []
            valid = [
                one.document_version.partition("/versions/")[0]
                for one, check in zip(cited, checks, strict=True)
                if check.verdict == CitationVerdict.CITATION_VERDICT_VALID and one.document_version
            ]
            found = Outcome(end.HasField("refused"), valid, end.answer.text)
            return json.dumps(asdict(found)), cost

    return Outcome(**json.loads(await record.kept([digest, question.text, question.parameters], limit, ask)))


class Questions:
    """Labelled questions for an agent that answers from documents.

    data: the questions. free: whether the agent's models cost nothing.
    """

    def __init__(
        self,
        client: AsyncResponsa,
        config: AgentConfig,
        data: Labelled[Question],
        documents: Mapping[str, Set[str]],
        *,
        free: bool,
    ) -> None:
        """documents: the names of documents, as in `documents`."""
        self.data = data
        self._client = client
        self._config = config
        self._free = free
        questions = (*data.examples, *data.chosen, *data.test)
        self._right = {
            one.text: frozenset(name for key in one.documents for name in documents[key]) for one in questions
        }

    @classmethod
    async def read(
        cls, client: AsyncResponsa, config: AgentConfig, path: Path, known: Collection[str], *, free: bool
    ) -> Questions:
        """The questions of a file. known: as for `data.read`. Raises CommandFailed, also for a document that does not exist."""
        documents = dict[str, set[str]]()
        async for collection in client.collections():
            for name, key in (await source_keys(client, collection.name)).items():
                documents.setdefault(key, set()).add(name)
                documents[name] = {name}

        def wrong(one: Question) -> str:
            if one.refused and one.part == "train":
                return "must be refused, which no search shows; move it to the part `test`"
            missing = [key for key in one.documents if key not in documents]
            return f"names the document “{missing[0]}”, which you have not" if missing else ""

        return cls(client, config, read(path, Question, wrong, known), documents, free=free)

    async def score(self, text: str, label: str) -> float:
        """How well the queries of a label find a document that must be cited."""
        return await _found(self._client, self._config.retrieval, text, label, self._right[text])

    async def measured(self, content: Content, version: str, record: Record) -> Mapping[str, Sequence[bool]]:
        """Whether the server's version is good on each question of the part `test`, by metric. Raises Stopped."""
        digest = hashlib.sha256(packed(content)).hexdigest()
        limit = self._config.limits.cost_micros

        async def judged(one: Question) -> Mapping[str, bool]:
            outcome = await _asked(self._client, version, digest, one, record, limit=limit, free=self._free)
            return outcome.judged(one, self._right[one.text])

        found = await asyncio.gather(*(judged(one) for one in self.data.test))
        return {metric: [one[metric] for one in found] for metric in ("cited", "right", "refused")}
