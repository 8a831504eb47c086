"""Fits the weights of search/reading.py, and prints them with figures for the answers of the real extractor.

The weights are fitted on the answerable questions of evals/reading/fit.jsonl, of evals/reading/more.jsonl and of squad2, each with the same weight. Figures for the
same questions are cross-validated: in turn, a quarter of the sources and a quarter of the articles of squad2 are left out of the fit and measured with its weights.

Usage: python tools/reading_weights.py FOLDER SQUAD2   (FOLDER: the documents, as for `responsa eval reading`. SQUAD2: a folder with docs.jsonl and questions.jsonl.
Needs a server on this machine, into which the script loads the documents.)
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from responsa_client.aio import AsyncResponsa
from responsa_lab.evaluation.dataset import DataSet
from responsa_lab.evaluation.local import load_embedder
from responsa_lab.evaluation.measuring import loaded
from responsa_lab.evaluation.metrics import Span
from responsa_lab.evaluation.reading import OURS, ReadingSet, collection_of, load_source, meets
from responsa_server.app.resources import TENANT, database_urls
from responsa_server.app.settings import load
from responsa_server.app.vector_stores import open_vectors
from responsa_server.cli.session import open_async_client
from responsa_server.domain import names
from responsa_server.domain.people import Server
from responsa_server.embedded import Layout
from responsa_server.search.embedder import OneEmbedder
from responsa_server.search.evidence import PassageAnalyses, judge
from responsa_server.search.extract import PASSAGES_READ, ExtractedAnswer, Extractor
from responsa_server.search.parts import PassageParts
from responsa_server.search.reading import WEIGHTS, Signals, readable, signals
from responsa_server.search.retrieve import RERANKED, ParsedQuestions, Retrieval, Retriever
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.passages import PostgresLexicalIndex

Floats = npt.NDArray[np.float64]
RIDGE: Final = 0.003
"""The penalty of a weight, for a signal with a spread of one."""
STEPS: Final = 60
GROUPS: Final = 4
DIGITS: Final = 1
"""The number of decimal places of a weight. More change no figure."""
FIXED: Final = Signals._fields.index("against")
READER: Final = Server(TENANT)
LOOKED: Final = 50
"""The number of passages among which the labelled places are looked for. The extractor reads fewer."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question with its passages. group: the source, or the article of squad2. places: what answers it; empty if nothing does. documents: the key of each document, by its name. whole:
    whether a part must have all bytes of a place, because places of squad2 are single words.
    """

    group: str
    kind: str
    places: Sequence[Span]
    retrieval: Retrieval
    documents: Mapping[str, str]
    whole: bool = False

    def answered_by(self, document: UUID, start: int, end: int) -> bool:
        """Whether these bytes of a document answer the question."""
        span = Span(self.documents[names.document(document)], start, end)
        return any(map(span.covers, self.places)) if self.whole else meets(span, self.places)


async def reading_cases(
    client: AsyncResponsa, retriever: Retriever, part: str, documents: Path
) -> Sequence[Case]:
    """The questions of evals/reading/{part}.jsonl."""
    given = ReadingSet.read(OURS, part, documents, 0)
    keys = {name: await load_source(client, name, folder) for name, folder in given.folders.items()}
    cases: list[Case] = []
    for one in given.questions:
        found = await retriever.search(READER, [one.question], [collection_of(one.source)], top_k=LOOKED)
        cases.append(Case(one.source, one.kind, one.answers, found, keys[one.source]))
    return cases


async def squad2_cases(client: AsyncResponsa, retriever: Retriever, folder: Path) -> Sequence[Case]:
    """The questions of squad2."""
    given = DataSet.read(folder, 0)
    keys = await loaded(client, given.documents, given.collection)
    cases: list[Case] = []
    for one in given.questions:
        kind = "answerable" if one.answerable else "near_miss"
        found = await retriever.search(READER, [one.question], [given.collection])
        article = one.doc_ids[0].partition("/")[0]
        cases.append(Case(article, kind, one.gold_spans, found, keys, whole=True))
    return cases


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces that may answer a question, and which of them do. At least one does."""

    signals: Floats
    right: npt.NDArray[np.bool_]


