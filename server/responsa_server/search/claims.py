"""Chooses the passages that a prompt shows, and decides whether one of their pieces supports a claim of the answer. Pure
functions.

A claim is usually a paraphrase of a piece. Therefore a word of the claim counts if it is in the piece, in its headings or in the neighbouring pieces, and the cosine of
claim and piece counts too. Most wrong claims differ from the source in a number or a negation. Therefore a piece loses score,
however similar it is, if a number in the claim does not occur near the piece, or if the claim has a negation and the text near
the piece has no negation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.search.evidence import PassageAnalyses, PieceAnalysis
from responsa_server.search.retrieve import ScoredPassage
from responsa_server.text.lexical import UNKNOWN

LEAST_BYTES: Final = 160
"""The minimum size of an excerpt that is cut from a passage; a shorter excerpt says little."""
THRESHOLD: Final = 0.45
"""The minimum score of a piece that supports a claim."""
CANDIDATES: Final = 3
"""The maximum number of pieces of a passage that are compared with a claim. The pieces that share the most words with the claim are compared."""

_NUMBER_WEIGHT: Final = 1.5
_NOT_NEAR: Final = 0.2
_MAX_COUNTED: Final = 2
_DECISIVE: Final = 0.6
"""The deduction if a number in the claim is missing from the passage, or the claim's negation from the text near the piece. After this
deduction the score is below THRESHOLD, even if all words match.
"""
# If the score without a cosine is at most this value, no cosine can lift the score to THRESHOLD.
_TOO_LOW: Final = 0.175
_DIGITS: Final = re.compile(r"\d+(?:[.,'\u00a0\u2009\u202f ]\d{3}(?!\d))*(?:[.,]\d+)?")
_NEGATIONS: Final[Mapping[str, re.Pattern[str]]] = {
    code: re.compile(rf"\b(?:{words})\b", re.IGNORECASE)
    for code, words in {
        "en": r"no|not|never|none|neither|nor|cannot|without|nobody|nothing|nowhere|\w+n['’]t",
        "de": r"nicht|nichts|nie|niemals|niemand|ohne|weder|kein(?:e|en|em|er|es)?",
        "es": "no|nunca|nada|nadie|ni|sin|ning(?:ún|una?|uno)",
        "fr": r"ne|n['’]\w+|pas|jamais|rien|personne|ni|sans|aucune?",
        "it": "non|mai|nulla|niente|nessun[oa]?|né|senza",
        "pt": "não|nunca|nada|ninguém|nem|sem|nenhuma?",
        "nl": "niet|niets|nooit|niemand|zonder|geen",
    }.items()
}
"""A pattern for the words of negation in each language. Other languages have no rule."""


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
    """How far a piece supports a claim.

    words: the share of the claim's terms that are in the piece or its headings. around: the share of the claim's terms that are in the piece, its
    headings or the neighbouring pieces. against: the deduction from the score if numbers or the negation of the claim are missing
    near the piece.
    """

    piece: PassagePiece
    analysis: PieceAnalysis
    words: float
    around: float
    against: float

    @property
    def doubtful(self) -> bool:
        """Whether the words alone do not decide, so that a cosine may change the outcome."""
        return _TOO_LOW < (self.words + self.around) / 2 - self.against < THRESHOLD

    def score(self, cosine: float | None) -> float:
        """The score of the support, 0 to 1. cosine: the cosine of the claim and the piece; None if it is not known."""
        if cosine is None:
            reached = (self.words + self.around) / 2
        else:
            reached = (self.words + self.around + max(cosine, 0.0)) / 3
        return min(max(reached - self.against, 0.0), 1.0)


def support_claim(
    claim: str, language: str, excerpt: Excerpt, analyses: PassageAnalyses
) -> Sequence[ClaimSupport]:
    """The pieces of an excerpt that match the claim's words best: at most CANDIDATES, best first. language: the claim's language, or
    UNKNOWN.

    If claim and passage are in different languages, they share only names and numbers. Then a single shared name or
    number counts as if all words matched.
    """
    found = excerpt.found
    foreign = UNKNOWN not in (language, found.language) and language != found.language
    terms = analyses.analyzer.query_terms(claim, found.language)
    weights = {term: _NUMBER_WEIGHT if any(map(str.isdigit, term)) else 1.0 for term in terms}
    numbers = numbers_in(claim)
    negated = negates(claim, language or found.language)
    titles = numbers_in(" ".join((found.passage.title, *found.passage.headings)))
    everything = numbers_in(excerpt.text) | titles
    passage = analyses.of(found)
    supports: list[ClaimSupport] = []
    pieces = list(zip(found.pieces, passage.pieces, strict=True))
    above = passage.above
    numbers_above = titles
    for place, (piece, analysis) in enumerate(pieces):
        if piece.kind is VectorKind.HEADING:
            above = passage.above | analysis.distinct
            numbers_above = titles | numbers_in(analysis.plain)
            continue
        if not _within(piece.source, excerpt.source):
            continue
        neighbours = [other for _, other in pieces[max(place - 1, 0) : place + 2] if other is not analysis]
        near = above.union(analysis.distinct, *(other.distinct for other in neighbours))
        plain = " ".join((analysis.plain, *(other.plain for other in neighbours)))
        present = numbers_above | numbers_in(plain)
        missing = [one for one in numbers if one not in present]
        against = _NOT_NEAR * min(len(missing), _MAX_COUNTED)
        if any(one not in everything for one in missing) or (
            negated and negates(plain, found.language) is False
        ):
            against += _DECISIVE
        words, around = _share(weights, analysis.distinct | above), _share(weights, near)
        if foreign:
            words = around = float(any(term in near for term in terms))
        supports.append(ClaimSupport(piece, analysis, words, around, against))
    supports.sort(key=lambda one: (-one.score(None), one.piece.source.start))
    return supports[:CANDIDATES]


def numbers_in(text: str) -> frozenset[str]:
    """The numbers in a text, as digits only. Therefore the separators of thousands and fractions make no difference."""
    return frozenset("".join(filter(str.isdigit, one)) for one in _DIGITS.findall(text))


def negates(text: str, language: str) -> bool | None:
    """Whether a text has a word of negation; None if there is no rule for the language. UNKNOWN is treated as English."""
    words = _NEGATIONS.get(language or "en")
    return None if words is None else words.search(text) is not None


def _share(weights: Mapping[str, float], there: frozenset[str]) -> float:
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in there) / total if total else 0.0


def _within(inner: ByteRange, outer: ByteRange) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end
