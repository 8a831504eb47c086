"""Answers without a language model: quotes the pieces that answer the question best, byte for byte, and computes their support.

Support is a number from 0 to 1. An off-topic question gets little support because its cosine and its share of
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

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import Passage
from responsa_server.search.evidence import (
    ParsedQuestion,
    PassageAnalyses,
    PieceEvidence,
    judge,
    read_question,
)
from responsa_server.search.retrieve import Retrieval, ScoredPassage
from responsa_server.search.scoring import Score
from responsa_server.text.lexical import Analyzer

DEFAULT_SUPPORT: Final = 0.5
"""The support below which a question is refused. This value refuses most off-topic questions and few answerable ones."""
MAX_SENTENCES: Final = 3
PASSAGES_READ: Final = 5
_NEIGHBOURS: Final = 2
_WORTH: Final = 0.8
"""The minimum score of a further sentence, as a share of the best score. More sentences rarely help, and always take time to read."""

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

# If more passages are searched, a higher threshold is needed to refuse the same share of off-topic questions. The threshold grows
# by this factor times the logarithm of the number of passages, as measured with 25, 100 and 605 passages.
_FEW: Final = 0.36
_LEAST: Final = 20
_MANY: Final = 605

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
    piece. searched: the number of passages that were searched. negation: whether the question contains a negation, but neither the
    best piece nor the previous piece does. opposite: whether the best piece contains the opposite of a word in the question, but not
    the word itself.
    """

    cosine: float | None
    passage: float
    lexical: float
    titled: float
    scattered: float
    numbers: int
    searched: int
    negation: bool
    opposite: bool


_NEGATION: Final = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|cannot|without|neither|nor|unable|fail(?:s|ed)?|lacks?|lacked|except|unlike"
    r"|refus\w+|least|incapable|impossible)\b|n['’]t\b",
    re.IGNORECASE,
)
_OPPOSITES: Final = (
    ("increas", "decreas"),
    ("more", "less"),
    ("more", "fewer"),
    ("most", "least"),
    ("before", "after"),
    ("first", "last"),
    ("north", "south"),
    ("east", "west"),
    ("win", "lose"),
    ("gain", "lose"),
    ("high", "low"),
    ("large", "small"),
    ("begin", "end"),
    ("start", "end"),
    ("support", "oppos"),
    ("accept", "reject"),
    ("allow", "forbid"),
    ("import", "export"),
    ("easier", "harder"),
    ("private", "public"),
    ("inside", "outside"),
    ("internal", "external"),
    ("above", "below"),
    ("add", "remov"),
    ("enabl", "disabl"),
    ("oldest", "youngest"),
    ("faster", "slower"),
    ("strong", "weak"),
    ("positive", "negative"),
    ("minimum", "maximum"),
)


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
    covered = sum(weight for term, weight in question.weights.items() if term in terms) / question.total
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
        searched=question.searched,
        negation=question.english and bool(_NEGATION.search(question.text)) and not _NEGATION.search(near),
        opposite=question.english and _opposed(question.text.lower(), best.plain.lower()),
    )


def _opposed(question: str, piece: str) -> bool:
    """Whether the piece contains the opposite of a word in the question, but not the word itself."""
    return any(
        _has(asked, question) and not _has(asked, piece) and _has(said, piece)
        for pair in _OPPOSITES
        for asked, said in (pair, pair[::-1])
    )


def _has(prefix: str, text: str) -> bool:
    """Whether the text has a form of the word: "add" is in "added", not in "address"."""
    return prefix in text and re.search(rf"\b{prefix}\w{{0,3}}\b", text) is not None


def support(signals: Signals) -> float:
    """The probability that the piece answers the question, according to the regression. Without vectors, only the words count."""
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
        # The best cosine among many passages is higher than the best cosine among few, even if no passage answers the question.
        value += _FEW * math.log(_MANY / min(max(signals.searched, _LEAST), _MANY))
    return 1 / (1 + math.exp(-(value - against)))


@dataclass(frozen=True, slots=True)
class SupportedSentence:
    """A quote. `text` is exactly the part of the canonical text in the byte range `source`. score: 0 to 1."""

    passage: Passage
    source: ByteRange
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class ExtractedAnswer:
    """The best sentences, best first, and their support (0 to 1). If no passage was found, there are no sentences."""

    sentences: Sequence[SupportedSentence]
    support: float

    def supported(self, threshold: float = DEFAULT_SUPPORT) -> bool:
        """Whether the support is enough for an answer; otherwise the question is refused."""
        return bool(self.sentences) and self.support >= threshold


