"""Splits a document into pieces, such as sentences, list items and rows, with their byte ranges.

A piece is an exact byte range of the canonical text. An answer may quote any piece except a heading. `sentencex`
(Wikimedia's rule-based segmenter for about 250 languages) splits prose into sentences. Everything else is split along
the document's blocks, so that code is never split and a heading never counts as a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate, pairwise
from typing import Final

import sentencex

from responsa_formats.text.canonical import Block, BlockKind
from responsa_formats.text.inline import STRUCK, find_struck
from responsa_formats.text.languages import STOPWORDS

MAX_PIECE_BYTES: Final = 900
"""A longer sentence, item or row is cut after a clause or a word, because a citation's quote has at most 1 KiB."""

MAX_LEAD_BYTES: Final = 600
"""An introduction that ends in a colon is joined with the list or code after it if the two together have at most this
length.
"""

MAX_PIECES: Final = 64
"""How many pieces a passage keeps for each whole KiB of its text, and if it is shorter. Among 2,620 passages of
ordinary documents, none had more than 43 pieces."""

_LABEL_BYTES: Final = 16
"""A shorter first sentence of a list item, which may be its label, such as "II.", belongs to the sentence after it."""

_MERGED_BYTES: Final = 128
"""The length from which a merged piece takes in no further one: that of a sentence."""

_WINDOW_CHARS: Final = 4096

# Markup that has no meaning for a reader: link definitions and layout tags.
_NO_TEXT: Final = re.compile(
    rb"\[[^\]\n]{1,200}\]:\s|</?(?:div|span|img|p|br|a|table|t[rdh]|center|figure|details|summary|picture|source)\b|<!"
)
_PARAGRAPH: Final = re.compile(r"\n[ \t\r]*\n")
_LETTER: Final = re.compile(r"(?<![^\W\d_]\.)(\s[A-Z])\.(?=\s+([^\W\d_]+))")
"""A capital letter with a dot, such as that of "hall C.", which is an initial if a name follows."""
_APOSTROPHE: Final = re.compile(r"(?<=\w)['’](?=\w)|(?<=s)['’](?=\s)")
"""What the segmenter would take for quotation marks, between which no sentence ends."""
_CLAUSE: Final = re.compile(r"[;:,.!?)\u3001\u3002\uff0c\uff1b][\s\"'”’)]*")


