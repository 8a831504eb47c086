"""Judges how well the pieces of a passage answer a question. Pure functions over terms, cosines and a few English patterns.

A piece is judged by its own words, by its cosine, by the score of its passage, and by whether it has the form of the answer (a
number, a date, a name). The words of the previous piece, the headings and the title count too: for "It was built in 1712", the
previous sentence says what was built. The weights were fitted on one half of a question set and checked on the other
(docs/retrieval.md).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from responsa_server.domain.passages import FoundPassage, Passage, PassagePiece, VectorKind
from responsa_server.search.parts import PassageParts
from responsa_server.search.scoring import Weights
from responsa_server.text.instructing import instructing_spans
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
    """The form that the answer must have according to the question's words. ANYTHING if the words do not show a form."""

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
_EXAMPLE_PENALTY: Final = 0.75
"""The penalty of an example's value, if the question asks for a default."""
_SYSTEM_PENALTY: Final = 1.5
"""The penalty of a piece about another operating system than the question's."""
_DEFAULT_ASKED: Final = re.compile(
    r"\bdefaults?\b|\bout of the box\b|\bif (?:i|we|you) (?:set|change|configure|specify) nothing\b"
)
_EXAMPLE: Final = re.compile(r"\b(?:for example|e\.g\.|for instance|an? example|such as)", re.IGNORECASE)
_SYSTEMS: Final = {
    "linux": re.compile(
        r"\b(?:linux|ubuntu|debian|fedora|centos|red hat|rhel|opensuse|raspbian|raspberry pi os)\b|\b(?:apt|apt-get|dnf|yum|systemctl)\b|/(?:etc|usr|var|opt)/",
        re.IGNORECASE,
    ),
    "macos": re.compile(
        r"\b(?:mac ?os(?: x)?|os x|macbook|homebrew|launchctl)\b|\bbrew install\b|~/Library/", re.IGNORECASE
    ),
    "windows": re.compile(
        r"\b(?:windows|powershell|cmd\.exe|winget|choco)\b|%\w+%\\|\b[A-Z]:\\", re.IGNORECASE
    ),
    "android": re.compile(r"\bandroid\b", re.IGNORECASE),
    "ios": re.compile(r"\b(?:ios|ipados|iphone|ipad)\b", re.IGNORECASE),
}
_ASKED_SYSTEMS: Final = {
    "linux": re.compile(
        r"\b(?:linux|ubuntu|debian|fedora|centos|red hat|rhel|opensuse|raspbian|raspberry pi os)\b"
    ),
    "macos": re.compile(r"\b(?:mac ?os(?: x)?|os x|mac|macbook|imac)\b"),
    "windows": re.compile(
        r"\b(?:(?:on|for|under|in|with|my) windows(?! (?:open|close))|windows \d+|powershell|windows (?:pc|machine|laptop|server))\b"
    ),
    "android": re.compile(r"\bandroid\b"),
    "ios": re.compile(r"\b(?:ios|iphone|ipad)\b"),
}
# A piece takes about 2 KiB, so the cache takes at most 10 MiB. It holds about 600 passages.
_CACHED_PIECES: Final = 5_000


@dataclass(frozen=True, slots=True)
class PieceAnalysis:
    """The properties of a piece that do not depend on a question.

    quote: the exact text of the piece. plain: the text without markup. context: the plain text of the previous piece; '' if the piece follows a heading or is the
    first. terms: the terms of the piece, in order. distinct: the same terms without repetition. columns: the terms of the names of a row's columns.
    systems: the operating systems that the piece is about. example: whether the piece shows an example. penalty: a deduction of 0 or more
    for a piece that answers little by itself. instructs: whether the piece gives instructions to an assistant, so that it is not evidence.
    """

    quote: str
    plain: str
    context: str
    terms: Sequence[str]
    distinct: frozenset[str]
    columns: frozenset[str]
    systems: frozenset[str]
    example: bool
    penalty: float
    instructs: bool = False


@dataclass(frozen=True, slots=True)
class PassageAnalysis:
    """above: the terms of the passage's title and headings. systems: the operating systems that these name. pieces: one analysis for each piece
    and heading of the passage, in order.
    """

    above: frozenset[str]
    systems: frozenset[str]
    pieces: Sequence[PieceAnalysis]


