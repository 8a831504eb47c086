"""Whether a piece of a passage bears out what an answer claims: a number from 0 to 1, and the threshold. Pure.

A claim is a paraphrase as a rule, so its words count where they stand in the piece, its headings and its neighbours, and beside them the cosine of both. A number
of the claim that stands nowhere near speaks against it, however alike the rest is, and so does a denial of what is denied nowhere near: that is how a wrong claim most
often differs from a right one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import PassagePiece, VectorKind
from responsa_server.search.readings import PieceReading, Readings
from responsa_server.search.shown import Shown
from responsa_server.text.languages import UNKNOWN

THRESHOLD: Final = 0.45
"""From it on a piece bears a claim out."""
CANDIDATES: Final = 3
"""Pieces of a passage that are looked at, by their words the best."""

_NUMBER_WEIGHT: Final = 1.5
_NOT_NEAR: Final = 0.2
_MOST_COUNTED: Final = 2
_DECISIVE: Final = 0.6
"""Whatever else a claim shares with a piece: against a number that the passage does not have, and against a denial."""
# With (words + words around + cosine) / 3 no cosine helps what is below.
_HOPELESS: Final = 0.175
_DIGITS: Final = re.compile(r"\d+(?:[.,'\u00a0\u2009\u202f ]\d{3}(?!\d))*(?:[.,]\d+)?")
_DENIALS: Final[Mapping[str, re.Pattern[str]]] = {
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
"""Words that deny, by language; of others nothing is said."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """A piece beside a claim. words: the share of the claim's content that stands in it and its headings; around: with its neighbours; against: from numbers and denials."""

    piece: PassagePiece
    said: PieceReading
    words: float
    around: float
    against: float

    @property
    def doubtful(self) -> bool:
        """Whether the words do not suffice, and a cosine may make up for them."""
        return _HOPELESS < (self.words + self.around) / 2 - self.against < THRESHOLD

    def score(self, cosine: float | None) -> float:
        """0 to 1. cosine: of the claim and the piece, None where there is none."""
        if cosine is None:
            reached = (self.words + self.around) / 2
        else:
            reached = (self.words + self.around + max(cosine, 0.0)) / 3
        return min(max(reached - self.against, 0.0), 1.0)


def weigh_claim(claim: str, language: str, passage: Shown, readings: Readings) -> Sequence[Weighed]:
    """The pieces that are shown of a passage and have most of the claim's words, best first. language: of the claim, UNKNOWN where it cannot be told.

    A claim in another language than the passage has none of its words but names and numbers: then each that they share counts for the whole.
    """
    found = passage.found
    foreign = UNKNOWN not in (language, found.language) and language != found.language
    terms = readings.analyzer.query_terms(claim, found.language)
    weights = {term: _NUMBER_WEIGHT if any(map(str.isdigit, term)) else 1.0 for term in terms}
    numbers = numbers_in(claim)
    denied = denies(claim, language or found.language)
    titles = numbers_in(" ".join((found.passage.title, *found.passage.headings)))
    everything = numbers_in(passage.text) | titles
    reading = readings.of(found)
    weighed: list[Weighed] = []
    pieces = list(zip(found.pieces, reading.pieces, strict=True))
    above = reading.above
    numbers_above = titles
    for place, (piece, said) in enumerate(pieces):
        if piece.kind is VectorKind.HEADING:
            above = reading.above | said.distinct
            numbers_above = titles | numbers_in(said.plain)
            continue
        if not _within(piece.source, passage.source):
            continue
        beside = [other for _, other in pieces[max(place - 1, 0) : place + 2] if other is not said]
        near = above.union(said.distinct, *(other.distinct for other in beside))
        plain = " ".join((said.plain, *(other.plain for other in beside)))
        there = numbers_above | numbers_in(plain)
        missing = [one for one in numbers if one not in there]
        against = _NOT_NEAR * min(len(missing), _MOST_COUNTED)
        if any(one not in everything for one in missing) or (
            denied and denies(plain, found.language) is False
        ):
            against += _DECISIVE
        words, around = _share(weights, said.distinct | above), _share(weights, near)
        if foreign:
            words = around = float(any(term in near for term in terms))
        weighed.append(Weighed(piece, said, words, around, against))
    weighed.sort(key=lambda one: (-one.score(None), one.piece.source.start))
    return weighed[:CANDIDATES]


def numbers_in(text: str) -> frozenset[str]:
    """The numbers in a text by their digits, so that it does not matter how thousands and fractions are written."""
    return frozenset("".join(filter(str.isdigit, one)) for one in _DIGITS.findall(text))


def denies(text: str, language: str) -> bool | None:
    """Whether a text has a word that denies; None in a language whose words are not known here. UNKNOWN counts as English."""
    words = _DENIALS.get(language or "en")
    return None if words is None else words.search(text) is not None


def _share(weights: Mapping[str, float], there: frozenset[str]) -> float:
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in there) / total if total else 0.0


def _within(inner: ByteRange, outer: ByteRange) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end
