"""Measures a running server on a data set through the public client."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from responsa.chat.v1 import citation_pb2, turn_pb2
from responsa_client import CitationVerdict, SearchMode, search_request
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import NotFound
from responsa_lab.evaluation.dataset import DatasetQuestion
from responsa_lab.evaluation.metrics import (
    TextSpan,
    camel,
    fuse,
    gold_cited,
    gold_in_text,
    mean,
    ndcg,
    recall,
    reciprocal_rank,
    round_off,
)
from responsa_server.cli.call_errors import sentence_of
from responsa_server.cli.ingest import DocumentReport, DocumentValues, FileOutcome, ensure_collection, ingest
from responsa_server.cli.output import CommandFailed
from responsa_server.cli.progress import Progress
from responsa_server.cli.sources import Entry, count, entries, find, list_suffixes

IN_FLIGHT = 8
DEPTH = 10
_PATIENCE_SECONDS = 300.0
_FUSED = 100
"""The number of passages of each list that reciprocal rank fusion reads."""
_PASSAGES = 50
"""The number of passages to request. A ranking may contain several passages of one document; this number of passages
nearly always comes from at least ten documents."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """The quality of a search. The figures are means from 0 to 1 over the questions that have a document."""

    questions: int
    recall_at_1: float | None
    recall_at_3: float | None
    recall_at_5: float | None
    recall_at_10: float | None
    ndcg_at_10: float | None
    mrr_at_10: float | None


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """The quality of answers, as shares from 0 to 1.

    gold_in_answer: the share of answerable questions with a gold text in the answer. gold_in_given: the same share
    among the answerable questions that were answered. gold_cited: the share of answerable questions with a citation
    that covers a whole gold span. refused_answerable, refused_unanswerable: the shares of answerable and of
    unanswerable questions that were refused.
    citations: the number of citations of all answers. verified: the share of
    these citations that `valid_citations` returns.
    """

    questions: int
    answerable: int
    unanswerable: int
    failed: int
    gold_in_answer: float | None
    gold_in_given: float | None
    gold_cited: float | None
    refused_answerable: float | None
    refused_unanswerable: float | None
    citations: int
    verified: float | None


def as_object(scores: RetrievalScores | AnswerScores | ComparedScores) -> dict[str, int | float | None]:
    """The scores under lowerCamel names, round_off to four decimal places."""
    return {
        camel(name): round_off(value) if isinstance(value, float) else value
        for name, value in asdict(scores).items()
    }


async def own_collections(client: AsyncResponsa, agent: str) -> list[str]:
    """The collections of an agent's samples, chosen as `responsa samples load` chooses them."""
    return list((await client.agent(agent)).collections) or [f"collections/{agent}"]


async def source_keys(client: AsyncResponsa, collection: str) -> dict[str, str]:
    """The source_key of each document of the collection, by the document's name."""
    return {document.name: document.source_key async for document in client.documents(collection)}


async def take_in(
    client: AsyncResponsa, entries: Iterator[Entry], collection: str, progress: Progress, subject: str = ""
) -> None:
    """Ingests documents into the collection, but those without text. Creates the collection if it is missing. subject:
    whom the documents are about; "" for nobody.

    Raises:
        CommandFailed: a document cannot be ingested.
    """
    failed: list[str] = []

    def show_report(report: DocumentReport) -> None:
        progress.advance()
        # A page that only redirects to another has a front matter, and no text in which an answer could stand.
        empty = report.error is not None and report.error.reason == "DOCUMENT_EMPTY"
        if report.outcome is FileOutcome.FAILED and not empty:
            why = f"{report.why}." if report.error is None else sentence_of(report.error)
            failed.append(f"{report.where}: {why}")

    await ensure_collection(client, collection)
    await ingest(client, entries, collection, show_report, DocumentValues(subject=subject))
    if failed:
        raise CommandFailed(f"{len(failed)} documents could not be ingested. The first: {failed[0]}")


async def load_documents(
    client: AsyncResponsa, path: Path, collection: str, called: str = "Loading"
) -> dict[str, str]:
    """Ingests a file or a folder into the collection, as `take_in` does. called: what the progress says. Returns the
    source_keys of the collection's documents by name. Raises CommandFailed."""
    targets = find([str(path)], await list_suffixes(client))
    with Progress(called, count(targets)) as progress:
        await take_in(client, entries(targets), collection, progress)
    return await source_keys(client, collection)


WAYS = ("hybrid", "bm25", "vectors", "rrf")


