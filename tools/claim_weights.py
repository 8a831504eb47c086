"""Fits the weights of the judge of citations on the part `fit` of evals/claims, chooses the threshold on the part `choose`, and prints both for search/claims.py.

Usage: python tools/claim_weights.py FOLDER   (FOLDER: the documents, as for `responsa eval claims`)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from responsa_lab.evaluation.claims import OURS, Case, read_cases
from responsa_lab.evaluation.local import load_embedder
from responsa_lab.evaluation.reading import Part
from responsa_server.search.claims import read_passage
from responsa_server.search.embedder import Embedder
from responsa_server.search.evidence import PassageAnalyses
from responsa_server.search.wording import FEATURES, PassageWords, compare

Floats = npt.NDArray[np.float64]
KEPT: Final = 0.965
"""The share of the right claims of `choose` that the threshold keeps."""
RIDGE: Final = 5.0
ROUNDS: Final = 6
STEPS: Final = 40
HAND: Final = 12.0
"""The weight of a claim that a person wrote. There are far fewer of them, and they are more like a model's sentences."""
FOREIGN: Final = 0.5
LEAST: Final = 0.02
LEAST_SPREAD: Final = 0.2
FIXED: Final = {"number_none": -8.0}
"""A number that the passage lacks is decisive. It is too rare in `fit` to be fitted."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The features of all pieces that were compared with each claim. starts: the first row of each claim, and the end."""

    cases: Sequence[Case]
    features: Floats
    starts: Sequence[int]

    def best(self, scores: Floats) -> Sequence[int]:
        """The row with the greatest score of each claim."""
        return [start + int(np.argmax(scores[start:end])) for start, end in pairwise(self.starts)]


def rows(part: Part, documents: Path, embedder: Embedder) -> Rows:
    """The features of a part. Claims without a piece to compare with are left out."""
    analyses = PassageAnalyses()
    words: dict[str, PassageWords] = {}
    cases: list[Case] = []
    features: list[Mapping[str, float]] = []
    starts = [0]
    for case in read_cases(OURS, part, documents, embedder):
        passage = case.passage
        key = str(passage.passage.id)
        if key not in words:
            words[key] = read_passage(passage, analyses)
        found = compare(case.text, passage.language, words[key], passage.passage.source, analyses.analyzer)
        if found:
            cases.append(case)
            features += [one.features for one in found]
            starts.append(len(features))
    return Rows(cases, np.array([[one[name] for name in FEATURES] for one in features]), starts)


def fitted(features: Floats, right: Floats, weights: Floats) -> tuple[float, Floats]:
    """The base and the weights of a logistic regression with an L2 penalty on standardised features, by Newton's method."""
    middle: Floats = features.mean(0)
    spread: Floats = features.std(0)
    # A feature that is rarely above zero must not get a huge weight from a few claims.
    spread = np.maximum(spread, LEAST_SPREAD)
    data: Floats = np.concatenate([np.ones((len(features), 1)), (features - middle) / spread], axis=1)
    size = int(data.shape[1])
    penalty: Floats = np.diag([0.0, *[RIDGE] * (size - 1)])
    found: Floats = np.zeros(size)
    for _ in range(STEPS):
        probable: Floats = 1 / (1 + np.exp(-(data @ found)))
        gradient: Floats = data.T @ (weights * (probable - right)) + penalty @ found
        curvature: Floats = data.T @ (data * (weights * probable * (1 - probable))[:, None]) + penalty
        step: Floats = np.asarray(np.linalg.solve(curvature, gradient), np.float64)
        found = found - step
    by_feature = np.where(np.abs(found[1:]) < LEAST, 0.0, found[1:]) / spread
    return float(found[0] - by_feature @ middle), by_feature


def main() -> None:
    """Prints the base and the weights. The base contains the threshold, so that a piece at the threshold has a score of 0.5."""
    documents = Path(sys.argv[1])
    with ExitStack() as stack:
        embedder = load_embedder(stack)
        fit, choose = rows(Part.FIT, documents, embedder), rows(Part.CHOOSE, documents, embedder)
    right = np.array([float(case.kind == "right") for case in fit.cases])
    weights = np.array(
        [
            (HAND if case.label.made == "hand" else 1.0) * (1.0 if case.english else FOREIGN)
            for case in fit.cases
        ]
    )
    chosen: Sequence[int] = fit.starts[:-1]
    base, by_feature = 0.0, np.zeros(len(FEATURES))
    for _ in range(ROUNDS):
        # A claim is judged by its best piece, and which piece is the best depends on the weights.
        base, by_feature = fitted(fit.features[chosen], right, weights)
        for name, weight in FIXED.items():
            by_feature[FEATURES.index(name)] = weight
        chosen = fit.best(fit.features @ by_feature)
    by_feature = np.round(by_feature, 2)
    scores = choose.features @ by_feature
    kept = sorted(
        float(scores[best])
        for case, best in zip(choose.cases, choose.best(scores), strict=True)
        if case.kind == "right" and case.english
    )
    print(f"_BASE: Final = {-kept[int((1 - KEPT) * len(kept))]:.2f}")
    for name, weight in zip(FEATURES, by_feature, strict=True):
        if weight:
            print(f'    "{name}": {weight:g},')
    print(f"# fitted base: {base:.2f}")


if __name__ == "__main__":
    main()
