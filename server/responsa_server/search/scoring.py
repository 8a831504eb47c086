"""Computes how well a passage fits a question, from 0 to 1. Pure functions.

The lexical score is BM25 (Robertson and Zaragoza 2009, doi:10.1561/1500000019), divided by the greatest value that the question's
terms could reach. The vector score is the mean of the best cosine of a piece and the best cosine of a window. Neither score
depends on the other passages of the result. Therefore a score means the same in every search, and a threshold makes sense. In
all our measurements, ranking by the weighted sum of the two scores was also better than min-max scaling or reciprocal ranks
(docs/retrieval.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from responsa_server.domain.passages import COSINE_DIGITS, Candidates, TermStatistics
from responsa_server.text.lexical import missing_words
from responsa_server.text.synonyms import Alternatives

Column = NDArray[np.float64]

K1: Final = 1.2
B: Final = 0.75
VECTOR_WEIGHT: Final = 1.8


# What a word that no passage has weighs at most, as a multiple of a word that one passage has. From 50 passages on, the
# limit has no effect. In a smaller collection, such a word would outweigh all others and hide the answer of a single document.
_MOST_MISSING: Final = 1.31


@dataclass(frozen=True, slots=True)
class Weights:
    """A question's terms with their inverse document frequencies, rarest first, and the number and mean length of the passages.

    Terms that no passage contains are in `missing`. They match nothing, but they count in the greatest possible score.
    alternatives: the collection's synonyms of these terms. A passage that contains all terms of an alternative counts as if it contained
    the term, so a term with an alternative in some passage is not missing.
    """

    terms: Sequence[str]
    weights: Sequence[float]
    frequencies: Sequence[int]
    missing: Mapping[str, float]
    passages: int
    mean_length: float
    alternatives: Alternatives = field(default_factory=dict[str, Sequence[Sequence[str]]])

    @property
    def searched(self) -> Sequence[str]:
        """The terms to look for in passages: the question's terms and those of their alternatives."""
        others = (term for options in self.alternatives.values() for option in options for term in option)
        return list(dict.fromkeys((*self.terms, *others)))

    @property
    def total(self) -> float:
        return sum(self.weights) + sum(self.missing.values())

    @property
    def by_term(self) -> dict[str, float]:
        """The weight of each term, including those in `missing`."""
        return dict(zip(self.terms, self.weights, strict=True)) | dict(self.missing)


@dataclass(frozen=True, slots=True)
class Score:
    """A passage's score and its parts.

    total: the score that ranks the passage. bm25: the unscaled BM25, 0 or more. lexical: bm25 divided by the
    greatest possible value. vector: the weighted cosine; None if vectors are not used. All scores except bm25 are
    from 0 to 1.
    """

    total: float
    bm25: float
    lexical: float
    vector: float | None


def weigh(
    terms: Sequence[str], statistics: TermStatistics, alternatives: Alternatives | None = None
) -> Weights:
    """The inverse document frequencies of the terms, in the form of BM25 that is never negative. A term with alternatives is as frequent as
    the most frequent of them.
    """
    alternatives = alternatives or {}
    count = statistics.passages
    weighted_terms: list[tuple[float, str, int]] = []
    missing: dict[str, float] = {}
    known = statistics.frequencies
    codes = [term for term in terms if term in known and term[0].isalpha() and any(map(str.isdigit, term))]
    # A part says nothing that the whole code does not.
    for term in (term for term in terms if not any(term != code and term in code for code in codes)):
        # The number of passages that contain the term or, if that is more, the most that can contain one of its alternatives.
        options = alternatives.get(term, ())
        frequency = min(
            max(known.get(term, 0), *(min(known.get(other, 0) for other in option) for option in options), 0),
            count,
        )
        weight = math.log(1 + (count - frequency + 0.5) / (frequency + 0.5))
        if frequency > 0:
            weighted_terms.append((weight, term, frequency))
        else:
            if count:
                weight = min(weight, _MOST_MISSING * math.log(1 + (count - 0.5) / 1.5))
            missing[term] = weight * missing_words(term)
    weighted_terms.sort(key=lambda row: (-row[0], row[1]))
    return Weights(
        [term for _, term, _ in weighted_terms],
        [weight for weight, _, _ in weighted_terms],
        [frequency for _, _, frequency in weighted_terms],
        missing,
        count,
        statistics.terms / count if count else 1.0,
        {term: alternatives[term] for term in terms if term in alternatives},
    )


