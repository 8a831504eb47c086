"""Decides what can be decided without understanding: whether a sentence contradicts its quote in form. Pure functions.

A sentence contradicts its quote if it states a quantity that the quote does not, if it denies what the quote affirms or
the other way round, or if it opposes the quote's bounds (`at least`, `at most`). It confirms nothing: persons and
paraphrases are a judge's (ADR 0094). The words are in one file for each language; other languages have only quantities.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, cast

from responsa_server.text.lexical import Analyzer
from responsa_server.text.quantities import quantities

_LANGUAGES: Final = ("en", "de")
MOST_OPPOSITES: Final = 80
"""The maximum number of pairs of opposites of a language."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class _Forms:
    """The words of a language. bounds: pairs of opposed groups of phrases. opposites: pairs of terms."""

    negations: frozenset[str]
    affirmed: re.Pattern[str]
    bounds: Sequence[tuple[re.Pattern[str], re.Pattern[str]]]
    opposites: Sequence[tuple[str, str]]


def contradicts(sentence: str, quote: str, language: str, analyzer: Analyzer, *, whole: bool = False) -> bool:
    """Whether a sentence contradicts its quote. Both are without markup. language: ISO 639-1, that of both; "" if it is
    not known, and for texts of two languages. whole: whether the quote is a whole passage, which denies some things and
    affirms others, so that negations and opposites are not compared.
    """
    stated = quantities(quote, language, analyzer)
    if not all(one.is_in(stated) for one in quantities(sentence, language, analyzer)):
        return True
    if language not in _LANGUAGES:
        return False
    forms = _forms(language)
    said, quoted = sentence.lower().replace("’", "'"), quote.lower().replace("’", "'")
    for low, high in forms.bounds:
        is_low, said = _without(low, said)
        is_high, said = _without(high, said)
        was_low, quoted = _without(low, quoted)
        was_high, quoted = _without(high, quoted)
        if (is_low, is_high, was_low, was_high) in ((True, False, False, True), (False, True, True, False)):
            return True
    if whole:
        return False
    turned = _denials(said, forms) != _denials(quoted, forms)
    terms, others = set(analyzer.terms(said, language)), set(analyzer.terms(quoted, language))
    for one, other in forms.opposites:
        here, there = (one in terms, other in terms), (one in others, other in others)
        if sorted((here, there)) == [(False, True), (True, False)]:
            turned = not turned
    return turned


def _without(pattern: re.Pattern[str], text: str) -> tuple[bool, str]:
    """Whether a phrase stands in a text, and the text without it: "no more than" denies nothing."""
    found = pattern.sub(" ", text)
    return found != text, found


def _denials(text: str, forms: _Forms) -> bool:
    """Whether a text denies something. A second denial seldom takes back the first: “do not and cannot”."""
    return any(word in forms.negations for word in _WORD.findall(forms.affirmed.sub(" ", text)))


@cache
def _forms(language: str) -> _Forms:
    text = (files("responsa_server.search") / "contradictions" / f"{language}.toml").read_text("utf-8")
    table = cast("dict[str, list[str]]", tomllib.loads(text))
    bounds = cast("list[tuple[list[str], list[str]]]", table["bounds"])
    analyzer = Analyzer()

    def term(word: str) -> str:
        return next(iter(analyzer.terms(word, language)), word.lower())

    pairs = [(term(one), term(other)) for one, other in (pair.split() for pair in table["opposites"])]
    return _Forms(
        frozenset(table["negations"]),
        _phrases(table["affirmed"]),
        [(_phrases(low), _phrases(high)) for low, high in bounds],
        [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1]],
    )


def _phrases(phrases: Sequence[str]) -> re.Pattern[str]:
    # A longer phrase comes first: "no more than" is no "more than".
    alternatives = "|".join(re.escape(one) for one in sorted(phrases, key=len, reverse=True))
    return re.compile(rf"\b(?:{alternatives})\b")
