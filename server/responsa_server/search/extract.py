"""Answers without a language model: chooses the parts of the passages that answer the question, and computes their support.

An answer has one leading part. A further part is added only if it fits the question nearly as well and says something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from responsa_server.domain.answers import Quote
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import Passage
from responsa_server.search.evidence import ParsedQuestion, PassageAnalyses, PieceEvidence, judge
from responsa_server.search.parts import Part, PassageParts
from responsa_server.search.reading import WEIGHTS, Signals, fits, readable, shares
from responsa_server.search.retrieve import ParsedQuestions, Retrieval, ScoredPassage
from responsa_server.search.support import DEFAULT_SUPPORT, signals, support

MAX_PARTS: Final = 2
PASSAGES_READ: Final = 5
_NEIGHBOURS: Final = 2
_CONSIDERED: Final = 12
"""The number of pieces, best first, that may become parts of an answer."""
_ASKED: Final = 0.25
"""The score that a piece which a rewritten form found gets in addition, if it has all words of the question as it was asked."""
_ADDS: Final = 0.12
"""The share of the question's weight that a sentence must add to the leading part that it refers to."""
_NEARLY: Final = 0.92
"""How well the piece of a further part must fit, as a share of how well the leading piece fits. The part must be supported by itself, too."""
_SURE: Final = 0.6
"""The share of the leading piece below which an answer is unsure. It then shows more: sentences around the leading piece, and a further part that fits less well."""
_NEARLY_UNSURE: Final = 0.88
_SUPPORT_UNSURE: Final = 0.3
_MOST_OF_DOCUMENT: Final = 2
_NEAR: Final = 24
_CERTAIN: Final = 0.4
"""The certainty below which an answer loses support."""
_LEAST_SHARE: Final = 0.01
"""A piece with a smaller share does not count for the certainty, because comparing its words costs more than it changes."""
_ALIKE: Final = 0.7
"""The share of common words from which on two parts say the same."""
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class SupportedPart:
    """A part of an answer. `text` is exactly the part of the canonical text in the byte range `source`, and `shown` is its Markdown. score: 0 to 1."""

    passage: Passage
    source: ByteRange
    text: str
    shown: str
    score: float

    @property
    def quote(self) -> Quote:
        """The part as a quote."""
        return Quote(self.passage, self.source, self.text, self.score, self.shown)


@dataclass(frozen=True, slots=True)
class ExtractedAnswer:
    """The parts of the answer, the leading part first, and their support (0 to 1). If no passage was found, there are no parts."""

    parts: Sequence[SupportedPart]
    support: float

    def supported(self, threshold: float = DEFAULT_SUPPORT) -> bool:
        """Whether the support is enough for an answer; otherwise the question is refused."""
        return bool(self.parts) and self.support >= threshold


_NO_ANSWER: Final = ExtractedAnswer((), 0.0)


def _supporting(one: ExtractedAnswer) -> float:
    return one.support


@dataclass(frozen=True, slots=True)
class _RankedPiece:
    """A piece with its evidence, and the pieces of its passage with theirs. fit: how well the piece fits the question, compared with the other pieces that were read. share: how
    likely the piece is to answer the question, if one of them does; None if the weights of `reading.py` do not apply.
    """

    evidence: PieceEvidence
    place: int
    passage: ScoredPassage
    pieces: Sequence[PieceEvidence]
    fit: float
    share: float | None

    @property
    def unsure(self) -> bool:
        """Whether it is uncertain that this piece answers better than the others."""
        return self.share is not None and self.share < _SURE

    @property
    def words(self) -> frozenset[str]:
        return _words(self.evidence.plain)


@dataclass(frozen=True, slots=True)
class _RankedPart:
    piece: _RankedPiece
    part: Part

    def overlaps(self, other: _RankedPart) -> bool:
        one, another = self.part.source, other.part.source
        same = self.piece.passage.found.passage.document_id == other.piece.passage.found.passage.document_id
        return same and one.start < another.end and another.start < one.end

    def contains(self, passage: ScoredPassage, source: ByteRange) -> bool:
        """Whether a range of bytes of this passage's document is within the part."""
        same = self.piece.passage.found.passage.document_id == passage.found.passage.document_id
        return same and self.part.source.start <= source.start and source.end <= self.part.source.end

    @property
    def words(self) -> frozenset[str]:
        return _words(self.part.shown)