@dataclass(frozen=True, slots=True)
class _RankedPiece:
    """A piece with its index among the pieces of its passage."""

    evidence: PieceEvidence
    place: int
    passage: ScoredPassage
    pieces: Sequence[PieceEvidence]


class Extractor:
    """Chooses sentences. Each thread needs its own instance."""

    def __init__(self, analyses: PassageAnalyses | None = None) -> None:
        """analyses: the analyses of the search that found the passages. If None, the extractor analyses the passages itself."""
        self._analyses = analyses if analyses is not None else PassageAnalyses()
        self._analyzer = self._analyses.analyzer

    def answer(self, question: str, retrieval: Retrieval, *, most: int = MAX_SENTENCES) -> ExtractedAnswer:
        """At most `most` sentences of the best passages that answer the question.

        retrieval: the result of a search for the question or for rewritten forms of it. Each passage is judged by the string that found it. The last string is
        the question as it was asked. If the best sentence was found by a rewritten form, the question's own words must be near it
        too. If the search had expansions, the answer without them is used, unless the answer with them has more support.
        """
        questions = [
            read_question(text, weights, language, self._analyzer)
            for text, weights, language in zip(
                retrieval.terms, retrieval.weights, retrieval.languages, strict=True
            )
        ]
        judged = self._judged(questions, retrieval.passages)
        if not retrieval.expansions:
            return self._answer(questions, judged, most)
        alone = self._answer(questions, self._judged(questions, retrieval.alone), most)
        if not judged or judged[0].passage.term >= retrieval.expansions:
            return alone
        return max(alone, self._answer(questions, judged, most), key=lambda one: one.support)

    def _judged(
        self, questions: Sequence[ParsedQuestion], passages: Sequence[ScoredPassage]
    ) -> Sequence[_RankedPiece]:
        """The pieces of the first PASSAGES_READ passages, best first."""
        judged = [
            _RankedPiece(evidence, place, passage, pieces)
            for passage in passages[:PASSAGES_READ]
            for pieces in [judge(questions[passage.term], passage.found, passage.score.first, self._analyses)]
            for place, evidence in enumerate(pieces)
        ]
        return sorted(judged, key=lambda one: -one.evidence.score)

    def _answer(
        self, questions: Sequence[ParsedQuestion], judged: Sequence[_RankedPiece], most: int
    ) -> ExtractedAnswer:
        if not judged:
            return ExtractedAnswer((), 0.0)
        best, asked = judged[0], questions[-1]
        found = self._support(questions[best.passage.term], judged)
        if best.passage.term != len(questions) - 1 and asked.weights:
            # The rewritten form contains words of the conversation. The passages that it finds contain these words in any case, so these words are
            # not evidence for the question.
            near = frozenset(self._analyzer.terms(_around(best), best.passage.found.language))
            found *= asked.covered(asked.mask(near))
        return ExtractedAnswer(_chosen(judged, most), found)

    def _support(self, question: ParsedQuestion, judged: Sequence[_RankedPiece]) -> float:
        best = judged[0]
        everything = [one.evidence for one in judged]
        return support(
            signals(question, best.evidence, everything, best.passage.score, _around(best), self._analyzer)
        )


def _around(judged: _RankedPiece) -> str:
    """The text of the piece and its neighbours, with title and headings."""
    passage = judged.passage.found.passage
    neighbours = judged.pieces[max(judged.place - _NEIGHBOURS, 0) : judged.place + _NEIGHBOURS + 1]
    return " ".join((passage.title, *passage.headings, *(one.plain for one in neighbours)))


def _chosen(judged: Sequence[_RankedPiece], most: int) -> list[SupportedSentence]:
    """The best pieces, without repetitions: at most `most`, all with scores near the best score."""
    chosen: list[SupportedSentence] = []
    said: set[str] = set()
    least = judged[0].evidence.score * _WORTH
    for one in judged:
        evidence, passage = one.evidence, one.passage.found.passage
        words = " ".join(evidence.plain.lower().split())
        if len(chosen) == most or evidence.score < least:
            break
        # Passages overlap, and documents repeat themselves.
        if words not in said:
            said.add(words)
            chosen.append(SupportedSentence(passage, evidence.piece.source, evidence.text, evidence.score))
    return chosen
