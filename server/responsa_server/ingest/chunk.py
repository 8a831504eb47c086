"""Cuts canonical text into passages along the structure of the text. A passage has a maximum number of tokens and repeats the last few
tokens of the previous passage.

The text is divided into atoms, which are never cut. An atom is the text of one token, extended to whole
user-perceived characters, or a stretch that the tokenizer skipped. A passage is a run of atoms. It ends at the best
border within its last part. From best to worst, the borders are: before a heading, between blocks, after a line or
sentence, between words.
Time and memory are linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate

from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.passages import OutlinedHeading, open_headings, titles_of
from responsa_server.text.canonical import Block, BlockKind, ParsedDocument, byte_positions, char_positions
from responsa_server.text.sections import Headings

TokenOffsets = Callable[[str], Sequence[tuple[int, int]]]
"""Returns the (start, end) character offsets of each token of a text, in order, without special tokens and without truncation."""

# Tokenizers get pieces of at most this many characters.
PIECE_CHARS = 8192
# A token with more characters than this counts as several tokens, because a passage must stay small enough to read and to store.
# (A WordPiece tokenizer makes one token of any unknown "word", however long.)
MAX_ATOM_CHARS = 32
# Combining marks may extend an atom to at most this length.
_MAX_CLUSTER_CHARS = 64
# A passage ends before a stretch of blank space that is longer than this.
_MAX_GAP_CHARS = 200

_SENTENCE_END = re.compile(r"[.!?…。！？।؟]['\"”’»)\]]*\Z")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes [byte_start, byte_end) of the canonical text, which decode to `text` exactly.

    `ordinal` counts from 0. `tokens` is the tokenizer's count for the text, or more if one token covers a
    very long stretch. `heading_path` holds the titles of the headings, outermost first, above the first character that
    is not shared with the previous passage. `outline`: the headings above the first character, and those within; those
    above the document's section have the place -1.
    """

    ordinal: int
    byte_start: int
    byte_end: int
    text: str
    tokens: int
    heading_path: tuple[str, ...]
    outline: tuple[OutlinedHeading, ...] = ()


class _Border(IntEnum):
    """How well a passage can end at the border before an atom. A greater value is better."""

    INSIDE_WORD = 0
    WORD = 1
    SENTENCE = 2
    BLOCK = 3
    HEADING = 4


# The kinds of borders. A passage may end at a border once it has the given share of the maximum number of tokens.
_FILLED: tuple[tuple[_Border, float], ...] = (
    (_Border.HEADING, 0.5),
    (_Border.BLOCK, 0.6),
    (_Border.SENTENCE, 0.6),
    (_Border.WORD, 0.75),
)


@dataclass(slots=True)
class _Atoms:
    """The atoms as columns: the character offsets of each atom, its token count, and the border before the atom."""

    starts: array[int]
    ends: array[int]
    weights: array[int]
    borders: bytearray


def chunk_document(
    document: ParsedDocument,
    token_offsets: TokenOffsets,
    chunking: Chunking,
    begins: Set[int] = frozenset(),
    above: Headings = (),
) -> list[Chunk]:
    """Cut a document into passages, in order. Together the passages hold every visible character from `body_start` on.
    Each passage begins at a later character than the previous passage. begins: the byte offsets of blocks before which
    a passage should end, as before a heading. above: the open headings at the beginning, if the document is a section.

    `chunking` must allow at least one token per passage, and an overlap that is smaller than a passage. Raises ValueError otherwise.
    """
    if not 0 <= chunking.overlap_tokens < chunking.max_tokens:
        raise ValueError("the overlap of passages must be at least 0 and less than max_tokens")
    text = document.canonical_text
    data = text.encode()
    edges = char_positions(
        data, [edge for block in document.blocks for edge in (block.byte_start, block.byte_end)]
    )
    spans = [(edges[2 * i], edges[2 * i + 1]) for i in range(len(document.blocks))]
    body = char_positions(data, [document.body_start])[0]
    atoms = _atoms(text, token_offsets, body)
    _mark_blocks(text, atoms, document.blocks, spans, begins)
    paths = _HeadingPaths(document.blocks, spans, above)
    ranges = list(_ranges(atoms, chunking))
    corners = sorted({c for first, last, _ in ranges for c in (atoms.starts[first], atoms.ends[last - 1])})
    place = dict(zip(corners, byte_positions(text, corners), strict=True))
    chunks: list[Chunk] = []
    for ordinal, (first, last, own) in enumerate(ranges):
        start, end = atoms.starts[first], atoms.ends[last - 1]
        chunks.append(
            Chunk(
                ordinal=ordinal,
                byte_start=place[start],
                byte_end=place[end],
                text=text[start:end],
                tokens=sum(atoms.weights[first:last]),
                heading_path=paths.at(atoms.starts[own]),
                outline=paths.outline(start, end),
            )
        )
    return chunks


