"""Judges how well the pieces of a passage fit a question: by shares of words, their order, and cosines. Pure functions.

A piece is judged by its own words, by its cosine, and by the score of its passage. The words of the previous piece, the
headings and the title count too: for "It was built in 1712", the previous sentence says what was built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Final, NamedTuple

from responsa_formats.text.languages import has_english_letters
from responsa_server.domain.passage_words import WantedTerms
from responsa_server.domain.passages import FoundPassage, Passage, PassagePiece, VectorKind
from responsa_server.search.scoring import Weights
from responsa_server.text.dates import Date, find_wanted, list_asked_dates
from responsa_server.text.lexical import Analyzer

PASSAGE_WEIGHT: Final = 6.0
COSINE_WEIGHT: Final = 0.5
OWN_WEIGHT: Final = 0.25
TITLED_WEIGHT: Final = 0.25
AROUND_WEIGHT: Final = 0.5
ORDER_WEIGHT: Final = 1.0

OTHER_DATE: Final = 0.5
"""The share that is left of the score of a table's row that has whole dates, but none of those asked for."""
LATER_DATE: Final = 0.9
"""The same of a row whose first date is another one: most tables begin their rows with what the rows are of."""

CALIBRATED: Final = "all-MiniLM-L6-v2/"
"""The beginning of the names of the embedding models for which the weights of cosines are fitted, here and in
excerpts.py. Cosines of other models have another scale, so `Retriever` gives pieces no cosines of them: the order of
pieces then depends on words, as without vectors.
"""
_NOT_READ: Final = re.compile(
    r"(`[^`\n]{1,300}`)|(?<=\])\([^()\s]{0,1000}\)|</?[a-zA-Z][\w-]*(?:[\s/][^<>]{0,300})?>"
)


def readable(text: str) -> str:
    """The text without the addresses of its links and without HTML tags, but for those within code. Other marks do not count as words."""
    return _NOT_READ.sub(r"\1 ", text) if "](" in text or "<" in text else text


def sequences_of_passage(
    found_passage: FoundPassage, analyzer: Analyzer, texts: Sequence[str] = ()
) -> Sequence[Sequence[str]]:
    """The sequences of terms that a passage's words have; see `passage_words.py`. texts: what its pieces say
    (`PassageParts.read_units`); () if they are not tables' rows."""
    passage, language = found_passage.passage, found_passage.language
    texts = texts or [_text_of(passage, piece) for piece in found_passage.pieces]
    above = analyzer.terms(" ".join((passage.title, *passage.headings, passage.name)), language)
    return [above, *(analyzer.terms(readable(piece), language) for piece in texts)]


@dataclass(frozen=True, slots=True)
class ParsedQuestion:
    """A parsed question. weights: the weights of its content terms. total: the sum of the weights. order: the pairs of
    successive content terms. dates: those asked for."""

    text: str
    language: str
    weights: Mapping[str, float]
    total: float
    order: frozenset[tuple[str, str]]
    dates: Sequence[Date] = ()
    _bits: Mapping[str, int] = field(default_factory=dict[str, int])
    _shares: dict[int, float] = field(default_factory=dict[int, float])
    _alternatives: Sequence[tuple[frozenset[str], int]] = ()
    _wanted: WantedTerms = field(default_factory=lambda: WantedTerms(()))

    def terms_of(
        self, passage: FoundPassage, analyzer: Analyzer
    ) -> tuple[frozenset[str], Sequence[Sequence[str]]]:
        """The terms above a passage's pieces, and those of each of its pieces and headings, in order; of what is stored
        with the passage, only those that can matter to the question."""
        if passage.words:
            above, *pieces = self._wanted.sequences(passage.words.encode("latin-1"))
            if len(pieces) == len(passage.pieces):
                return frozenset(above), pieces
        above, *pieces = sequences_of_passage(passage, analyzer)
        return frozenset(above), pieces

    def mask(self, terms: frozenset[str]) -> int:
        """A mask with one bit for each content term that is among `terms`, itself or as a synonym of its collection."""
        mask = 0
        for term in self._bits.keys() & terms:
            mask |= self._bits[term]
        for option, bits in self._alternatives:
            if option <= terms:
                mask |= bits
        return mask

    def among(self, terms: frozenset[str]) -> Sequence[str]:
        """The content terms that are among `terms`, themselves or as a synonym of their collection."""
        mask = self.mask(terms)
        return [term for term, bit in self._bits.items() if mask & bit]

    def covered(self, mask: int) -> float:
        """The share of the question's total weight that these content terms have. The shares are cached, because few
        different masks occur."""
        share = self._shares.get(mask)
        if share is None:
            covered = (weight for term, weight in self.weights.items() if mask & self._bits[term])
            share = self._shares[mask] = sum(covered) / self.total
        return share

    @property
    def english(self) -> bool:
        """Whether the question may be English, for which the weights of cosines are fitted."""
        return self.language == "en" or (not self.language and has_english_letters(self.text))