class PieceKind(StrEnum):
    """The kind of a piece. Headings give context and are never quoted."""

    SENTENCE = "sentence"
    ITEM = "item"
    CODE = "code"
    ROW = "row"
    HEADING = "heading"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes [byte_start, byte_end) of the canonical text, without surrounding white space."""

    byte_start: int
    byte_end: int
    kind: PieceKind


def paragraph_pieces(text: str, offset: int, language: str) -> list[Piece]:
    """The pieces of a passage whose blocks are not known: the sentences of its paragraphs. offset: the byte at which
    `text` begins in the canonical text."""
    paragraphs: list[Block] = []
    start = 0
    for part in text.encode().split(b"\n\n"):
        paragraphs.append(Block(BlockKind.PARAGRAPH, start, start + len(part)))
        start += len(part) + 2
    return [
        replace(piece, byte_start=piece.byte_start + offset, byte_end=piece.byte_end + offset)
        for piece in pieces(text, paragraphs, language)
    ]


def pieces(text: str, blocks: Sequence[Block], language: str = "") -> list[Piece]:
    """Return all pieces of a document, in order and without overlaps. Text outside all blocks, pure markup, and what is struck as a whole
    belong to no piece.

    blocks: the document's blocks, in order and without overlaps. Their offsets are bytes of the text in UTF-8.
    """
    source = text.encode()
    result: list[Piece] = []
    any_struck = STRUCK.search(text) is not None
    for block in blocks:
        parts = _of_block(source, block, language or "en")
        result.extend(_standing(source, block, parts) if any_struck else parts)
    return list(_with_leads(source, result))


def merge_pieces(pieces: Sequence[Piece], size: int, limit: int = MAX_PIECES) -> Sequence[Piece]:
    """The pieces of a passage: the same ones, unless they are too many. Then neighbours are merged up to the length of
    a sentence, because each piece costs a vector, and a text of single letters would have hundreds of pieces in a
    passage.

    pieces: the passage's pieces. size: the number of bytes of the passage. limit: the maximum number of pieces for each
    `weight` of the passage.
    """
    if len(pieces) <= limit * weight(size):
        return pieces
    result: list[Piece] = []
    for piece in pieces:
        last = result[-1] if result else None
        if (
            last is None
            or last.byte_end - last.byte_start >= _MERGED_BYTES
            or piece.byte_end - last.byte_start > MAX_PIECE_BYTES
        ):
            result.append(piece)
        else:
            heading = last.kind is piece.kind is PieceKind.HEADING
            kind = PieceKind.HEADING if heading else PieceKind.SENTENCE
            result[-1] = Piece(last.byte_start, piece.byte_end, kind)
    return result


def weight(size: int) -> int:
    """How many times the pieces of a short passage a passage of this many bytes may have."""
    return max(1, size // 1024)


def _of_block(source: bytes, block: Block, language: str) -> Iterator[Piece]:
    start, end = _trim(source, block.byte_start, block.byte_end)
    if start == end:
        return
    match block.kind:
        case BlockKind.HEADING:
            yield Piece(start, end, PieceKind.HEADING)
        case BlockKind.CODE:
            yield Piece(start, end, PieceKind.CODE)
        case BlockKind.TABLE:
            yield from _lines(source, start, end)
        case BlockKind.LIST_ITEM:
            # Most items are short and make sense as a whole. A long item is split like prose.
            if end - start <= MAX_LEAD_BYTES:
                yield Piece(start, end, PieceKind.ITEM)
            else:
                yield from _prose(source, start, end, language, PieceKind.ITEM)
        case BlockKind.PARAGRAPH | BlockKind.QUOTE:
            yield from _prose(source, start, end, language, PieceKind.SENTENCE)


def _standing(source: bytes, block: Block, pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The pieces of a block of which a part is not struck. A struck part that goes on beyond a piece is cut off it.
    Code has no struck parts."""
    start = block.byte_start
    parts = [] if block.kind is BlockKind.CODE else find_struck(source[start : block.byte_end])
    parts = [(start + low, start + high) for low, high in parts]
    first = 0
    for piece in pieces:
        position, begin, end = piece.byte_start, piece.byte_start, piece.byte_end
        left = b""
        while first < len(parts) and parts[first][1] <= position:
            first += 1
        for at in range(first, len(parts)):
            low, high = parts[at]
            if low >= piece.byte_end:
                break
            begin = high if low < piece.byte_start else begin
            end = low if high > piece.byte_end else end
            left += source[position:low]
            position = high
        left += source[position : piece.byte_end]
        if position == piece.byte_start:
            yield piece
        elif any(map(str.isalnum, left.decode(errors="ignore"))):
            yield Piece(*_trim(source, begin, end), piece.kind)


def _prose(source: bytes, start: int, end: int, language: str, kind: PieceKind) -> Iterator[Piece]:
    text = source[start:end].decode()
    position = start
    label = 0
    for sentence in sentences(text, language):
        size = len(sentence.encode())
        if kind is PieceKind.ITEM and position == start and label + size < _LABEL_BYTES:
            label += size
            continue
        size += label
        label = 0
        low, high = _trim(source, position, position + size)
        if not _NO_TEXT.match(source, low, high):
            yield from (Piece(cut_start, cut_end, kind) for cut_start, cut_end in _ranges(source, low, high))
        position += size


def sentences(text: str, language: str) -> Iterator[str]:
    """Yield the sentences as consecutive substrings, which together are the whole text. language: an ISO 639-1 code.

    The time grows with the length of the text: the segmenter, which needs quadratic time for some texts and cannot be
    interrupted, gets short windows.
    """
    stop = STOPWORDS.get(language, frozenset())
    # Paragraphs are segmented one by one; line breaks within a paragraph do not end a sentence.
    start = 0
    for gap in [*(match.end() for match in _PARAGRAPH.finditer(text)), len(text)]:
        while start < gap:
            end = min(gap, start + _WINDOW_CHARS)
            if end < gap:
                end = text.rfind(" ", start, end) + 1 or end
            window = text[start:end]
            shown = _LETTER.sub(
                lambda match: f"{match[1]}{'!' if match[2].istitle() and match[2].lower() in stop else '.'}",
                _APOSTROPHE.sub("\u02bc", window),
            )
            sizes = (len(part["text"]) for part in sentencex.get_sentence_boundaries(language, shown))
            segments = [window[low:high] for low, high in pairwise(accumulate(sizes, initial=0))] or [window]
            if end < gap and len(segments) > 1:
                del segments[-1]  # it may go on after the window
            for sentence in segments:
                yield sentence
                start += len(sentence)