class Extractor:
    """Chooses the parts of answers. Each thread needs its own instance."""

    def __init__(self, analyses: PassageAnalyses | None = None, weights: Signals = WEIGHTS) -> None:
        """analyses: the analyses of the search that found the passages. If None, the extractor analyses the passages itself. weights: those of `reading.py`."""
        self._weights = weights
        self._analyses = analyses if analyses is not None else PassageAnalyses()
        self._analyzer = self._analyses.analyzer

    def answer(self, retrieval: Retrieval) -> ExtractedAnswer:
        """At most MAX_PARTS parts of the best passages that answer the question. All of them are from one collection.

        retrieval: the result of a search for the question or for rewritten forms of it. Each passage is judged by the string that found it. The last string is
        the question as it was asked. If the best piece was found by a rewritten form, the question's own words must be near it
        too. If the question as it was asked supports its own answer better, this answer is used. If the search had expansions, the answer without them is used, unless the answer
        with them has more support.
        """
        questions = ParsedQuestions(retrieval, self._analyzer)
        answer, term = self._best(questions, [*retrieval.passages, *retrieval.elsewhere])
        if retrieval.expansions:
            alone, _ = self._best(questions, retrieval.alone)
            answer = alone if term >= retrieval.expansions else max(alone, answer, key=_supporting)
        if not retrieval.as_asked:
            return answer
        as_asked, _ = self._best(questions, retrieval.as_asked)
        return max(as_asked, answer, key=_supporting)

    def _best(
        self, questions: ParsedQuestions, passages: Sequence[ScoredPassage]
    ) -> tuple[ExtractedAnswer, int]:
        """The answer of the collection that supports its answer best, and the index of the string that found its leading part.

        The score of the best piece does not decide, because a piece with many words of the question may be from a collection that does not
        support an answer.
        """
        answers = [
            self._answer(questions, self._judged(questions, those))
            for those in _by_collection(passages).values()
        ]
        return max(answers, key=lambda one: one[0].support, default=(_NO_ANSWER, questions.last))

    def supporting(self, retrieval: Retrieval, threshold: float) -> Sequence[SupportedPart]:
        """The leading part of each collection's own answer, for all collections whose answer has a support of at least `threshold`, best first."""
        found: list[tuple[float, SupportedPart]] = []
        for collection in retrieval.collections:
            answer = self.answer(restricted(retrieval, collection))
            if answer.supported(threshold):
                found.append((answer.support, answer.parts[0]))
        return [part for _, part in sorted(found, key=lambda one: -one[0])]

    def closest(
        self, retrieval: Retrieval, floor: float, most: int, without: Sequence[Quote] = ()
    ) -> Sequence[SupportedPart]:
        """The parts that come closest to an answer, best first: at most `most`, at most _MOST_OF_DOCUMENT of one document, and no two alike. The score
        of each is its own support, which is at least `floor`. Passages that only an expansion found are left out, and so are parts that repeat one of the quotes `without`.
        """
        questions = ParsedQuestions(retrieval, self._analyzer)
        passages = retrieval.alone if retrieval.expansions else [*retrieval.passages, *retrieval.elsewhere]
        parts = [
            part
            for those in _by_collection(passages).values()
            for part in self._parts(self._judged(questions, those))
            if part.part.complete
        ]

        def own(one: _RankedPart) -> float:
            passage = one.piece.passage
            alone = self._support(questions.of(passage), one.piece, [one.piece])
            return alone * self._own_words(questions, one.piece)

        # How well a part fits says more than its own support, and takes less time, but only fits on one scale can be compared.
        if all(one.piece.share is not None for one in parts):
            parts = sorted(parts, key=lambda one: -one.piece.fit)[:_NEAR]
        else:
            parts = sorted(parts, key=own, reverse=True)[:_NEAR]
        kept: list[SupportedPart] = []
        taken: list[_RankedPart] = []
        for one in parts:
            document_id = one.piece.passage.found.passage.document_id
            of_document = sum(each.passage.document_id == document_id for each in kept)
            repeats = any(one.overlaps(each) or _alike(one.words, each.words) for each in taken)
            if of_document == _MOST_OF_DOCUMENT or repeats:
                continue
            found = _supported(one)
            if not any(map(found.quote.repeats, without)) and (score := own(one)) >= floor:
                taken.append(one)
                kept.append(replace(found, score=score))
            if len(kept) == most:
                break
        return kept

    def _judged(
        self, questions: ParsedQuestions, passages: Sequence[ScoredPassage]
    ) -> Sequence[_RankedPiece]:
        """The pieces of the first PASSAGES_READ passages, best first."""
        read = [
            (one, judge(questions.of(one), one.found, one.score.first, self._analyses))
            for one in passages[:PASSAGES_READ]
        ]
        # The two scales differ, so one of them ranks all pieces.
        apply = all(readable(questions.of(one), one.score, pieces) for one, pieces in read)
        found = [(one, pieces, place) for one, pieces in read for place in range(len(pieces))]
        if apply:
            fit = [it for one, pieces in read for it in fits(one.found, one.score, pieces, self._weights)]
            likely = shares(fit)
        else:
            fit = [it.score for _, pieces in read for it in pieces]
            likely = [None] * len(fit)
        judged = [
            _RankedPiece(pieces[place], place, one, pieces, value, share)
            for (one, pieces, place), value, share in zip(found, fit, likely, strict=True)
        ]
        return sorted(judged, key=lambda one: -one.fit - _ASKED * self._asked(questions, one))

    def _parts(self, judged: Sequence[_RankedPiece]) -> Iterator[_RankedPart]:
        """The parts of the pieces, in the same order. Parts that an answer must not show are left out, among them those with an instruction to an assistant."""
        made: dict[UUID, PassageParts] = {}
        for one in judged:
            found = one.passage.found
            parts = made.get(found.passage.id)
            if parts is None:
                parts = made[found.passage.id] = PassageParts(found)
            part = parts.of(one.evidence.place)
            if part is None:
                continue
            pieces = self._analyses.of(found).pieces[part.first : part.last + 1]
            if not any(piece.instructs for piece in pieces):
                yield _RankedPart(one, part)

    def _asked(self, questions: ParsedQuestions, one: _RankedPiece) -> float:
        """The share of the question's own words that are in a piece that a rewritten form found. The words of the conversation fit the earlier answer
        best, which must not be given again. 0 for a piece that the question itself found.
        """
        if one.passage.term == questions.last:
            return 0.0
        asked = questions.of(one.passage, questions.last)
        terms = frozenset(self._analyzer.terms(one.evidence.plain, one.passage.found.language))
        return asked.covered(asked.mask(terms)) if asked.weights else 0.0

    def _answer(
        self, questions: ParsedQuestions, judged: Sequence[_RankedPiece]
    ) -> tuple[ExtractedAnswer, int]:
        """The answer from the judged pieces of one collection, and the index of the string that found its leading part."""
        parts = list(self._parts(judged[:_CONSIDERED]))
        if not parts:
            return _NO_ANSWER, questions.last
        best = parts[0].piece
        lead = self._grown(questions.of(best.passage), parts)
        found = self._support(questions.of(best.passage), best, judged) * self._own_words(questions, best)
        chosen = [lead, *self._further(questions, lead, parts[1:])]
        found *= _certainty(chosen, judged) / _CERTAIN
        return ExtractedAnswer([_supported(one) for one in chosen], found), best.passage.term

    def _own_words(self, questions: ParsedQuestions, best: _RankedPiece) -> float:
        """The share of the question's own words that are near a piece; 1 for a piece that the question itself found, and for a question that refers back.
        The few words of such a question say too little: “How heavy is it?” is answered by what a thing weighs.
        """
        asked = questions.of(best.passage, questions.last)
        if questions.refers or best.passage.term == questions.last or not asked.weights:
            return 1.0
        # The rewritten form contains words of the conversation. The passages that it finds contain these words in any case, so these words are
        # not evidence for the question.
        near = frozenset(self._analyzer.terms(_around(best), best.passage.found.language))
        return asked.covered(asked.mask(near))

    def _grown(self, question: ParsedQuestion, parts: Sequence[_RankedPart]) -> _RankedPart:
        """The leading part. If a sentence after it refers to it and has further words of the question, both are one part. If the answer is unsure, the part also has sentences around it."""
        lead = parts[0]
        said = self._said(question, lead)
        for one in parts[1:]:
            if (
                one.contains(lead.piece.passage, lead.part.source)
                and question.covered(self._said(question, one)) - question.covered(said) >= _ADDS
            ):
                lead = _RankedPart(lead.piece, one.part)
                break
        if not lead.piece.unsure:
            return lead
        found = lead.piece.passage.found
        wide = PassageParts(found).widened(lead.part)
        instructs = any(one.instructs for one in self._analyses.of(found).pieces[wide.first : wide.last + 1])
        return lead if instructs else _RankedPart(lead.piece, wide)

    def _said(self, question: ParsedQuestion, one: _RankedPart) -> int:
        """The question's terms in a part, as a mask."""
        return question.mask(frozenset(self._analyzer.terms(one.part.text, one.piece.passage.found.language)))

    def _support(self, question: ParsedQuestion, best: _RankedPiece, others: Sequence[_RankedPiece]) -> float:
        evidence = [one.evidence for one in others]
        return support(
            signals(question, best.evidence, evidence, best.passage.score, _around(best), self._analyzer)
        )

    def _further(
        self, questions: ParsedQuestions, lead: _RankedPart, parts: Iterable[_RankedPart]
    ) -> Iterator[_RankedPart]:
        """The parts that add to the answer: they are supported themselves, fit the question nearly as well as the leading part, and say something
        else.
        """
        kept = [lead]
        unsure = lead.piece.unsure
        least_fit = (_NEARLY_UNSURE if unsure else _NEARLY) * lead.piece.fit
        least_support = _SUPPORT_UNSURE if unsure else DEFAULT_SUPPORT
        for one in parts:
            if len(kept) == MAX_PARTS:
                break
            piece = one.piece
            if piece.passage.term != lead.piece.passage.term:
                continue
            question = questions.of(piece.passage)
            if (
                piece.fit < least_fit
                or not one.part.complete
                or any(one.overlaps(other) or _alike(one.words, other.words) for other in kept)
                or self._support(question, piece, [piece]) < least_support
            ):
                continue
            kept.append(one)
            yield one


