"""Reads sources that tools returned as passages, so that answers quote them byte for byte as they quote documents. Pure functions.

Nothing of them is in an index. Therefore their terms are counted among the sources alone, they have no vectors, and
support is that of a search by words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from responsa_server.domain.answers import FoundSource
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import (
    FoundPassage,
    LexicalCandidate,
    Passage,
    PassagePiece,
    TermStatistics,
    VectorKind,
)
from responsa_server.search.prompt_passages import PromptPassage
from responsa_server.search.retrieve import Retrieval, ScoredPassage, TermReading
from responsa_server.search.scoring import PassageScorer, Score, Weights, weigh
from responsa_server.text.lexical import Analyzer, language_of
from responsa_server.text.sentences import paragraph_pieces

NO_COLLECTION: Final = ""
"""The collection of these passages. They compete among themselves, not with passages of documents."""
PASSAGE_BYTES: Final = 1_600
"""The greatest length of a passage, unless a single piece is longer."""
_COUNTED: Final = 255


def read_sources(sources: Sequence[FoundSource], most_bytes: int = PASSAGE_BYTES) -> Sequence[FoundPassage]:
    """The passages of sources, in order: neighbouring pieces of together at most `most_bytes`. A source without text has no passages."""
    return [passage for source in sources for passage in _passages(source, most_bytes)]


def with_sources(
    retrieval: Retrieval | None, question: str, sources: Sequence[FoundSource], analyzer: Analyzer
) -> Retrieval:
    """The retrieval with the passages of these sources after its own, best first. Passages that it has already are not added.

    retrieval: the result of a search for the question; None if nothing was searched.
    """
    base = retrieval or _empty(question)
    known = {(passage.found.passage.document_id, passage.found.passage.source) for passage in base.passages}
    added = [
        source
        for source in read_sources(sources)
        if source.passage.origin is not None
        or (source.passage.document_id, source.passage.source) not in known
    ]
    terms = [analyzer.terms(_read(one.passage), one.language) for one in added]
    readings = [
        _reading(term, language, terms, analyzer)
        for term, language in zip(base.terms, base.languages, strict=True)
    ]
    scored = [_scored(one, words, readings) for one, words in zip(added, terms, strict=True)]
    scored.sort(key=lambda one: (-one.score.total, one.found.passage.id.bytes))
    before = base.readings or [{} for _ in base.terms]
    return replace(
        base,
        passages=[*base.passages, *scored],
        readings=[{**mine, NO_COLLECTION: reading} for mine, reading in zip(before, readings, strict=True)],
        weights=[
            reading.weights if retrieval is None else weights
            for weights, reading in zip(base.weights, readings, strict=True)
        ],
    )


def whole_source(found_source: FoundSource) -> PromptPassage:
    """A source as one passage, as a prompt shows a tool's result. A source without text says nothing."""
    data = found_source.source.text.encode()
    offset, language = _offset(found_source), language_of(found_source.source.text)
    source = ByteRange(offset, offset + len(data))
    found = _passage(
        found_source, source, found_source.source.text, _pieces(found_source, language), language
    )
    return PromptPassage(found, source, found_source.source.text)


def _empty(question: str) -> Retrieval:
    """A search for the question that found nothing."""
    return Retrieval([question], [], [Weights([], [], [], {}, 0, 1.0)], [language_of(question)])


def _passages(source: FoundSource, most_bytes: int) -> Iterator[FoundPassage]:
    language = language_of(source.source.text)
    group: list[PassagePiece] = []
    for piece in _pieces(source, language):
        if group and piece.source.end - group[0].source.start > most_bytes:
            yield _part(source, group, language)
            group = []
        group.append(piece)
    if group:
        yield _part(source, group, language)


def _offset(source: FoundSource) -> int:
    """The byte at which the text begins: in a document's passage, the bytes count from the beginning of the document."""
    return source.source.passage.range.start if source.source.passage is not None else 0


def _pieces(source: FoundSource, language: str) -> Sequence[PassagePiece]:
    return [
        PassagePiece(VectorKind(piece.kind.value), ByteRange(piece.byte_start, piece.byte_end), None)
        for piece in paragraph_pieces(source.source.text, _offset(source), language)
    ]


def _part(found_source: FoundSource, pieces: Sequence[PassagePiece], language: str) -> FoundPassage:
    source, offset = ByteRange(pieces[0].source.start, pieces[-1].source.end), _offset(found_source)
    text = found_source.source.text.encode()[source.start - offset : source.end - offset].decode()
    return _passage(found_source, source, text, pieces, language)


def _passage(
    found_source: FoundSource, source: ByteRange, text: str, pieces: Sequence[PassagePiece], language: str
) -> FoundPassage:
    title, uri, document = found_source.source.title, found_source.source.uri, found_source.source.passage
    if document is not None:
        passage = Passage(
            document.passage_id,
            NO_COLLECTION,
            document.document_id,
            document.version,
            title,
            uri,
            source,
            text,
        )
    else:
        # The same source has the same ids in every attempt at the turn.
        identity = uuid5(NAMESPACE_URL, f"{found_source.origin.call_id}/{found_source.origin.source_index}")
        passage = Passage(
            uuid5(identity, f"{source.start}-{source.end}"),
            NO_COLLECTION,
            identity,
            0,
            title,
            uri,
            source,
            text,
            origin=found_source.origin,
        )
    return FoundPassage(passage, language, list(pieces))


def _read(passage: Passage) -> str:
    return f"{passage.title}\n{passage.text}"


def _reading(
    question: str, language: str, passages: Sequence[Sequence[str]], analyzer: Analyzer
) -> TermReading:
    """How the sources read a question. passages: the terms of each passage."""
    frequencies = Counter(term for passage in passages for term in set(passage))
    statistics = TermStatistics(len(passages), sum(map(len, passages)), dict(frequencies))
    return TermReading(weigh(analyzer.query_terms(question, language), statistics), language)


def _scored(passage: FoundPassage, words: Sequence[str], readings: Sequence[TermReading]) -> ScoredPassage:
    """The passage with its score for the string that it fits best."""
    scored = [
        ScoredPassage(passage, _score(passage, words, reading.weights), term)
        for term, reading in enumerate(readings)
    ]
    return max(scored, key=lambda one: one.score.total)


def _score(passage: FoundPassage, words: Sequence[str], weights: Weights) -> Score:
    counts, searched = Counter(words), list(weights.searched)
    places = [place for place, one in enumerate(searched) if one in counts]
    candidate = LexicalCandidate(
        passage.passage.id,
        NO_COLLECTION,
        passage.language,
        len(words),
        places,
        [min(counts[searched[place]], _COUNTED) for place in places],
    )
    return PassageScorer(weights, searched).score(candidate, None, vector_votes=False)
