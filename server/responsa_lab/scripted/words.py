"""Words and sentences, as far as a scripted model understands them: English."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_ENDINGS: Final = ("ing", "ed", "es", "s")
_SHORTEST_STEM: Final = 3
_SENTENCE: Final = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)\s+(?=[\"“(]?[A-Z0-9])|\n+")
_LINE_MARK: Final = re.compile(r"^(?:[-*+]|\d+\.)\s+")
_SMALL_WORDS: Final = """
    a an the and or but if so of in on at by to for from with without about into over under between as than then is are was were be been being am
    do does did has have had having will would can could shall should may might must i you we they he she it me my your our us them their his her its
    not no yes what which who whom whose when where why how much many more most some any there also too very just please tell explain give show say
    mean means this that these those let lets out up down here again only own other such one
"""
_SMALL: Final = frozenset(_SMALL_WORDS.split())
_POINTING: Final = re.compile(
    r"\b(it|its|they|them|their|he|him|his|she|her|this|those|these|that one|there)\b"
    r"|\bthat(?=\s*[?.!]|\s+(?:is|was|mean|work|happen|one)\b)"
    r"|^(?:and|but|or|so|then|what about|how about|why|shorter|longer|make it|more)\b[^?]{0,40}\??$",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """In lower case."""
    return [one.lower() for one in _WORD.findall(text)]


def content(text: str) -> list[str]:
    """The words that carry meaning, each once, as they stand."""
    found = {one.lower(): one for one in reversed(_WORD.findall(text)) if one.lower() not in _SMALL}
    return list(reversed(found.values()))


def stems(text: str) -> frozenset[str]:
    """The meaning words without their endings."""
    return frozenset(_stem(one.lower()) for one in content(text))


def sentences(text: str) -> Sequence[str]:
    """As they stand, without headings, marks of lists and lines that are no prose."""
    found: list[str] = []
    for one in _SENTENCE.split(text):
        sentence = _LINE_MARK.sub("", one.strip())
        if sentence and not sentence.startswith(("#", "|", "```")) and _WORD.search(sentence):
            found.append(sentence)
    return found


def points_back(question: str) -> bool:
    """Whether a question cannot be understood alone."""
    return _POINTING.search(question.strip()) is not None


def _stem(word: str) -> str:
    word = re.sub(r"['’]s?$", "", word)
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    return word.rstrip("e")
