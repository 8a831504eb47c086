"""Raised, lowered and struck text in plain characters: 10⁶, x^(a+1), H₂O, T_max, ~~80 euros~~.

A parser marks the text of each run with `mark_form`, and calls `settle_marks` for the whole paragraph, because what the page
shows as one may be several runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_RAISED: Final = str.maketrans("0123456789+-−–=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁼⁽⁾ⁿⁱ")
_LOWERED: Final = str.maketrans("0123456789+-−–=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₋₌₍₎")
# Raised ends of ordinal numbers and of abbreviations, which are as often written without.
_ENDINGS: Final = re.compile(
    "st|nd|rd|th|ers?|re|ère|es?|è|ème|mes?|lles?|gr|os|as|r|d[oa]|t[oa]", re.IGNORECASE
)
_SIGNS: Final = {"TM": "™", "SM": "℠", "a": "ª", "o": "º"}
_NOTE: Final = re.compile(r"\[\w+\]")
_SIMPLE: Final = re.compile(r"\d+(?:[.,]\d+)?|[^\W\d_]+|.")

# Control characters, which no text of these formats holds. APART keeps what it stands between apart, if both are letters or figures.
APART: Final = "\x07"
_MARKS: Final = "\x01\x02\x03\x04\x05\x06\x07"
_UNMARKED: Final = str.maketrans("", "", _MARKS)
_SAME: Final = re.compile("\x06\x05|\x02(?:\x06\x05)?\x01|\x04(?:\x06\x05)?\x03")
_RUNS: Final = (re.compile("\x01([^\x01\x02]*)\x02"), re.compile("\x03([^\x03\x04]*)\x04"))
_STRUCK_RUN: Final = re.compile("\x05([^\x05\x06]*)\x06")
_APART: Final = re.compile(rf"(?<=\w){APART}+(?=\w)")

# What is struck ends before a paragraph does. It never goes on over the beginning of another struck part, so that the
# time is linear. Marks within code do not count.
_STRUCK: Final = (
    r"(?<![`~])(?:~~(?=[^\s~])(?:(?!~~|\n[ \t]*\n).)++(?<=\S)~~"
    r"|<(del|s|strike)(?:\s[^<>]*+)?>(?:(?!</?(?:del|s|strike)\b|\n[ \t]*\n).)*+</\1\s*>)(?![`~])"
)
STRUCK: Final = re.compile(_STRUCK, re.DOTALL | re.IGNORECASE)
"""Struck text, in plain characters or by tags of HTML."""
_STRUCK_BYTES: Final = re.compile(_STRUCK.encode(), re.DOTALL | re.IGNORECASE)


class Form(NamedTuple):
    """How a run is shown. shift: 1 if it is raised, -1 if it is lowered. struck: whether a line goes through it."""

    shift: int = 0
    struck: bool = False


def superscript(text: str) -> str:
    """Superscript: "6" as "⁶", "a+1" as "^(a+1)". The ends of "5th" and "Mme", and signs such as *, ® and [1], stay as they are."""
    core = text.strip()
    sign = not any(map(str.isalnum, core)) and not _in(_RAISED, core)
    if sign or _ENDINGS.fullmatch(core) or _NOTE.fullmatch(core):
        return text
    return _SIGNS.get(core) or _shift(text, core, "^", _RAISED)


def subscript(text: str) -> str:
    """Subscript: "2" as "₂", "max" as "_max"."""
    return _shift(text, text.strip(), "_", _LOWERED)


def power(text: str) -> str:
    """As `superscript`, in an equation, where letters are never the end of a word."""
    return _shift(text, text.strip(), "^", _RAISED)


def _shift(text: str, core: str, sign: str, table: Mapping[int, int]) -> str:
    if not core:
        return text
    before, _, after = text.partition(core)
    dense = core.replace(" ", "")
    if _in(table, dense):
        return f"{before}{dense.translate(table)}{after}"
    return f"{before}{sign}{core if _SIMPLE.fullmatch(core) else f'({core})'}{after}"


def _in(table: Mapping[int, int], text: str) -> bool:
    return all(ord(letter) in table for letter in text)


def strike_out(text: str) -> str:
    """Text with a line through it: "80 euros" as "~~80 euros~~". White space at its ends stays outside."""
    core = text.strip()
    if not core:
        return text
    before, _, after = text.partition(core)
    return f"{before}~~{core}~~{after}"


def remove_marks(text: str) -> str:
    """The text without the characters that `mark_form` uses."""
    return text.translate(_UNMARKED)


def mark_form(text: str, form: Form) -> str:
    """The text of a run, with marks for `settle_marks`."""
    if form.shift and text:
        text = f"\x01{text}\x02" if form.shift > 0 else f"\x03{text}\x04"
    return f"\x05{text}\x06" if form.struck and text else text


def settle_marks(text: str) -> str:
    """The text of a paragraph with its marked runs written out. Neighbouring runs of the same form are one."""
    text = _SAME.sub("", text)
    for pattern, write in zip(_RUNS, (superscript, subscript), strict=True):
        text = pattern.sub(lambda match, write=write: write(match.group(1)), text)
    text = _STRUCK_RUN.sub(lambda match: strike_out(match.group(1)), text)
    return remove_marks(_APART.sub(" ", text))


def find_struck(source: bytes) -> list[tuple[int, int]]:
    """The ranges of bytes of UTF-8 text that are struck, in order."""
    return [match.span() for match in _STRUCK_BYTES.finditer(source)]