class PieceEvidence(NamedTuple):
    """A quotable piece and its signals, each from 0 to 1.

    place: the piece's index among the pieces and headings of its passage. own: the weighted share of the question's
    terms that are in the piece. titled: the share that is in the piece, its headings or its title. around: the share
    that is in the piece, its headings, its title or the previous piece. order: the share of the question's pairs of
    terms that are in the same order in the piece. score: the total of all signals and of the passage's score.
    """

    place: int
    piece: PassagePiece
    own: float
    titled: float
    around: float
    order: float
    score: float


def read_question(text: str, weights: Weights, language: str, analyzer: Analyzer) -> ParsedQuestion:
    """Parses a question. `weights` is the result of `weigh` for its terms."""
    by_term = weights.by_term
    content = [term for term in analyzer.terms(text, language) if term in by_term]
    bits = {term: 1 << index for index, term in enumerate(by_term)}
    alternatives: dict[frozenset[str], int] = {}
    for term, options in weights.alternatives.items():
        for option in map(frozenset, options):
            alternatives[option] = alternatives.get(option, 0) | bits[term]
    return ParsedQuestion(
        text,
        language,
        by_term,
        max(sum(by_term.values()), 1e-6),
        frozenset(pairwise(content)),
        list_asked_dates(by_term),
        bits,
        _alternatives=list(alternatives.items()),
        _wanted=WantedTerms((*by_term, *chain.from_iterable(alternatives))),
    )


def judge(
    question: ParsedQuestion, passage: FoundPassage, passage_score: float, analyzer: Analyzer
) -> list[PieceEvidence]:
    """The passage's quotable pieces in order, each with its signals. passage_score: the score of the passage, 0 to 1."""
    above, pieces = question.terms_of(passage, analyzer)
    before = 0
    titled = title = question.mask(above)
    judged: list[PieceEvidence] = []
    for index, (piece, terms) in enumerate(zip(passage.pieces, pieces, strict=True)):
        own = question.mask(frozenset(terms)) if terms else 0
        if piece.kind is VectorKind.HEADING:
            titled, before = title | own, 0
            continue
        evidence = _evidence(question, index, piece, terms, own, titled, before, passage_score)
        if piece.kind is VectorKind.ROW and question.dates:
            first = find_wanted(_text_of(passage.passage, piece), passage.language, question.dates)
            share = 1.0 if not first else OTHER_DATE if first < 0 else LATER_DATE
            evidence = evidence._replace(score=share * evidence.score)
        judged.append(evidence)
        before = own
    return judged


def _text_of(passage: Passage, piece: PassagePiece) -> str:
    start = passage.source.start
    return passage.text.encode()[piece.source.start - start : piece.source.end - start].decode()


def _evidence(
    question: ParsedQuestion,
    place: int,
    piece: PassagePiece,
    terms: Sequence[str],
    own_terms: int,
    above: int,
    before: int,
    passage_score: float,
) -> PieceEvidence:
    """own_terms: a mask of the question's terms that are in the piece. above: of those in its headings or its title.
    before: of those in the previous piece."""
    own = question.covered(own_terms)
    titled = question.covered(own_terms | above)
    around = question.covered(own_terms | above | before)
    order = _order(question, terms) if own_terms and question.order else 0.0
    reached = (
        PASSAGE_WEIGHT * passage_score
        + OWN_WEIGHT * own
        + TITLED_WEIGHT * titled
        + AROUND_WEIGHT * around
        + ORDER_WEIGHT * order
    )
    weights = PASSAGE_WEIGHT + OWN_WEIGHT + TITLED_WEIGHT + AROUND_WEIGHT + ORDER_WEIGHT
    if piece.cosine is not None:
        reached += COSINE_WEIGHT * max(piece.cosine, 0.0)
        weights += COSINE_WEIGHT
    return PieceEvidence(place, piece, own, titled, around, order, min(reached / weights, 1.0))


def _order(question: ParsedQuestion, terms: Sequence[str]) -> float:
    """The share of the question's pairs of successive terms that also follow each other in the piece. Other words of
    the piece are ignored."""
    matched = [term for term in terms if term in question.weights]
    return len(question.order.intersection(pairwise(matched))) / len(question.order)
