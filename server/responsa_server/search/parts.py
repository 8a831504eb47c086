"""The parts of a passage that an answer may show: a piece alone, or with the neighbours without which it says little.

A sentence such as "It was built in 1712" needs the sentence before it, "To start it, run:" the code after it, and code the sentence that leads
to it. A part is one range of the canonical text, so that a citation quotes it byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, VectorKind
from responsa_server.text.rows import NAMED_ROWS
from responsa_server.text.shown import (
    MARKDOWN,
    Origin,
    header_of,
    is_header,
    shown_blocks,
    shown_code,
    shown_item,
    shown_prose,
    shown_row,
)

READ_BEFORE_BYTES: Final = 16 * 1024
"""How much of the text before a passage is read to find the header of the table that the passage begins in, if the header's place is not stored."""
MAX_PART_BYTES: Final = 1_200
"""The greatest length of a part of several pieces."""
MAX_ANTECEDENT_BYTES: Final = 600
"""The greatest length of a sentence together with the sentences before it that it depends on."""
MAX_PARAGRAPH_BYTES: Final = 400
"""The greatest length of a sentence together with other sentences of its paragraph."""
_MAX_BACK: Final = 2
_LABEL_WORDS: Final = 6

_MARK: Final = r"(?:[-*+] |\d{1,3}[.)] )?[*_\"“(]{0,3}"
_REFERS: Final = re.compile(
    rf"{_MARK}(?:(?:see(?: also)?|read|refer to) )?\[[^\]]+\](?:\((?!mailto:)[^)]*\)|\[[^\]]*\])[.!]?",
    re.IGNORECASE,
)

_DEPENDENT: Final = re.compile(
    rf"{_MARK}(?:so|therefore|thus|hence|however|but|and|or|then|otherwise|instead|also|nevertheless|moreover|furthermore|additionally"
    r"|conversely|similarly|likewise|consequently|it|its|they|their|them|he|she|his|her|both|neither"
    r"|(?:this|that|these|those|such)(?! (?:page|guide|document|section|chapter|tutorial|handbook|article|manual)\b)"
    r"|the (?:difference|reason|result|former|latter|same|other|others|second|third)"
    r"|(?:in|for|with|by|at|after|before|because of) (?:this|that|these|those|such|addition|contrast|other words)|as a (?:result|consequence)"
    r"|for (?:example|instance)|here|there)\b",
    re.IGNORECASE,
)
_LEADS_TO_CODE: Final = re.compile(r"[:\w`)*_]\s*$")
_ANNOUNCES: Final = re.compile(
    r"\b(?:following|below|as follows|like this|example|run|command)\b", re.IGNORECASE
)


def depends(text: str, language: str) -> bool:
    """Whether a sentence refers to a sentence before it, as far as English patterns can tell. In other languages, no sentence does."""
    return language in ("en", "") and _DEPENDENT.match(text) is not None