def _lines(source: bytes, start: int, end: int) -> Iterator[Piece]:
    position = start
    for line in source[start:end].splitlines(keepends=True):
        low, high = _trim(source, position, position + len(line))
        position += len(line)
        if source[low:high].strip(b"|:- \t+="):
            for cut_start, cut_end in _ranges(source, low, high):
                yield Piece(cut_start, cut_end, PieceKind.ROW)


def _ranges(source: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the range, in several parts if it is too long. If a clause ends in the second half of the allowed length, the
    part ends there. Otherwise the part ends at a space.
    """
    while end - start > MAX_PIECE_BYTES:
        window = source[start : start + MAX_PIECE_BYTES].decode(errors="ignore")
        half = len(window) // 2
        cut = (
            max((match.end() for match in _CLAUSE.finditer(window, half)), default=0)
            or window.rfind(" ", half) + 1
        )
        low, high = _trim(source, start, start + len(window[: cut or len(window)].encode()))
        yield low, high
        start, _ = _trim(source, start + len(window[: cut or len(window)].encode()), end)
    if end > start:
        yield start, end


def _trim(source: bytes, start: int, end: int) -> tuple[int, int]:
    part = source[start:end]
    left = len(part) - len(part.lstrip())
    return start + left, max(start + left, end - (len(part) - len(part.rstrip())))


def _with_leads(source: bytes, pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Join an introduction such as "To start it, run:" with the code or list after it, because neither part says much alone."""
    index = 0
    while index < len(pieces):
        piece = pieces[index]
        index += 1
        if piece.kind is PieceKind.SENTENCE and source[piece.byte_end - 1 : piece.byte_end] == b":":
            end, follower = index, pieces[index] if index < len(pieces) else None
            if follower is not None and follower.kind is PieceKind.CODE:
                end = index + 1
            elif follower is not None and follower.kind is PieceKind.ITEM:
                while end < len(pieces) and _within_list(source, pieces[end]):
                    end += 1
            if end > index and pieces[end - 1].byte_end - piece.byte_start <= MAX_LEAD_BYTES:
                piece = Piece(piece.byte_start, pieces[end - 1].byte_end, PieceKind.SENTENCE)
                index = end
        yield piece


def _within_list(source: bytes, piece: Piece) -> bool:
    """Whether a piece after a list item is part of the same list: another item, or code that is indented."""
    before = source[source.rfind(b"\n", 0, piece.byte_start) + 1 : piece.byte_start]
    return piece.kind is PieceKind.ITEM or (
        piece.kind is PieceKind.CODE and len(before) >= 2 and before.isspace()
    )


_MARKUP: Final = (
    # Not beyond the next beginning: otherwise, many beginnings without an end would take quadratic time.
    (re.compile(r"<!--(?:(?!<!--|-->).)*-->", re.DOTALL), " "),
    (re.compile(r"!?\[([^\]\n]{0,400}+)\]\([^()\s]{0,1000}+(?:\s+\"[^\"\n]{0,200}\")?\)"), r"\1"),
    (re.compile(r"!?\[([^\]\n]{1,400}+)\]\[[^\]\n]{0,200}+\]"), r"\1"),
    (re.compile(r"^[ \t]*(?:#{1,6}|>|[-*+]|\d{1,9}[.)])[ \t]+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.MULTILINE), ""),
    (STRUCK, " "),
    (re.compile(r"</?[a-zA-Z][^<>]{0,300}>"), " "),
    (re.compile(r"(?<!\w)(\*\*\*|\*\*|\*|___|__|_)(?=\S)([^\n*]{1,500}?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"`+"), ""),
    (re.compile(r"\s+"), " "),
)


_MARK: Final = re.compile(r"[`*_<\[]|~~|^[ \t]*(?:[#>+~-]|\d+[.)])", re.MULTILINE)


def plain(text: str) -> str:
    """Return the text without Markdown markup and struck text, and with its lines joined. The result is for embedding and matching,
    never for quotes.
    """
    if not _MARK.search(text):
        return " ".join(text.split())
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text.strip()