def joined_answers(first: ExtractedAnswer, second: ExtractedAnswer, threshold: float) -> ExtractedAnswer:
    """Two answers to one question, from different places, as one answer. An answer with less support than `threshold` is left out if the other has more; a part of the second
    that repeats one of the first is left out. Parts that differ in a figure both stay. The support is that of the better answer.
    """
    kept = [one for one in (first, second) if one.supported(threshold)]
    if len(kept) < 2:
        return max(first, second, key=lambda one: one.support)
    said = [one.quote for one in first.parts]
    added = [one for one in second.parts if not any(map(one.quote.repeats, said))]
    return ExtractedAnswer([*first.parts, *added], max(first.support, second.support))


def restricted(retrieval: Retrieval, collection: str, *, without: bool = False) -> Retrieval:
    """The retrieval with the passages of one collection only, or without them."""

    def within(passages: Sequence[ScoredPassage]) -> Sequence[ScoredPassage]:
        return [one for one in passages if (one.found.passage.collection_id == collection) is not without]

    return replace(
        retrieval,
        passages=within(retrieval.passages),
        alone=within(retrieval.alone),
        elsewhere=within(retrieval.elsewhere),
        as_asked=within(retrieval.as_asked),
    )


def _by_collection(passages: Sequence[ScoredPassage]) -> Mapping[str, Sequence[ScoredPassage]]:
    found: dict[str, list[ScoredPassage]] = {}
    for one in passages:
        found.setdefault(one.found.passage.collection_id, []).append(one)
    return found