def _pieces(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Cut [start, len(text)) into pieces for the tokenizer, after white space if possible."""
    while start < len(text):
        end = min(start + PIECE_CHARS, len(text))
        if end < len(text):
            cut = end
            lowest = start + PIECE_CHARS // 2
            while cut > lowest and not text[cut - 1].isspace():
                cut -= 1
            if cut > lowest:
                end = cut
            else:
                while end > lowest and not _may_cut(text, end):
                    end -= 1
                end = end if end > lowest else start + PIECE_CHARS
        yield start, end
        start = end


def _atoms(text: str, token_offsets: TokenOffsets, start: int) -> _Atoms:
    """The atoms of the text from a character on."""
    atoms = _Atoms(array("q"), array("q"), array("q"), bytearray())
    for piece_start, piece_end in _pieces(text, start):
        at = piece_start
        for token_start, token_end in token_offsets(text[piece_start:piece_end]):
            start, end = piece_start + token_start, min(piece_start + token_end, piece_end)
            if end <= at:
                # If a character has several byte-level tokens, all of them have the character's offsets. Count them in
                # the character's atom.
                if token_end > token_start and atoms.weights:
                    atoms.weights[-1] += 1
                continue
            start = max(start, at)
            _append_gap(atoms, text, at, start)
            _append(atoms, text, start, end)
            at = end
        _append_gap(atoms, text, at, piece_end)
    return atoms


def _append_gap(atoms: _Atoms, text: str, start: int, end: int) -> None:
    """Add atoms for the visible characters that no token covers; otherwise no passage would hold them."""
    if start >= end:
        return
    gap = text[start:end]
    if gap.isspace():
        return
    for match in re.finditer(r"\S+", gap):
        _append(atoms, text, start + match.start(), start + match.end())


def _append(atoms: _Atoms, text: str, start: int, end: int) -> None:
    # Some tokenizers include the space before a word in the word's token. A passage must neither begin nor end with
    # space.
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start == end:
        if atoms.weights:
            atoms.weights[-1] += 1
        return
    while start < end:
        stop = min(start + MAX_ATOM_CHARS, end)
        while stop < end and stop > start + 1 and not _may_cut(text, stop):
            stop -= 1
        joined = atoms.ends and atoms.ends[-1] == start and not _may_cut(text, start)
        if joined and stop - atoms.starts[-1] <= _MAX_CLUSTER_CHARS:
            atoms.ends[-1] = stop
            atoms.weights[-1] += 1
            start = stop
            continue
        atoms.borders.append(_border(text, atoms.ends[-1] if atoms.ends else 0, start))
        atoms.starts.append(start)
        atoms.ends.append(stop)
        atoms.weights.append(1)
        start = stop


def _border(text: str, previous_end: int, start: int) -> _Border:
    if start == previous_end:
        # A script without spaces between words also has sentence ends.
        return _Border.SENTENCE if start and text[start - 1] in "。！？" else _Border.INSIDE_WORD
    gap = text[previous_end : min(start, previous_end + _MAX_GAP_CHARS)]
    if "\n" in gap or "\r" in gap:
        return _Border.SENTENCE
    return (
        _Border.SENTENCE
        if _SENTENCE_END.search(text[max(0, previous_end - 4) : previous_end])
        else _Border.WORD
    )


def _may_cut(text: str, place: int) -> bool:
    """Whether a user-perceived character may end at `place`. Covers the common cases of UAX #29."""
    if not 0 < place < len(text):
        return True
    after, before = text[place], text[place - 1]
    if after < "\u0300":
        return not (before == "\r" and after == "\n")
    if unicodedata.category(after) in ("Mn", "Me", "Mc") or after == "\u200d" or before == "\u200d":
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff":
        return False
    if "\U0001f1e6" <= after <= "\U0001f1ff":
        # A flag is a pair of regional indicators: count the indicators before this one, up to a limit.
        run = 0
        while (
            run < _MAX_CLUSTER_CHARS and place > run and "\U0001f1e6" <= text[place - 1 - run] <= "\U0001f1ff"
        ):
            run += 1
        return run % 2 == 0
    # Conjoining Jamo: a leading, a vowel and a trailing form together make one syllable.
    return not ("\u1160" <= after <= "\u11ff" and "\u1100" <= before <= "\u11ff")


def _mark_blocks(
    text: str,
    atoms: _Atoms,
    blocks: Sequence[Block],
    spans: Sequence[tuple[int, int]],
    begins: Set[int],
) -> None:
    """Raise the border before each block, so that passages end between blocks if possible. Remove the border after a
    heading, because a heading belongs to the following text.
    """
    after_heading = False
    previous_end = 0
    for block, (start, end) in zip(blocks, spans, strict=True):
        if block.kind is BlockKind.LIST_ITEM:
            # An item's marker belongs to the item.
            start = max(previous_end, text.rfind("\n", previous_end, start) + 1)
        previous_end = end
        first = bisect_right(atoms.ends, start)
        if first >= len(atoms.starts) or atoms.starts[first] >= end:
            continue
        is_heading = block.kind is BlockKind.HEADING
        if after_heading:
            atoms.borders[first] = _Border.INSIDE_WORD
        else:
            new = is_heading or block.byte_start in begins
            atoms.borders[first] = _Border.HEADING if new else _Border.BLOCK
        after_heading = is_heading


def _ranges(atoms: _Atoms, chunking: Chunking) -> Iterator[tuple[int, int, int]]:
    """Yield the atom indexes (first, last, own) of each passage. The passage holds the atoms [first, last). It shares
    the atoms before `own` with the previous passage.
    """
    count = len(atoms.starts)
    totals = array("q", accumulate(atoms.weights, initial=0))
    gaps = array("q", (k for k in range(1, count) if atoms.starts[k] - atoms.ends[k - 1] > _MAX_GAP_CHARS))
    first = own = 0
    while own < count:
        limit = max(bisect_right(totals, totals[first] + chunking.max_tokens) - 1, own + 1)
        gap = bisect_right(gaps, own)
        if gap < len(gaps):
            limit = min(limit, gaps[gap])
        last = (
            limit
            if limit >= count or (gap < len(gaps) and limit == gaps[gap])
            else _cut(atoms, totals, first, own, limit, chunking)
        )
        yield first, last, own
        if last >= count:
            return
        shared = _shared_from(atoms, totals, last, chunking)
        # The next passage must begin later than this one, and have room for at least one atom that is not shared.
        shared = max(shared, first + 1, bisect_left(totals, totals[last + 1] - chunking.max_tokens))
        if gap < len(gaps) and gaps[gap] == last:
            shared = last
        first, own = min(shared, last), last


def _cut(atoms: _Atoms, totals: array[int], first: int, own: int, limit: int, chunking: Chunking) -> int:
    """The end of a passage that begins at `first`, as the index of the next atom. The passage ends at the latest border of the
    best kind that is within reach.
    """
    for kind, share in _FILLED:
        lowest = max(own + 1, bisect_left(totals, totals[first] + int(share * chunking.max_tokens)))
        found = _latest(atoms.borders, kind, lowest, limit)
        if found is not None:
            return found
    found = _latest(atoms.borders, _Border.WORD, own + 1, limit)
    return limit if found is None else found


def _latest(borders: bytearray, kind: _Border, lowest: int, highest: int) -> int | None:
    """The last place in [lowest, highest] with a border of at least `kind`."""
    found = max(borders.rfind(level, lowest, highest + 1) for level in range(kind, _Border.HEADING + 1))
    return found if found >= 0 else None


def _shared_from(atoms: _Atoms, totals: array[int], last: int, chunking: Chunking) -> int:
    """The atom where the overlap with the next passage begins. The overlap begins with a whole sentence if at least half of the
    overlap then remains, else with a whole word.
    """
    lowest = bisect_left(totals, totals[last] - chunking.overlap_tokens)
    half = bisect_left(totals, totals[last] - chunking.overlap_tokens // 2)
    for kind, highest in ((_Border.SENTENCE, half), (_Border.WORD, last)):
        # The first place in [lowest, highest) with a border of at least `kind`.
        places = [atoms.borders.find(level, lowest, highest) for level in range(kind, _Border.HEADING + 1)]
        found = min((place for place in places if place >= 0), default=None)
        if found is not None:
            return found
    return lowest


class _HeadingPaths:
    def __init__(self, blocks: Sequence[Block], spans: Sequence[tuple[int, int]], above: Headings) -> None:
        found = [OutlinedHeading(-1, level, title) for level, title in above]
        self._starts: list[int] = [0]
        self._open: list[tuple[OutlinedHeading, ...]] = [open_headings(found)]
        for block, (start, _) in zip(blocks, spans, strict=True):
            if block.kind is BlockKind.HEADING:
                heading = OutlinedHeading(block.byte_start, block.level, block.title)
                self._starts.append(start)
                self._open.append(open_headings((*self._open[-1], heading)))

    def at(self, place: int) -> tuple[str, ...]:
        """The path at a character offset; a heading applies from its own first character."""
        return titles_of(self._open[bisect_right(self._starts, place) - 1])

    def outline(self, start: int, end: int) -> tuple[OutlinedHeading, ...]:
        """The headings that are open before the character `start`, and those that begin in [start, end)."""
        first, last = bisect_left(self._starts, max(start, 1)), bisect_left(self._starts, end)
        return (*self._open[first - 1], *(self._open[place][-1] for place in range(first, last)))
