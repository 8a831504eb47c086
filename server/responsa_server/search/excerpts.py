"""Chooses the excerpts that a turn shows without a language model, marks the likeliest sentence of each, and grades how well it fits the question. Pure functions.

Within the first passages of a search, the pieces are compared by a few signals: their own cosine and share of the question's words, those of what stands above and before them, and
the scores of their passage. The weights were fitted for the cosines of one embedding model on labelled questions about documentation (docs/retrieval.md).
Without these cosines, and in languages that the model does not know, the order of `evidence.py` decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final, NamedTuple
from uuid import UUID

from responsa_server.domain.answers import Ranking
from responsa_server.domain.events import (
    MAX_EXCERPT_BYTES,
    MAX_EXCERPTS,
    MAX_MORE_EXCERPTS,
    MAX_QUOTE_BYTES,
    ByteRange,
    Excerpt,
    Grade,
)
from responsa_server.domain.kinds import CollectionKind
from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.search.evidence import ParsedQuestion, PieceEvidence, judge
from responsa_server.search.parts import PROSE_BYTES, ExcerptPart, PassageParts
from responsa_server.search.retrieve import KIND_MARGIN, ParsedQuestions, Retrieval, ScoredPassage
from responsa_server.text.instructing import instructing_spans
from responsa_server.text.lexical import Analyzer

READ: Final = 10
"""The number of passages, best first, whose pieces are compared."""
SCREEN_BYTES: Final = 2_100
"""The greatest size of the first excerpts together."""
MOST_PROSE: Final = 1_000
"""The greatest size of an excerpt of prose, if the excerpts before it are short."""
MOST_OF_DOCUMENT: Final = 2
"""The number of the first excerpts that may be from one document."""
LEAST_BYTES: Final = 160
"""An excerpt that had to be shorter than this is shown among the further ones."""
OWN_MARGIN: Final = 2.0
"""How much better the piece of a catalogue must fit than one of the caller's record to come first. On questions about personal records, margins from 1 to 4 show more of the lines than none, and 2 the most."""
_CONSIDERED: Final = 40
_FIGURE: Final = re.compile(r"\d[\d.,:/-]*")
_ALIKE: Final = 0.8
"""The share of common words from which on two texts say the same."""

ANSWERS: Final = 0.85
"""The support from which on an excerpt probably answers the question."""
NEAR: Final = 0.5
"""The support of the best excerpt below which nothing is shown as an answer. Fitted on the parts fit and more of evals/reading: .92 of the answerable questions and .09 of those that
are about other things have an excerpt from here on.
"""
FLOOR: Final = 0.3
"""The least support of an excerpt that a refusal shows."""
UNKNOWN: Final = 0.7
"""The greatest support if no passage has any word of the question: the cosines of words that the embedding model does not know say little."""


class Signals(NamedTuple):
    """The signals of a piece, from 0 to 1; or the weight of each of them.

    cosine, own, titled, around, order: those of the piece and of `PieceEvidence`. best: the score of the best piece of the passage. vector, lexical: those of the passage's `Score`.
    heading, before: the cosines of the last heading above the piece and of the piece before it; 0 if the passage has none there.
    """

    cosine: float
    own: float
    titled: float
    around: float
    order: float
    best: float
    vector: float
    lexical: float
    heading: float
    before: float