def _certainty(chosen: Sequence[_RankedPart], judged: Sequence[_RankedPiece]) -> float:
    """How likely one of these parts answers the question, if one of the pieces that were read does; at most _CERTAIN. A piece that says the same as a part counts like the part."""
    certainty = 0.0
    others: list[_RankedPiece] = []
    for one in judged:
        if one.share is None:
            return _CERTAIN
        if any(part.contains(one.passage, one.evidence.piece.source) for part in chosen):
            certainty += one.share
        elif one.share >= _LEAST_SHARE:
            others.append(one)
    if certainty < _CERTAIN:
        said = [part.words for part in chosen]
        certainty += sum(
            one.share or 0.0 for one in others if any(_alike(one.words, words) for words in said)
        )
    return min(certainty, _CERTAIN)


def _words(text: str) -> frozenset[str]:
    """The words of a text; the whole text if it has no words."""
    return frozenset(_WORD.findall(text.lower())) or frozenset([text])


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two texts say nearly the same, or one contains the other. Passages overlap, and documents repeat themselves."""
    return len(one & other) >= _ALIKE * min(len(one), len(other))


def _supported(one: _RankedPart) -> SupportedPart:
    passage = one.piece.passage.found.passage
    return SupportedPart(passage, one.part.source, one.part.text, one.part.shown, one.piece.evidence.score)


def _around(judged: _RankedPiece) -> str:
    """The text of the piece and its neighbours, with title and headings."""
    passage = judged.passage.found.passage
    neighbours = judged.pieces[max(judged.place - _NEIGHBOURS, 0) : judged.place + _NEIGHBOURS + 1]
    return " ".join((passage.title, *passage.headings, *(one.plain for one in neighbours)))