def gate(frequencies: Sequence[int], enough: int = 200, limit: int = 1_000) -> int:
    """The number of terms, beginning with the rarest, that select passages. `frequencies` has the number of passages
    that contain each term, rarest term first. Once the selected terms match at least `enough` passages, the selection
    ends before the first term that would bring the number of passages over `limit`.

    A common term matches a large part of a collection and distinguishes little. Therefore common terms only rank the
    passages that rare terms select.
    """
    seen = 0
    for index, frequency in enumerate(frequencies):
        if seen >= enough and seen + frequency > limit:
            return index
        seen += frequency
    return len(frequencies)


def normalize_lengths(lengths: Column, mean_length: float) -> Column:
    """What passages of these lengths must have of a term to get half of its weight."""
    return K1 * (1 - B + B * lengths / max(mean_length, 1.0))


def weigh_counts(weight: float, counts: Column, norm: Column) -> Column:
    """What a term adds to the BM25 of passages. counts: how often each has it. norm: see `normalize_lengths`."""
    return weight * counts * (K1 + 1) / (counts + norm)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The scores of candidates, as columns; see `Score`. vector: NaN instead of None."""

    total: Column
    bm25: Column
    lexical: Column
    vector: Column

    def select_best(self, limit: int) -> Mapping[int, Score]:
        """The indexes of the best candidates with their scores, best first; of equal ones, the first."""
        best = np.argsort(-self.total, kind="stable")[:limit]
        rows = np.stack((self.total, self.bm25, self.lexical, self.vector), axis=1)[best].tolist()
        return {
            index: Score(total, bm25, lexical, None if math.isnan(vector) else vector)
            for index, (total, bm25, lexical, vector) in zip(best.tolist(), rows, strict=True)
        }


def score_candidates(
    candidates: Candidates,
    weights: Weights,
    terms: Sequence[str],
    *,
    text_votes: bool = True,
    vector_votes: Sequence[bool],
) -> Scores:
    """Score the passages of a collection for one question, by full text, by vectors or by both.

    weights: the question's terms in the collection. terms: those that the candidates' counts refer to; terms that the
    collection does not contain are ignored. text_votes: whether words count. vector_votes: whose vectors count.
    """
    counts = _add_alternatives(candidates.counts, weights, {term: at for at, term in enumerate(terms)})
    by_term = dict(zip(weights.terms, weights.weights, strict=True))
    norm = normalize_lengths(candidates.lengths, weights.mean_length)
    bm25 = np.zeros(len(norm))
    for at, term in enumerate(terms):
        bm25 += weigh_counts(by_term.get(term, 0.0), counts[:, at], norm)
    # What the BM25 score of a passage approaches as all terms, including the missing ones, occur more and more often.
    greatest = weights.total * (K1 + 1)
    lexical = np.minimum(bm25 / greatest, 1.0) if greatest > 0 else np.zeros(len(norm))
    vector = _weigh_cosines(candidates.windows, candidates.pieces)
    vector[~np.array(vector_votes, bool)] = np.nan
    whole = (lexical + VECTOR_WEIGHT * vector) / (1 + VECTOR_WEIGHT) if text_votes else vector
    total = np.where(np.isnan(vector), lexical if text_votes else 0.0, whole)
    return Scores(total, bm25, lexical, vector)


def _add_alternatives(counts: Column, weights: Weights, places: Mapping[str, int]) -> Column:
    """How often each term occurs, itself or in one of its alternatives, which occur as often as their rarest word."""
    more = counts.copy() if weights.alternatives else counts
    for term, options in weights.alternatives.items():
        for option in options if term in places else ():
            more[:, places[term]] += counts[:, [places[word] for word in option]].min(axis=1)
    return more


def _weigh_cosines(windows: Column, pieces: Column) -> Column:
    """The vectors' part of the scores, 0 to 1; NaN for a passage without a cosine."""
    windows, pieces = np.round(windows, COSINE_DIGITS), np.round(pieces, COSINE_DIGITS)
    positive = np.maximum(np.nan_to_num(windows), 0.0) + np.maximum(np.nan_to_num(pieces), 0.0)
    vector: Column = np.minimum(positive / 2, 1.0)
    vector[np.isnan(windows) & np.isnan(pieces)] = np.nan
    return vector
