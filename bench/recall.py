"""`python -m bench.recall FOLDER…`: how many of the 100 nearest vectors the graphs of PostgreSQL and of Qdrant find,
and the CPU time of a search, for several settings.

The vectors are those of the texts in the folders (the sentences of `docs.jsonl`, and `utterances.jsonl`), then those of
the sentences of Responsa's documentation, then copies of both with noise. The questions are those of `questions.jsonl`
in the first folder. Qdrant's part needs `qdrant-edge-py`, which contains the engine of Qdrant's server without its
network: `uv pip install qdrant-edge-py==0.9.0`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg

from bench.documentation import pages
from responsa_local.embedded import EmbeddedPostgres, LocalLayout, purge
from responsa_server.providers.minilm import load

_SENTENCES: Final = re.compile(r"(?<=[.!?])\s+")
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Search = Callable[[int], Sequence[int]]

LIMIT: Final = 100
"""The number of vectors that a search of the server wants."""
QUESTIONS: Final = 200
NOISE: Final = 0.25
"""The length of the noise of a copy, whose cosine to its original is about .97."""
GRAPHS: Final = ((8, 32), (16, 64), (16, 128), (32, 64), (32, 200))
BREADTHS: Final = (100, 200, 400)
QUANTISED: Final = (16, 64)
"""The graph that is measured with quantised vectors too."""
OVERSAMPLING: Final[Mapping[str, Sequence[float]]] = {
    "none": (1.0,),
    "int8": (1.0, 2.0),
    "binary": (1.0, 2.0, 4.0),
}
"""For each quantisation, how many times the wanted number of vectors is compared again."""


def vectors_of(folders: Sequence[Path], count: int) -> tuple[Vectors, Vectors, int]:
    """The vectors, those of the questions, and how many of the first are real."""
    embedder = load(Path(tempfile.gettempdir()) / "bench-models", threads=os.cpu_count() or 1)
    texts = sorted({text for folder in folders for text in _texts(folder)})
    texts += sorted({text for page in pages().values() for text in _SENTENCES.split(page)})
    asked = [one["question"] for one in _lines(folders[0] / "questions.jsonl")]
    questions = embedder.embed_sync(asked[:: max(1, len(asked) // QUESTIONS)][:QUESTIONS])
    own = embedder.embed_sync(texts)
    real = own[:count]
    chance = np.random.default_rng(1)
    copied = real[chance.integers(len(real), size=count - len(real))]
    noise = chance.normal(size=copied.shape).astype(np.float32)
    copied = copied + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    whole = np.concatenate([real, copied])
    return whole / np.linalg.norm(whole, axis=1, keepdims=True), questions, len(real)


def _texts(folder: Path) -> Iterator[str]:
    for document in _lines(folder / "docs.jsonl"):
        yield from _SENTENCES.split(document["text"])
    for utterance in _lines(folder / "utterances.jsonl"):
        yield utterance["text"]


def _lines(file: Path) -> Iterator[Any]:
    if file.is_file():
        with file.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def report(name: str, questions: int, truth: Vectors, search: Search, cpu: Callable[[], float]) -> None:
    """Print the recall and the CPU time of a search."""
    for question in range(questions):  # the pages are read once before anything is measured
        search(question)
    times: list[float] = []
    results: list[Sequence[int]] = []
    used = cpu()
    for question in range(questions):
        begun = time.perf_counter()
        results.append(search(question))
        times.append(time.perf_counter() - begun)
    used = (cpu() - used) / questions * 1e3
    ten, hundred = (
        statistics.fmean(
            len(set(one[:most]) & set(best[:most].tolist())) / most
            for one, best in zip(results, truth, strict=True)
        )
        for most in (10, LIMIT)
    )
    print(
        f"| {name} | {ten:.3f} | {hundred:.3f} | {used:.2f} | {statistics.median(times) * 1e3:.2f} |",
        flush=True,
    )


def postgres(vectors: Vectors, questions: Vectors, truth: Vectors) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout = LocalLayout.of(Path(folder))
        layout.prepare()
        server = EmbeddedPostgres(layout, settings=[("maintenance_work_mem", "512MB")])
        server.start()
        try:
            with psycopg.connect(server.dsn("superuser"), autocommit=True) as connection:
                _postgres(connection, vectors, questions, truth)
        finally:
            server.stop()
            purge(layout)


def _postgres(connection: psycopg.Connection, vectors: Vectors, questions: Vectors, truth: Vectors) -> None:
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute("CREATE TABLE recall (id int, embedding public.halfvec(384))")
    with connection.cursor().copy("COPY recall FROM STDIN") as copy:
        for place, vector in enumerate(vectors):
            copy.write_row((place, _literal(vector)))
    connection.execute("SET enable_seqscan = off")
    connection.execute("SET hnsw.iterative_scan = relaxed_order")
    scheduled = Path(f"/proc/{connection.info.backend_pid}/schedstat")
    for m, ef_construction in GRAPHS:
        begun = time.perf_counter()
        connection.execute(
            "CREATE INDEX recall_graph ON recall USING hnsw (embedding public.halfvec_cosine_ops) "
            f"WITH (m = {m}, ef_construction = {ef_construction})"
        )
        built = time.perf_counter() - begun
        [(size,)] = connection.execute("SELECT pg_relation_size('recall_graph') / 1e6").fetchall()
        print(f"PostgreSQL, m {m}, ef_construction {ef_construction}: built in {built:.0f} s, {size:.0f} MB")
        for breadth in BREADTHS:
            connection.execute(f"SET hnsw.ef_search = {breadth}")

            def search(question: int) -> Sequence[int]:
                query = f"SELECT id FROM recall ORDER BY embedding OPERATOR(public.<=>) %s::public.halfvec LIMIT {LIMIT}"
                return [id_ for (id_,) in connection.execute(query, (_literal(questions[question]),))]

            report(
                f"postgres | {m} | {ef_construction} | {breadth} | 16 bits",
                len(questions),
                truth,
                search,
                lambda: int(scheduled.read_text().split()[0]) / 1e9,
            )
        connection.execute("DROP INDEX recall_graph")


def _literal(vector: np.ndarray[Any, Any]) -> str:
    return f"[{','.join(map(str, vector.tolist()))}]"


def qdrant(edge: Any, vectors: Vectors, questions: Vectors, truth: Vectors) -> None:
    for m, ef_construction in GRAPHS:
        for quantisation in OVERSAMPLING if (m, ef_construction) == QUANTISED else ("none",):
            begun = time.perf_counter()
            with _shard(edge, m, ef_construction, quantisation, vectors) as shard:
                built = time.perf_counter() - begun
                print(
                    f"Qdrant, m {m}, ef_construction {ef_construction}, {quantisation}: built in {built:.0f} s"
                )
                assert shard.info().indexed_vectors_count == len(vectors), "a part has no graph"
                for breadth, oversampling in product(BREADTHS, OVERSAMPLING[quantisation]):
                    again = edge.QuantizationSearchParams(rescore=True, oversampling=oversampling)
                    params = edge.SearchParams(hnsw_ef=breadth, quantization=again)
                    name = f"{quantisation} x {oversampling:g}" if quantisation != "none" else "16 bits"
                    report(
                        f"qdrant | {m} | {ef_construction} | {breadth} | {name}",
                        len(questions),
                        truth,
                        partial(_found, edge, shard, questions, params),
                        time.process_time,
                    )


def _found(edge: Any, shard: Any, questions: Vectors, params: Any, question: int) -> Sequence[int]:
    query = edge.Query.Nearest(questions[question].tolist())
    return [point.id for point in shard.search(edge.SearchRequest(query=query, limit=LIMIT, params=params))]


@contextmanager
def _shard(edge: Any, m: int, ef_construction: int, quantisation: str, vectors: Vectors) -> Iterator[Any]:
    """Qdrant's engine with these vectors in one segment, whose graph is built."""
    quantised = {
        "none": None,
        "int8": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, always_ram=True),
        "binary": edge.BinaryQuantizationConfig(always_ram=True),
    }[quantisation]
    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(384, edge.Distance.Cosine, datatype=edge.VectorStorageDatatype.Float16),
        hnsw_config=edge.HnswIndexConfig(m, ef_construction, 10, os.cpu_count() or 1),
        quantization_config=quantised,
        optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000),
        max_search_threads=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        shard = edge.EdgeShard.create(folder, config)
        for first in range(0, len(vectors), 1000):
            points = [
                edge.Point(first + place, one.tolist())
                for place, one in enumerate(vectors[first : first + 1000])
            ]
            shard.update(edge.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        yield shard
        shard.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.recall", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--vectors", type=int, default=50_000)
    given = parser.parse_args()
    vectors, questions, real = vectors_of(given.folders, given.vectors)
    print(f"{len(vectors)} vectors, {real} of them real; {len(questions)} questions")
    truth = np.argsort(-(questions @ vectors.T), axis=1)[:, :LIMIT]
    print(
        "| store | m | ef_construction | ef_search | quantisation | recall@10 | recall@100 | "
        "CPU, ms | p50, ms |\n|---|---|---|---|---|---|---|---|---|"
    )
    postgres(vectors, questions, truth)
    try:
        edge = importlib.import_module("qdrant_edge")
    except ImportError:
        print("Qdrant is not measured: qdrant-edge-py is not installed.")
        return
    qdrant(edge, vectors, questions, truth)


if __name__ == "__main__":
    main()