WEIGHTS: Final = Signals(
    cosine=8.0,
    # Words in the piece itself count in the next two as well. Below a heading with the same words, a sentence that repeats them answers less often than its neighbours.
    own=-2.6,
    titled=4.3,
    around=4.6,
    order=1.3,
    best=6.8,
    vector=9.4,
    lexical=1.7,
    heading=1.7,
    before=1.1,
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A piece of one of the first passages. fit: how well it fits the question, compared with the others."""

    passage: ScoredPassage
    question: ParsedQuestion
    evidence: PieceEvidence
    fit: float


@dataclass(frozen=True, slots=True)
class _Shown:
    """An excerpt with what later ones are compared with."""

    excerpt: Excerpt
    words: frozenset[str]


def distinct(
    retrieval: Retrieval, passages: Sequence[ScoredPassage], analyzer: Analyzer
) -> Sequence[ScoredPassage]:
    """The passages in the same order, without those that say the same as an earlier one of another document. If such a passage is of a newer document and has all the question's words
    that the earlier one has, it takes the place of the earlier one.
    """
    questions = ParsedQuestions(retrieval, analyzer)

    def asked(one: ScoredPassage, question: ParsedQuestion) -> int:
        passage = one.found.passage
        text = " ".join((passage.title, *passage.headings, passage.text))
        return question.mask(frozenset(analyzer.terms(text, one.found.language)))

    kept: list[tuple[ScoredPassage, frozenset[str]]] = []
    for one in passages:
        words = frozenset(one.found.passage.text.split())
        document = one.found.passage.document_id
        alike = (
            place
            for place, (other, earlier) in enumerate(kept)
            if document != other.found.passage.document_id and _alike(words, earlier)
        )
        place = next(alike, None)
        if place is None:
            kept.append((one, words))
            continue
        earlier, question = kept[place][0], questions.of(one)
        if _is_newer(one, earlier) and not asked(earlier, question) & ~asked(one, question):
            kept[place] = (one, words)
    return [one for one, _ in kept]


def _is_newer(one: ScoredPassage, other: ScoredPassage) -> bool:
    """Whether both documents state a date, and that of `one` is later."""
    date, other_date = one.found.passage.date, other.found.passage.date
    return bool(other_date) and date > other_date


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    if min(len(one), len(other)) < _ALIKE * max(len(one), len(other)):
        return False
    common = len(one & other)
    return common >= _ALIKE * (len(one) + len(other) - common)


def ranking(
    retrieval: Retrieval,
    around: Mapping[UUID, tuple[int, bytes]],
    analyzer: Analyzer,
    *,
    in_order: bool = False,
) -> Ranking:
    """The excerpts of the first passages, and how well the best of them fits. around: the text around each of these passages; those without it are left out. in_order: whether
    the excerpts follow the order of the passages, which a reranking model has made.
    """
    candidates = _candidates(retrieval, around, analyzer)
    if in_order:
        candidates = _passage_by_passage(candidates, retrieval.passages)
    candidates = _newer_first(candidates[:_CONSIDERED])
    first: list[_Shown] = []
    more: list[_Shown] = []
    parts: dict[UUID, PassageParts] = {}
    left = SCREEN_BYTES
    for candidate in candidates:
        if len(first) == MAX_EXCERPTS and len(more) == MAX_MORE_EXCERPTS:
            break
        taken = [*first, *more]
        found = candidate.passage.found
        if any(_overlaps(each.excerpt, found, candidate.evidence.piece.source) for each in taken):
            continue
        known = parts.get(found.passage.id)
        if known is None:
            known = parts[found.passage.id] = PassageParts(found, around[found.passage.id])
        of_document = sum(each.excerpt.document_id == found.passage.document_id for each in first)
        fits = len(first) < MAX_EXCERPTS and of_document < MOST_OF_DOCUMENT and left >= LEAST_BYTES
        if not fits and len(more) == MAX_MORE_EXCERPTS:
            continue
        # What the excerpts before it have left is shared by those that follow.
        prose = (
            max(PROSE_BYTES, left - PROSE_BYTES * (MAX_EXCERPTS - 1 - len(first))) if fits else PROSE_BYTES
        )
        part = known.of(
            candidate.evidence.place,
            min(left, MAX_EXCERPT_BYTES) if fits else MAX_EXCERPT_BYTES,
            min(prose, MOST_PROSE),
        )
        if part is None or any(_overlaps(each.excerpt, found, part.source) for each in taken):
            continue
        words = frozenset(known.text(part.source).split())
        if any(_alike(words, each.words) for each in taken):
            continue
        excerpt = _excerpt(candidate, known, part, retrieval, analyzer)
        if excerpt is None:
            continue
        (first if fits else more).append(_Shown(excerpt, words))
        left -= len(excerpt.text.encode()) if fits else 0
    excerpts, further = ([one.excerpt for one in shown] for shown in (first, more))
    # Another order of the same passages does not make them fit better or worse.
    support = max((one.score for one in (*excerpts, *(further if in_order else ()))), default=0.0)
    return _graded(excerpts, further, support)


def _passage_by_passage(
    candidates: Sequence[_Candidate], passages: Sequence[ScoredPassage]
) -> Sequence[_Candidate]:
    """The best piece of each passage, in the order of the passages, and then the other pieces."""
    best: dict[UUID, _Candidate] = {}
    for candidate in candidates:
        best.setdefault(candidate.passage.found.passage.id, candidate)
    first = [best[passage.found.passage.id] for passage in passages if passage.found.passage.id in best]
    return [
        *first,
        *(candidate for candidate in candidates if best[candidate.passage.found.passage.id] is not candidate),
    ]


def _newer_first(candidates: Sequence[_Candidate]) -> Sequence[_Candidate]:
    """The candidates, best first. If two say the same, apart from figures, and fit the question's words equally well, that of the newer document comes first."""
    if len({candidate.passage.found.passage.date for candidate in candidates} - {""}) < 2:
        return candidates
    left = [(candidate, _words_without_figures(candidate)) for candidate in candidates]
    ordered: list[_Candidate] = []
    while left:
        best, words = left[0]
        newest = best
        for one, others in left[1:]:
            fits = one.evidence.own >= best.evidence.own and one.evidence.titled >= best.evidence.titled
            if fits and _is_newer(one.passage, newest.passage) and _alike(words, others):
                newest = one
        ordered.append(newest)
        left = [pair for pair in left if pair[0] is not newest]
    return ordered


def _words_without_figures(one: _Candidate) -> frozenset[str]:
    passage, source = one.passage.found.passage, one.evidence.piece.source
    start = passage.source.start
    text = passage.text.encode()[source.start - start : source.end - start].decode()
    return frozenset(_FIGURE.sub("0", text).split())


def _graded(first: Sequence[Excerpt], more: Sequence[Excerpt], support: float) -> Ranking:
    if support >= NEAR:
        return Ranking(tuple(first), tuple(more), support, near=True)
    return Ranking(tuple(one for one in first if one.score >= FLOOR), (), support)


def _candidates(
    retrieval: Retrieval, around: Mapping[UUID, tuple[int, bytes]], analyzer: Analyzer
) -> Sequence[_Candidate]:
    """The pieces of the first passages, best first."""
    questions = ParsedQuestions(retrieval, analyzer)
    read = [
        (one, question, judge(question, one.found, one.score.first, analyzer))
        for one in retrieval.passages[:READ]
        if one.found.passage.id in around
        for question in (questions.of(one),)
    ]
    # The two scales differ, so one of them ranks all pieces.
    apply = all(_calibrated(question, one, pieces) for one, question, pieces in read)
    found = [
        _Candidate(one, question, piece, fit)
        for one, question, pieces in read
        for piece, fit in zip(
            pieces,
            fits(one, pieces) if apply else [piece.score for piece in pieces],
            strict=True,
        )
    ]
    # Of a person's record and a catalogue that fit about equally well, the record comes first. In `evidence.py`'s order, the order of the search has decided.
    edge = OWN_MARGIN if apply else 0.0
    kind = KIND_MARGIN * (sum(WEIGHTS) if apply else 1.0)

    def rank(candidate: _Candidate) -> float:
        passage = candidate.passage.found.passage
        own = retrieval.kinds.get(passage.collection_id) is CollectionKind.OWN
        return candidate.fit + kind * own + edge * (passage.document_id in retrieval.about)

    return sorted(found, key=rank, reverse=True)


def _calibrated(question: ParsedQuestion, one: ScoredPassage, pieces: Sequence[PieceEvidence]) -> bool:
    """Whether the weights apply to a passage: it was found by vectors of the model for which they are fitted, and the question may be English."""
    cosines = all(piece.piece.cosine is not None for piece in pieces)
    return question.english and one.score.vector is not None and cosines


def fits(
    passage: ScoredPassage, pieces: Sequence[PieceEvidence], weights: Signals = WEIGHTS
) -> Sequence[float]:
    """How well each piece of a passage fits the question. The values of all passages of a search can be compared with each other."""
    return [sum(map(mul, weights, signal)) for signal in signals(passage, pieces)]


def signals(passage: ScoredPassage, pieces: Sequence[PieceEvidence]) -> Sequence[Signals]:
    """The signals of each piece of a passage."""
    best = max((piece.score for piece in pieces), default=0.0)
    heading = before = 0.0
    found: list[Signals] = []
    units = passage.found.pieces
    last = -1
    for piece in pieces:
        for place in range(last + 1, piece.place):
            if units[place].kind is VectorKind.HEADING:
                heading, before = max(units[place].cosine or 0.0, 0.0), 0.0
        cosine = max(piece.piece.cosine or 0.0, 0.0)
        vector, lexical = passage.score.vector or 0.0, passage.score.lexical
        found.append(
            Signals(
                cosine,
                piece.own,
                piece.titled,
                piece.around,
                piece.order,
                best,
                vector,
                lexical,
                heading,
                before,
            )
        )
        before, last = cosine, piece.place
    return found


def _overlaps(excerpt: Excerpt, found: FoundPassage, source: ByteRange) -> bool:
    same = (excerpt.document_id, excerpt.version) == (found.passage.document_id, found.passage.version)
    return same and source.start < excerpt.source.end and excerpt.source.start < source.end


def _excerpt(
    one: _Candidate, parts: PassageParts, part: ExcerptPart, retrieval: Retrieval, analyzer: Analyzer
) -> Excerpt | None:
    """The excerpt round a piece; None if it must not be shown."""
    passage, piece = one.passage.found.passage, one.evidence.piece
    text = parts.text(part.source)
    if instructing_spans(text):
        # An instruction to an assistant is nobody's answer. The sentence next to it is shown without it.
        part = parts.alone(one.evidence.place)
        text = parts.text(part.source)
        if instructing_spans(text) or len(text.encode()) > MAX_EXCERPT_BYTES:
            return None
    shown = parts.markdown(part)
    if not shown:
        return None
    marked = _marked(one, parts, part, analyzer)
    place = passage.place_of(marked)
    value = _support(one, parts, part, analyzer)
    if not retrieval.weights[one.passage.term].terms:
        value = min(value, UNKNOWN if one.question.weights else 0.0)
    return Excerpt(
        passage.id,
        passage.collection_id,
        retrieval.kinds.get(passage.collection_id),
        passage.document_id,
        passage.version,
        passage.title,
        parts.headings(one.evidence.place),
        passage.uri,
        part.source,
        text,
        shown,
        marked,
        _place_in(shown, parts, marked, piece),
        _grade(value),
        value,
        place.page if place else 0,
        place.box if place else None,
        place.path if place else "",
        passage.date,
    )


def _marked(one: _Candidate, parts: PassageParts, part: ExcerptPart, analyzer: Analyzer) -> ByteRange:
    """The likeliest sentence, item or row, or line of code."""
    source = one.evidence.piece.source
    source = ByteRange(source.start, min(source.end, part.source.end))
    if one.evidence.piece.kind is VectorKind.CODE:
        lines = list(_lines(parts, source))
        language = one.passage.found.language

        def share(line: ByteRange) -> float:
            terms = analyzer.terms(parts.text(line), language)
            return one.question.covered(one.question.mask(frozenset(terms)))

        source = max(lines, key=lambda line: (share(line), -line.start), default=source)
    data = parts.bytes_of(source)
    if len(data) <= MAX_QUOTE_BYTES:
        return source
    text = data[:MAX_QUOTE_BYTES].decode(errors="ignore")
    words = text.rpartition(" ")[0].rstrip()
    text = words if len(words) > len(text) // 2 else text
    return ByteRange(source.start, source.start + len(text.encode()))


def _lines(parts: PassageParts, source: ByteRange) -> Iterator[ByteRange]:
    """The lines of code, without its fences."""
    start = source.start
    for line in parts.bytes_of(source).split(b"\n"):
        begin = start + len(line) - len(line.lstrip())
        end = start + len(line.rstrip())
        start += len(line) + 1
        if end > begin and not line.lstrip().startswith((b"```", b"~~~")):
            yield ByteRange(begin, end)


def _place_in(shown: str, parts: PassageParts, marked: ByteRange, piece: PassagePiece) -> ByteRange | None:
    """Where the Markdown of an excerpt has the marked sentence; None if it is not there in one piece."""
    text = parts.text(marked)

    def forms() -> Iterator[str]:
        yield text
        yield " ".join(text.split())
        yield parts.shown(piece)  # to make it takes long, and it is rarely needed

    for words in forms():
        start = shown.find(words) if words else -1
        if start >= 0:
            begin = len(shown[:start].encode())
            return ByteRange(begin, begin + len(words.encode()))
    return None


def _support(one: _Candidate, parts: PassageParts, part: ExcerptPart, analyzer: Analyzer) -> float:
    """How well an excerpt fits the question, from 0 to 1: by the best cosine of it and the heading above it, and by the weighted share of the question's words that stand in it or above it."""
    found = one.passage.found
    own, pieces = one.question.terms_of(found, analyzer)
    terms = set(own)
    inside = {piece.source: words for piece, words in zip(found.pieces, pieces, strict=True)}
    above = [unit.cosine for unit in found.pieces[: one.evidence.place] if unit.kind is VectorKind.HEADING]
    cosines = [cosine for cosine in above[-1:] if cosine is not None]
    for unit in parts.pieces_of(part):
        known = inside.get(unit.source)
        terms.update(analyzer.terms(parts.text(unit.source), found.language) if known is None else known)
        if unit.cosine is not None:
            cosines.append(unit.cosine)
    share = max(one.question.covered(one.question.mask(frozenset(terms))), one.evidence.titled)
    cosine = max(cosines) if cosines and one.question.english else None
    return support(cosine, share)


BASE: Final = -8.4
COSINE: Final = 20.0
SHARE: Final = 2.0
WORDS_BASE: Final = -5.0
WORDS_SHARE: Final = 10.0


def support(cosine: float | None, share: float) -> float:
    """The support of an excerpt. cosine: its best cosine to the question; None if there is none of a calibrated model, so that words alone decide. share: that of the question's words."""
    if cosine is None:
        value = WORDS_BASE + WORDS_SHARE * share
    else:
        value = BASE + COSINE * max(cosine, 0.0) + SHARE * share
    return 1 / (1 + math.exp(-value))


def _grade(value: float) -> Grade:
    if value >= ANSWERS:
        return Grade.ANSWERS
    return Grade.PERHAPS if value >= NEAR else Grade.CLOSEST
