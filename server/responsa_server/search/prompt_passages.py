"""Chooses the texts of passages that a prompt shows, and that the check of its citations reads. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import (
    NEAR_BYTES,
    FoundPassage,
    NearText,
    OutlinedHeading,
    PassagePiece,
    VectorKind,
    titles_of,
)
from responsa_server.text.instructing import instructing_spans
from responsa_server.text.sentences import paragraph_pieces

SHORT_BYTES: Final = 480
"""The size of a section (120 tokens of 4 bytes) from which on it says enough alone."""
LEAST_BYTES: Final = 160
"""The minimum size of a part of a passage; a shorter part says little."""


@dataclass(frozen=True, slots=True)
class PromptPassage:
    """The part of a passage that a prompt shows, or a passage with its neighbours. source, text: its bytes in the
    canonical text, and the same decoded. found: the passage, whose text contains at least this part.
    """

    found: FoundPassage
    source: ByteRange
    text: str

    @property
    def instructing(self) -> Sequence[tuple[int, int]]:
        """The ranges of characters of the text that give instructions to an assistant, as `instructing_spans` finds them."""
        known = self.found.instructions(self.source)
        if known is None:
            return instructing_spans(self.text)
        data = self.text.encode()
        ends = ((span.start - self.source.start, span.end - self.source.start) for span in known)
        return [(_characters(data[:start]), _characters(data[:end])) for start, end in ends]


def _characters(data: bytes) -> int:
    return len(data.decode(errors="ignore"))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The text directly before and after a passage in its document, whole paragraphs; '' if there is none. headings:
    those above the passage and this text. outline: see `Passage`, of the passage with this text."""

    before: str = ""
    after: str = ""
    headings: Sequence[str] = ()
    outline: Sequence[OutlinedHeading] = ()


def neighbours_of(
    passages: Sequence[FoundPassage],
    around: Mapping[UUID, NearText],
    headings: Mapping[UUID, Sequence[OutlinedHeading]],
) -> Mapping[UUID, Neighbours]:
    """The whole paragraphs next to each of these passages, in the same section; next to a short section, the text of its
    parent. around: at most NEAR_BYTES of text on both sides, with the place of its first byte. headings: those in this text.
    """
    neighbours: dict[UUID, Neighbours] = {}
    for found_passage in passages:
        passage, source = found_passage.passage, found_passage.passage.source
        if passage.id not in around:
            continue
        start, text, *_ = around[passage.id]
        path = passage.path
        is_one = all(heading.start <= source.start for heading in passage.outline)
        if is_one and source.end - source.start < SHORT_BYTES:
            path = path[:-1]
        level = path[-1].level if path else 0
        near = headings.get(passage.id, ())
        edges = [heading.start for heading in near if heading.level <= level]
        first = max((edge for edge in edges if start <= edge <= source.start), default=0)
        last = min((edge for edge in edges if edge >= source.end), default=0)
        before = text[max(first - start, 0) : source.start - start]
        after = text[source.end - start : last - start if last else None]
        if start > first:
            cut = before.find(b"\n\n")
            before = before[cut + 2 :] if cut >= 0 else b""
        if not last and start + len(text) >= source.end + NEAR_BYTES:
            cut = after.rfind(b"\n\n")
            after = after[: cut + 1] if cut >= 0 else b""
        if before.strip() or after.strip():
            neighbours[passage.id] = Neighbours(
                before.decode(errors="ignore"), after.decode(errors="ignore"), titles_of(path), tuple(near)
            )
    return neighbours


