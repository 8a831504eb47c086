"""Computes how well a passage fits a question, from 0 to 1. Pure functions.

The lexical score is BM25 (Robertson and Zaragoza 2009, doi:10.1561/1500000019), divided by the greatest value that the question's
terms could reach. The vector score is the mean of the best cosine of a piece and the best cosine of a window. Neither score
depends on the other passages of the result. Therefore a score means the same in every search, and a threshold makes sense. In
all our measurements, ranking by the weighted sum of the two scores was also better than min-max scaling or reciprocal ranks
(docs/retrieval.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from responsa_server.domain.passages import LexicalCandidate, PassageCosines, TermStatistics
from responsa_server.text.lexical import missing_words
from responsa_server.text.synonyms import Alternatives

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
    for term in terms:
        # The number of passages that contain the term or, if that is more, the most that can contain one of its alternatives.
        options = alternatives.get(term, ())
        known = statistics.frequencies
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


class PassageScorer:
    """Scores the passages of a collection for one question."""

    def __init__(self, weights: Weights, terms: Sequence[str], *, text_votes: bool = True) -> None:
        """weights: the question's terms in the collection. terms: the terms that the candidates' indexes refer to; terms that the
        collection does not contain are ignored. text_votes: whether words count.
        """
        by_term = dict(zip(weights.terms, weights.weights, strict=True))
        self._weights = [by_term.get(term, 0.0) for term in terms]
        places = {term: index for index, term in enumerate(terms)}
        self._alternatives = [
            (places[term], [[places[word] for word in option] for option in options])
            for term, options in weights.alternatives.items()
            if term in places
        ]
        self._mean_length = max(weights.mean_length, 1.0)
        # What the BM25 score of a passage approaches as all terms, including the missing ones, occur more and more often.
        self._greatest = weights.total * (K1 + 1)
        self._text_votes = text_votes

    def bm25(self, candidate: LexicalCandidate) -> float:
        """The BM25 score of the passage. Words of the title and headings count like words of the text."""
        norm = K1 * (1 - B + B * candidate.length / self._mean_length)
        counts: Iterable[tuple[int, int]] = zip(candidate.terms, candidate.counts, strict=True)
        if self._alternatives:
            counts = self._with_alternatives(dict(counts)).items()
        return sum(self._weights[term] * count * (K1 + 1) / (count + norm) for term, count in counts)

    def _with_alternatives(self, counts: Mapping[int, int]) -> Mapping[int, int]:
        """How often each term occurs, itself or in one of its alternatives."""
        more = dict(counts)
        for term, options in self._alternatives:
            extra = sum(min(counts.get(term, 0) for term in option) for option in options)
            if extra:
                more[term] = more.get(term, 0) + extra
        return more

    def score(
        self, candidate: LexicalCandidate, cosines: PassageCosines | None, *, vector_votes: bool
    ) -> Score:
        """The passage's score by full text, by vectors or by both. cosines: the best cosines of the passage's
        vectors; None if the passage has no vectors to compare.
        """
        lexical_sum = self.bm25(candidate)
        lexical = min(lexical_sum / self._greatest, 1.0) if self._greatest > 0 else 0.0
        vector = cosine(cosines) if vector_votes and cosines is not None else None
        if vector is None:
            total = lexical if self._text_votes else 0.0
        elif self._text_votes:
            total = (lexical + VECTOR_WEIGHT * vector) / (1 + VECTOR_WEIGHT)
        else:
            total = vector
        return Score(total, lexical_sum, lexical, vector)


def cosine(cosines: PassageCosines) -> float | None:
    """The vectors' part of the score, 0 to 1; None if both cosines are None."""
    if cosines.piece is None and cosines.window is None:
        return None
    near, wide = max(cosines.piece or 0.0, 0.0), max(cosines.window or 0.0, 0.0)
    return min((near + wide) / 2, 1.0)
