"""Finds the lines of tables of contents. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from typing import Final

_LEAST: Final = 3
"""The number of such lines below each other. A list of prices may have leader dots too, but its numbers go up and down."""
_LEADER: Final = re.compile(r"(?<![.·\s])\s*+(?:[.·]\s*+){4,}+(\d{1,4}|[ivxlc]{1,6})\Z")
_NOT_LETTERS: Final = re.compile(r"[\W\d_]+")


def contents_lines(lines: Sequence[str]) -> Set[int]:
    """The places of these lines in a document of which `lines` are all lines.

    At least half of the titles of a table of contents come again as other lines.
    """
    leaders = [_LEADER.search(line.replace("…", "...")) for line in lines]
    if sum(leader is not None for leader in leaders) < _LEAST:
        return set()
    others = {_letters(line) for line, leader in zip(lines, leaders, strict=True) if leader is None}
    indexes: set[int] = set()
    for run in _runs(leaders):
        if 2 * sum(title in others for title in run.values()) >= len(run):
            indexes |= run.keys()
    return indexes


def _runs(leaders: Sequence[re.Match[str] | None]) -> Iterator[dict[int, str]]:
    """The letters of the titles by their places, for lines below each other whose page numbers do not fall."""
    run: dict[int, str] = {}
    before = 0
    for index, leader in enumerate([*leaders, None]):
        number = int(leader[1]) if leader and leader[1].isdecimal() else 0
        title = _letters(leader.string[: leader.start()]) if leader else ""
        if title and number >= before:
            run[index] = title
        else:
            if len(run) >= _LEAST:
                yield run
            run = {index: title} if title else {}
        before = number


def _letters(line: str) -> str:
    return _NOT_LETTERS.sub("", line).casefold()
