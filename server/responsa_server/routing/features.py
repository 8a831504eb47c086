"""A message's wording as numbers: hashed words, pairs of words and runs of characters, weighted by how rare they are. Pure.

The embedding of a message tells what it is about; these tell how it is put, which parts intents that share a topic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

DIMENSIONS: Final = 4096
"""Of the hashed space. Twice as many change the accuracy by less than its error."""

MOST_CHARACTERS: Final = 2000
"""Of a message that are read: more only cost time, the intent is told early."""

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_RUNS: Final = (3, 4, 5)


@dataclass(frozen=True, slots=True)
class Wording:
    """A sparse vector of length one (or nothing, of a message without words): places in the hashed space and values there."""

    places: Places
    values: Float


def counted(text: str) -> Wording:
    """How often each hashed feature stands in the message, damped: 1 + ln(count). Not yet weighted, nor of length one."""
    counts = Counter(crc32(feature.encode()) % DIMENSIONS for feature in _features(text))
    places = np.fromiter(sorted(counts), np.int64, len(counts))
    values = np.array([counts[int(place)] for place in places], np.float32)
    return Wording(places, 1 + np.log(values, out=np.zeros_like(values), where=values > 0))


def rarity(wordings: Sequence[Wording]) -> Float:
    """Inverse document frequency of every place, smoothed, [DIMENSIONS]; of what `counted` gives."""
    found = np.zeros(DIMENSIONS, np.int64)
    for wording in wordings:
        found[wording.places] += 1
    return (np.log((1 + len(wordings)) / (1 + found)) + 1).astype(np.float32)


def weighted(wording: Wording, idf: Float) -> Wording:
    """The counts times the rarity, scaled to length one."""
    values = wording.values * idf[wording.places]
    length = float(np.linalg.norm(values))
    return Wording(wording.places, values / np.float32(length) if length else values)


def dense(wordings: Sequence[Wording]) -> Float:
    """The vectors as rows of one matrix, [n, DIMENSIONS]."""
    rows = np.zeros((len(wordings), DIMENSIONS), np.float32)
    for row, wording in zip(rows, wordings, strict=True):
        row[wording.places] = wording.values
    return rows


def _features(text: str) -> Iterator[str]:
    words = _WORD.findall(text[:MOST_CHARACTERS].lower())
    for word in words:
        yield f"w1 {word}"
    for pair in pairwise(words):
        yield f"w2 {' '.join(pair)}"
    if not words:
        return
    joined = f" {' '.join(words)} "
    for length in _RUNS:
        for start in range(len(joined) - length + 1):
            yield f"c{joined[start : start + length]}"
