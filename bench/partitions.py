"""`python -m bench.partitions FOLDER…`: what a search costs in one table of all tenants' vectors, and in a table with a
partition for each tenant.

The vectors are those of `bench.recall`, dealt to 30 tenants: one has half of them, one a tenth, the others the rest in
equal parts. Each table has an HNSW graph and an index of tenants, of which the planner chooses one; in the first table,
searches are also made to compare all vectors of the tenant.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg

from bench.recall import LIMIT, Vectors, report, vectors_of
from responsa_local.embedded import EmbeddedPostgres, LocalLayout, purge

TENANTS: Final = 30
LARGE: Final[Mapping[int, float]] = {0: 0.5, 1: 0.1}
"""The shares of the larger tenants."""
MEASURED: Final[Mapping[str, int]] = {"large": 0, "middle": 1, "small": 2}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.partitions", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--vectors", type=int, default=300_000)
    given = parser.parse_args()
    vectors, questions, real = vectors_of(given.folders, given.vectors)
    rest = (1 - sum(LARGE.values())) / (TENANTS - len(LARGE))
    shares = [LARGE.get(tenant, rest) for tenant in range(TENANTS)]
    owners = np.random.default_rng(2).choice(TENANTS, size=len(vectors), p=shares)
    print(f"{len(vectors)} vectors, {real} of them real; {len(questions)} questions")
    truths = {tenant: _truth(vectors, owners, questions, tenant) for tenant in MEASURED.values()}
    with tempfile.TemporaryDirectory() as folder:
        layout = LocalLayout.of(Path(folder)).prepare()
        server = EmbeddedPostgres(
            layout, settings=[("maintenance_work_mem", "1GB"), ("shared_buffers", "1GB")]
        )
        server.start()
        try:
            with psycopg.connect(server.dsn("superuser"), autocommit=True) as connection:
                _fill(connection, vectors, owners)
                _measure(connection, questions, truths)
        finally:
            server.stop()
            purge(layout)


def _truth(vectors: Vectors, owners: Any, questions: Vectors, tenant: int) -> Any:
    own = np.flatnonzero(owners == tenant)
    return own[np.argsort(-(questions @ vectors[own].T), axis=1)[:, :LIMIT]]


def _fill(connection: psycopg.Connection, vectors: Vectors, owners: Any) -> None:
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    columns = "(id int, tenant int, embedding public.halfvec(384))"
    connection.execute(f"CREATE TABLE one {columns}")
    with connection.cursor().copy("COPY one FROM STDIN") as copy:
        for place, (vector, owner) in enumerate(zip(vectors, owners.tolist(), strict=True)):
            copy.write_row((place, owner, f"[{','.join(map(str, vector.tolist()))}]"))
    connection.execute(f"CREATE TABLE list {columns} PARTITION BY LIST (tenant)")
    for tenant in range(TENANTS):
        connection.execute(f"CREATE TABLE list_{tenant} PARTITION OF list FOR VALUES IN ({tenant})")
    connection.execute("INSERT INTO list SELECT * FROM one")
    for table in ("one", "list"):
        begun = time.perf_counter()
        connection.execute(
            f"CREATE INDEX {table}_graph ON {table} USING hnsw (embedding public.halfvec_cosine_ops)"
        )
        built = time.perf_counter() - begun
        connection.execute(f"CREATE INDEX {table}_tenant ON {table} (tenant)")
        connection.execute(f"VACUUM ANALYZE {table}")
        print(f"{table}: the graph was built in {built:.0f} s", flush=True)


def _measure(connection: psycopg.Connection, questions: Vectors, truths: Mapping[int, Any]) -> None:
    connection.execute("SET hnsw.iterative_scan = relaxed_order")
    connection.execute("SET hnsw.ef_search = 100")
    scheduled = Path(f"/proc/{connection.info.backend_pid}/schedstat")
    literals = [f"[{','.join(map(str, question.tolist()))}]" for question in questions]
    print(
        "| table | tenant | plan | recall@10 | recall@100 | CPU, ms | p50, ms |\n|---|---|---|---|---|---|---|"
    )
    for table, order in (("one", ""), ("list", ""), ("one, compared", " + 0")):
        for size, tenant in MEASURED.items():
            # With a zero, it is not the order of the graph.
            query = (
                f"SELECT id FROM {table.partition(',')[0]} WHERE tenant = {tenant} ORDER BY (embedding "
                f"OPERATOR(public.<=>) %s::public.halfvec){order} LIMIT {LIMIT}"
            )
            plan = str(connection.execute(f"EXPLAIN {query}", (literals[0],)).fetchall())

            def search(question: int, query: str = query) -> Sequence[int]:
                return [id_ for (id_,) in connection.execute(query, (literals[question],))]

            way = "graph" if "embedding_idx" in plan or "_graph" in plan else "exact"
            report(
                f"{table} | {size} | {way}",
                len(questions),
                truths[tenant],
                search,
                lambda: int(scheduled.read_text().split()[0]) / 1e9,
            )


if __name__ == "__main__":
    main()