class PassageAnalyses:
    """Analyses passages and caches the latest analyses, because different questions often find the same passages. Each thread needs its own instance."""

    def __init__(self, most: int = _CACHED_PIECES) -> None:
        """most: the maximum number of cached pieces."""
        self.analyzer = Analyzer()
        self._most = most
        self._cached: OrderedDict[object, PassageAnalysis] = OrderedDict()
        self._pieces = 0

    def __len__(self) -> int:
        """The number of cached pieces."""
        return self._pieces

    def of(self, found: FoundPassage) -> PassageAnalysis:
        """The analysis of a passage. The cache compares the content of passages, not their ids. While an analysis is cached, calls return the same object."""
        passage = found.passage
        key = (
            passage.text,
            passage.title,
            tuple(passage.headings),
            passage.source.start,
            found.language,
            found.before,
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
        parts = PassageParts(found)
        instructing = _instructing(passage)
        for place, piece in enumerate(found.pieces):
            instructs = any(
                start < piece.source.end and piece.source.start < end for start, end in instructing
            )
            quote = raw[piece.source.start - offset : piece.source.end - offset].decode()
            words = plain(quote)
            terms = tuple(self.analyzer.terms(words, language))
            penalty = _penalty(piece.kind, words, len(terms))
            columns = " ".join(parts.header(place) or ()) if piece.kind is VectorKind.ROW else ""
            pieces.append(
                PieceAnalysis(
                    quote,
                    words,
                    context,
                    terms,
                    frozenset(terms),
                    frozenset(self.analyzer.terms(columns, language)) if columns else frozenset(),
                    _systems(_SYSTEMS, quote),
                    piece.kind is VectorKind.CODE or _EXAMPLE.search(words) is not None,
                    penalty,
                    instructs,
                )
            )
            if not instructs:
                context = "" if piece.kind is VectorKind.HEADING else words
        above = " ".join((passage.title, *passage.headings))
        terms = self.analyzer.terms(above, language)
        return PassageAnalysis(frozenset(terms), _systems(_SYSTEMS, above), pieces)


def _instructing(passage: Passage) -> Sequence[tuple[int, int]]:
    """The ranges of a passage that give instructions to an assistant, in bytes of the canonical text."""
    text, offset = passage.text, passage.source.start
    return [
        (offset + len(text[:start].encode()), offset + len(text[:end].encode()))
        for start, end in instructing_spans(text)
    ]


def _systems(patterns: Mapping[str, re.Pattern[str]], text: str) -> frozenset[str]:
    return frozenset(name for name, pattern in patterns.items() if pattern.search(text))


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

    tokens: the tokens of the whole text. weights: the weights of the content terms. total: the sum of the weights. order: the pairs of successive content
    terms. matching: see `Weights.matching`. systems: the operating systems that the question names. asks_default: whether it
    asks for a default.
    """

    text: str
    tokens: Sequence[Token]
    language: str
    weights: Mapping[str, float]
    total: float
    order: frozenset[tuple[str, str]]
    form: AnswerForm
    matching: float
    systems: frozenset[str] = frozenset()
    asks_default: bool = False
    _lowered: str = ""
    _bits: Mapping[str, int] = field(default_factory=dict[str, int])
    _content: frozenset[str] = frozenset()
    _shares: dict[int, float] = field(default_factory=dict[int, float])
    _alternatives: Sequence[tuple[frozenset[str], int]] = ()

    def mask(self, terms: frozenset[str]) -> int:
        """A mask with one bit for each content term that is among `terms`, itself or as a synonym of its collection."""
        found = 0
        for term in self._content & terms:
            found |= self._bits[term]
        for option, bits in self._alternatives:
            if option <= terms:
                found |= bits
        return found

    def among(self, terms: frozenset[str]) -> Sequence[str]:
        """The content terms that are among `terms`, themselves or as a synonym of their collection."""
        mask = self.mask(terms)
        return [term for term, bit in self._bits.items() if mask & bit]

    def covered(self, mask: int) -> float:
        """The share of the question's total weight that these content terms have. The shares are cached, because few different masks occur."""
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
    """A quotable piece and its signals. The signals are from 0 to 1, except `form`, which is from -1 to 1.

    own: the weighted share of the question's terms that are in the piece. titled: the share that is in the piece, its headings or its title. around:
    the share that is in the piece, its headings, its title or the previous piece. order: the share of the question's pairs of terms that are in the
    same order in the piece. cosine: the piece's cosine; None without vectors. form: whether the piece has the form of the answer.
    context: the plain text of the previous piece; '' after a heading or for the first piece. score: the total of all signals and
    of the passage's score, 0 to 1. place: the piece's index among the pieces and headings of its passage. against: the penalties that the score contains, 0 or more.
    """

    place: int
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
    against: float


def read_question(text: str, weights: Weights, language: str, analyzer: Analyzer) -> ParsedQuestion:
    """Parses a question. `weights` is the result of `weigh` for its terms."""
    by_term = weights.by_term
    tokens = analyzer.tokens(text, language)
    content = [token.term for token in tokens if token.term in by_term]
    lowered = text.lower()
    english = language in ("en", "")
    form = _form_of(lowered) if english else AnswerForm.ANYTHING
    bits = {term: 1 << place for place, term in enumerate(by_term)}
    alternatives: dict[frozenset[str], int] = {}
    for term, options in weights.alternatives.items():
        for option in map(frozenset, options):
            alternatives[option] = alternatives.get(option, 0) | bits[term]
    return ParsedQuestion(
        text,
        tokens,
        language,
        by_term,
        max(sum(by_term.values()), 1e-6),
        frozenset(pairwise(content)),
        form,
        weights.matching,
        _systems(_ASKED_SYSTEMS, lowered) if english else frozenset(),
        english and _DEFAULT_ASKED.search(lowered) is not None,
        lowered,
        bits,
        frozenset(by_term),
        _alternatives=list(alternatives.items()),
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
    """The passage's quotable pieces in order, each with its signals. A piece that gives instructions to an assistant is left out, as if the passage did not have it. passage_score: the score of the passage, 0 to 1."""
    analysis = analyses.of(found)
    before = 0
    titled = title = question.mask(analysis.above)
    systems = analysis.systems
    judged: list[PieceEvidence] = []
    for place, (piece, analysed) in enumerate(zip(found.pieces, analysis.pieces, strict=True)):
        own = question.mask(analysed.distinct)
        if piece.kind is VectorKind.HEADING:
            titled, before = title | own, 0
            systems = analysed.systems or analysis.systems
            continue
        if analysed.instructs:
            continue
        above = titled | question.mask(analysed.columns)
        against = analysed.penalty + _against(question, analysed, systems)
        judged.append(_evidence(question, place, piece, analysed, own, above, before, passage_score, against))
        before = own
    return judged


def _against(question: ParsedQuestion, analysed: PieceAnalysis, above: frozenset[str]) -> float:
    """The penalty of a piece that answers another question: about another system, or with an example. above: the systems that its headings name."""
    penalty = 0.0
    about = analysed.systems | above
    if question.systems and about and not question.systems & about:
        penalty += _SYSTEM_PENALTY
    if question.asks_default and analysed.example and "default" not in analysed.plain.lower():
        penalty += _EXAMPLE_PENALTY
    return penalty


def _evidence(
    question: ParsedQuestion,
    place: int,
    piece: PassagePiece,
    analysed: PieceAnalysis,
    own_terms: int,
    above: int,
    before: int,
    passage_score: float,
    against: float,
) -> PieceEvidence:
    """own_terms: a mask of the question's terms that are in the piece. above: a mask of the terms in its headings, its title and the names of its
    columns. before: a mask of the terms in the previous piece. against: the penalties.
    """
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
    total = reached + FORM_WEIGHT * form - against
    score = min(max(total / (weights + FORM_WEIGHT), 0.0), 1.0)
    return PieceEvidence(
        place,
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
        against,
    )


def _order(question: ParsedQuestion, terms: Sequence[str]) -> float:
    """The share of the question's pairs of successive terms that also follow each other in the piece. Other words of the piece are ignored."""
    matched = [term for term in terms if term in question.weights]
    return len(question.order.intersection(pairwise(matched))) / len(question.order)


def _has_form(question: ParsedQuestion, words: str) -> float:
    """1 if the piece has words in the form of the answer that are not in the question, -1 if the piece has no such words, and 0
    if the form is not known.
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
