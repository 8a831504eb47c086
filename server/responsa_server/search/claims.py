"""Chooses the passages that a prompt shows, and decides whether one of their pieces supports a claim of the answer. Pure
functions.

A claim is usually a paraphrase of a piece, or of two neighbouring pieces. A logistic regression over the features of `wording.py` says how
probably a piece supports the claim. It was fitted on one part of evals/claims, its threshold was chosen on another, and it was
measured on a third (docs/retrieval.md). A model of vectors is not asked: the vectors of a sentence and of the same sentence with another name are too
similar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.search.evidence import PassageAnalyses, PieceAnalysis
from responsa_server.search.retrieve import ScoredPassage
from responsa_server.search.wording import PassageWords, compare, passage_words, within
from responsa_server.text.figures import numbers_in
from responsa_server.text.lexical import UNKNOWN

LEAST_BYTES: Final = 160
"""The minimum size of an excerpt that is cut from a passage; a shorter excerpt says little."""
THRESHOLD: Final = 0.5
"""The minimum score of a piece that supports a claim."""

_NOT_NEAR: Final = 0.2
_MAX_COUNTED: Final = 2
_DECISIVE: Final = 0.6
"""The deduction for a claim in another language if a number in the claim is missing from the passage."""
_BASE: Final = -1.48
_WEIGHTS: Final[Mapping[str, float]] = {
    "share_own": 6.17,
    "share_above": -0.79,
    "share_near": -0.76,
    "share_topic": -2.83,
    "share_rest": -1.12,
    "share_none": -4.79,
    "word_above": 0.64,
    "word_near": -0.28,
    "word_topic": 1.38,
    "word_rest": -0.39,
    "word_none": 0.88,
    "name_above": 1.98,
    "name_near": -0.59,
    "name_rest": -3.66,
    "name_none": -0.51,
    "number_above": -3.54,
    "number_near": -0.95,
    "number_rest": -0.64,
    "number_none": -8,
    "replaced_name": -1.85,
    "replaced_number": -3.73,
    "replaced_rest": 0.45,
    "replaced_none": 0.34,
    "replaced_kind": 0.39,
    "replaced_moved": -0.45,
    "close_replaced_name": 0.85,
    "close_replaced_number": -1.64,
    "close_replaced_topic": -1.33,
    "close_replaced_rest": -3.21,
    "close_replaced_none": -1.69,
    "close_replaced_kind": -2.34,
    "close_replaced_moved": -2.85,
    "close_word_rest": -0.14,
    "close_name_none": -0.34,
    "close_name_near": -1.63,
    "close_negation_added": -1.98,
    "close_negation_lost": -1.91,
    "close_opposite": -4.06,
    "order": 1.27,
    "opposite": -1.73,
    "unit": -4.2,
    "unit_new": -0.25,
    "negation_added": -4.27,
    "negation_implied": 2.14,
    "negation_lost": -0.36,
    "joined": -0.33,
    "stray": -0.17,
    "stray_heavy": -1.71,
    "short": -2.24,
    "size": -0.97,
}
"""Fitted by tools/claim_weights.py. A feature without a weight does not count."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The part of a passage that a prompt shows. `text` is the part of the canonical text in the byte range `source`."""

    found: FoundPassage
    source: ByteRange
    text: str


def excerpts(passages: Sequence[ScoredPassage], most_bytes: int) -> Sequence[Excerpt]:
    """Excerpts of the passages, in the same order, until titles and texts fill `most_bytes` bytes of UTF-8. Equal passages result in equal excerpts.

    If passages have the same text, only the first is shown. The first passage that does not fit is
    cut at the boundaries of its pieces (sentences, items, rows), and no passage follows it. If fewer than LEAST_BYTES would
    remain of this passage, it is left out, unless no other passage is shown.
    """
    kept: list[Excerpt] = []
    left = most_bytes
    texts = set[str]()
    for one in passages:
        passage = one.found.passage
        if passage.text in texts:
            continue
        texts.add(passage.text)
        left -= len(passage.title.encode())
        size = passage.source.end - passage.source.start
        if size <= left:
            kept.append(Excerpt(one.found, passage.source, passage.text))
            left -= size
            continue
        part = _part(one.found, left)
        if part is not None and (not kept or len(part.text.encode()) >= LEAST_BYTES):
            kept.append(part)
        break
    return kept


