"""Decides which of the pieces that were read answers a question best.

`evidence.py` ranks the passages of a search by their pieces, and its weights were fitted on an encyclopedia. Within the few passages of an answer, other
signals say more: the piece's own cosine, the vectors of its passage, and what stands above and before the piece. `tools/reading_weights.py` fits the weights on the labelled
questions about documentation and on squad2; docs/retrieval.md describes its data and its accuracy. The weights are fitted for the cosines of one embedding
model. Without these cosines, and in languages that the model does not know, the ranking of `evidence.py` decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from operator import mul
from typing import Final, NamedTuple

from responsa_server.domain.passages import FoundPassage, VectorKind
from responsa_server.search.evidence import ParsedQuestion, PieceEvidence
from responsa_server.search.scoring import Score


class Signals(NamedTuple):
    """The signals of a piece, from 0 to 1 where not said otherwise; or the weight of each of them.

    own, titled, around, order, cosine, form: those of `PieceEvidence`. best: the score of the best piece of the passage. vector, lexical: those of the passage's `Score`.
    heading, before: the cosines of the last heading above the piece and of the piece before it, 0 or more; 0 if the passage has none there. begins: whether the piece begins a
    paragraph. row: whether it is a row of a table. length: the logarithm of 1 plus its length in units of _LENGTH characters, 0 to about 2.5. against: the penalties of `PieceEvidence`, 0 or more.
    """

    own: float
    titled: float
    around: float
    order: float
    cosine: float
    form: float
    best: float
    vector: float
    lexical: float
    heading: float
    before: float
    begins: float
    row: float
    length: float
    against: float


WEIGHTS: Final = Signals(
    # Words in the piece itself count in the next two as well. Below a heading with the same words, a sentence that repeats them answers less often than its neighbours.
    own=-2.6,
    titled=4.3,
    around=4.6,
    order=1.3,
    cosine=8.0,
    form=0.7,
    best=6.8,
    vector=9.4,
    lexical=1.7,
    heading=1.7,
    before=1.1,
    begins=0.4,
    row=1.6,
    length=1.1,
    # Penalties are rules, so they are not fitted. They weigh about as much as in `evidence.py`.
    against=-5.0,
)
"""Printed by tools/reading_weights.py."""
_SUM: Final = 37.0
"""About the sum of the weights of the signals up to `before`, so that the value is on about the scale of `PieceEvidence.score`."""
_LENGTH: Final = 80
_PARAGRAPH_BEFORE: Final = re.compile(r"(?:^|\n[ \t]*\n)[ \t]*$")


def readable(question: ParsedQuestion, score: Score, pieces: Sequence[PieceEvidence]) -> bool:
    """Whether the weights apply to a passage: it was found by vectors of the model for which they are fitted, and the question may be English."""
    return question.english and score.vector is not None and all(one.cosine is not None for one in pieces)


def fits(
    found: FoundPassage, score: Score, pieces: Sequence[PieceEvidence], weights: Signals = WEIGHTS
) -> Sequence[float]:
    """How well each piece of a passage fits the question, about 0 to 1. The values of all passages that are read for a question can be compared with each other."""
    return [sum(map(mul, weights, one)) / _SUM for one in signals(found, score, pieces)]


def shares(values: Sequence[float]) -> Sequence[float]:
    """How likely each piece is to answer the question, if exactly one of them does. values: those of `fits` for all pieces that were read."""
    greatest = max(values, default=0.0)
    odds = [math.exp(_SUM * (value - greatest)) for value in values]
    total = sum(odds)
    return [one / total for one in odds]


def signals(found: FoundPassage, score: Score, pieces: Sequence[PieceEvidence]) -> Sequence[Signals]:
    """The signals of each piece of a passage."""
    best = max((one.score for one in pieces), default=0.0)
    return [_signals(found, score, pieces, index, best) for index in range(len(pieces))]


def _signals(
    found: FoundPassage, score: Score, pieces: Sequence[PieceEvidence], index: int, best: float
) -> Signals:
    """best: the score of the best piece of the passage."""
    one = pieces[index]
    last = next(
        (of for of in range(one.place - 1, -1, -1) if found.pieces[of].kind is VectorKind.HEADING), -1
    )
    heading = found.pieces[last].cosine if last >= 0 else None
    earlier = pieces[index - 1].cosine if index and pieces[index - 1].place > last else None
    above = found.passage.text.encode()[: one.piece.source.start - found.passage.source.start]
    return Signals(
        own=one.own,
        titled=one.titled,
        around=one.around,
        order=one.order,
        cosine=max(one.cosine or 0.0, 0.0),
        form=one.form,
        best=best,
        vector=score.vector or 0.0,
        lexical=score.lexical,
        heading=max(heading or 0.0, 0.0),
        before=max(earlier or 0.0, 0.0),
        begins=_PARAGRAPH_BEFORE.search(above.decode()) is not None,
        row=one.piece.kind is VectorKind.ROW,
        length=math.log1p(len(one.plain) / _LENGTH),
        against=one.against,
    )
