"""Splits a text into terms for full-text search.

A term is one of these:

- a stemmed word;
- a date, its month or its day, in whatever form it is written (`dates.py`), or a clock time;
- a number by its value, so that 1.200,50 in German is 1,200.50 in English, or an identifier such as DE-1234/5, as a
  whole, without its signs, and its parts;
- a pair of characters, in Chinese and Japanese, which do not separate words, and in Korean, which writes particles as
  part of the word before them;
- three characters, in scripts such as Thai's, which do not separate words and have a letter for each sound.

Passages and questions go through the same `Analyzer`. PostgreSQL therefore stores and compares finished terms
(`tsvector`s without a configuration), and it needs neither a dictionary nor a word breaker.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain, islice
from sys import getsizeof
from typing import Final

from responsa_formats.text.languages import STOPWORDS, UNKNOWN
from responsa_server.text import compounds
from responsa_server.text.dates import find_dates, find_times, to_ascii_digits

MAX_TERM_CHARS: Final = 64
"""The maximum length of a term. Longer runs of characters (keys, base64) are cut, because no question contains them in
full, and because PostgreSQL limits the length of a lexeme.
"""

MAX_QUERY_TERMS: Final = 512
"""The maximum number of distinct terms of a searched string. Further terms of a pasted text would hardly change what is
found, but cost the database and the server's event loop as much as the first ones.
"""

_MOST_PARTS: Final = 32
# The limit of the cached words of one analyzer. It is enough for about 16,000 English words.
_CACHED_BYTES: Final = 4 * 1024 * 1024
# What an entry of a dict takes besides its key and its value.
_ENTRY_BYTES: Final = 100

STEMMERS: Final[Mapping[str, str]] = {
    "": "english",
    **tomllib.loads((files("responsa_server.text") / "stemmers.toml").read_text("utf-8")),
}
STEMMED: Final = tuple(code for code in STEMMERS if code)
"""Languages whose words are stemmed."""

# Python's \w does not match the combining marks that Indic scripts, Thai, Arabic and Hebrew use for vowels.
_MARKS: Final = r"\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e\u200c\u200d"
# Scripts that do not separate words, and Hangul, which is cut up like them (see the beginning of this file).
_UNSPACED: Final = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\uac00-\ud7a3\u0e01-\u0e4e\u0e80-\u0eff\u1000-\u109f\u1780-\u17d3"
_TOKEN: Final = re.compile(
    rf"(?P<unspaced>[{_UNSPACED}]+)"
    r"|(?P<number>\d+(?:[.,٫٬]\d+|[\u00a0\u202f]\d{3}(?!\d))+)"
    r"|(?P<initials>(?<!\w)(?:[A-Za-z]\.){2,})"
    rf"|(?P<word>(?:(?![{_UNSPACED}])[\w{_MARKS}])+)"
)
# The same tokens in texts without the characters of _SLOW, as plain strings. A letter after an apostrophe is a token with the apostrophe.
_FAST_TOKEN: Final = re.compile(
    r"['’](?:"
    r"[A-Za-z](?!\w|\.[A-Za-z]\.)"  # a letter that begins neither a word nor initials
    r"|[^\W\dA-Za-z](?!\w)"  # another letter, which never begins initials
    r"|\d(?!\w|[.,]\d)"  # a digit that begins no longer number
    r")"
    r"|\d+(?:[.,]\d+|[\u00a0\u202f]\d{3}(?!\d))+"
    r"|(?<!\w)(?:[A-Za-z]\.){2,}"
    r"|\w+"
)
_DIGIT: Final = re.compile(r"\d")
# Words and figures that signs join, such as DE-1234/5, but not as in 24-hour or 10-12.
_IDENTIFIER: Final = re.compile(r"(?<![\w./-])(?=\S*\d)[^\W_]+(?:[-/_][^\W_]+)+(?![\w/-])")
_IBAN: Final = re.compile(r"(?<!\w)[A-Z]{2}\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
"""ISO 13616; its groups of four say nothing."""
_NO_IDENTIFIER: Final = re.compile(r"^\D*$|^\d+-\d+$|[a-z]{4}")
POINT: Final = frozenset({"", "en", "zh", "ja", "ko", "he", "th", "hi", "ta"})
"""The languages that write a point before a fraction; the others write a comma."""
_MARKED: Final = re.compile("[.,\u00a0\u202f]")
_NO_FRACTION: Final = re.compile(r"[.,]00$")
_SLOW: Final = re.compile(rf"[{_UNSPACED}{_MARKS}\u066b\u066c]")
# Scripts with a letter for each sound, which do not separate words. A pair of letters says little.
_LETTERS: Final = re.compile(r"[\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3]")
_RUN: Final = re.compile(rf"[{_UNSPACED}]{{1,3}}")
_HIRAGANA: Final = re.compile(r"[\u3040-\u309f]+")
_COMPOUND: Final = re.compile(r"\w_\w|[a-z][A-Z]|[A-Z]{2}[a-z]|\d[^\W\d_]|[^\W\d_]\d")
_PARTS: Final = re.compile(r"[^\W\d_]+|\d+")
_PLAIN_DIGITS: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", "0123456789" * 2)
_POINTS: Final = str.maketrans("٫", ".", "٬")
# In Turkish, the small letter of I has no dot.
_TURKISH: Final = str.maketrans({"I": "ı", "İ": "i"})
# Letters that users leave out like diacritics, and that do not decompose.
_LETTERS_ALIKE: Final = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ł": "l", "ß": "ss", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"}
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class Token:
    """A term of a text, and the characters [start, end) that it stands for."""

    term: str
    start: int
    end: int


@dataclass(slots=True)
class _CacheBudget:
    """The number of bytes that further words of an analyzer may take; negative once one did not fit."""

    left: int = _CACHED_BYTES


class _TermCache(dict[str, tuple[str, ...]]):
    """The cached terms of the words and numbers of one language. Words that are longer than a term are not cached.

    A dict finds a word several times faster than an `LruCache`, and a text has hundreds of words.
    """

    def __init__(self, language: str, budget: _CacheBudget) -> None:
        super().__init__()
        import Stemmer  # late: who only asks for the language of a text, like the command line, needs no stemmer

        algorithm = STEMMERS.get(language)
        # Without the stemmer's own cache, whose limit is a number of words.
        self._stemmer = None if algorithm is None else Stemmer.Stemmer(algorithm, 0)
        self._language, self._turkish = language, language == "tr"
        self._point = "." if language in POINT else ","
        self._budget = budget

    def __missing__(self, word: str) -> tuple[str, ...]:
        terms = _terms_of(_to_ascii_digits(word), self._term, self._point)
        if self._language in compounds.LANGUAGES and self._stemmer is not None:
            parts = compounds.compound_parts(word, self._language, self._stemmer.stemWord)
            terms = (*terms, *map(self._term, parts))
        if len(word) <= MAX_TERM_CHARS:
            self._budget.left -= (
                _ENTRY_BYTES + getsizeof(word) + getsizeof(terms) + sum(map(getsizeof, terms))
            )
            if self._budget.left >= 0:
                self[word] = terms
        return terms

    def _term(self, word: str) -> str:
        word = word[:MAX_TERM_CHARS]
        # Elsewhere, Python's small letter of İ is an i with the dot as a further character.
        lowered = word.translate(_TURKISH).lower() if self._turkish else word.lower().replace("i\u0307", "i")
        # The Arabic stemmer reduces some words to an empty text; then the unstemmed word is used.
        return _fold(self._stemmer.stemWord(lowered) if self._stemmer is not None else lowered) or _fold(
            lowered
        )


def _find_stamps(text: str, language: str) -> Iterator[tuple[int, int, Sequence[str], tuple[int, int]]]:
    """The dates, times and identifiers of a text in order: the characters [start, end) of each, its terms, and the characters
    whose words are terms too."""
    if not _DIGIT.search(text):
        return
    last = 0
    dates = [(date.start, date.end, date.list_terms(), date.name) for date in find_dates(text, language)]
    times = [(start, end, readings, (0, 0)) for start, end, readings in find_times(text)]
    codes = [
        (*match.span(), (code[:MAX_TERM_CHARS], re.sub("[-/_]", "", code)[:MAX_TERM_CHARS]), match.span())
        for match in _IDENTIFIER.finditer(text)
        if not _NO_IDENTIFIER.search(match.group()) and (code := match.group().lower())
    ]
    ibans = [
        (*match.span(), (match.group().replace(" ", "").lower(),), (0, 0)) for match in _IBAN.finditer(text)
    ]
    for stamp in sorted((*dates, *times, *codes, *ibans), key=lambda stamp: stamp[0]):
        if stamp[0] >= last:
            last = stamp[1]
            yield stamp


class Analyzer:
    """Splits text into terms. Use one analyzer per thread, because the stemmers are not thread-safe."""

    def __init__(self) -> None:
        self._words: dict[str, _TermCache] = {}
        self._budget = _CacheBudget()

    def tokens(self, text: str, language: str = UNKNOWN) -> list[Token]:
        """Return all terms in order.

        Each part of a compound such as snake_case or camelCase has the character range of the whole compound.
        """
        return list(self._each(text, language))

    def _each(self, text: str, language: str, *, bare: bool = False) -> Iterator[Token]:
        """bare: without the names of the months of dates, which a passage may write in digits."""
        at = 0
        for start, end, terms, inner in _find_stamps(text, language):
            yield from self._split(text, language, at, start)
            yield from (Token(term, start, end) for term in terms)
            if not bare or inner == (start, end):
                yield from self._split(text, language, *inner)
            at = end
        yield from self._split(text, language, at, len(text))

    def _split(self, text: str, language: str, begin: int, stop: int) -> Iterator[Token]:
        for match in _TOKEN.finditer(text, begin, stop):
            start, end = match.span()
            if match.lastgroup == "unspaced":
                for offset, pair in _ngrams_of(match.group()):
                    yield Token(pair, start + offset, start + offset + len(pair))
                continue
            for term in self._terms_of(match, language):
                yield Token(term, start, end)

    def _terms_of(self, match: re.Match[str], language: str) -> Sequence[str]:
        """Return the terms of one match of _TOKEN. A single letter after an apostrophe has no term.

        match: a match of any group of _TOKEN except `unspaced`.
        """
        word = match.group()
        if len(word) == 1 and (start := match.start()) and match.string[start - 1] in "'’":
            return ()  # such as the s of "Newton's" and the t of "don't"
        return self._words_of(language)[word]

    def _words_of(self, language: str) -> _TermCache:
        """Return the cached words of a language. Drops those of all languages if one did not fit."""
        if self._budget.left < 0:
            self._words, self._budget = {}, _CacheBudget()
        known = self._words.get(language)
        if known is None:
            known = self._words[language] = _TermCache(language, self._budget)
        return known

    def terms(self, text: str, language: str = UNKNOWN) -> Sequence[str]:
        """Return the same terms as `tokens`, without their positions and in much less time."""
        if _SLOW.search(text) is not None:
            return [token.term for token in self._each(text, language)]
        terms: list[str] = []
        find, words, at = _FAST_TOKEN.findall, self._words_of(language).__getitem__, 0
        for start, end, own, inner in _find_stamps(text, language):
            terms += chain.from_iterable(map(words, find(text, at, start)))
            terms += (*own, *chain.from_iterable(map(words, find(text, *inner))))
            at = end
        terms += chain.from_iterable(map(words, find(text, at)))
        return terms

    def query_terms(self, text: str, language: str = UNKNOWN, without: str | None = None) -> list[str]:
        """Return the distinct terms to search for, in order, at most `MAX_QUERY_TERMS`. Function words are left out,
        unless the text has no other words.

        without: the language whose function words are left out; None is `language`.
        """
        stop = STOPWORDS.get((language if without is None else without) or "en", frozenset())
        content: dict[str, None] = {}
        others: dict[str, None] = {}
        begun, wanted = -1, True
        for token in self._each(text, language, bare=True):
            # The parts of a compound stand at the same place, and a compound may be as long as the text.
            if token.start != begun:
                begun, word = token.start, text[token.start : token.end]
                # "us" and "it" are function words, but "US" and "IT" in capitals are not.
                wanted = word.lower() not in stop or (len(word) > 1 and word.isupper())
            (content if wanted else others)[token.term] = None
            if len(content) == MAX_QUERY_TERMS:
                break
        return list(content or others)


def _to_ascii_digits(word: str) -> str:
    """The word with the digits 0 to 9 and with "." and "," in numbers, whatever digits the script of the text has."""
    if word.isascii() or not any(map(str.isdecimal, word)):
        return word
    return to_ascii_digits(word).translate(_POINTS)


def read_number(word: str, point: str) -> str:
    """A number with a point before its fraction and without separators of thousands. point: what the language writes before a
    fraction. What is no number, such as 3.10.2, stays but for its commas."""
    word = word.replace("\u00a0", "").replace("\u202f", "")
    *whole, last = re.split("[.,]", word)
    if not whole:
        return word
    marks = re.findall("[.,]", word)
    grouped = len(whole[0]) <= 3 and whole[0] != "0" and all(len(part) == 3 for part in (*whole[1:], last))
    if len(set(marks)) > 1 and len(set(marks[:-1])) == 1:
        word = "".join(whole) + "." + last
    elif grouped and (len(marks) > 1 or marks[0] != point):
        word = "".join((*whole, last))
    elif len(marks) == 1:
        word = f"{whole[0]}.{last}"
    return _NO_FRACTION.sub("", word).replace(",", "")


def _terms_of(word: str, term: Callable[[str], str], point: str) -> tuple[str, ...]:
    """Return the term of a word or a number and, if the word is a compound, the terms of its parts. point: see `read_number`."""
    if word[0] in "'’":
        return ()
    if word[0].isdecimal() and _MARKED.search(word):
        return (read_number(word, point)[:MAX_TERM_CHARS],)
    if "." in word:
        return (word.replace(".", "").lower()[:MAX_TERM_CHARS],)
    return term(word), *_compound(word, term)


def _fold(term: str) -> str:
    """Return the term without Latin, Greek and Cyrillic diacritics, because users leave diacritics out in questions."""
    if term.isascii():
        return term
    decomposed = unicodedata.normalize("NFKD", term).translate(_LETTERS_ALIKE)
    if not any("a" <= char <= "z" or "\u0370" <= char <= "\u04ff" for char in decomposed):
        return unicodedata.normalize("NFKC", term)
    return "".join(char for char in decomposed if not "\u0300" <= char <= "\u036f")


def _compound(word: str, term: Callable[[str], str]) -> list[str]:
    """Return the terms of an identifier's first parts, so that "tokens" finds `max_tokens`, "passage" finds
    `getPassage`, and "rope" finds "rope¹"."""
    if not word.isascii():
        word = word.translate(_PLAIN_DIGITS)
    if not _COMPOUND.search(word):
        return []
    pieces = (piece.group() for piece in _PARTS.finditer(word))
    parts = list(islice((part for piece in pieces for part in _CAMEL.split(piece)), _MOST_PARTS))
    if len(parts) < 2:
        return []
    return [term(part) for part in parts if len(part) > 1]


def _ngrams_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield the overlapping terms of a text without spaces, pairs or, of letters, triples. A shorter text is a term by itself."""
    size = 3 if _LETTERS.match(text) else 2
    if len(text) <= size:
        yield 0, text
        return
    for offset in range(len(text) - size + 1):
        yield offset, text[offset : offset + size]


