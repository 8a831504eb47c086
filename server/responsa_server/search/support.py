"""Support: how well the documents support an answer, from 0 to 1.

An off-topic question gets little support because its cosine and its share of
matching words are low. A near miss is a question that is on the topic and shares words with the text, but is
not answered by it. Further signals look for typical signs of a near miss: a number or the negation in the question is
missing from the text near the sentence; the sentence contains the opposite of a word in the question; or words from the question
occur only in neighbouring sentences. The weights come from a logistic regression; docs/retrieval.md describes its data and its accuracy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.search.evidence import ParsedQuestion, PieceEvidence
from responsa_server.search.scoring import Score
from responsa_server.search.words import OPPOSITE_STEMS, QUESTION_NEGATION
from responsa_server.text.lexical import Analyzer

DEFAULT_SUPPORT: Final = 0.5
"""The support below which a question is refused. This value refuses most off-topic questions and few answerable ones."""

CALIBRATED: Final = "all-MiniLM-L6-v2/"
"""The beginning of the names of the embedding models for which the weights of cosines are fitted, here and in evidence.py. Cosines of other models have
another scale, so `Retriever` gives pieces no cosines of them: support and the ranking of pieces then depend on words, as without vectors.
"""

_BASE: Final = -4.3
_COSINE: Final = 4.3
_PASSAGE: Final = 3.3
_TITLED: Final = 1.9
_SCATTERED: Final = 3.2
_NUMBERS: Final = 1.6
# This is less than the fitted value (3.0), because in documentation, questions such as "what if it does not start" are
# often answered without a negation.
_NEGATED: Final = 2.2
_OPPOSED: Final = 1.8

# If more passages contain words of the question, the best of them fits better by chance. The size of the collection is not used, because then
# passages about other things would change the support of an answer.
_MATCHING: Final = 0.36
_TYPICAL: Final = 25
_MOST: Final = 50

_TEXT_BASE: Final = -1.2
_TEXT_LEXICAL: Final = 2.2
_TEXT_TITLED: Final = 2.2


@dataclass(frozen=True, slots=True)
class Signals:
    """The inputs of the regression. Scores and shares are from 0 to 1; the other inputs are counts or booleans.

    cosine: the best cosine of all pieces; None without vectors. passage, lexical: the scores of the best piece's
    passage by vectors and by words. titled: the weighted share of the question's terms that are in the best piece,
    its headings or its title. scattered: the weighted share of the question's terms that occur near the best piece, but not in
    it, its headings, its title or the previous piece. numbers: how many numbers in the question do not occur in or near the best
    piece. matching: the mean number of passages that contain a term of the question, as in `Weights.matching`. negation: whether the question contains a negation, but neither the
    best piece nor the previous piece does. opposite: whether the best piece contains the opposite of a word in the question, but not
    the word itself.
    """

    cosine: float | None
    passage: float
    lexical: float
    titled: float
    scattered: float
    numbers: int
    matching: float
    negation: bool
    opposite: bool


def signals(
    question: ParsedQuestion,
    best: PieceEvidence,
    others: Sequence[PieceEvidence],
    score: Score,
    around: str,
    analyzer: Analyzer,
) -> Signals:
    """The signals for and against `best` as the answer's first piece.

    others: all pieces that were considered. score: the score of the passage of `best`. around: the text of `best` and its neighbours, with headings and title.
    """
    terms = frozenset(analyzer.terms(around, question.language))
    covered = question.covered(question.mask(terms))
    numbers = sum(question.text[one.start].isdigit() and one.term not in terms for one in question.tokens)
    near = f"{best.context} {best.plain}"
    cosines = [one.cosine for one in others if one.cosine is not None]
    return Signals(
        cosine=max(cosines, default=None),
        passage=score.vector or 0.0,
        lexical=score.lexical,
        titled=best.titled,
        scattered=max(covered - best.around, 0.0),
        numbers=numbers,
        matching=question.matching,
        negation=question.english
        and bool(QUESTION_NEGATION.search(question.text))
        and not QUESTION_NEGATION.search(near),
        opposite=question.english and _opposed(question.text.lower(), best.plain.lower()),
    )


def _opposed(question: str, piece: str) -> bool:
    """Whether the piece contains the opposite of a word in the question, but not the word itself."""
    return any(
        _has(asked, question) and not _has(asked, piece) and _has(said, piece)
        for pair in OPPOSITE_STEMS
        for asked, said in (pair, pair[::-1])
    )


def _has(prefix: str, text: str) -> bool:
    """Whether the text has a form of the word: "add" is in "added", not in "address"."""
    return prefix in text and re.search(rf"\b{prefix}\w{{0,3}}\b", text) is not None


def support(signals: Signals) -> float:
    """The probability that the piece answers the question, according to the regression. Without the cosines of a calibrated model, only the words count."""
    against = (
        _SCATTERED * signals.scattered
        + _NUMBERS * min(signals.numbers, 2)
        + _NEGATED * signals.negation
        + _OPPOSED * signals.opposite
    )
    if signals.cosine is None:
        value = _TEXT_BASE + _TEXT_LEXICAL * signals.lexical + _TEXT_TITLED * signals.titled
    else:
        value = (
            _BASE + _COSINE * max(signals.cosine, 0.0) + _PASSAGE * signals.passage + _TITLED * signals.titled
        )
        value += _MATCHING * math.log((1 + _TYPICAL) / (1 + min(signals.matching, _MOST)))
    return 1 / (1 + math.exp(-(value - against)))
