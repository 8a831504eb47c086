"""How well the pieces of a passage answer a question: pure functions over terms, cosines and a few English forms.

A piece is judged by its own words, by the words around it (the piece before it, headings, title: "It was built in 1712" names
"it" one sentence earlier), by its cosine, by the score of its passage, and by whether it has the form of the answer (a number, a
date, a name). The weights were fitted on one half of a question set and checked on the other (docs/retrieval.md).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.search.scoring import Weights
from responsa_server.text.lexical import Analyzer, Token
from responsa_server.text.sentences import plain

PASSAGE_WEIGHT: Final = 4.0
COSINE_WEIGHT: Final = 1.0
OWN_WEIGHT: Final = 0.5
TITLED_WEIGHT: Final = 0.5
AROUND_WEIGHT: Final = 1.0
ORDER_WEIGHT: Final = 0.25
FORM_WEIGHT: Final = 0.15


class AnswerForm(StrEnum):
    """The form that an answer must have, if the question's words show it."""

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
_CODE_PENALTY: Final = 0.5
_QUESTION_PENALTY: Final = 1.75
_SHORT_PENALTY: Final = 0.3
_ANNOUNCEMENT_PENALTY: Final = 0.25
_SHORT_WORDS: Final = 4
# About 2 KiB each: at most 10 MiB for about 600 passages.
_CACHED_PIECES: Final = 5_000


@dataclass(frozen=True, slots=True)
class PieceAnalysis:
    """The properties of a piece that do not depend on a question.

    quote: its exact text. plain: the text without markup. context: the plain text of the piece before it, '' after a heading. terms: in order.
    distinct: the same terms, once each. penalty: 0 or more, for pieces that answer little by themselves.
    """

    quote: str
    plain: str
    context: str
    terms: Sequence[str]
    distinct: frozenset[str]
    penalty: float


@dataclass(frozen=True, slots=True)
class PassageAnalysis:
    """above: the terms of the passage's title and headings. pieces: one for each of its pieces and headings, in their order."""

    above: frozenset[str]
    pieces: Sequence[PieceAnalysis]


class PassageAnalyses:
    """Analyses passages and caches the latest analyses, since questions find the same passages again. Keep one per thread."""

    def __init__(self, most: int = _CACHED_PIECES) -> None:
        """most: pieces that are cached at a time."""
        self.analyzer = Analyzer()
        self._most = most
        self._cached: OrderedDict[object, PassageAnalysis] = OrderedDict()
        self._pieces = 0

    def __len__(self) -> int:
        """How many pieces are cached."""
        return self._pieces

    def of(self, found: FoundPassage) -> PassageAnalysis:
        """The analysis of a passage, by its content and not by its id; the same object while it is cached."""
        passage = found.passage
        key = (
            passage.text,
            passage.title,
            tuple(passage.headings),
            passage.source.start,
            found.language,
            tuple((piece.kind, piece.source.start, piece.source.end) for piece in found.pieces),
        )
        cached = self._cached.get(key)
        if cached is not None:
            self._cached.move_to_end(key)
            return cached
        made = self._analyse(found)
        self._cached[key] = made
        self._pieces += len(made.pieces)
        while self._pieces > self._most:
            _, oldest = self._cached.popitem(last=False)
            self._pieces -= len(oldest.pieces)
        return made

    def _analyse(self, found: FoundPassage) -> PassageAnalysis:
        passage, language = found.passage, found.language
        raw = passage.text.encode()
        offset = passage.source.start
        context = ""
        pieces: list[PieceAnalysis] = []
        for piece in found.pieces:
            quote = raw[piece.source.start - offset : piece.source.end - offset].decode()
            words = plain(quote)
            terms = tuple(self.analyzer.terms(words, language))
            penalty = _penalty(piece.kind, words, len(terms))
            pieces.append(PieceAnalysis(quote, words, context, terms, frozenset(terms), penalty))
            context = "" if piece.kind is VectorKind.HEADING else words
        above = self.analyzer.terms(" ".join((passage.title, *passage.headings)), language)
        return PassageAnalysis(frozenset(above), pieces)


