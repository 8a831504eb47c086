"""Cuts canonical text into passages along the structure of the text. A passage has a maximum number of tokens and
belongs to one section: it ends before each heading. Short neighbouring sections below the same heading are one passage.
Within a section, a passage repeats the last sentences of the previous one.

The text is divided into atoms, which are never cut. An atom is the text of one token, extended to whole
user-perceived characters, or a stretch that the tokenizer skipped. A passage is a run of atoms. Within a section, it
ends at the best border within its last part. From best to worst, the borders are: before another subject, between
blocks, after a sentence or a row, after a line, between words.
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
from itertools import accumulate, pairwise
from typing import Final

from responsa_formats.text.canonical import (
    QUOTED,
    Block,
    BlockKind,
    ParsedDocument,
    byte_positions,
    char_positions,
)
from responsa_formats.text.sections import Headings
from responsa_server.domain.knowledge import Chunking
from responsa_server.domain.passages import OutlinedHeading, common_headings, open_headings, titles_of
from responsa_server.text.sentences import sentences

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

JOINED_TOKENS: Final = 120
"""Neighbouring sections that have fewer tokens together are one passage."""

_LINK: Final = re.compile(r"\[[^\[\]\n]{1,300}\]\([^()\s]{1,1000}\)")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes [byte_start, byte_end) of the canonical text, which decode to `text` exactly.

    `ordinal` counts from 0. `tokens` is the tokenizer's count for the text, or more if one token covers a
    very long stretch. `heading_path` holds the titles of the headings, outermost first, that all of the passage stands
    below; a heading stands below itself. `outline`: the headings above the first character, and those within; those above
    the document's section have the place -1.
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
    LINE = 2
    SENTENCE = 3
    BLOCK = 4
    SUBJECT = 5


# The kinds of borders. A passage may end at a border once it has the given share of the maximum number of tokens.
_FILLED: tuple[tuple[_Border, float], ...] = (
    (_Border.SUBJECT, 0.5),
    (_Border.BLOCK, 0.6),
    (_Border.SENTENCE, 0.6),
    (_Border.LINE, 0.6),
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
    language: str = "",
) -> list[Chunk]:
    """Cut a document into passages, in order. Together the passages hold every visible character from `body_start` on.
    Each passage begins at a later character than the previous passage. begins: the byte offsets of blocks that begin
    another subject. above: the open headings at the beginning, if the document is a section. language: its ISO 639-1
    code, or ''.

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
    outline = _Outline(document.blocks, spans, above)
    totals = array("q", accumulate(atoms.weights, initial=0))
    ranges: list[tuple[int, int]] = []
    for group in _groups(atoms, totals, outline, min(JOINED_TOKENS, chunking.max_tokens)):
        if totals[group.end] - totals[group.start] > chunking.max_tokens:
            _mark_sentences(text, atoms, group, document.blocks, spans, language or "en")
        ranges += _ranges(atoms, totals, group, chunking)
    corners = sorted({c for first, last in ranges for c in (atoms.starts[first], atoms.ends[last - 1])})
    bytes_of = dict(zip(corners, byte_positions(text, corners), strict=True))
    chunks: list[Chunk] = []
    for ordinal, (first, last) in enumerate(ranges):
        start, end = atoms.starts[first], atoms.ends[last - 1]
        chunks.append(
            Chunk(
                ordinal=ordinal,
                byte_start=bytes_of[start],
                byte_end=bytes_of[end],
                text=text[start:end],
                tokens=totals[last] - totals[first],
                heading_path=outline.path(start, end),
                outline=outline.within(start, end),
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
        return _Border.INSIDE_WORD
    gap = text[previous_end : min(start, previous_end + _MAX_GAP_CHARS)]
    return _Border.LINE if "\n" in gap or "\r" in gap else _Border.WORD


def _may_cut(text: str, position: int) -> bool:
    """Whether a user-perceived character may end at `position`. Covers the common cases of UAX #29."""
    if not 0 < position < len(text):
        return True
    after, before = text[position], text[position - 1]
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
            run < _MAX_CLUSTER_CHARS
            and position > run
            and "\U0001f1e6" <= text[position - 1 - run] <= "\U0001f1ff"
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
    heading, because a heading belongs to the text below it.
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
            atoms.borders[first] = _Border.SUBJECT if block.byte_start in begins else _Border.BLOCK
        after_heading = is_heading


@dataclass(frozen=True, slots=True)
class _AtomGroup:
    """Sections that are cut only if they are too long together: the atoms [start, end). section: the first atom of the
    last one."""

    start: int
    section: int
    end: int


def _groups(atoms: _Atoms, totals: array[int], outline: _Outline, limit: int) -> Iterator[_AtomGroup]:
    """All atoms in order. A heading without text of its own stays with the section below it. A section is joined with
    those after it that do not stand further out, while they have fewer than `limit` tokens together; what a mail quotes
    stays alone."""
    edges = [*(bisect_right(atoms.ends, start) for start in outline.starts), len(atoms.starts)]
    units: list[tuple[int, _AtomGroup]] = []
    alone = set[int]()
    level, is_lone = 0, False
    for index, (start, end) in enumerate(pairwise(edges)):
        if start == end:
            continue
        above, level = level, outline.level(index)
        outer, first = units.pop() if is_lone and level > above else (level, _AtomGroup(start, start, end))
        units.append((outer, _AtomGroup(first.start, start, end)))
        if index in outline.quotes:
            alone.update((start, end))
        is_lone = bisect_left(atoms.starts, outline.ends[index]) >= end
    joined: list[tuple[int, _AtomGroup]] = []
    for level, unit in units:
        if joined:
            outer, group = joined[-1]
            if (
                level >= outer
                and not {unit.start, unit.section} & alone
                and totals[unit.end] - totals[group.start] < limit
            ):
                joined[-1] = outer, _AtomGroup(group.start, unit.section, unit.end)
                continue
        joined.append((level, unit))
    return (group for _, group in joined)


def _mark_sentences(
    text: str,
    atoms: _Atoms,
    group: _AtomGroup,
    blocks: Sequence[Block],
    spans: Sequence[tuple[int, int]],
    language: str,
) -> None:
    """Raise the borders before the sentences and the rows of a group. Remove the borders within its links."""
    low, high = atoms.starts[group.start], atoms.ends[group.end - 1]
    for index in range(bisect_right(spans, low, key=lambda span: span[1]), len(spans)):
        (start, end), kind = spans[index], blocks[index].kind
        if start >= high:
            break
        if kind in (BlockKind.HEADING, BlockKind.CODE):
            continue
        table = kind is BlockKind.TABLE
        parts = text[start:end].splitlines(keepends=True) if table else sentences(text[start:end], language)
        for edge in accumulate(map(len, parts), initial=start):
            atom = bisect_left(atoms.starts, edge)
            if start < edge < end and atom < group.end:
                atoms.borders[atom] = max(atoms.borders[atom], _Border.SENTENCE)
        for link in () if table else _LINK.finditer(text, start, end):
            inside = slice(bisect_right(atoms.starts, link.start()), bisect_left(atoms.starts, link.end()))
            atoms.borders[inside] = bytes([_Border.INSIDE_WORD]) * (inside.stop - inside.start)


def _ranges(
    atoms: _Atoms, totals: array[int], group: _AtomGroup, chunking: Chunking
) -> Iterator[tuple[int, int]]:
    """Yield the atoms [first, last) of each passage of a group."""
    gaps = [
        index
        for index in range(group.start + 1, group.end)
        if atoms.starts[index] - atoms.ends[index - 1] > _MAX_GAP_CHARS
    ]
    first = own = group.start
    while own < group.end:
        gap = bisect_right(gaps, own)
        stop = gaps[gap] if gap < len(gaps) else group.end
        limit = max(bisect_right(totals, totals[first] + chunking.max_tokens) - 1, own + 1)
        last = stop if limit >= stop else _cut(atoms, totals, first, own, limit, chunking)
        yield first, last
        own = last
        if last < group.end:
            first = last if last == stop else _overlap_start(atoms, totals, group, first, last, chunking)


def _cut(atoms: _Atoms, totals: array[int], first: int, own: int, limit: int, chunking: Chunking) -> int:
    """The end of a passage that begins at `first`, as the index of the next atom. The passage ends at the latest border of the
    best kind that is within reach.
    """
    for kind, share in _FILLED:
        lowest = max(own + 1, bisect_left(totals, totals[first] + int(share * chunking.max_tokens)))
        cut = _latest(atoms.borders, kind, lowest, limit)
        if cut is not None:
            return cut
    cut = _latest(atoms.borders, _Border.WORD, own + 1, limit)
    return limit if cut is None else cut


def _latest(borders: bytearray, kind: _Border, lowest: int, highest: int) -> int | None:
    """The last place in [lowest, highest] with a border of at least `kind`."""
    latest = max(borders.rfind(level, lowest, highest + 1) for level in range(kind, _Border.SUBJECT + 1))
    return latest if latest >= 0 else None


def _overlap_start(
    atoms: _Atoms, totals: array[int], group: _AtomGroup, first: int, last: int, chunking: Chunking
) -> int:
    """The first atom of the passage after [first, last): that of a whole sentence, row or block of the same section. The
    passage has room for at least one atom that is not shared."""
    room = max(totals[last] - chunking.overlap_tokens, totals[last + 1] - chunking.max_tokens)
    lowest = max(first + 1, group.section, bisect_left(totals, room))
    places = (
        atoms.borders.find(level, lowest, last) for level in range(_Border.SENTENCE, _Border.SUBJECT + 1)
    )
    return min((start for start in places if start >= 0), default=last)


class _Outline:
    """The headings of a document. starts, ends: the characters of each, and before them 0 for what stands above the first one.
    quotes: the indexes of those above messages that a mail quotes."""

    def __init__(self, blocks: Sequence[Block], spans: Sequence[tuple[int, int]], above: Headings) -> None:
        self.starts: list[int] = [0]
        self.ends: list[int] = [0]
        self.quotes = set[int]()
        self._open = [open_headings(OutlinedHeading(-1, level, title) for level, title in above)]
        for block, (start, end) in zip(blocks, spans, strict=True):
            if block.kind is BlockKind.HEADING:
                heading = OutlinedHeading(block.byte_start, block.level, block.title)
                self.starts.append(start)
                self.ends.append(end)
                if block.place is not None and block.place.path == QUOTED:
                    self.quotes.add(len(self._open))
                self._open.append(open_headings((*self._open[-1], heading)))

    def level(self, index: int) -> int:
        """The level of a heading; 0 if there is none."""
        return self._open[index][-1].level if self._open[index] else 0

    def path(self, start: int, end: int) -> tuple[str, ...]:
        """What all characters of [start, end) stand below."""
        first, last = bisect_right(self.starts, start) - 1, bisect_left(self.starts, end)
        return titles_of(common_headings(self._open[first:last]))

    def within(self, start: int, end: int) -> tuple[OutlinedHeading, ...]:
        """The headings that are open before the character `start`, and those that begin in [start, end)."""
        first, last = bisect_left(self.starts, max(start, 1)), bisect_left(self.starts, end)
        return (*self._open[first - 1], *(self._open[index][-1] for index in range(first, last)))
