"""Guesses the language of a text.

The language is guessed from the script and the most common words, in microseconds and without a model. The guess is
good enough to choose a stemmer, and to detect when an English embedding model must not be used. To distinguish related
languages, the guess needs more than a few words. Language codes are ISO 639-1.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from importlib.resources import files
from typing import Final, cast

UNKNOWN: Final = ""
"""The code of an unknown language: the text is too short, or its language has no row below. Such a text is treated as
English.
"""

_SAMPLE_CHARS: Final = 2000
_ENOUGH_LETTERS: Final = 0.3
"""The share of the letters that shows a script. It is far below 1, because Japanese mixes its kana with Chinese characters,
and any script is mixed with Latin names."""

STOPWORDS: Final = {
    code: frozenset(cast("str", words).split())
    for code, words in tomllib.loads(
        (files("responsa_formats.text") / "stopwords.toml").read_text("utf-8")
    ).items()
}
"""The function words of each language, the more common languages first."""

# The languages are in the order of STOPWORDS, the more common languages first, because the first of two languages with
# equal scores wins. One-letter words do not count, because they occur in most languages with Latin script, and after
# apostrophes.
_EVIDENCE: Final = {
    code: frozenset(word for word in words if len(word) > 1) for code, words in STOPWORDS.items()
}

_SCRIPTS: Final = (
    # Kana must come before Han, because Japanese mixes the two scripts.
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("zh", re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff\u0750-\u077f]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("ta", re.compile(r"[\u0b80-\u0bff]")),
    ("hy", re.compile(r"[\u0530-\u058f]")),
)
_WORD: Final = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str:
    """Return the code of the main language at the beginning of the text, or UNKNOWN."""
    return _guess(text)[0]


def is_doubtful(text: str) -> bool:
    """Return whether `language_of(text)` is UNKNOWN, or a language other than English that is recognised by only one
    distinct word, however often that occurs. Such a word may be a name, like "Dan", which is Indonesian for "and", or
    English, like "per".
    """
    return _guess(text)[1]


def language_of_document(text: str) -> str:
    """Return the code of the main language at the beginning of a document. A doubtful one is UNKNOWN, unless the text
    has letters that English does not have."""
    language, doubtful = _guess(text)
    return UNKNOWN if doubtful and has_english_letters(text[:_SAMPLE_CHARS]) else language


def has_english_letters(text: str) -> bool:
    """Whether all letters of a text are those of English, so that it may be English even if its language is not known."""
    return all(map(str.isascii, filter(str.isalpha, text)))


def _guess(text: str) -> tuple[str, bool]:
    sample = text[:_SAMPLE_CHARS].lower()
    words = _WORD.findall(sample)
    letters = sum(map(len, words))
    if not letters:
        return UNKNOWN, True
    if not sample.isascii():
        for code, script in _SCRIPTS:
            if len(script.findall(sample)) >= _ENOUGH_LETTERS * letters:
                return code, False
    counts = Counter(words)
    best, best_score = UNKNOWN, (0, 0)
    for code, evidence in _EVIDENCE.items():
        evident = evidence & counts.keys()
        # A short text may say one word again and again.
        score = len(evident), sum(counts[word] for word in evident)
        if score > best_score:
            best, best_score = code, score
    return best, best_score[0] < 2 and best != "en"
