"""A classifier trained on a few examples, with the real embedding model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from responsa_lab.evaluation.local import Confusion, score_classifier
from responsa_server.domain.intents import Example, ExamplesUnfit
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.routing.classifier import (
    DIMENSIONS,
    Parameters,
    TrainedClassifier,
    count_features,
    probabilities,
    rarity,
    weigh,
)
from responsa_server.routing.stored import (
    ClassifierBroken,
    KeptClassifiers,
    dump,
    name_of,
    read,
)
from responsa_server.routing.training import digest, fit, train

SAID = {
    "water": [
        "When should I water the roses?",
        "how much water do tomatoes need",
        "Water the beds tonight?",
        "Is it time to water the lawn",
        "do my herbs need watering",
        "How often must I water a cactus?",
    ],
    "frost": [
        "Will there be frost tonight?",
        "is it going to freeze",
        "How cold will the night be?",
        "Do I have to cover the plants against frost",
        "when is the last frost in spring",
        "Does frost hurt the figs?",
    ],
    "pests": [
        "What eats my cabbage?",
        "how do I get rid of snails",
        "There are aphids on the beans",
        "Something gnaws at the roots",
        "which beetle is this",
        "Slugs are in the salad again",
    ],
    "oos": [
        "Book me a flight to Rome",
        "what is the capital of Peru",
        "Play some jazz",
        "transfer fifty euros to Ann",
    ],
}
EXAMPLES = [Example(text, label) for label, texts in SAID.items() for text in texts]


@pytest.fixture(scope="module")
def parameters(embedder: MiniLmEmbedder) -> Parameters:
    return train(EXAMPLES, embedder)


async def test_it_tells_intents_apart_and_rejects_what_is_none(
    parameters: Parameters, embedder: MiniLmEmbedder
) -> None:
    classifier = TrainedClassifier(parameters, embedder)
    assert classifier.labels == ("frost", "pests", "water")
    for text, label in {
        "should the hydrangeas be watered": "water",
        "Could it freeze this night?": "frost",
        "caterpillars are eating the leaves": "pests",
    }.items():
        one = await classifier.classify(text)
        assert (one.label, one.in_scope) == (label, True)
        assert 1 / 3 < one.confidence <= 1
    assert not (await classifier.classify("Which film won the prize in 1994?")).in_scope


@pytest.mark.parametrize("text", ["", " ", "?!", "\0", "水" * 50, "word " * 50_000, "🌱"])
async def test_any_message_gets_a_decision(
    parameters: Parameters, embedder: MiniLmEmbedder, text: str
) -> None:
    one = await TrainedClassifier(parameters, embedder).classify(text)
    assert one.label in parameters.labels
    assert 0 <= one.confidence <= 1


def test_training_again_gives_the_same_bytes(parameters: Parameters, embedder: MiniLmEmbedder) -> None:
    assert dump(train(EXAMPLES, embedder)) == dump(parameters)


def test_the_threshold_keeps_what_it_should(embedder: MiniLmEmbedder) -> None:
    held = [example for example in EXAMPLES if example.label != "oos"][::2]
    rest = [example for example in EXAMPLES if example not in held]
    made = train(rest, embedder, held_out=held)
    best = TrainedClassifier(made, embedder).scores_sync([example.text for example in held]).max(axis=1)
    # The final weights were also trained on `held`. The weights that set the threshold were trained without `held`.
    assert (best >= made.threshold).mean() >= 0.95


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        ([], "no examples"),
        ([Example("Play some jazz", "oos")], "out of scope"),
        ([Example("Water!", "water"), Example("  ", "water")], "Example 2 has no text"),
        ([Example("Water!", " ")], "Example 1 has no label"),
        ([Example("Water!", "water")] * 20_001, "20000 is the most"),
    ],
)
def test_unfit_examples_are_told(examples: list[Example], says: str, embedder: MiniLmEmbedder) -> None:
    with pytest.raises(ExamplesUnfit, match=says):
        train(examples, embedder)


@pytest.mark.parametrize("count", [1, 3])
def test_the_least_that_can_be_learnt_from(count: int, embedder: MiniLmEmbedder) -> None:
    made = train(EXAMPLES[:count], embedder)
    assert made.labels == ("water",)
    assert np.isfinite(made.threshold)


BROKEN: dict[str, Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]] = {
    "other_type": lambda arrays: arrays | {"idf": arrays["idf"].astype(np.float64)},
    "too_few_features": lambda arrays: arrays | {"words": arrays["words"][:-1]},
    "no_dimensions": lambda arrays: arrays | {"meaning": arrays["meaning"][:0]},
    "not_a_number": lambda arrays: arrays | {"idf": arrays["idf"] * np.float32(np.nan)},
    "one_array_more": lambda arrays: arrays | {"code": np.zeros(1)},
    "one_array_less": lambda arrays: {name: array for name, array in arrays.items() if name != "idf"},
    "no_description": lambda arrays: {name: array for name, array in arrays.items() if name != "meta"},
    "other_description": lambda arrays: arrays | {"meta": arrays["idf"]},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused(kind: str, parameters: Parameters, tmp_path: Path) -> None:
    (tmp_path / name_of(bytes(32))).write_bytes(save(BROKEN[kind](load(dump(parameters)))))
    with pytest.raises(ClassifierBroken):
        read(tmp_path, bytes(32))


async def test_classifiers_are_trained_once_and_again_when_broken(
    embedder: MiniLmEmbedder, tmp_path: Path
) -> None:
    key = digest(EXAMPLES)
    kept = KeptClassifiers(tmp_path, embedder)
    await kept.prepare(EXAMPLES, key=key)
    file = tmp_path / name_of(key)
    good = file.read_bytes()
    # Only the stored file has these labels, so the classifier was not trained again.
    assert (await kept.prepare([], key=key)).labels == ("frost", "pests", "water")
    file.write_bytes(good[:-1000])
    await kept.prepare(EXAMPLES, key=key)
    assert file.read_bytes() == good
    file.write_bytes(dump(replace(read(tmp_path, key), embedder="another")))
    await kept.prepare(EXAMPLES, key=key)
    assert file.read_bytes() == good


async def test_a_folder_that_cannot_be_written_is_no_hindrance(
    embedder: MiniLmEmbedder, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    made = await KeptClassifiers(in_the_way / "classifiers", embedder).prepare(EXAMPLES, key=digest(EXAMPLES))
    assert made.labels == ("frost", "pests", "water")


def test_another_embedder_is_refused(parameters: Parameters, embedder: MiniLmEmbedder) -> None:
    with pytest.raises(ValueError, match="not all-MiniLM"):
        TrainedClassifier(replace(parameters, embedder="another"), embedder)


def test_wordings_have_length_one_and_know_no_case() -> None:
    texts = ["Water the roses", "the roses", "frost"]
    idf = rarity([count_features(text) for text in texts])
    assert idf.shape == (DIMENSIONS,)
    one, same = (weigh(count_features(text), idf) for text in ("Water the ROSES!", "water the roses"))
    assert np.array_equal(one.places, same.places)
    assert np.array_equal(one.values, same.values)
    assert np.linalg.norm(one.values) == pytest.approx(1, abs=1e-5)
    assert weigh(count_features(""), idf).values.size == 0


def test_the_fit_is_where_the_slope_is_level() -> None:
    random = np.random.default_rng(3)
    inputs = random.normal(size=(90, 5)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[(inputs[:, :3]).argmax(axis=1)]
    shares = np.full(90, 1 / 90, np.float32)
    weights = fit(inputs, targets, shares, 0.05)
    slope = inputs.T @ (shares[:, None] * (probabilities(inputs @ weights) - targets)) + 0.05 * weights
    assert np.abs(slope).max() < 2e-3
    assert ((inputs @ weights).argmax(axis=1) == targets.argmax(axis=1)).mean() > 0.9


def test_what_is_counted() -> None:
    scores = np.array([[3, 0], [0, 2], [1, 0], [0.5, 0.4], [4, 0]], np.float32)
    found = score_classifier(scores, ["a", "b"], ["a", "b", "b", "oos", "oos"], 0.9)
    assert (found.in_scope, found.out_of_scope) == (3, 2)
    assert found.accuracy == pytest.approx(2 / 3)
    assert (found.oos_recall, found.kept) == (0.5, 1.0)
    assert found.confusions == [Confusion("b", "a", 1), Confusion("oos", "a", 1)]
    only = score_classifier(scores[:1], ["a", "b"], ["oos"], 9)
    assert (only.accuracy, only.kept, only.oos_recall) == (None, None, 1.0)
