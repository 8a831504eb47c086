"""How well the pieces of a passage answer a question: pure functions over terms, cosines and a few English forms.

A piece is judged by its own words, by the words around it (the piece before it, headings, title: "It was built in 1712" says
what "it" is one sentence earlier), by its cosine, by the score of its passage, and by whether it holds what is asked for
(a number, a date, a name). The weights were fitted on one half of a question set and checked on the other (docs/retrieval.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.knowledge.lexical import Analyzer, Token
from responsa_server.knowledge.scoring import Weights
from responsa_server.knowledge.sentences import plain

PASSAGE_WEIGHT: Final = 4.0
COSINE_WEIGHT: Final = 1.0
OWN_WEIGHT: Final = 0.5
TITLED_WEIGHT: Final = 0.5
AROUND_WEIGHT: Final = 1.0
ORDER_WEIGHT: Final = 0.25
FORM_WEIGHT: Final = 0.15
_CODE_PENALTY: Final = 0.5
_QUESTION_PENALTY: Final = 1.75
_SHORT_PENALTY: Final = 0.3
_ANNOUNCEMENT_PENALTY: Final = 0.25
_SHORT_WORDS: Final = 4


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
    question: Question, found: FoundPassage, passage_score: float, analyzer: Analyzer
) -> list[Evidence]:
    """The passage's quotable pieces in order, each with what speaks for it. passage_score: 0 to 1."""
    passage = found.passage
    raw = passage.text.encode()
    above = _terms(" ".join((passage.title, *passage.headings)), found.language, analyzer)
    heading: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()
    context = ""
    judged: list[Evidence] = []
    for piece in found.pieces:
        quote = raw[
            piece.source.start - passage.source.start : piece.source.end - passage.source.start
        ].decode()
        words = plain(quote)
        terms = analyzer.terms(words, found.language)
        own = frozenset(terms)
        if piece.kind is VectorKind.HEADING:
            heading, before, context = own, frozenset[str](), ""
            continue
        judged.append(
            _evidence(question, piece, quote, words, context, terms, above | heading, before, passage_score)
        )
        before, context = own, words
    return judged


def _terms(text: str, language: str, analyzer: Analyzer) -> frozenset[str]:
    return frozenset(analyzer.terms(text, language))


def _evidence(
    question: Question,
    piece: PassagePiece,
    quote: str,
    words: str,
    context: str,
    terms: Sequence[str],
    above: frozenset[str],
    before: frozenset[str],
    passage_score: float,
) -> Evidence:
    own_terms = frozenset(terms)
    own = _covered(question, own_terms)
    titled = _covered(question, own_terms | above)
    around = _covered(question, own_terms | above | before)
    matched = [term for term in terms if term in question.weights]
    order = len(question.order & set(pairwise(matched))) / len(question.order) if question.order else 0.0
    form = _form(question, words)
    parts = [
        (PASSAGE_WEIGHT, passage_score),
        (OWN_WEIGHT, own),
        (TITLED_WEIGHT, titled),
        (AROUND_WEIGHT, around),
        (ORDER_WEIGHT, order),
    ]
    if piece.cosine is not None:
        parts.append((COSINE_WEIGHT, max(piece.cosine, 0.0)))
    total = (
        sum(weight * value for weight, value in parts) + FORM_WEIGHT * form - _penalty(piece, words, terms)
    )
    score = min(max(total / (sum(weight for weight, _ in parts) + FORM_WEIGHT), 0.0), 1.0)
    return Evidence(piece, quote, words, context, own, titled, around, order, piece.cosine, form, score)


def _covered(question: Question, terms: frozenset[str]) -> float:
    return sum(weight for term, weight in question.weights.items() if term in terms) / question.total


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
    said = question.text.lower()
    return 1.0 if any(match.group().lower() not in said for match in pattern.finditer(words)) else -1.0


def _penalty(piece: PassagePiece, words: str, terms: Sequence[str]) -> float:
    """Against pieces that answer nothing by themselves."""
    penalty = 0.0
    if piece.kind is VectorKind.CODE:
        penalty += _CODE_PENALTY
    elif len(terms) < _SHORT_WORDS:
        penalty += _SHORT_PENALTY
    if words.endswith(":"):
        penalty += _ANNOUNCEMENT_PENALTY
    if words.rstrip("\"'”’) ").endswith(("?", "？", "؟")):
        penalty += _QUESTION_PENALTY
    return penalty
