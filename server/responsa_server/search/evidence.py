"""How well the pieces of a passage answer a question: pure functions over terms, cosines and a few English forms.

A piece is judged by its own words, by the words around it (the piece before it, headings, title: "It was built in 1712" says
what "it" is one sentence earlier), by its cosine, by the score of its passage, and by whether it holds what is asked for
(a number, a date, a name). The weights were fitted on one half of a question set and checked on the other (docs/retrieval.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.search.readings import PieceReading, Readings
from responsa_server.search.scoring import Weights
from responsa_server.text.lexical import Analyzer, Token

PASSAGE_WEIGHT: Final = 4.0
COSINE_WEIGHT: Final = 1.0
OWN_WEIGHT: Final = 0.5
TITLED_WEIGHT: Final = 0.5
AROUND_WEIGHT: Final = 1.0
ORDER_WEIGHT: Final = 0.25
FORM_WEIGHT: Final = 0.15


class Asked(StrEnum):
    """What form an answer must have, as far as the question's words tell."""

    NUMBER = "number"
    DATE = "date"
    NAME = "name"
    ANYTHING = "anything"


_NUMBER_ASKED: Final = re.compile(
    r"\bhow (?:many|much|long|old|far|tall|large|big|high|often|fast|deep|wide|heavy)\b"
    r"|\b(?:what|which) (?:percent|percentage|number|amount|size|distance|population|temperature|proportion|fraction)\b"
)
_DATE_ASKED: Final = re.compile(
    r"\bwhen\b(?! (?:you|i|we|is used|using)\b)|\b(?:what|which) (?:year|date|day|month|century|decade)\b"
)
_NAME_ASKED: Final = re.compile(
    r"\bwho(?:m|se)?\b|\b(?:what|which) (?:city|country|state|region|continent|person)\b"
)
_NUMBER: Final = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred|thousand|million"
    r"|billion|half|third|quarter|dozen|percent|twice|several|many|few)\b",
    re.IGNORECASE,
)
_DATE: Final = re.compile(
    r"\b\d{3,4}s?\b|\bcentur|\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"(?<=[\w,;)\"'’] )[A-Z][\w'’-]+")


@dataclass(frozen=True, slots=True)
class Question:
    """A question, read once. tokens: all of it; weights: its content terms'; order: pairs of content terms that follow each other.

    searched: how many passages it was asked of.
    """

    text: str
    tokens: Sequence[Token]
    language: str
    weights: Mapping[str, float]
    total: float
    order: frozenset[tuple[str, str]]
    asked: Asked
    searched: int
    _lowered: str = ""
    _bits: Mapping[str, int] = field(default_factory=dict[str, int])
    _content: frozenset[str] = frozenset()
    _shares: dict[int, float] = field(default_factory=dict[int, float])

    def mask(self, terms: frozenset[str]) -> int:
        """Which of the content terms are among these: one bit each."""
        found = 0
        for term in self._content & terms:
            found |= self._bits[term]
        return found

    def covered(self, mask: int) -> float:
        """The share of the question's weight that these content terms have; remembered, since a question has few masks."""
        share = self._shares.get(mask)
        if share is None:
            covered = (weight for term, weight in self.weights.items() if mask & self._bits[term])
            share = self._shares[mask] = sum(covered) / self.total
        return share

    def says(self, words: str) -> bool:
        """Whether the words stand in the question, in whatever case."""
        return words.lower() in self._lowered

    @property
    def english(self) -> bool:
        """Whether rules about English words apply."""
        return self.language in ("en", "")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A quotable piece and what speaks for it; all but `form` (-1 to 1) and `penalty` are 0 to 1.

    own: weight of the question's terms in the piece. titled: with headings and title. around: with the piece before it too.
    order: pairs of question terms in the same order. cosine: None without vectors. form: whether it has what is asked for.
    context: the plain text of the piece before it, '' if none. score: 0 to 1, passage included.
    """

    piece: PassagePiece
    text: str
    plain: str
    context: str
    own: float
    titled: float
    around: float
    order: float
    cosine: float | None
    form: float
    score: float


def read_question(text: str, weights: Weights, language: str, analyzer: Analyzer) -> Question:
    """What `weigh` and the question's words tell of it."""
    by_term = weights.by_term
    tokens = analyzer.tokens(text, language)
    content = [token.term for token in tokens if token.term in by_term]
    asked = _asked(text.lower()) if language in ("en", "") else Asked.ANYTHING
    return Question(
        text,
        tokens,
        language,
        by_term,
        max(sum(by_term.values()), 1e-6),
        frozenset(pairwise(content)),
        asked,
        weights.passages,
        text.lower(),
        {term: 1 << place for place, term in enumerate(by_term)},
        frozenset(by_term),
    )


def _asked(text: str) -> Asked:
    if _NUMBER_ASKED.search(text):
        return Asked.NUMBER
    if _DATE_ASKED.search(text):
        return Asked.DATE
    if _NAME_ASKED.search(text):
        return Asked.NAME
    return Asked.ANYTHING


def judge(
    question: Question, found: FoundPassage, passage_score: float, readings: Readings
) -> list[Evidence]:
    """The passage's quotable pieces in order, each with what speaks for it. passage_score: 0 to 1."""
    reading = readings.of(found)
    before = 0
    titled = title = question.mask(reading.above)
    judged: list[Evidence] = []
    for piece, said in zip(found.pieces, reading.pieces, strict=True):
        own = question.mask(said.distinct)
        if piece.kind is VectorKind.HEADING:
            titled, before = title | own, 0
            continue
        judged.append(_evidence(question, piece, said, own, titled, before, passage_score))
        before = own
    return judged


def _evidence(
    question: Question,
    piece: PassagePiece,
    said: PieceReading,
    own_terms: int,
    above: int,
    before: int,
    passage_score: float,
) -> Evidence:
    """own_terms, above, before: masks of the question's terms in the piece, in headings and title, in the piece before it."""
    own = question.covered(own_terms)
    titled = question.covered(own_terms | above)
    around = question.covered(own_terms | above | before)
    order = _order(question, said.terms) if own_terms and question.order else 0.0
    form = _form(question, said.plain)
    parts = [
        (PASSAGE_WEIGHT, passage_score),
        (OWN_WEIGHT, own),
        (TITLED_WEIGHT, titled),
        (AROUND_WEIGHT, around),
        (ORDER_WEIGHT, order),
    ]
    if piece.cosine is not None:
        parts.append((COSINE_WEIGHT, max(piece.cosine, 0.0)))
    reached = weights = 0.0
    for weight, value in parts:
        reached += weight * value
        weights += weight
    total = reached + FORM_WEIGHT * form - said.penalty
    score = min(max(total / (weights + FORM_WEIGHT), 0.0), 1.0)
    return Evidence(
        piece, said.quote, said.plain, said.context, own, titled, around, order, piece.cosine, form, score
    )


def _order(question: Question, terms: Sequence[str]) -> float:
    """Share of the question's pairs of neighbouring terms that follow each other in the piece, other words left out."""
    matched = [term for term in terms if term in question.weights]
    return len(question.order.intersection(pairwise(matched))) / len(question.order)


def _form(question: Question, words: str) -> float:
    """1 when the piece holds what is asked for and the question does not say itself, -1 when it does not, 0 when nothing is known."""
    match question.asked:
        case Asked.ANYTHING:
            return 0.0
        case Asked.NUMBER:
            pattern = _NUMBER
        case Asked.DATE:
            pattern = _DATE
        case Asked.NAME:
            pattern = _NAME
    return 1.0 if any(not question.says(match.group()) for match in pattern.finditer(words)) else -1.0