@dataclass(frozen=True, slots=True)
class ComparedScores:
    """The quality of one way to rank. recall_at_1, ndcg_at_10: means over all questions. first_half, second_half:
    nDCG@10 of the two halves of the questions; a hash of its text decides to which half a question belongs.
    """

    recall_at_1: float | None
    ndcg_at_10: float | None
    first_half: float | None
    second_half: float | None


async def compare_rankings(
    client: AsyncResponsa,
    questions: Sequence[DatasetQuestion],
    collection: str,
    keys: Mapping[str, str],
    advance: Callable[[], None],
) -> Mapping[str, ComparedScores]:
    """Searches for each question that has a document, in each of WAYS: as Search does by default; by words alone (BM25)
    and by vectors alone, neither ranked again; and the reciprocal rank fusion of these two lists.
    """
    answerable = [question for question in questions if question.doc_ids and question.answerable]

    async def rankings(question: DatasetQuestion) -> Sequence[list[str]]:
        searches = [
            search_request(question.question, [collection], _PASSAGES),
            search_request(
                question.question, [collection], _FUSED, mode=SearchMode.SEARCH_MODE_TEXT, rerank=False
            ),
            search_request(question.question, [collection], _FUSED, mode=SearchMode.SEARCH_MODE_VECTOR),
        ]
        lists = [
            list(dict.fromkeys(keys.get(hit.passage.document, hit.passage.document) for hit in hits))
            for hits in await client.batch_search(searches)
        ]
        advance()
        return [*lists, fuse(lists[1:])]

    results = await several(answerable, rankings)
    return {way: _compare([ways[index] for ways in results], answerable) for index, way in enumerate(WAYS)}


def _compare(rankings: Sequence[Sequence[str]], questions: Sequence[DatasetQuestion]) -> ComparedScores:
    gains: tuple[list[float], list[float]] = ([], [])
    for ranking, question in zip(rankings, questions, strict=True):
        half = hashlib.sha256(question.question.encode()).digest()[0] % 2
        gains[half].append(ndcg(ranking, set(question.doc_ids), DEPTH))
    return ComparedScores(
        mean(
            recall(ids, set(question.doc_ids), 1) for ids, question in zip(rankings, questions, strict=True)
        ),
        mean([*gains[0], *gains[1]]),
        mean(gains[0]),
        mean(gains[1]),
    )


async def measure_retrieval(
    client: AsyncResponsa,
    questions: Sequence[DatasetQuestion],
    collection: str,
    keys: Mapping[str, str],
    advance: Callable[[], None],
) -> RetrievalScores:
    """Searches for each question that has a document, and compares the ranking of documents with the right documents."""
    answerable = [question for question in questions if question.doc_ids and question.answerable]

    async def ranking(question: DatasetQuestion) -> list[str]:
        hits = await client.search(question.question, [collection], top_k=_PASSAGES)
        advance()
        return list(dict.fromkeys(keys.get(hit.passage.document, hit.passage.document) for hit in hits))

    rankings = await several(answerable, ranking)
    pairs = [(ids, set(question.doc_ids)) for ids, question in zip(rankings, answerable, strict=True)]
    return RetrievalScores(
        questions=len(answerable),
        recall_at_1=mean(recall(ids, right, 1) for ids, right in pairs),
        recall_at_3=mean(recall(ids, right, 3) for ids, right in pairs),
        recall_at_5=mean(recall(ids, right, 5) for ids, right in pairs),
        recall_at_10=mean(recall(ids, right, DEPTH) for ids, right in pairs),
        ndcg_at_10=mean(ndcg(ids, right, DEPTH) for ids, right in pairs),
        mrr_at_10=mean(reciprocal_rank(ids, right, DEPTH) for ids, right in pairs),
    )


@dataclass(frozen=True, slots=True)
class _Answered:
    kind: str
    """"answer", "refused" or "failed"."""
    in_text: bool
    cited: bool
    citations: int
    verified: int


