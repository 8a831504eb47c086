"""Checks a model's answer from a person's record: each figure, level and name in it must stand in the passages that its sentence cites. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.agents.engine.citations import Mark, claims, sentence_ranges
from responsa_server.text.figures import numbers_in
from responsa_server.text.names import WORD, without_s

_LEVELS: Final = re.compile(
    r"\b(?:(?:very|extremely|exceptionally|rather|quite|fairly) )?(?:high|low|strong|weak)\b|\b(?:(?:above|below|over|under)[ -])?average\b|\b(?:excellent|outstanding|poor|moderate|medium)\b",
    re.IGNORECASE,
)
_NO_NAME: Final = "it this that these those there here what which who he she let nothing neither none nobody everything everybody everyone each one both all either today your yours you"
_NO_NAMES: Final = frozenset(_NO_NAME.split())
"""Words that begin sentences such as “That is high.” and “Here's how.”."""
_SAYS: Final = frozenset(["is", "was", "has", "had", "scores", "scored"])
"""The verbs before which the first word of a sentence is what the sentence is about."""
_MARKER: Final = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)]|#{1,6})\s+")
_UNITS: Final = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES: Final = {
    **{word: number for number, word in enumerate(_UNITS.split())},
    **{word: 10 * number for number, word in enumerate(_TENS.split(), 2)},
}
_SPELLED: Final = re.compile(
    rf"\b(?:(?P<tens>{'|'.join(_TENS.split())})(?:[- ](?P<unit>{'|'.join(_UNITS.split()[1:10])}))?|(?P<teen>{'|'.join(_UNITS.split()[11:])}))\b",
    re.IGNORECASE,
)
_MOST_UNCITED: Final = 2
"""The number of sentences of an answer without any citation, such as “Your record does not say that.”."""
_SHARED: Final = 4
"""If two sentences share a word of at least this length, they are about the same thing."""
_RARE: Final = 0.3
_SHOWN: Final = 120


@dataclass(frozen=True, slots=True)
class _Line:
    """The figures and levels of a line of a passage, and its long words."""

    facts: frozenset[str]
    words: frozenset[str]


def problem_of(text: str, marks: Sequence[Mark], passages: Sequence[str], supported: Sequence[bool]) -> str:
    """Why the answer must not be sent, as a sentence for the model; "" if it may be sent.

    passages: the passages of the prompt, with their titles; the marks name them from 1. supported: for each claim of `claims(text, marks)`, whether its passage supports it.
    """
    found = claims(text, marks)
    for one, good in zip(found, supported, strict=True):
        if not good:
            return f"The passage [{one.passage}] does not say: “{_short(one.text)}”."
    known = {word.casefold() for one in passages for word in WORD.findall(one)}
    # Each line is read once, however many figures the answer has: this runs in the event loop.
    read = [
        [_Line(_facts(line), _long_words(line)) for line in one.splitlines() if line.strip()]
        for one in passages
    ]
    data, cited = text.encode(), 0
    said = [one for one in sentence_ranges(text) if data[one.start : one.end].strip()]
    for one in said:
        sentence = _MARKER.sub("", data[one.start : one.end].decode())
        numbers = {
            claim.passage for claim in found if claim.source.start < one.end and one.start < claim.source.end
        }
        cited += bool(numbers)
        strange = [name for name in _names(sentence) if name.casefold() not in known]
        if strange:
            return f"No passage has the name “{strange[0]}”."
        facts = _facts(sentence)
        if facts and not numbers:
            return f"The sentence “{_short(sentence)}” has a figure or a level and cites no passage."
        lines = [line for number in numbers if number <= len(read) for line in read[number - 1]]
        subject = _subject(sentence, lines)
        for fact in sorted(facts):
            if not any(
                fact in line.facts and not (subject and line.words.isdisjoint(subject)) for line in lines
            ):
                return f"The cited passages do not support “{fact}” as it stands in the sentence “{_short(sentence)}”."
    if not cited and len(said) > _MOST_UNCITED:
        return "The answer cites no passage."
    return ""


def _facts(sentence: str) -> frozenset[str]:
    """The figures and the levels that a sentence names. Numbers up to ten that are written as words do not count."""
    spelled = {
        str(_VALUES[(one["tens"] or one["teen"]).lower()] + _VALUES.get((one["unit"] or "zero").lower(), 0))
        for one in _SPELLED.finditer(sentence)
    }
    return frozenset(numbers_in(sentence) | spelled | {one.lower() for one in _LEVELS.findall(sentence)})


def _subject(sentence: str, lines: Sequence[_Line]) -> frozenset[str]:
    """The words of a sentence that few of the lines have, without its levels. A line about the same has one of them; empty if all lines may be about the same."""
    levels = {word for one in _LEVELS.findall(sentence) for word in one.casefold().split()}
    counts = Counter(word for line in lines for word in line.words)
    # A word of nearly all lines, such as the person's name or “points”, does not say what a line is about.
    most = max(2, len(lines) * _RARE)
    return frozenset(word for word in _long_words(sentence) - levels if 0 < counts[word] <= most)


def _long_words(text: str) -> frozenset[str]:
    return frozenset(without_s(word.casefold()) for word in WORD.findall(text) if len(word) >= _SHARED)


def _names(sentence: str) -> Sequence[str]:
    """The capitalised words of a sentence; its first word only before a verb such as “is”, or with “'s”."""
    words = list(WORD.finditer(sentence))
    first = [without_s(one.group()) for one in words[:1]]
    about = len(words) > 1 and words[1].group().casefold() in _SAYS
    if first and (first[0].casefold() in _NO_NAMES or not (about or first[0] != words[0].group())):
        first = []
    return first + [
        without_s(one.group())
        for one in words[1:]
        if one.group()[0].isupper()
        and not one.group().startswith(("I'", "I’"))
        and one.group() != "I"
        and not sentence[: one.start()].rstrip().endswith((":", "“", '"', "*", "–", "—"))
    ]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