def only_refers(text: str) -> bool:
    """Whether a Markdown text says no more than that something is in another place, such as "See [Backing up](backup.md).", as far as English patterns can tell."""
    return _REFERS.fullmatch(text.strip()) is not None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a passage.

    first, last: the indexes of its first and last piece. source, text: its bytes, and the same decoded. shown: its Markdown; never ''.
    complete: False if the part refers to a sentence that is not in it.
    """

    first: int
    last: int
    source: ByteRange
    text: str
    shown: str
    complete: bool = True


class PassageParts:
    """Makes the parts of one passage."""

    def __init__(self, found: FoundPassage) -> None:
        self._found = found
        self._raw = found.passage.text.encode()
        self._offset = found.passage.source.start
        self._pieces = found.pieces
        self._markdown = found.media_type in ("", MARKDOWN)
        self._named = found.media_type in NAMED_ROWS

    def of(self, place: int) -> Part | None:
        """The part that shows the piece with the index `place`; None if an answer must not show it: it is a heading or the header of a table,
        announces what is not there, only refers to another place, or has no visible text.
        """
        piece = self._pieces[place]
        match piece.kind:
            case VectorKind.ROW:
                return self._row(place)
            case VectorKind.CODE:
                return self._code(place)
            case VectorKind.SENTENCE | VectorKind.ITEM:
                return self._prose(place)
            case _:
                return None

    def widened(self, part: Part) -> Part:
        """The part with sentences of its paragraph after and before it, as many as MAX_PARAGRAPH_BYTES allow. A part that neither begins nor ends with a sentence stays as it is."""
        first, last = part.first, part.last
        while True:
            before = (first, last)
            if self._continues(last) and self._size(first, last + 1) <= MAX_PARAGRAPH_BYTES:
                last += 1
            if first and self._continues(first - 1) and self._size(first - 1, last) <= MAX_PARAGRAPH_BYTES:
                first -= 1
            if (first, last) == before:
                break
        wide = self._several(first, last) if (first, last) != (part.first, part.last) else None
        return part if wide is None else replace(wide, complete=part.complete or first < part.first)

    def _continues(self, place: int) -> bool:
        """Whether a piece and the one after it are sentences of one paragraph."""
        these = self._pieces[place : place + 2]
        if len(these) < 2 or any(one.kind is not VectorKind.SENTENCE for one in these):
            return False
        return _PARAGRAPH_END.search(self._bytes(these[0].source.end, these[1].source.start)) is None

    def text(self, first: int, last: int | None = None) -> str:
        """The exact text from one piece to another."""
        return self._bytes(
            self._pieces[first].source.start, self._pieces[first if last is None else last].source.end
        )

    def _bytes(self, start: int, end: int) -> str:
        return self._raw[max(start - self._offset, 0) : max(end - self._offset, 0)].decode(errors="ignore")

    def _row(self, place: int) -> Part | None:
        header = self.header(place)
        if header is None:
            return None
        return self._part(place, place, shown_row(self.text(place), self._origin(place, header)))

    def header(self, place: int) -> Sequence[str] | None:
        """The names of the columns of a row's table; None if the row is itself the header. () if the table has no header, or if each row says
        the names of its columns.
        """
        if self._named:
            return ()
        source = self._pieces[place].source
        before = self._found.before + self._bytes(self._offset, source.start)
        after = self._bytes(source.end, self._offset + len(self._raw))
        if is_header(before, self.text(place), after, markdown=self._markdown):
            return None
        if len(self._found.before.encode()) > READ_BEFORE_BYTES - _CUT_BYTES and not _EMPTY_LINE.search(
            before
        ):
            return ()  # the table begins before the text that was read
        return header_of(before, markdown=self._markdown)

    def _code(self, place: int) -> Part | None:
        if place and self._leads(place - 1) and self._size(place - 1, place) <= MAX_PART_BYTES:
            return self._several(place - 1, place)
        return self._part(place, place, shown_code(self.text(place), self._origin(place)))

    def _leads(self, place: int) -> bool:
        """Whether a piece leads to the code after it."""
        piece, text = self._pieces[place], self.text(place)
        return piece.kind in (VectorKind.SENTENCE, VectorKind.ITEM) and (
            _LEADS_TO_CODE.search(text) is not None or _ANNOUNCES.search(text) is not None
        )

    def _prose(self, place: int) -> Part | None:
        if self._markdown and only_refers(self.text(place)):
            return None
        last = self._followed(place)
        if last is None:
            return None
        first = place
        while depends(self.text(first), self._found.language):
            if not self._has_antecedent(first) or place - first == _MAX_BACK:
                break
            if self._size(first - 1, last) > MAX_ANTECEDENT_BYTES:
                break
            first -= 1
        complete = not depends(self.text(first), self._found.language)
        if not complete:
            first = place
        if first < last or self._pieces[place].kind is not VectorKind.ITEM:
            made = self._several(first, last)
        else:
            made = self._part(place, place, shown_item(self.text(place), self._origin(place)))
        return made if made is None or complete else replace(made, complete=False)

    def _has_antecedent(self, place: int) -> bool:
        return place > 0 and self._pieces[place - 1].kind is self._pieces[place].kind

    def _followed(self, place: int) -> int | None:
        """The last piece of what a piece announces; the piece itself if it announces nothing, and None if what it announces is not there or too
        long.
        """
        text = self.text(place)
        following = self._pieces[place + 1 :]
        announces = text.rstrip('*_ "”').endswith((":", "：")) or self._is_label(place)
        if not following or following[0].kind is VectorKind.HEADING:
            return None if announces else place
        kind = following[0].kind
        if not announces:
            leads = kind is VectorKind.CODE and text[-1:].isalnum()
            return place + 1 if leads and self._size(place, place + 1) <= MAX_PART_BYTES else place
        last = place + 1
        if kind in (VectorKind.ITEM, VectorKind.ROW):
            while last + 1 < len(self._pieces) and self._pieces[last + 1].kind is kind:
                last += 1
        return last if self._size(place, last) <= MAX_PART_BYTES else None

    def _is_label(self, place: int) -> bool:
        """Whether a line of a few words without a full stop stands above a list, like a heading."""
        if place + 1 == len(self._pieces) or self._pieces[place].kind is not VectorKind.SENTENCE:
            return False
        text = self.text(place)
        return (
            self._pieces[place + 1].kind is VectorKind.ITEM
            and len(text.split()) <= _LABEL_WORDS
            and text.rstrip('*_ "”')[-1:].isalnum()
        )

    def _size(self, first: int, last: int) -> int:
        return self._pieces[last].source.end - self._pieces[first].source.start

    def _several(self, first: int, last: int) -> Part | None:
        text = self.text(first, last)
        origin = self._origin(first)
        blocks = "\n" in text and any(
            one.kind is not VectorKind.SENTENCE for one in self._pieces[first : last + 1]
        )
        blocks = blocks or _BLOCK_WITHIN.search(text) is not None
        return self._part(first, last, (shown_blocks if blocks else shown_prose)(text, origin))

    def _part(self, first: int, last: int, shown: str) -> Part | None:
        if not any(map(str.isalnum, shown)):
            return None
        source = ByteRange(self._pieces[first].source.start, self._pieces[last].source.end)
        return Part(first, last, source, self.text(first, last), shown)

    def _origin(self, place: int, header: Sequence[str] = ()) -> Origin:
        before = self._bytes(self._offset, self._pieces[place].source.start)
        line = before.rpartition("\n")[2]
        found = _LINE_BEGINNING.match(line)
        return Origin(self._markdown, len(found.group().expandtabs(4)) if found else 0, header, self._named)


# A character that is cut at the beginning of the text is left out.
_CUT_BYTES: Final = 4
_EMPTY_LINE: Final = re.compile(r"^[ \t>\r]*\n", re.MULTILINE)
_PARAGRAPH_END: Final = re.compile(r"\n[ \t>\r]*\n")
_LINE_BEGINNING: Final = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
# What a sentence contains if it was joined with the code or the list after it, or stands between blocks.
_BLOCK_WITHIN: Final = re.compile(r"\n[ \t>]*(?:```|~~~|(?:[-*+]|\d{1,9}[.)])[ \t]|<pre\b)|\n[ \t]*\n")