def missing_words(term: str) -> float:
    """How many missing words a term counts for that no passage has.

    A word in a text without spaces is one or two terms if it is known, but three or more if it is not, because it also
    makes some with its neighbours. Hiragana alone is mostly grammar, and a question uses other endings than
    a passage, so it counts for nothing. A date has three terms, and an identifier those of its parts.
    """
    if _RUN.fullmatch(term) is None:
        return 1 / 3 if "-" in term or "/" in term else 1.0
    return 0.0 if _HIRAGANA.fullmatch(term) else 1 / 3


def tsvector_literal(title: Sequence[str], body: Sequence[str]) -> str:
    """Return the input text of a PostgreSQL `tsvector`: the title's terms with the label A, then the body's terms, all
    with their positions.

    PostgreSQL keeps at most 255 positions per term and no position above 16383, so further positions are left out. Of
    a title, at most 1000 terms are taken, so that the body has positions left.
    """
    places: dict[str, list[str]] = {}
    for number, term in enumerate(title[:1000], 1):
        places.setdefault(term, []).append(f"{number}A")
    # One position between title and body stays empty.
    offset = min(len(title), 1000) + 1
    for number, term in enumerate(body, offset + 1):
        known = places.setdefault(term, [])
        if len(known) < 255 and number < 16_384:
            known.append(str(number))
    return " ".join(
        "'" + term.replace("\\", "\\\\").replace("'", "''") + "'" + (":" + ",".join(spots) if spots else "")
        for term, spots in places.items()
    )
