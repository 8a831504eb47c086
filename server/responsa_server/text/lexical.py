"""From text to the terms that full-text search matches: words, stems, bigrams where words are not written apart.

Both sides, passages and questions, go through one `Analyzer`, so that PostgreSQL stores and compares finished terms
(configuration-free `tsvector`s) and needs no dictionary or word breaker of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import Stemmer

from responsa_server.text.languages import STOPWORDS, UNKNOWN

MAX_TERM_CHARS: Final = 64
"""Longer runs (keys, base64) are cut: nobody asks for them whole, and a tsvector's lexeme has a limit."""

_REMEMBERED_WORDS: Final = 50_000

_STEMMERS: Final = {
    "": "english",
    "en": "english",
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
STEMMED: Final = tuple(code for code in _STEMMERS if code)
"""Languages whose words are stemmed."""

# Python's \w lacks the combining marks in which Indic scripts, Thai, Arabic and Hebrew write their vowels.
_MARKS: Final = (
    r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u0670\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e\u200c\u200d"
)
_UNSPACED: Final = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\u0e01-\u0e4e\u0e80-\u0eff\u1000-\u109f\u1780-\u17d3"
_TOKEN: Final = re.compile(
    rf"(?P<unspaced>[{_UNSPACED}]+)"
    r"|(?P<number>\d+(?:[.,]\d+)+)"
    r"|(?P<initials>(?<!\w)(?:[A-Za-z]\.){2,})"
    rf"|(?P<word>(?:(?![{_UNSPACED}])[\w{_MARKS}])+)"
)
_COMPOUND: Final = re.compile(r"\w_\w|[a-z][A-Z]|[A-Z]{2}[a-z]|\d[^\W\d_]|[^\W\d_]\d")
_PARTS: Final = re.compile(r"[^\W\d_]+|\d+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a text: its term, its place in the count of words, and its characters [start, end)."""

    term: str
    position: int
    start: int
    end: int


class Analyzer:
    """Splits text into terms. Keep one per thread: the stemmers hold a cache that is not guarded."""

    def __init__(self) -> None:
        self._stemmers: dict[str, Stemmer.Stemmer] = {}
        self._words: dict[tuple[str, str], tuple[str, ...]] = {}

    def tokens(self, text: str, language: str = UNKNOWN) -> list[Token]:
        """All terms in order. Parts of a compound (snake_case, camelCase, a CJK run) share or follow its position."""
        found: list[Token] = []
        position = 0
        for match in _TOKEN.finditer(text):
            start, end = match.span()
            if match.lastgroup == "unspaced":
                for place, pair in _bigrams(match.group()):
                    found.append(Token(pair, position, start + place, start + place + len(pair)))
                    position += 1
                continue
            terms = self._matched(match, language)
            if terms:
                found.extend(Token(term, position, start, end) for term in terms)
                position += 1
        return found

    def _matched(self, match: re.Match[str], language: str) -> Sequence[str]:
        """The terms of one match of _TOKEN that is written apart; none for what an apostrophe leaves over."""
        word = match.group()
        if match.lastgroup == "number":
            return (word.replace(",", "")[:MAX_TERM_CHARS],)
        if match.lastgroup == "initials":
            return (word.replace(".", "").lower(),)
        if len(word) == 1 and (start := match.start()) and match.string[start - 1] in "'’":
            return ()  # the s of "Newton's", the t of "don't"
        return self._terms_of(word, language)

    def _terms_of(self, word: str, language: str) -> tuple[str, ...]:
        """The word's term, then its parts' if it is compound; remembered, since most words of a text were seen before."""
        key = (word, language)
        known = self._words.get(key)
        if known is None:
            stemmer = self._stemmer(language)
            known = (_term(word, stemmer), *_compound(word, stemmer))
            if len(self._words) >= _REMEMBERED_WORDS:
                self._words.clear()
            self._words[key] = known
        return known

    def terms(self, text: str, language: str = UNKNOWN) -> Sequence[str]:
        """As `tokens`, the terms alone, in less time."""
        found: list[str] = []
        for match in _TOKEN.finditer(text):
            if match.lastgroup == "unspaced":
                found.extend(pair for _, pair in _bigrams(match.group()))
            else:
                found.extend(self._matched(match, language))
        return found

    def query_terms(self, text: str, language: str = UNKNOWN) -> list[str]:
        """Distinct terms worth matching, in order: without function words, unless there is nothing else."""
        stop = STOPWORDS.get(language or "en", frozenset())
        tokens = self.tokens(text, language)
        words = [(token.term, text[token.start : token.end]) for token in tokens]
        # "US" is a country and "IT" a trade, whatever they are in lower case.
        content = [
            term for term, word in words if word.lower() not in stop or (len(word) > 1 and word.isupper())
        ]
        return list(dict.fromkeys(content or [term for term, _ in words]))

    def _stemmer(self, language: str) -> Stemmer.Stemmer | None:
        algorithm = _STEMMERS.get(language)
        if algorithm is None:
            return None
        if algorithm not in self._stemmers:
            self._stemmers[algorithm] = Stemmer.Stemmer(algorithm)
        return self._stemmers[algorithm]


def _term(word: str, stemmer: Stemmer.Stemmer | None) -> str:
    lowered = word[:MAX_TERM_CHARS].lower()
    # The Arabic stemmer leaves nothing of some words.
    return _folded(stemmer.stemWord(lowered) if stemmer is not None else lowered) or _folded(lowered)


@lru_cache(maxsize=20_000)
def _folded(term: str) -> str:
    """Without Latin, Greek and Cyrillic diacritics: people leave them out when they ask."""
    if term.isascii():
        return term
    decomposed = unicodedata.normalize("NFKD", term)
    if not any("a" <= char <= "z" or "\u0370" <= char <= "\u04ff" for char in decomposed):
        return unicodedata.normalize("NFKC", term)
    return "".join(char for char in decomposed if not "\u0300" <= char <= "\u036f")


def _compound(word: str, stemmer: Stemmer.Stemmer | None) -> list[str]:
    """The parts of an identifier, so that `max_tokens` is found by "tokens" and `getPassage` by "passage"."""
    if not _COMPOUND.search(word):
        return []
    parts = [part for piece in _PARTS.findall(word) for part in _CAMEL.split(piece)]
    if len(parts) < 2:
        return []
    return [_term(part, stemmer) for part in parts if len(part) > 1]


def _bigrams(run: str) -> Iterator[tuple[int, str]]:
    """Overlapping pairs of a run without spaces; a lone character stands for itself."""
    if len(run) == 1:
        yield 0, run
    for place in range(len(run) - 1):
        yield place, run[place : place + 2]


def tsvector_literal(title: Sequence[str], body: Sequence[str]) -> str:
    """The input text of a PostgreSQL `tsvector`: title terms with label A, then the body's, with their places.

    PostgreSQL keeps at most 255 places a term and none above 16383, so later ones are left out here.
    """
    places: dict[str, list[str]] = {}
    for number, term in enumerate(title[:1000], 1):
        places.setdefault(term, []).append(f"{number}A")
    offset = min(len(title), 1000) + 1
    for number, term in enumerate(body, offset + 1):
        known = places.setdefault(term, [])
        if len(known) < 255 and number < 16_384:
            known.append(str(number))
    return " ".join(
        "'" + term.replace("\\", "\\\\").replace("'", "''") + "'" + (":" + ",".join(found) if found else "")
        for term, found in places.items()
    )