def pieces(case: Case, analyses: PassageAnalyses) -> Pieces | None:
    """The pieces of the passages that are read; None if none of them answers the question, or if the weights do not apply to it."""
    questions = ParsedQuestions(case.retrieval, analyses.analyzer)
    rows: list[Signals] = []
    right: list[bool] = []
    for one in case.retrieval.passages[:PASSAGES_READ]:
        judged = judge(questions.of(one), one.found, one.score.first, analyses)
        if not readable(questions.of(one), one.score, judged):
            return None
        parts = PassageParts(one.found)
        for evidence, row in zip(judged, signals(one.found, one.score, judged), strict=True):
            if (part := parts.of(evidence.place)) is not None:
                rows.append(row)
                document = one.found.passage.document_id
                right.append(case.answered_by(document, part.source.start, part.source.end))
    return Pieces(np.array(rows, np.float64), np.array(right)) if any(right) else None


def fitted(given: Sequence[Pieces]) -> Signals:
    """The weights under which a right piece is likely to be chosen, if a piece is chosen with the probability softmax(weights · signals).

    Each step goes to the maximum of a quadratic that is nowhere above the likelihood (minorisation-maximisation), so the likelihood never falls.
    """
    rows: Floats = np.concatenate([one.signals for one in given])
    right: Floats = np.concatenate([one.right for one in given]).astype(np.float64)
    sizes = [len(one.right) for one in given]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    free = np.array([place != FIXED for place in range(len(WEIGHTS))])
    offset: Floats = rows[:, FIXED] * WEIGHTS[FIXED]
    spread: Floats = rows[:, free].std(0)
    data: Floats = rows[:, free] / spread
    found: Floats = np.zeros(len(WEIGHTS) - 1)

    def shares(values: Floats) -> Floats:
        return values / np.repeat(np.add.reduceat(values, starts), sizes)

    for _ in range(STEPS):
        values: Floats = data @ found + offset
        chosen = shares(np.exp(values - np.repeat(np.maximum.reduceat(values, starts), sizes)))
        slope: Floats = data.T @ (shares(chosen * right) - chosen) - RIDGE * len(given) * found
        means: Floats = np.add.reduceat(data * chosen[:, None], starts)
        curve: Floats = data.T @ (data * chosen[:, None]) - means.T @ means
        curve += RIDGE * len(given) * np.eye(len(found))
        found = found + np.asarray(np.linalg.solve(curve, slope), np.float64)
    by_signal = iter(np.round(found / spread, DIGITS))
    return Signals(
        *(WEIGHTS[FIXED] if place == FIXED else float(next(by_signal)) for place in range(len(WEIGHTS)))
    )


def outcome(case: Case, extractor: Extractor) -> Counter[str]:
    """What the extractor makes of a question, and where the labelled place is."""
    answer = extractor.answer(case.retrieval)
    refused = not answer.supported()
    if not case.places:
        return Counter({"others": 1, "others refused": refused})
    found = [
        case.answered_by(one.passage.document_id, one.source.start, one.source.end) for one in answer.parts
    ]
    result = "refused" if refused else "right" if any(found) else "wrong"
    at = "in the first part" if any(found[:1]) else where(case, answer)
    return Counter({"answerable": 1, result: 1, at: 1, f"{at}: {result}": 1})


