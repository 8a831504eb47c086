"""The gist of a text: a few of its sentences, and its most telling words. Both are taken from the text, without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from responsa_server.text.lexical import STOPWORDS, Analyzer
from responsa_server.text.sentences import Piece, PieceKind, plain

MAX_SUMMARY_BYTES: Final = 500
MAX_SENTENCES: Final = 3
MAX_KEYWORDS: Final = 10
MAX_KEYWORD_CHARS: Final = 64

_READ_BYTES: Final = 128 * 1024
_TITLE_WEIGHT: Final = 3
_LEAST_LETTERS: Final = 3
_LEAST_SENTENCE_TERMS: Final = 4
# A sentence whose terms have mostly been said adds little.
_NEW_TERMS: Final = 0.4
# The beginning of a text says more often what it is about.
_LEAD: Final = 0.5
_LEAD_SENTENCES: Final = 8


@dataclass(frozen=True, slots=True)
class Gist:
    """summary: 1 to 3 sentences of the text in their order, at most 500 bytes; "" if the text has no such sentence. keywords: words of the text, the best
    first, at most 10.
    """

    summary: str = ""
    keywords: Sequence[str] = ()


@dataclass(slots=True)
class _Words:
    """The weight of each term of a text, and how often each word stands for it."""

    weights: Counter[str] = field(default_factory=Counter[str])
    forms: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])


def gist_of(text: bytes, pieces: Sequence[Piece], title: str, language: str) -> Gist:
    """The gist of a canonical text. pieces: as `sentences.pieces` returns them. Only the first 128 KiB are read."""
    analyzer, words = Analyzer(), _Words()
    _count(words, analyzer, title, language, _TITLE_WEIGHT)
    sentences: list[tuple[str, frozenset[str]]] = []
    for piece in pieces:
        if piece.byte_end > _READ_BYTES:
            break
        if piece.kind is PieceKind.CODE:
            continue
        said = plain(text[piece.byte_start : piece.byte_end].decode())
        heading = piece.kind is PieceKind.HEADING
        terms = _count(words, analyzer, said, language, _TITLE_WEIGHT if heading else 1)
        if piece.kind is PieceKind.SENTENCE and said.endswith(
            (".", "!", "?", "。", "！", "？", "।", "؟", ".”", ".“", ".»")
        ):
            sentences.append((said, terms))
    return Gist(_summary(sentences, words), _keywords(words))


def _count(words: _Words, analyzer: Analyzer, text: str, language: str, weight: int) -> frozenset[str]:
    """Count the words of a text. Returns their terms, without function words and numbers."""
    stop = STOPWORDS.get(language.partition("-")[0] or "en", frozenset[str]())
    terms: set[str] = set()
    for token in analyzer.tokens(text, language.partition("-")[0]):
        word = text[token.start : token.end]
        # Scripts without spaces give pairs of characters, of which each is a word more often than not.
        least = _LEAST_LETTERS if word.isascii() or len(token.term) > 2 else 2
        if (
            len(token.term) < least
            or not word[0].isalpha()
            or word.lower() in stop
            or len(word) > MAX_KEYWORD_CHARS
        ):
            continue
        terms.add(token.term)
        words.weights[token.term] += weight
        words.forms.setdefault(token.term, Counter())[word] += 1
    return frozenset(terms)


def _keywords(words: _Words) -> Sequence[str]:
    # A long word says more than a short one. Of words with equal scores, the first of the text wins.
    scores = {term: weight * min(len(term), 12) for term, weight in words.weights.items()}
    best = sorted(scores, key=lambda term: -scores[term])
    found: dict[str, str] = {}
    for term in best:
        word = words.forms[term].most_common(1)[0][0]
        # The parts of a compound such as max_tokens stand for the same word.
        found.setdefault(word.lower(), word)
        if len(found) == MAX_KEYWORDS:
            break
    return tuple(found.values())


def _summary(sentences: Sequence[tuple[str, frozenset[str]]], words: _Words) -> str:
    def score(place: int) -> float:
        terms = sentences[place][1]
        mean = sum(words.weights[term] for term in terms) / (len(terms) + _LEAST_SENTENCE_TERMS)
        return mean * (1 + _LEAD * max(0, _LEAD_SENTENCES - place) / _LEAD_SENTENCES)

    places = [place for place, (_, terms) in enumerate(sentences) if len(terms) >= _LEAST_SENTENCE_TERMS]
    chosen: list[int] = []
    said: set[str] = set()
    left = MAX_SUMMARY_BYTES
    for place in sorted(places or range(len(sentences)), key=lambda one: -score(one)):
        text, terms = sentences[place]
        size = len(text.encode()) + (1 if chosen else 0)
        if size > left or (chosen and len(terms - said) < _NEW_TERMS * len(terms)):
            continue
        chosen.append(place)
        said |= terms
        left -= size
        if len(chosen) == MAX_SENTENCES:
            break
    return " ".join(sentences[place][0] for place in sorted(chosen))
