"""The shipped classifiers match the shipped examples."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from responsa_server.agents.config.files import EXAMPLES, SHIPPED
from responsa_server.domain.intents import Example
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.routing import stored
from responsa_server.routing.training import train

FILES = sorted(SHIPPED.glob(f"*/{EXAMPLES}/*"))
MOST_BYTES = 500_000


def examples_of(file: Path) -> Sequence[Example]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Example(row["text"], row["label"]) for row in rows]


def test_there_is_one_for_each_file_of_examples_and_no_other() -> None:
    keys = {sha256(file.read_bytes()).hexdigest() for file in FILES}
    with zipfile.ZipFile(stored.SHIPPED) as archive:
        assert {name.partition(".")[0] for name in archive.namelist()} == keys, "run `make generate`"
    assert stored.SHIPPED.stat().st_size <= MOST_BYTES


# A change of the training changes all of them, so the smallest files tell of it.
SMALLEST = sorted(FILES, key=lambda one: one.stat().st_size)[:2]


@pytest.mark.parametrize("file", SMALLEST, ids=[f"{one.parts[-3]}-{one.stem}" for one in SMALLEST])
def test_they_are_what_training_comes_to(file: Path, embedder: MiniLmEmbedder) -> None:
    key = sha256(file.read_bytes()).digest()
    shipped = stored.read(zipfile.Path(stored.SHIPPED), key)
    made = train(examples_of(file), embedder, key=key)
    assert (shipped.labels, shipped.embedder) == (made.labels, made.embedder)
    # Processors with other instructions round the embeddings differently. The training then ends at weights whose difference, as a
    # whole, was 4 % of the weights between a processor with AVX-512 and one without; single weights differ more.
    assert shipped.threshold == pytest.approx(made.threshold, abs=0.03)
    for one, other in ((shipped.meaning, made.meaning), (shipped.words, made.words), (shipped.idf, made.idf)):
        wanted, difference = one.astype(np.float64), one.astype(np.float64) - other.astype(np.float64)
        # The weights of each intent are a column.
        assert (np.linalg.norm(difference, axis=0) <= 0.1 * np.linalg.norm(wanted, axis=0)).all()


async def test_they_are_taken_where_nothing_was_kept(tmp_path: Path, embedder: MiniLmEmbedder) -> None:
    # Without examples there can be no training, so the classifier comes from the shipped file.
    found = await stored.KeptClassifiers(tmp_path / "none", embedder).prepare(
        [], key=sha256(FILES[0].read_bytes()).digest()
    )
    assert found.labels
