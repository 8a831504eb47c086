"""Chooses the texts of passages that a prompt shows, and that the check of its citations reads. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.text.instructing import instructing_spans
from responsa_server.text.sentences import paragraph_pieces

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
        ends = ((one.start - self.source.start, one.end - self.source.start) for one in known)
        return [(_characters(data[:start]), _characters(data[:end])) for start, end in ends]


def _characters(data: bytes) -> int:
    return len(data.decode(errors="ignore"))


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The text directly before and after a passage in its document, whole paragraphs; '' if there is none."""

    before: str = ""
    after: str = ""


def neighbours_of(
    passages: Sequence[FoundPassage], around: Mapping[UUID, tuple[int, bytes]]
) -> Mapping[UUID, Neighbours]:
    """The whole paragraphs next to each of these passages. around: the text around them, with the place of its first byte."""
    neighbours: dict[UUID, Neighbours] = {}
    for one in passages:
        passage = one.passage
        if passage.id not in around:
            continue
        start, text = around[passage.id]
        before = text[: passage.source.start - start]
        after = text[passage.source.end - start :]
        if start:
            cut = before.find(b"\n\n")
            before = before[cut + 2 :] if cut >= 0 else b""
        # The text goes on to the end of the document if it is shorter than what was asked for; a whole paragraph ends
        # there or before an empty line.
        cut = after.rfind(b"\n\n")
        after = after[: cut + 1] if cut >= 0 else b""
        if before.strip() or after.strip():
            neighbours[passage.id] = Neighbours(before.decode(errors="ignore"), after.decode(errors="ignore"))
    return neighbours


def prompt_passages(
    passages: Sequence[FoundPassage], neighbours: Mapping[UUID, Neighbours], most_bytes: int
) -> Sequence[PromptPassage]:
    """The passages in the same order, until titles and texts fill `most_bytes` bytes of UTF-8. Equal passages give equal results.

    The first passage that does not fit is cut at the boundaries of its pieces (sentences, items, rows), and no passage
    follows it. If fewer than LEAST_BYTES would remain of this passage, it is left out, unless no other passage is
    shown. If all passages fit, they get their neighbours as long as these fit, the best passage first.
    """
    kept: list[PromptPassage] = []
    left = most_bytes
    for found_passage in passages:
        passage = found_passage.passage
        left -= len(passage.title.encode())
        size = passage.source.end - passage.source.start
        if size <= left:
            kept.append(PromptPassage(found_passage, passage.source, passage.text))
            left -= size
            continue
        part = _part(found_passage, left)
        if part is not None and (not kept or len(part.text.encode()) >= LEAST_BYTES):
            kept.append(part)
        return kept
    for place, prompt_passage in enumerate(kept):
        found_passage = prompt_passage.found
        for after in (True, False):
            beside = neighbours.get(found_passage.passage.id, Neighbours())
            text = beside.after if after else beside.before
            size = len(text.encode())
            if not text or size > left:
                continue
            wider = _widened(found_passage, text, after=after)
            if any(
                _overlap(wider.passage.source, other.source)
                for other in kept
                if other is not prompt_passage
                and other.found.passage.document_id == found_passage.passage.document_id
            ):
                continue
            found_passage = wider
            left -= size
        if found_passage is not prompt_passage.found:
            kept[place] = PromptPassage(
                found_passage, found_passage.passage.source, found_passage.passage.text
            )
    return kept


def _overlap(span: ByteRange, other: ByteRange) -> bool:
    return span.start < other.end and other.start < span.end


def _widened(found_passage: FoundPassage, text: str, *, after: bool) -> FoundPassage:
    """The passage with the text that follows or precedes it, of which it has no pieces."""
    passage, source = found_passage.passage, found_passage.passage.source
    size = len(text.encode())
    wide = ByteRange(source.start, source.end + size) if after else ByteRange(source.start - size, source.end)
    return replace(
        found_passage,
        passage=replace(passage, source=wide, text=passage.text + text if after else text + passage.text),
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
    best = max(range(len(quotable)), key=lambda place: (quotable[place].cosine or 0.0, -place))
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
