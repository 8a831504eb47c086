"""Compares two texts by lines, in bounded time and memory.

The method is the patience difference: lines that occur once in each text, in the same order, are anchors, and the texts
between two anchors are compared in the same way. Short stretches without anchors are compared by difflib. Long ones
count as replaced: the comparison is then coarse, and never wrong.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from responsa_contract import HunkKind
from responsa_server.domain.events import ByteRange

MAX_BYTES: Final = 8 * 1024 * 1024
"""The maximum length of the text that is compared on each side, after the beginning and the end that both sides share."""
MAX_LINES: Final = 100_000
"""The maximum number of lines of that text."""
MAX_HUNKS: Final = 500
"""The maximum number of hunks of a comparison."""

_MAX_STRETCH: Final = 256
"""The maximum number of lines of a text that difflib compares, because its time grows with their square."""


@dataclass(frozen=True, slots=True)
class Hunk:
    """Whole lines of both texts. base, other: their bytes; one is empty if the lines were inserted or deleted."""

    kind: HunkKind
    base: ByteRange
    other: ByteRange


@dataclass(frozen=True, slots=True)
class Comparison:
    """The hunks of two texts. Together they cover both texts in order. cut: whether a hunk of the kind REPLACED stands
    for text that was not compared."""

    hunks: Sequence[Hunk]
    cut: bool


def compare(base: bytes, other: bytes) -> Comparison:
    """Compare two texts in UTF-8. Takes at most a few seconds, whatever the texts are."""
    first, second = np.frombuffer(base, np.uint8), np.frombuffer(other, np.uint8)
    before = _equal_bytes(first, second)
    if not before == len(base) == len(other):
        before = base.rfind(b"\n", 0, before) + 1
    # Whole lines at the end that are equal and begin after `before`.
    line_end = base.find(b"\n", len(base) - _equal_bytes(first[before:][::-1], second[before:][::-1]))
    after = 0 if line_end < 0 else len(base) - line_end - 1
    base_end, other_end = len(base) - after, len(other) - after
    base_lines = base[before : min(base_end, before + MAX_BYTES)].splitlines(keepends=True)[:MAX_LINES]
    other_lines = other[before : min(other_end, before + MAX_BYTES)].splitlines(keepends=True)[:MAX_LINES]
    base_starts = list(accumulate(map(len, base_lines), initial=before))
    other_starts = list(accumulate(map(len, other_lines), initial=before))
    cut = base_starts[-1] < base_end or other_starts[-1] < other_end
    found = _Pairs(base_lines, other_lines).matches()
    made = _Hunks()
    made.equal(before)
    for i, j, count in (*found, (len(base_lines), len(other_lines), 0)):
        made.differ(base_starts[i], other_starts[j])
        made.equal(base_starts[i + count] - base_starts[i])
    made.differ(base_end, other_end)
    made.equal(after)
    if len(made.hunks) <= MAX_HUNKS:
        return Comparison(made.hunks, cut)
    kept = made.hunks[: MAX_HUNKS - 1]
    if kept[-1].kind is not HunkKind.EQUAL:
        kept.pop()
    rest = Hunk(
        HunkKind.REPLACED,
        ByteRange(kept[-1].base.end, len(base)),
        ByteRange(kept[-1].other.end, len(other)),
    )
    return Comparison((*kept, rest), cut=True)


class _Hunks:
    def __init__(self) -> None:
        self.hunks: list[Hunk] = []
        self._base = self._other = 0

    def equal(self, length: int) -> None:
        self._add(HunkKind.EQUAL, self._base + length, self._other + length)

    def differ(self, base: int, other: int) -> None:
        if other == self._other:
            kind = HunkKind.DELETED
        else:
            kind = HunkKind.INSERTED if base == self._base else HunkKind.REPLACED
        self._add(kind, base, other)

    def _add(self, kind: HunkKind, base: int, other: int) -> None:
        if base == self._base and other == self._other:
            return
        begun = self.hunks.pop() if self.hunks and self.hunks[-1].kind is kind else None
        first = (self._base, self._other) if begun is None else (begun.base.start, begun.other.start)
        self.hunks.append(Hunk(kind, ByteRange(first[0], base), ByteRange(first[1], other)))
        self._base, self._other = base, other


def _equal_bytes(base: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """The number of equal bytes at the beginning of both."""
    length = min(len(base), len(other))
    differ = base[:length] != other[:length]
    return int(differ.argmax()) if differ.any() else length


_Match = tuple[int, int, int]
"""The index of a line in each text, and the number of equal lines from there on."""
_Part = tuple[int, int, int, int]
"""The lines [first, last) of both texts."""


class _Pairs:
    def __init__(self, base: Sequence[bytes], other: Sequence[bytes]) -> None:
        numbers: dict[bytes, int] = {}
        self._base = [numbers.setdefault(line, len(numbers)) for line in base]
        self._other = [numbers.setdefault(line, len(numbers)) for line in other]

    def matches(self) -> Sequence[_Match]:
        matches: list[_Match] = []
        parts: list[_Part] = [(0, len(self._base), 0, len(self._other))]
        while parts:
            first, last, other_first, other_last = parts.pop()
            start, end = self._trimmed(first, last, other_first, other_last)
            matches += [(first, other_first, start), (last - end, other_last - end, end)]
            part = (first + start, last - end, other_first + start, other_last - end)
            if part[0] == part[1] or part[2] == part[3]:
                continue
            anchors = self._anchors(part)
            if not anchors:
                matches += self._stretch(part)
                continue
            at = (part[0], part[2])
            for anchor in anchors:
                parts.append((at[0], anchor[0] + 1, at[1], anchor[1] + 1))
                at = (anchor[0] + 1, anchor[1] + 1)
            parts.append((at[0], part[1], at[1], part[3]))
        return sorted(match for match in matches if match[2])

    def _trimmed(self, first: int, last: int, other_first: int, other_last: int) -> tuple[int, int]:
        most = min(last - first, other_last - other_first)
        start = 0
        while start < most and self._base[first + start] == self._other[other_first + start]:
            start += 1
        end = 0
        while end < most - start and self._base[last - 1 - end] == self._other[other_last - 1 - end]:
            end += 1
        return start, end

    def _anchors(self, part: _Part) -> Sequence[tuple[int, int]]:
        """The lines that occur once on each side of a part: as many as are in the same order on both sides."""
        once = self._once(self._base, part[0], part[1])
        other_once = self._once(self._other, part[2], part[3])
        pairs = [(i, other_once[line]) for line, i in once.items() if line in other_once]
        # The longest increasing subsequence (patience sorting). The dictionary keeps the order of the lines.
        tails: list[int] = []
        ends: list[int] = []
        previous: list[int] = []
        for place, (_, j) in enumerate(pairs):
            pile = bisect_left(tails, j)
            previous.append(ends[pile - 1] if pile else -1)
            if pile == len(tails):
                tails.append(j)
                ends.append(place)
            else:
                tails[pile], ends[pile] = j, place
        kept: list[tuple[int, int]] = []
        place = ends[-1] if ends else -1
        while place >= 0:
            kept.append(pairs[place])
            place = previous[place]
        return kept[::-1]

    def _once(self, lines: Sequence[int], first: int, last: int) -> dict[int, int]:
        """The lines of a range that occur once in it, with their indexes."""
        found: dict[int, int] = {}
        for i in range(first, last):
            found[lines[i]] = -1 if lines[i] in found else i
        return {line: i for line, i in found.items() if i >= 0}

    def _stretch(self, part: _Part) -> Iterator[_Match]:
        """The matches of a part that has no anchors; none if it is long."""
        first, last, other_first, other_last = part
        if max(last - first, other_last - other_first) > _MAX_STRETCH:
            return
        lines, others = self._base[first:last], self._other[other_first:other_last]
        for match in SequenceMatcher(None, lines, others).get_matching_blocks():
            yield first + match.a, other_first + match.b, match.size
