"""The same corpus by one worker, by two, and by a Ray cluster of two nodes: `pytest -m soak tests/system/test_ray.py`.
It needs `pip install 'responsa[ray]'`.

RESPONSA_SOAK_COUNT sets the number of documents, which have two paragraphs each.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from bench import processes
from bench.corpus import documents
from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from responsa_server.providers.minilm import Float
from tests.instance import Instance, instance_in
from tests.tied import tied

pytestmark = [pytest.mark.soak, pytest.mark.timeout(6 * 3600)]
PASSAGES = """
    SELECT v.embedding::text, d.source_key, p.ordinal, p.byte_start, p.byte_end, p.title, p.text, p.terms::text, p.words,
        v.kind, v.byte_start, v.byte_end
    FROM responsa.passage AS p JOIN responsa.document AS d ON d.id = p.document_id AND d.version = p.version
    JOIN responsa.passage_vector AS v ON v.passage_id = p.id
    WHERE p.live ORDER BY d.source_key, p.ordinal, v.kind, v.byte_start, v.byte_end
"""
ROUNDING = 2e-4
"""The last bits of a vector depend on the other texts of the model's run, and documents share texts, so on the order of the documents."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "stations"
    folder.mkdir()
    for text in documents(int(os.environ.get("RESPONSA_SOAK_COUNT") or 5_000), 2):
        (folder / f"{text.key.replace('/', '-')}").write_text(text.text)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with a processor each, without the parts that only people look at."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_log_monitor": False}
    made = Cluster(
        initialize_head=True, head_node_args={**node, "include_dashboard": False, "no_monitor": True}
    )
    made.add_node(**node)
    yield made.address
    made.shutdown()


def loaded(
    folder: Path, corpus: Path, workers: int, engine: str = "workers", **environment: str
) -> tuple[str, Float]:
    """Load the corpus into a new instance with this number of processes that ingest. Returns what `stored` returns."""
    folder.mkdir()
    settings = {"RESPONSA_DOCS": "none", "RESPONSA_INGESTION__OWN_PROCESS": "true"}
    with (
        instance_in(folder, **settings) as instance,
        processes.workers(
            tied(*instance.command("serve", "--role", "jobs")), instance.environment, folder, workers - 1
        ),
    ):
        begun = time.monotonic()
        done = subprocess.run(
            instance.command("ingest", str(corpus), "--collection", "corpus", "--engine", engine),
            env={**instance.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert bool(re.search(r"Ray computed [1-9]", done.stdout)) == (engine == "ray"), done.stdout
        print(f"{workers} workers, {engine}: {time.monotonic() - begun:.1f} s; {done.stdout.strip()}")
        return stored(instance)


def stored(instance: Instance) -> tuple[str, Float]:
    """A digest of all passages, and their vectors in the same order."""
    made, vectors = hashlib.sha256(), list[Float]()
    with (
        psycopg.connect(EmbeddedPostgres(LocalLayout.of(instance.home)).dsn("superuser")) as connection,
        connection.cursor("passages") as cursor,
    ):
        for vector, *passage in cursor.execute(PASSAGES):
            made.update(repr(passage).encode())
            vectors.append(np.fromstring(vector.strip("[]"), np.float32, sep=","))
    return made.hexdigest(), np.stack(vectors)


def test_one_worker_two_workers_and_ray_make_equal_passages(
    corpus: Path, cluster: str, tmp_path: Path
) -> None:
    passages, vectors = loaded(tmp_path / "a", corpus, 1)
    others = [
        loaded(tmp_path / "b", corpus, 2),
        loaded(tmp_path / "c", corpus, 1, "ray", RAY_ADDRESS=cluster),
    ]
    for same, other in others:
        assert same == passages
        assert np.abs(other - vectors).max() < ROUNDING
