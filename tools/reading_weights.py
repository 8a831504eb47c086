"""Fits the weights of search/reading.py, and prints them with figures for the answers of the real extractor.

The weights are fitted on the answerable questions of evals/reading/fit.jsonl, of evals/reading/more.jsonl and of squad2, each with the same weight. Figures for the
same questions are cross-validated: in turn, a quarter of the sources and a quarter of the articles of squad2 are left out of the fit and measured with its weights.

Usage: python tools/reading_weights.py FOLDER SQUAD2 VECTORS   (FOLDER: the documents, as for `responsa eval reading`. SQUAD2: a folder with docs.jsonl and
questions.jsonl. VECTORS: a file that keeps the vectors of the documents for the next run)
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from uuid_utils.compat import uuid7

from responsa_lab.evaluation.dataset import DataSet
from responsa_lab.evaluation.local import load_embedder
from responsa_lab.evaluation.metrics import Span
from responsa_lab.evaluation.reading import OURS, ReadingSet, meets
from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.listing import Filter
from responsa_server.domain.passages import (
    DocumentSet,
    FoundPassage,
    LexicalCandidate,
    LexicalQuery,
    NewPassage,
    PassageCosines,
    PassagePiece,
    QuestionVector,
    SearchScope,
    TermStatistics,
    VectorKind,
)
from responsa_server.domain.people import Reader, Server
from responsa_server.ingest.formats.table import FORMATS
from responsa_server.ingest.indexing import DocumentIdentity, Indexer
from responsa_server.ingest.sniff import sniff
from responsa_server.search.embedder import Embedder, OneEmbedder
from responsa_server.search.evidence import PassageAnalyses, judge
from responsa_server.search.extract import PASSAGES_READ, ExtractedAnswer, Extractor
from responsa_server.search.parts import PassageParts
from responsa_server.search.reading import WEIGHTS, Signals, readable, signals
from responsa_server.search.retrieve import RERANKED, ParsedQuestions, Retrieval, Retriever
from responsa_server.text.sections import Whole

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
RIDGE: Final = 0.003
"""The penalty of a weight, for a signal with a spread of one."""
STEPS: Final = 60
GROUPS: Final = 4
DIGITS: Final = 1
"""The number of decimal places of a weight. More change no figure."""
FIXED: Final = Signals._fields.index("against")
READER: Final = Server("reading")
LOOKED: Final = 50
"""The number of passages among which the labelled places are looked for. The extractor reads fewer."""
_LEXEME: Final = re.compile(r"'((?:[^'\\]|''|\\\\)*)':([\dA,]+)")


class KeptVectors:
    """Implements `VectorCache` with a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._vectors: dict[bytes, bytes] = {}
        if file.is_file():
            with np.load(file) as kept:
                self._vectors = {
                    one.tobytes(): row.tobytes()
                    for one, row in zip(kept["hashes"], kept["vectors"], strict=True)
                }

    async def cached_vectors(
        self, tenant_id: str, model: str, hashes: Sequence[bytes]
    ) -> Mapping[bytes, bytes]:
        return {one: self._vectors[one] for one in hashes if one in self._vectors}

    async def cache_vectors(self, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]) -> None:
        self._vectors |= vectors

    def save(self) -> None:
        """Writes the file."""
        hashes = np.array([np.frombuffer(one, np.uint8) for one in self._vectors])
        np.savez(
            self._file, hashes=hashes, vectors=[np.frombuffer(one, "<f4") for one in self._vectors.values()]
        )


@dataclass(frozen=True, slots=True)
class Held:
    """A passage in the index. counts: how often it has each of its terms. first: the row of its first vector. windows: which of its vectors are those of windows."""

    stored: NewPassage
    media_type: str
    before: str
    counts: Mapping[str, int]
    first: int
    windows: npt.NDArray[np.bool_]


