"""Markdown as people read it: the lines of a paragraph joined, whatever the source's author wrapped them at. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

_FENCE: Final = re.compile(r"[ \t]*(```|~~~)")
# What begins a block of its own, or is indented as code is: its line break means something.
_BLOCK: Final = re.compile(
    r"[ \t]{4}|\t|[ \t]*(?:[-*+•][ \t]|\d{1,9}[.)][ \t]|#{1,6}[ \t]|[|>]|[-=*_]{3,}[ \t]*$)"
)
_LIST: Final = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]")
_COLUMNS: Final = re.compile(r"\S[ \t]*(?:[ ]{3,}|\t|[ \t]\|[ \t])[ \t]*\S")
_HARD_BREAK: Final = re.compile(r"(?: {2}|\\)$")


def reflow(text: str) -> str:
    """The text with the line breaks within its paragraphs made spaces; code, lists, tables, quotes and headings stay as they are."""
    joined: list[str] = []
    open_paragraph = False
    for line, prose in _lines(text):
        if prose and open_paragraph:
            last = joined[-1].rstrip()
            following = line.lstrip()
            joined[-1] = last + _between(last, following) + following
        else:
            joined.append(line)
        open_paragraph = prose and _HARD_BREAK.search(line) is None
    return "\n".join(joined)


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it belongs to the running text of a paragraph."""
    fence = ""
    in_list = False
    for line in text.replace("\r\n", "\n").split("\n"):
        found = _FENCE.match(line)
        if found is not None and fence in ("", found.group(1)):
            fence = "" if fence else found.group(1)
            in_list = False
            yield line, False
        elif fence or not line.strip():
            in_list = False
            yield line, False
        else:
            # What follows an item without a blank line goes on with it.
            in_list = in_list or _LIST.match(line) is not None
            yield line, not (in_list or _BLOCK.match(line) or _COLUMNS.search(line))


def _between(last: str, following: str) -> str:
    """A space, but for writing that has none between its words."""
    return "" if _unspaced(last[-1:]) and _unspaced(following[:1]) else " "


def _unspaced(character: str) -> bool:
    """Whether it is of Chinese or Japanese writing; Korean, as wide, has spaces."""
    return (
        character != ""
        and unicodedata.east_asian_width(character) in "WF"
        and not unicodedata.name(character, "").startswith("HANGUL")
    )
