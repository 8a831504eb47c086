"""What of the passages found a prompt may show: whole ones, best first, and of the last as much around its best piece as there is room for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, VectorKind
from responsa_server.search.retrieve import ScoredPassage

LEAST_BYTES: Final = 160
"""Less of a passage says little, and is not shown."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A passage and what of it is shown: its text's bytes in `source`, counted in the document as the passage's own `source` is."""

    found: FoundPassage
    source: ByteRange
    text: str


def shown(passages: Sequence[ScoredPassage], most_bytes: int) -> Sequence[Shown]:
    """The passages in their order, until titles and texts have taken so many bytes of UTF-8. The same for the same passages.

    What two documents say in the same words is shown once. One that does not fit whole is cut along its pieces (sentences, items, rows) and ends the list; what would be left of it by then is not shown when it is
    short, unless nothing else is.
    """
    kept: list[Shown] = []
    left = most_bytes
    said = set[str]()
    for one in passages:
        passage = one.found.passage
        if passage.text in said:
            continue
        said.add(passage.text)
        left -= len(passage.title.encode())
        size = passage.source.end - passage.source.start
        if size <= left:
            kept.append(Shown(one.found, passage.source, passage.text))
            left -= size
            continue
        part = _part(one.found, left)
        if part is not None and (not kept or len(part.text.encode()) >= LEAST_BYTES):
            kept.append(part)
        break
    return kept


def _part(found: FoundPassage, room: int) -> Shown | None:
    """Pieces next to each other, the best among them, in so many bytes; what stands between them comes along."""
    quotable = [piece for piece in found.pieces if piece.kind is not VectorKind.HEADING]
    if not quotable:
        return None
    # The first of the best: without vectors that is the passage's beginning.
    best = max(range(len(quotable)), key=lambda place: (quotable[place].cosine or 0.0, -place))
    first = last = best
    if _size(quotable[best].source) > room:
        return None
    grown = True
    while grown:
        grown = False
        # What follows explains more often than what goes before.
        if last + 1 < len(quotable) and quotable[last + 1].source.end - quotable[first].source.start <= room:
            last, grown = last + 1, True
        if first > 0 and quotable[last].source.end - quotable[first - 1].source.start <= room:
            first, grown = first - 1, True
    source = ByteRange(quotable[first].source.start, quotable[last].source.end)
    start = found.passage.source.start
    text = found.passage.text.encode()[source.start - start : source.end - start].decode()
    return Shown(found, source, text)


def _size(source: ByteRange) -> int:
    return source.end - source.start
