"""The shipped classifiers match the shipped examples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from responsa_server.agents.config.files import EXAMPLES, SHIPPED
from responsa_server.agents.nodes.choosing import ChooserOptions, forms_of
from responsa_server.domain.intents import Example
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.routing import stored
from responsa_server.routing.stored import place, read
from responsa_server.routing.training import train
from responsa_server.routing.vectors import FILE, StoredVectors
from responsa_server.search.embedder import Vectors

FILES = sorted(SHIPPED.glob(f"*/{EXAMPLES}/*"))
LARGE = 200_000
"""The number of bytes of examples beyond which training takes seconds. `make soak` trains on them, too."""


def examples_of(file: Path) -> Sequence[Example]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Example(row["text"], row["label"]) for row in rows]


def test_there_is_one_for_each_file_of_examples_and_no_other() -> None:
    wanted = {place(stored.SHIPPED, sha256(one.read_bytes()).digest()) for one in FILES}
    assert FILES
    [tools] = [one for one in FILES if str(one).endswith(ChooserOptions().examples)]
    _, key = forms_of(examples_of(tools))
    wanted |= {place(stored.SHIPPED, key), stored.SHIPPED / FILE}
    assert set(stored.SHIPPED.iterdir()) == wanted, "run `make generate`"


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(
            one,
            id=f"{one.parts[-3]}-{one.stem}",
            marks=[pytest.mark.soak] if one.stat().st_size > LARGE else [],
        )
        for one in FILES
    ],
)
def test_each_is_what_training_comes_to(file: Path, embedder: MiniLmEmbedder) -> None:
    key = sha256(file.read_bytes()).digest()
    shipped = read(stored.SHIPPED, key)
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
    found = await stored.KeptClassifiers(tmp_path / "none", embedder).trained(
        [], key=sha256(FILES[0].read_bytes()).digest()
    )
    assert found.labels


class Counting:
    """An embedder that keeps the texts which it was given."""

    def __init__(self, embedder: MiniLmEmbedder, name: str = "") -> None:
        self._embedder = embedder
        self.name = name or embedder.name
        self.dimensions = embedder.dimensions
        self.texts = list[str]()

    def embed_sync(self, texts: Sequence[str]) -> Vectors:
        self.texts += texts
        return self._embedder.embed_sync(texts)


def texts_of_tools() -> Sequence[str]:
    [tools] = [one for one in FILES if str(one).endswith(ChooserOptions().examples)]
    examples = examples_of(tools)
    return [one.text for one in [*examples, *forms_of(examples)[0]]]


def test_only_new_texts_are_embedded(embedder: MiniLmEmbedder) -> None:
    counting = Counting(embedder)
    stored_vectors = StoredVectors.read(stored.SHIPPED, counting)
    new = "How many seats are left for Hamlet tonight?"
    vectors = stored_vectors.embed_sync([*texts_of_tools(), new])
    assert counting.texts == [new], "run `make generate`"
    assert np.array_equal(vectors[-1], embedder.embed_sync([new])[0])


def test_the_stored_vectors_are_those_of_the_texts(embedder: MiniLmEmbedder) -> None:
    texts = texts_of_tools()[::100]
    vectors = StoredVectors.read(stored.SHIPPED, embedder).embed_sync(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    # The rounding costs less than .0001, and another processor's arithmetic costs the rest.
    assert (np.einsum("ij,ij->i", vectors, embedder.embed_sync(texts)) > 0.99).all()


def test_vectors_of_another_embedder_are_not_used(embedder: MiniLmEmbedder) -> None:
    counting = Counting(embedder, name="another")
    texts = texts_of_tools()[:3]
    StoredVectors.read(stored.SHIPPED, counting).embed_sync(texts)
    assert counting.texts == list(texts)


def test_written_vectors_stay_and_texts_without_use_go(tmp_path: Path, embedder: MiniLmEmbedder) -> None:
    StoredVectors.read(tmp_path, embedder).write(tmp_path, ["frost", "rain"])
    before = StoredVectors.read(tmp_path, embedder).embed_sync(["rain"])
    again = Counting(embedder)
    StoredVectors.read(tmp_path, again).write(tmp_path, ["rain", "snow"])
    assert again.texts == ["snow"]
    after = Counting(embedder)
    vectors = StoredVectors.read(tmp_path, after).embed_sync(["rain", "snow", "frost"])
    assert after.texts == ["frost"]
    assert np.array_equal(vectors[0], before[0])
