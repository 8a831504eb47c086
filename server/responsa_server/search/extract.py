"""Answers without a model that writes: the pieces of the passages that answer best, quoted byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import Passage
from responsa_server.search.evidence import Evidence, Question, judge, read_question
from responsa_server.search.readings import Readings
from responsa_server.search.retrieve import Retrieval, ScoredPassage
from responsa_server.search.support import DEFAULT_SUPPORT, signals, support

MAX_SENTENCES: Final = 3
PASSAGES_READ: Final = 5
_NEIGHBOURS: Final = 2
_WORTH: Final = 0.8
"""A further sentence must score at least this share of the best one: more sentences help rarely and tire always."""


@dataclass(frozen=True, slots=True)
class SupportedSentence:
    """A quote: `text` is exactly the canonical text's bytes in `source`. score: 0 to 1."""

    passage: Passage
    source: ByteRange
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class ExtractedAnswer:
    """The best sentences, best first (none when nothing was found), and how far they support an answer (0 to 1)."""

    sentences: Sequence[SupportedSentence]
    support: float

    def supported(self, threshold: float = DEFAULT_SUPPORT) -> bool:
        """Whether to answer; otherwise the question is refused."""
        return bool(self.sentences) and self.support >= threshold


@dataclass(frozen=True, slots=True)
class _Judged:
    """A piece with its place among the pieces of its passage."""

    evidence: Evidence
    place: int
    passage: ScoredPassage
    pieces: Sequence[Evidence]


class Extractor:
    """Chooses sentences. Keep one per thread, as the readings."""

    def __init__(self, readings: Readings | None = None) -> None:
        """readings: those of whoever has read the same passages; None: its own."""
        self._readings = readings if readings is not None else Readings()
        self._analyzer = self._readings.analyzer

    def answer(self, question: str, retrieval: Retrieval, *, most: int = MAX_SENTENCES) -> ExtractedAnswer:
        """At most `most` sentences of the best passages that answer the question.

        retrieval: of the question as one of the searched strings (or of rewritings of it): each passage is judged by the string that found it.
        The last string is the question as it was asked: where an answer rests on a rewriting, what was asked must stand near it too.
        Where there were expansions, the answer is what the question finds without them, unless what they find supports it more.
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

    def _judged(self, questions: Sequence[Question], passages: Sequence[ScoredPassage]) -> Sequence[_Judged]:
        """The pieces of the first passages, best first."""
        judged = [
            _Judged(evidence, place, passage, pieces)
            for passage in passages[:PASSAGES_READ]
            for pieces in [judge(questions[passage.term], passage.found, passage.score.first, self._readings)]
            for place, evidence in enumerate(pieces)
        ]
        return sorted(judged, key=lambda one: -one.evidence.score)

    def _answer(self, questions: Sequence[Question], judged: Sequence[_Judged], most: int) -> ExtractedAnswer:
        if not judged:
            return ExtractedAnswer((), 0.0)
        best, asked = judged[0], questions[-1]
        found = self._support(questions[best.passage.term], judged)
        if best.passage.term != len(questions) - 1 and asked.weights:
            # The rewriting brought in words of the talk so far, which its passages hold of course: they say nothing for what was asked.
            near = frozenset(self._analyzer.terms(_around(best), best.passage.found.language))
            found *= asked.covered(asked.mask(near))
        return ExtractedAnswer(_chosen(judged, most), found)

    def _support(self, question: Question, judged: Sequence[_Judged]) -> float:
        best = judged[0]
        everything = [one.evidence for one in judged]
        return support(
            signals(question, best.evidence, everything, best.passage.score, _around(best), self._analyzer)
        )


def _around(judged: _Judged) -> str:
    """What a reader of the piece sees: it and its neighbours, title and headings."""
    passage = judged.passage.found.passage
    neighbours = judged.pieces[max(judged.place - _NEIGHBOURS, 0) : judged.place + _NEIGHBOURS + 1]
    return " ".join((passage.title, *passage.headings, *(one.plain for one in neighbours)))


def _chosen(judged: Sequence[_Judged], most: int) -> list[SupportedSentence]:
    """The first of the judged that say something new."""
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