def _part(found: FoundPassage, room: int) -> Excerpt | None:
    """The best piece of a passage, with as many neighbouring pieces as fit into `room` bytes, and the text between
    the pieces. None if the best piece alone does not fit.
    """
    quotable = [piece for piece in found.pieces if piece.kind is not VectorKind.HEADING]
    if not quotable:
        return None
    # If several pieces are equally good, take the first of them. Without vectors, all pieces are equally good, so this
    # takes the first piece of the passage.
    best = max(range(len(quotable)), key=lambda place: (quotable[place].cosine or 0.0, -place))
    first = last = best
    if _size(quotable[best].source) > room:
        return None
    grown = True
    while grown:
        grown = False
        # The text after a piece explains the piece more often than the text before it does.
        if last + 1 < len(quotable) and quotable[last + 1].source.end - quotable[first].source.start <= room:
            last, grown = last + 1, True
        if first > 0 and quotable[last].source.end - quotable[first - 1].source.start <= room:
            first, grown = first - 1, True
    source = ByteRange(quotable[first].source.start, quotable[last].source.end)
    start = found.passage.source.start
    text = found.passage.text.encode()[source.start - start : source.end - start].decode()
    return Excerpt(found, source, text)


def _size(source: ByteRange) -> int:
    return source.end - source.start


@dataclass(frozen=True, slots=True)
class ClaimSupport:
    """How well a piece supports a claim. score: from 0 to 1; a piece with THRESHOLD or more supports the claim."""

    piece: PassagePiece
    analysis: PieceAnalysis
    score: float


def read_passage(found: FoundPassage, analyses: PassageAnalyses) -> PassageWords:
    """The words of a passage, for `support_claim`."""
    return passage_words(found, analyses.of(found), analyses.analyzer)


def support_claim(
    claim: str, language: str, excerpt: Excerpt, words: PassageWords, analyses: PassageAnalyses
) -> ClaimSupport | None:
    """The piece of an excerpt that supports the claim best; None if no piece can support it. language: the claim's language, or UNKNOWN. words: the words
    of the excerpt's passage.

    If claim and passage are in different languages, they share only names and numbers. Then a single shared name or
    number counts as if all words matched.
    """
    found = excerpt.found
    if UNKNOWN not in (language, found.language) and language != found.language:
        return _support_foreign(claim, excerpt, analyses)
    pieces = analyses.of(found).pieces
    supports = [
        ClaimSupport(one.piece, pieces[one.place], _probability(one.features))
        for one in compare(claim, language, words, excerpt.source, analyses.analyzer)
    ]
    return max(supports, key=lambda one: (one.score, -one.piece.source.start), default=None)


def _probability(features: Mapping[str, float]) -> float:
    total = _BASE + sum(weight * features[name] for name, weight in _WEIGHTS.items())
    return 1 / (1 + math.exp(-total))


def _support_foreign(claim: str, excerpt: Excerpt, analyses: PassageAnalyses) -> ClaimSupport | None:
    found = excerpt.found
    terms = analyses.analyzer.query_terms(claim, found.language)
    numbers = numbers_in(claim)
    titles = numbers_in(" ".join((found.passage.title, *found.passage.headings)))
    everything = numbers_in(excerpt.text) | titles
    passage = analyses.of(found)
    supports: list[ClaimSupport] = []
    pieces = list(zip(found.pieces, passage.pieces, strict=True))
    above, numbers_above = passage.above, titles
    for place, (piece, analysis) in enumerate(pieces):
        if piece.kind is VectorKind.HEADING:
            above = passage.above | analysis.distinct
            numbers_above = titles | numbers_in(analysis.plain)
            continue
        if analysis.instructs or not within(piece.source, excerpt.source):
            continue
        around = [other for _, other in pieces[max(place - 1, 0) : place + 2]]
        near = above.union(*(other.distinct for other in around))
        present = numbers_above | numbers_in(" ".join(other.plain for other in around))
        missing = [one for one in numbers if one not in present]
        against = _NOT_NEAR * min(len(missing), _MAX_COUNTED)
        if any(one not in everything for one in missing):
            against += _DECISIVE
        score = max(0.0, float(any(term in near for term in terms)) - against)
        supports.append(ClaimSupport(piece, analysis, score))
    return max(supports, key=lambda one: (one.score, -one.piece.source.start), default=None)
