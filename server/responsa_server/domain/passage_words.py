"""The words of a passage in the compact form that is stored with it, so that a search splits no text into terms.

A term is stored as its code, a checksum of 32 bits. A question with ten terms meets another term with the same code
about once in 25,000 searches.

The form: its version (a byte), the number of sequences (16 bits), the number of different terms (32 bits). Then the
codes of the different terms (32 bits each) and how often each occurs in the passage (a byte, at most 255). Then the
place at which each sequence ends, and the codes of all sequences one after the other (32 bits each). The first sequence
is that of the title and the headings; one for each piece follows. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import Final
from zlib import crc32

VERSION: Final = 1
"""The version of the form. Words of another version are made again (`ingest/analysing.py`). A migration that changes it
also makes the index `passage_not_analysed` again."""
MOST_COUNTED: Final = 255
"""The greatest number of occurrences that is stored for a term."""
_HEAD: Final = struct.Struct("<BHI")
_CODE: Final = 4


def pack(counts: Mapping[str, int], sequences: Sequence[Sequence[str]]) -> bytes:
    """The form. counts: how often each term occurs in the passage, its title and its headings. sequences: the terms of
    the title and the headings, and those of each piece."""
    terms = sorted(counts)
    ends = accumulate(map(len, sequences))
    return b"".join(
        (
            _HEAD.pack(VERSION, len(sequences), len(counts)),
            _codes(terms),
            bytes(min(counts[term], MOST_COUNTED) for term in terms),
            struct.pack(f"<{len(sequences)}I", *ends),
            _codes(chain.from_iterable(sequences)),
        )
    )


def is_current(words: bytes) -> bool:
    """Whether the words have this version of the form."""
    return words[:1] == bytes((VERSION,))


class WantedTerms:
    """Finds terms in the words of passages."""

    def __init__(self, terms: Iterable[str]) -> None:
        self._codes = {term: _code(term) for term in terms}

    def counts(self, passages: Sequence[bytes]) -> Sequence[Mapping[str, int]]:
        """How often each passage has each of the terms that it has."""
        numbers = [_HEAD.unpack_from(words)[2] for words in passages]
        size = _HEAD.size
        # All passages are searched together, which is much faster than one by one.
        codes, counts = (
            b"".join(
                words[size + low * number : size + high * number]
                for words, number in zip(passages, numbers, strict=True)
            )
            for low, high in ((0, _CODE), (_CODE, _CODE + 1))
        )
        ends = list(accumulate(numbers))
        results: list[dict[str, int]] = [{} for _ in passages]
        for index, term in self._places(codes):
            results[bisect_right(ends, index)][term] = counts[index]
        return results

    def sequences(self, words: bytes) -> Sequence[Sequence[str]]:
        """For each sequence, those of its terms that are wanted, in order."""
        _, number, different = _HEAD.unpack_from(words)
        start = _HEAD.size + (_CODE + 1) * different
        ends = struct.unpack_from(f"<{number}I", words, start)
        results: list[list[str]] = [[] for _ in range(number)]
        for index, term in sorted(self._places(words[start + 4 * number :])):
            results[bisect_right(ends, index)].append(term)
        return results

    def _places(self, codes: bytes) -> Iterator[tuple[int, str]]:
        """Where the wanted terms are among these codes."""
        for term, code in self._codes.items():
            at = codes.find(code)
            while at >= 0:
                if at % _CODE == 0:  # otherwise, parts of two codes
                    yield at // _CODE, term
                at = codes.find(code, at + 1)


def _code(term: str) -> bytes:
    return crc32(term.encode()).to_bytes(_CODE, "little")


def _codes(terms: Iterable[str]) -> bytes:
    return b"".join(map(_code, terms))


def codes_and_counts(words: bytes) -> tuple[bytes, bytes]:
    """The codes of the different terms of a passage (32 bits each, little-endian), and how often each occurs (a byte each)."""
    number = _HEAD.unpack_from(words)[2]
    start, middle = _HEAD.size, _HEAD.size + _CODE * number
    return words[start:middle], words[middle : middle + number]


def code_of(term: str) -> int:
    """The code of a term."""
    return crc32(term.encode())