class MemoryIndex:
    """Implements `LexicalIndex` and `VectorIndex` for one collection. It compares every vector, rounded to 16 bits as in PostgreSQL."""

    def __init__(self, collection: str, model: str) -> None:
        self._collection = collection
        self._model = model
        self.documents_by_id: dict[UUID, str] = {}
        """The name of each document."""
        self._held: dict[UUID, Held] = {}
        self._holders: defaultdict[str, list[UUID]] = defaultdict(list)
        self._owners: list[UUID] = []
        self._rows: list[bytes] = []
        self._matrix: Vectors = np.zeros((0, 0), np.float32)

    async def add(self, indexer: Indexer, name: str, data: bytes, filename: str, title: str) -> None:
        """Cuts and indexes a document as the server does. title: '' for the one that the document states."""
        original = sniff(data, filename)
        format_ = FORMATS.named(original.format)
        assert format_ is not None, "sniff names a format of the table"
        parsed = format_.load()(original)
        if not parsed.canonical_text.strip():
            return
        document = uuid7()
        self.documents_by_id[document] = name
        identity = DocumentIdentity(
            READER.tenant_id, self._collection, document, 1, title or parsed.title or filename, ""
        )
        cut = await indexer.cut(Whole(parsed), Chunking(), format_.media_type)
        raw = parsed.canonical_text.encode()
        async for batch in indexer.passages(identity, cut):
            for one in batch:
                self._hold(one, format_.media_type, raw)

    def _hold(self, one: NewPassage, media_type: str, raw: bytes) -> None:
        passage = one.passage
        counts = {
            term.replace("''", "'").replace("\\\\", "\\"): min(places.count(",") + 1, 255)
            for term, places in _LEXEME.findall(one.terms)
        }
        start = passage.source.start
        # Only the place of a header stands before the passage.
        header = next((place for place in passage.places[:1] if place.start < start), None)
        before = raw[header.start : header.end] + b"\n" if header else raw[max(start - 4096, 0) : start]
        windows = np.array([vector.kind is VectorKind.WINDOW for vector in one.vectors])
        held = Held(one, media_type, before.decode(errors="ignore"), counts, len(self._rows), windows)
        self._held[passage.id] = held
        self._owners += [passage.id] * len(one.vectors)
        self._rows += [vector.vector for vector in one.vectors]
        for term in counts:
            self._holders[term].append(passage.id)

    def finish(self) -> None:
        """Makes the matrix of the vectors, after the last document."""
        self._matrix = np.array([_rounded(one) for one in self._rows])

    def session(self, reader: Reader) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def documents(self, scope: SearchScope, filters: Sequence[Filter]) -> DocumentSet:
        return DocumentSet.of(self.documents_by_id, len(self._held))

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        frequencies = {term: len(self._holders[term]) for term in terms if term in self._holders}
        length = sum(one.stored.length for one in self._held.values())
        return {self._collection: TermStatistics(len(self._held), length, frequencies, embedding=self._model)}

    async def meant(self, reader: Reader, collections: Sequence[str]) -> Sequence[str]:
        return collections

    async def hides(self, scope: SearchScope) -> bool:
        return False

    async def synonyms(self, reader: Reader, collections: Sequence[str]) -> Mapping[str, str]:
        return {}

    async def matching(self, reader: Reader, queries: Sequence[LexicalQuery]) -> Sequence[UUID]:
        terms = [term for query in queries for term in query.terms[: query.gate]]
        return list(dict.fromkeys(id_ for term in terms for id_ in self._holders.get(term, ())))

    async def candidates(
        self, scope: SearchScope, terms: Sequence[str], ids: Collection[UUID]
    ) -> Sequence[LexicalCandidate]:
        found: list[LexicalCandidate] = []
        for id_ in ids:
            held = self._held[id_]
            there = [place for place, term in enumerate(terms) if term in held.counts]
            counts = [held.counts[terms[place]] for place in there]
            found.append(
                LexicalCandidate(
                    id_, self._collection, held.stored.language, held.stored.length, there, counts
                )
            )
        return found

    async def passages(self, reader: Reader, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        held = [self._held[id_] for id_ in ids]
        return [FoundPassage(one.stored.passage, one.stored.language, (), one.media_type) for one in held]

    async def before(self, reader: Reader, ids: Sequence[UUID], most_bytes: int) -> Mapping[UUID, str]:
        return {id_: self._held[id_].before for id_ in ids}

    async def around(
        self, reader: Reader, ids: Sequence[UUID], most_bytes: int
    ) -> Mapping[UUID, tuple[int, bytes]]:
        found = [self._held[id_].stored.passage for id_ in ids]
        return {one.id: (one.source.start, one.text.encode()) for one in found}

    async def nearest(
        self, scope: SearchScope, question: QuestionVector, limit: int, named: Collection[UUID] = ()
    ) -> Mapping[UUID, PassageCosines]:
        cosines = self._matrix @ _rounded(question.data)
        nearest: list[int] = np.argsort(-cosines)[:limit].tolist()
        wanted = {*named, *(self._owners[row] for row in nearest)}
        found: dict[UUID, PassageCosines] = {}
        for id_ in wanted:
            held = self._held[id_]
            own = cosines[held.first : held.first + len(held.windows)]
            found[id_] = PassageCosines(_greatest(own[held.windows]), _greatest(own[~held.windows]))
        return found

    async def pieces(
        self, reader: Reader, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        vector = None if question is None else _rounded(question.data)
        found: dict[UUID, Sequence[PassagePiece]] = {}
        for id_ in ids:
            held = self._held[id_]
            own = self._matrix[held.first : held.first + len(held.windows)]
            cosines = [None] * len(own) if vector is None else [float(one) for one in own @ vector]
            found[id_] = [
                PassagePiece(one.kind, one.source, cosine)
                for one, cosine in zip(held.stored.vectors, cosines, strict=True)
                if one.kind not in (VectorKind.WINDOW, VectorKind.TITLE)
            ]
        return found


def _rounded(vector: bytes) -> Vectors:
    values = np.frombuffer(vector, "<f4").astype(np.float16).astype(np.float32)
    return np.asarray(values / np.linalg.norm(values), np.float32)


def _greatest(values: Vectors) -> float | None:
    return float(values.max()) if len(values) else None


@dataclass(frozen=True, slots=True)
class Case:
    """A question with its passages. group: the source, or the article of squad2. places: what answers it; empty if nothing does. documents: the name of each document. whole:
    whether a part must have all bytes of a place, because places of squad2 are single words.
    """

    group: str
    kind: str
    places: Sequence[Span]
    retrieval: Retrieval
    documents: Mapping[UUID, str]
    whole: bool = False

    def answered_by(self, document: UUID, start: int, end: int) -> bool:
        """Whether these bytes of a document answer the question."""
        span = Span(self.documents[document], start, end)
        return any(map(span.covers, self.places)) if self.whole else meets(span, self.places)


async def reading_cases(part: str, documents: Path, embedder: Embedder, kept: KeptVectors) -> Sequence[Case]:
    """The questions of evals/reading/{part}.jsonl."""
    given = ReadingSet.read(OURS, part, documents, 0)
    cases: list[Case] = []
    for source, folder in given.folders.items():
        index = MemoryIndex(source, embedder.name)
        indexer = Indexer(embedder, kept, uuid7)
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            await index.add(indexer, str(file.relative_to(folder)), file.read_bytes(), file.name, "")
        index.finish()
        retriever = Retriever(index, index, OneEmbedder(embedder))
        for one in given.questions:
            if one.source == source:
                found = await retriever.search(READER, [one.question], [source], top_k=LOOKED)
                cases.append(Case(source, one.kind, one.answers, found, index.documents_by_id))
    return cases


async def squad2_cases(folder: Path, embedder: Embedder, kept: KeptVectors) -> Sequence[Case]:
    """The questions of squad2."""
    index = MemoryIndex("squad2", embedder.name)
    indexer = Indexer(embedder, kept, uuid7)
    given = DataSet.read(folder, 0)
    for line in given.documents.read_text().splitlines():
        row = json.loads(line)
        await index.add(indexer, row["id"], row["text"].encode(), "document.txt", row["title"])
    index.finish()
    retriever = Retriever(index, index, OneEmbedder(embedder))
    cases: list[Case] = []
    for one in given.questions:
        kind = "answerable" if one.answerable else "near_miss"
        found = await retriever.search(READER, [one.question], ["squad2"])
        article = one.doc_ids[0].partition("/")[0]
        cases.append(Case(article, kind, one.gold_spans, found, index.documents_by_id, whole=True))
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
        span = Span(case.documents[passage.document_id], passage.source.start, passage.source.end)
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


async def read_sets(
    documents: Path, squad2: Path, embedder: Embedder, kept: KeptVectors
) -> Mapping[str, Sequence[Case]]:
    """The cases of each set, by its name. `choose` is the last one."""
    sets = {"squad2": await squad2_cases(squad2, embedder, kept)}
    for part in ("fit", "more", "choose"):
        sets[part] = await reading_cases(part, documents, embedder, kept)
    return sets


def main() -> None:
    kept = KeptVectors(Path(sys.argv[3]))
    with ExitStack() as stack:
        sets = dict(asyncio.run(read_sets(Path(sys.argv[1]), Path(sys.argv[2]), load_embedder(stack), kept)))
    kept.save()
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