def prompt_passages(
    passages: Sequence[FoundPassage], neighbours: Mapping[UUID, Neighbours], most_bytes: int
) -> Sequence[PromptPassage]:
    """The passages in the same order, until titles and texts fill `most_bytes` bytes of UTF-8. Equal passages give equal results.

    The first passage that does not fit is cut at the boundaries of its pieces (sentences, items, rows), and no passage
    follows it. If fewer than LEAST_BYTES would remain of this passage, it is left out, unless no other passage is
    shown. If all passages fit, they get their neighbours as long as these fit, the best passage first.
    """
    chosen: list[PromptPassage] = []
    left = most_bytes
    for found_passage in passages:
        passage = found_passage.passage
        left -= len(passage.title.encode())
        size = passage.source.end - passage.source.start
        if size <= left:
            chosen.append(PromptPassage(found_passage, passage.source, passage.text))
            left -= size
            continue
        part = _part(found_passage, left)
        if part is not None and (not chosen or len(part.text.encode()) >= LEAST_BYTES):
            chosen.append(part)
        return chosen
    for index, prompt_passage in enumerate(chosen):
        found_passage = prompt_passage.found
        beside = neighbours.get(found_passage.passage.id, Neighbours())
        others = [
            other.source
            for other in chosen
            if other is not prompt_passage and other.found.passage.read == found_passage.passage.read
        ]
        for after in (True, False):
            text = (beside.after if after else beside.before).encode()
            room = min(_distances(found_passage.passage.source, others, after=after), default=len(text))
            text = (text[: max(room, 0)] if after else text[max(len(text) - room, 0) :]) if room > 0 else b""
            if not text.strip() or len(text) > left:
                continue
            found_passage = _widen(found_passage, text.decode(errors="ignore"), beside, after=after)
            left -= len(text)
        if found_passage is not prompt_passage.found:
            chosen[index] = PromptPassage(
                found_passage, found_passage.passage.source, found_passage.passage.text
            )
    return chosen


def _distances(span: ByteRange, others: Sequence[ByteRange], *, after: bool) -> Iterator[int]:
    """The bytes between a range and those after or before it; less than 0 if they overlap."""
    for other in others:
        if after and other.end > span.end:
            yield other.start - span.end
        elif not after and other.start < span.start:
            yield span.start - other.end


def _widen(found_passage: FoundPassage, text: str, beside: Neighbours, *, after: bool) -> FoundPassage:
    """The passage with the text that follows or precedes it, of which it has no pieces."""
    passage, source = found_passage.passage, found_passage.passage.source
    size = len(text.encode())
    wide = ByteRange(source.start, source.end + size) if after else ByteRange(source.start - size, source.end)
    return replace(
        found_passage,
        passage=replace(
            passage,
            source=wide,
            text=passage.text + text if after else text + passage.text,
            headings=beside.headings,
            outline=beside.outline,
        ),
        words="",
    )


def with_pieces(passage: FoundPassage) -> FoundPassage:
    """The passage with its pieces; if they were not read, with those that its text alone shows."""
    if passage.pieces:
        return passage
    pieces = _pieces(passage.passage.text, passage.passage.source.start, passage.language)
    return replace(passage, pieces=pieces, words="")


def _pieces(text: str, start: int, language: str) -> Sequence[PassagePiece]:
    """The sentences of the paragraphs of a text that begins at the byte `start`."""
    return [
        PassagePiece(
            VectorKind(paragraph_piece.kind.value),
            ByteRange(paragraph_piece.byte_start, paragraph_piece.byte_end),
            None,
        )
        for paragraph_piece in paragraph_pieces(text, start, language)
    ]


def _part(passage: FoundPassage, room: int) -> PromptPassage | None:
    """The best piece of a passage, with as many neighbouring pieces as fit into `room` bytes, and the text between the
    pieces. None if the best piece alone does not fit."""
    passage = with_pieces(passage)
    quotable = [piece for piece in passage.pieces if piece.kind is not VectorKind.HEADING]
    if not quotable:
        return None
    # If several pieces are equally good, take the first of them. Without vectors, all pieces are equally good.
    best = max(range(len(quotable)), key=lambda index: (quotable[index].cosine or 0.0, -index))
    first = last = best
    if quotable[best].source.end - quotable[best].source.start > room:
        return None
    grown = True
    while grown:
        grown = False
        # The text after a piece explains the piece more often than the text before it does.
        if last + 1 < len(quotable) and quotable[last + 1].source.end - quotable[first].source.start <= room:
            last, grown = last + 1, True
        if first > 0 and quotable[last].source.end - quotable[first - 1].source.start <= room:
            first, grown = first - 1, True
    source = ByteRange(quotable[first].source.start, quotable[last].source.end)
    start = passage.passage.source.start
    text = passage.passage.text.encode()[source.start - start : source.end - start].decode()
    return PromptPassage(passage, source, text)