def _penalty(kind: VectorKind, words: str, terms: int) -> float:
    """The penalty of a piece that answers little by itself."""
    penalty = 0.0
    if kind is VectorKind.CODE:
        penalty += _CODE_PENALTY
    elif terms < _SHORT_WORDS:
        penalty += _SHORT_PENALTY
    if words.endswith(":"):
        penalty += _ANNOUNCEMENT_PENALTY
    if words.rstrip("\"'”’) ").endswith(("?", "？", "؟")):
        penalty += _QUESTION_PENALTY
    return penalty


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """A parsed question.

    tokens: of the whole text. weights: of its content terms; total: their sum. order: pairs of content terms that follow each other.
    searched: in how many passages it was searched.
    """

    text: str
    tokens: Sequence[Token]
    language: str
    weights: Mapping[str, float]
    total: float
    order: frozenset[tuple[str, str]]
    form: AnswerForm
    searched: int
    _lowered: str = ""
    _bits: Mapping[str, int] = field(default_factory=dict[str, int])
    _content: frozenset[str] = frozenset()
    _shares: dict[int, float] = field(default_factory=dict[int, float])

    def mask(self, terms: frozenset[str]) -> int:
        """A mask of the content terms among these, with one bit for each."""
        found = 0
        for term in self._content & terms:
            found |= self._bits[term]
        return found

    def covered(self, mask: int) -> float:
        """The share of the question's weight that these content terms have; cached, since a question has few masks."""
        share = self._shares.get(mask)
        if share is None:
            covered = (weight for term, weight in self.weights.items() if mask & self._bits[term])
            share = self._shares[mask] = sum(covered) / self.total
        return share

    def says(self, words: str) -> bool:
        """Whether the question contains the words, in any case."""
        return words.lower() in self._lowered

    @property
    def english(self) -> bool:
        """Whether rules about English words apply."""
        return self.language in ("en", "")


@dataclass(frozen=True, slots=True)
class PieceEvidence:
    """A quotable piece and its signals; all but `form` (-1 to 1) are 0 to 1.

    own: weight of the question's terms in the piece. titled: with headings and title. around: with the piece before it too.
    order: pairs of question terms in the same order. cosine: None without vectors. form: whether it has the form of the answer.
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


def read_question(text: str, weights: Weights, language: str, analyzer: Analyzer) -> ParsedQuestion:
    """Parse a question whose terms `weigh` has weighted."""
    by_term = weights.by_term
    tokens = analyzer.tokens(text, language)
    content = [token.term for token in tokens if token.term in by_term]
    form = _form_of(text.lower()) if language in ("en", "") else AnswerForm.ANYTHING
    return ParsedQuestion(
        text,
        tokens,
        language,
        by_term,
        max(sum(by_term.values()), 1e-6),
        frozenset(pairwise(content)),
        form,
        weights.passages,
        text.lower(),
        {term: 1 << place for place, term in enumerate(by_term)},
        frozenset(by_term),
    )


def _form_of(text: str) -> AnswerForm:
    if _NUMBER_ASKED.search(text):
        return AnswerForm.NUMBER
    if _DATE_ASKED.search(text):
        return AnswerForm.DATE
    if _NAME_ASKED.search(text):
        return AnswerForm.NAME
    return AnswerForm.ANYTHING


def judge(
    question: ParsedQuestion, found: FoundPassage, passage_score: float, analyses: PassageAnalyses
) -> list[PieceEvidence]:
    """The passage's quotable pieces in order, each with its signals. passage_score: 0 to 1."""
    analysis = analyses.of(found)
    before = 0
    titled = title = question.mask(analysis.above)
    judged: list[PieceEvidence] = []
    for piece, analysed in zip(found.pieces, analysis.pieces, strict=True):
        own = question.mask(analysed.distinct)
        if piece.kind is VectorKind.HEADING:
            titled, before = title | own, 0
            continue
        judged.append(_evidence(question, piece, analysed, own, titled, before, passage_score))
        before = own
    return judged


def _evidence(
    question: ParsedQuestion,
    piece: PassagePiece,
    analysed: PieceAnalysis,
    own_terms: int,
    above: int,
    before: int,
    passage_score: float,
) -> PieceEvidence:
    """own_terms, above, before: masks of the question's terms in the piece, in headings and title, in the piece before it."""
    own = question.covered(own_terms)
    titled = question.covered(own_terms | above)
    around = question.covered(own_terms | above | before)
    order = _order(question, analysed.terms) if own_terms and question.order else 0.0
    form = _has_form(question, analysed.plain)
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
    total = reached + FORM_WEIGHT * form - analysed.penalty
    score = min(max(total / (weights + FORM_WEIGHT), 0.0), 1.0)
    return PieceEvidence(
        piece,
        analysed.quote,
        analysed.plain,
        analysed.context,
        own,
        titled,
        around,
        order,
        piece.cosine,
        form,
        score,
    )


def _order(question: ParsedQuestion, terms: Sequence[str]) -> float:
    """The share of the question's pairs of neighbouring terms that follow each other in the piece; other words are ignored."""
    matched = [term for term in terms if term in question.weights]
    return len(question.order.intersection(pairwise(matched))) / len(question.order)


def _has_form(question: ParsedQuestion, words: str) -> float:
    """1 when the piece has the form of the answer in words that the question does not contain, -1 when it
    does not, 0 when the form is not known.
    """
    match question.form:
        case AnswerForm.ANYTHING:
            return 0.0
        case AnswerForm.NUMBER:
            pattern = _NUMBER
        case AnswerForm.DATE:
            pattern = _DATE
        case AnswerForm.NAME:
            pattern = _NAME
    return 1.0 if any(not question.says(match.group()) for match in pattern.finditer(words)) else -1.0