async def measure_answers(
    client: AsyncResponsa,
    questions: Sequence[DatasetQuestion],
    collection: str,
    keys: Mapping[str, str],
    advance: Callable[[], None],
) -> AnswerScores:
    """Asks each question of the collection, compares the answers with the gold answers, and verifies the citations.
    Deletes the conversations again."""
    texts: dict[str, bytes] = {}

    async def ask(question: DatasetQuestion) -> _Answered:
        async with answering(client, question.question, collection) as turn:
            verified = len(await valid_citations(client, turn, texts))
        advance()
        return _judge(turn, question, keys, verified)

    results = await several(questions, ask)
    known = [
        (question, result)
        for question, result in zip(questions, results, strict=True)
        if result.kind != "failed"
    ]
    positive = [result for question, result in known if question.answerable]
    negative = [result for question, result in known if not question.answerable]
    with_gold = [result for question, result in known if question.answerable and question.answers]
    citations = sum(result.citations for result in results)
    return AnswerScores(
        questions=len(questions),
        answerable=len(positive),
        unanswerable=len(negative),
        failed=len(results) - len(known),
        gold_in_answer=mean(result.in_text for result in with_gold),
        gold_in_given=mean(result.in_text for result in with_gold if result.kind == "answer"),
        gold_cited=mean(result.cited for result in with_gold),
        refused_answerable=mean(result.kind == "refused" for result in positive),
        refused_unanswerable=mean(result.kind == "refused" for result in negative),
        citations=citations,
        verified=sum(result.verified for result in results) / citations if citations else None,
    )


def _judge(
    turn: turn_pb2.Turn, question: DatasetQuestion, keys: Mapping[str, str], verified: int
) -> _Answered:
    event = turn.terminal_event
    kind = event.WhichOneof("event") or "failed"
    answer = event.answer
    return _Answered(
        kind=kind,
        in_text=gold_in_text(answer.text, question.gold_texts),
        cited=gold_cited(spans_of(answer.citations, keys), question.gold_spans),
        citations=len(answer.citations),
        verified=verified,
    )


@contextlib.asynccontextmanager
async def answering(
    client: AsyncResponsa,
    question: str,
    collection: str = "",
    *,
    agent: str = "",
    parameters: Mapping[str, Any] | None = None,
    max_cost_micros: int = 0,
    before: Sequence[str] = (),
) -> AsyncGenerator[turn_pb2.Turn]:
    """Asks a question, and yields the finished turn. Deletes the conversation at the end. collection: where the agent
    looks; "" for where it looks anyway. agent: "" for the default agent.
    max_cost_micros: what each question may cost at most; 0 for the agent's own limit. before: questions that are asked
    first, in the same conversation.
    """

    async def ask(text: str, conversation: str | None) -> turn_pb2.Turn:
        # A user may ask only some questions a minute, and the client waits for the next ones.
        return await client.answer(
            text,
            conversation=conversation,
            collections=[collection] if collection else [],
            agent=agent,
            parameters=parameters,
            max_cost_usd_micros=max_cost_micros or None,
            timeout=_PATIENCE_SECONDS,
        )

    conversation: str | None = None
    for text in before:
        conversation = (await ask(text, conversation)).conversation
    turn = await ask(question, conversation)
    try:
        yield turn
    finally:
        with contextlib.suppress(NotFound):
            await client.delete_conversation(turn.conversation)


async def valid_citations(
    client: AsyncResponsa, turn: turn_pb2.Turn, texts: dict[str, bytes]
) -> Sequence[citation_pb2.Citation]:
    """The citations of the answer that are right: VerifyCitations finds the citation valid, the canonical text of the
    cited version has exactly the quote in the cited range, and the quote has the citation's SHA-256.

    texts: the canonical texts read so far, by the name of the version. This function adds the texts that it reads.
    """
    cited = turn.terminal_event.answer.citations
    if not cited:
        return []
    right: list[citation_pb2.Citation] = []
    for citation, check in zip(cited, await client.verify_citations(turn.name), strict=True):
        version, quote = citation.document_version, citation.quote.encode()
        if version not in texts:
            texts[version] = (await client.document_content(version)).encode()
        if (
            check.verdict == CitationVerdict.CITATION_VERDICT_VALID
            and check.citation == citation
            and texts[version][citation.source_range.start : citation.source_range.end] == quote
            and hashlib.sha256(quote).digest() == citation.sha256
        ):
            right.append(citation)
    return right


def spans_of(citations: Iterable[citation_pb2.Citation], keys: Mapping[str, str]) -> list[TextSpan]:
    """The quoted bytes of each citation. keys: the source_key of each document, by the document's name."""
    return [
        TextSpan(
            keys.get(citation.document_version.partition("/versions/")[0], ""),
            citation.source_range.start,
            citation.source_range.end,
        )
        for citation in citations
    ]


async def several(items: Sequence[Item], work: Callable[[Item], Awaitable[Result]]) -> list[Result]:
    """Calls `work` for all items, a few at a time, and returns the results in the order of the items.

    Raises:
        the first error that `work` raises. The remaining work is cancelled.
    """
    results: dict[int, Result] = {}
    rest: Iterator[tuple[int, Item]] = iter(enumerate(items))

    async def run() -> None:
        for number, item in rest:
            results[number] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(run())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [results[number] for number in range(len(items))]