def where(case: Case, answer: ExtractedAnswer) -> str:
    """Where the labelled place of an answerable question is, if it is not in the answer's first part."""
    holding: dict[UUID, int] = {}
    for rank, one in enumerate(case.retrieval.passages):
        passage = one.found.passage
        span = Span(
            case.documents[names.document(passage.document_id)], passage.source.start, passage.source.end
        )
        if any(2 * span.overlap(place) >= place.length for place in case.places):
            holding[passage.id] = rank
    if answer.parts and answer.parts[0].passage.id in holding:
        return "in the passage of the first part"
    first = min(holding.values(), default=LOOKED)
    limit = next((one for one in (PASSAGES_READ, RERANKED, LOOKED) if first < one), None)
    return f"in another of the first {limit} passages" if limit else f"in none of {LOOKED} passages"


def report(name: str, given: Iterable[Counter[str]]) -> Counter[str]:
    """Prints the figures of a set, and returns the sum of the outcomes."""
    total = sum(given, Counter[str]())
    print(
        f"{name:<28}{total['answerable']:>5} answerable: the right piece leads {total['in the first part']:>4}, right {total['right']:>4}, wrong {total['wrong']:>4},"
        f" refused {total['refused']:>4}; others refused {total['others refused']:>4} of {total['others']}",
        flush=True,
    )
    return total


def cross_validated(
    cases: Sequence[Case], given: Sequence[Pieces | None], analyses: PassageAnalyses
) -> Mapping[int, Counter[str]]:
    """The outcome of each case with the weights of the other groups, by the case's index. given: the pieces of each case."""
    found: dict[int, Counter[str]] = {}
    names = {whole: sorted({one.group for one in cases if one.whole is whole}) for whole in (False, True)}
    for number in range(GROUPS):
        left = {name for of in names.values() for name in of[number::GROUPS]}
        kept = [one for case, one in zip(cases, given, strict=True) if one and case.group not in left]
        extractor = Extractor(analyses, fitted(kept))
        found |= {place: outcome(case, extractor) for place, case in enumerate(cases) if case.group in left}
    return found


async def read_sets(documents: Path, squad2: Path) -> Mapping[str, Sequence[Case]]:
    """The cases of each set, by its name. `choose` is the last one."""
    settings = load()
    urls = database_urls(settings, Layout.of(settings.home))
    with ExitStack() as stack:
        embedder = load_embedder(stack)
        database = Database(urls.app, urls.log, size=2)
        await database.open()
        lexical = PostgresLexicalIndex(database, search_seconds=settings.retrieval.search_seconds)
        vectors = open_vectors(database, settings.retrieval)
        retriever = Retriever(lexical, vectors.index, OneEmbedder(embedder))
        try:
            async with open_async_client() as client:
                sets = {"squad2": await squad2_cases(client, retriever, squad2)}
                for part in ("fit", "more", "choose"):
                    sets[part] = await reading_cases(client, retriever, part, documents)
                return sets
        finally:
            await database.close()


def main() -> None:
    sets = dict(asyncio.run(read_sets(Path(sys.argv[1]), Path(sys.argv[2]))))
    analyses = PassageAnalyses(100_000)
    choose = sets.pop("choose")
    cases = [one for those in sets.values() for one in those]
    given = [pieces(one, analyses) if one.places else None for one in cases]
    used = [one for one in given if one is not None]
    weights = fitted(used)
    print(f"# fitted on {len(used)} questions", flush=True)
    for name, weight in zip(Signals._fields, weights, strict=True):
        print(f"    {name}={weight:g},")
    found = cross_validated(cases, given, analyses)
    first = 0
    for name, those in sets.items():
        report(name, [found[first + place] for place in range(len(those))])
        first += len(those)
    extractor = Extractor(analyses, weights)
    report("choose", [outcome(one, extractor) for one in choose])
    sources = sorted({one.group for one in sets["more"]})
    for half in (sources[::2], sources[1::2]):
        total = report(
            ", ".join(half), [found[place] for place, one in enumerate(cases) if one.group in half]
        )
        for place in sorted(one for one in total if one.startswith("in ")):
            print(f"    {place:<60}{total[place]:>4}")


if __name__ == "__main__":
    main()
